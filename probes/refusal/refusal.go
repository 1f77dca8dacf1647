package refusal

import (
	"encoding/json"
	"html"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Reasons for a refusal.
const (
	Policy     = "policy"     // vulnerabilities, a missing signature, a rule for what may be pulled
	Quota      = "quota"      // of storage, of a project, of traffic
	Billing    = "billing"    // an unpaid or missing subscription
	Quarantine = "quarantine" // the image is held back
	Country    = "country"    // export control, sanctions, laws
	Network    = "network"    // the address of this node: lists of addresses, firewalls in front of the registry
	Owner      = "owner"      // a rule of the repository itself, which its owner has made or not made
	None       = "none"       // the text was read and gives none of these reasons
)

// reasonPhrases is what the text of a refusal has for a reason, in lower case. The
// first reason that has a phrase in the text is the one. A phrase has a space, as no
// name of a repository, project or tag has.
type reasonPhrases struct {
	reason  string
	codes   []string
	phrases []string
}

// refusalReasons returns the table. Sources: goharbor/harbor src/lib/errors,
// src/server/middleware/{vulnerable,contenttrust,quota}; quay/quay
// endpoints/v2/errors.py (QuotaExceeded); Azure/acr "aka.ms/acr/firewall"; JFrog, Xray
// and Curation ("download blocking policy"); Sonatype Repository Firewall ("requested
// item is quarantined"); GitHub ("billing-related error", "IP allow list"); Docker Hub
// (export control); Google VPC Service Controls and Cloud Storage; the block pages of
// Cloudflare (errors 1006 and 1009), CloudFront, AWS WAF, Akamai, F5 and Google.
func refusalReasons() []reasonPhrases {
	return []reasonPhrases{
		{Owner, nil, []string{"no resource-based policy allows", "explicit deny in a resource-based policy"}},
		{Quarantine, []string{"QUARANTINED"}, []string{
			"is quarantined", "are quarantined", "been quarantined", "in quarantine", "quarantined item",
			"under quarantine",
		}},
		{Country, nil, []string{
			"export control", "export regulations", "your country", "available in your location",
			"available in your region", "available from your location", "country or region", "embargoed countr",
			"due to sanctions", "subject to sanctions", "sanctioned countr", "trade sanctions", "u.s. sanctions",
			"us sanctions", "sanctions law", "sanctions regulations", "legal reasons", "geographic location",
			"geographic restriction",
		}},
		{Quota, []string{"QUOTA_EXCEEDED", "QUOTAEXCEEDED"}, []string{
			"quota has been exceeded", "quota exceeded", "quota is exceeded", "quota was exceeded", "over quota",
			"quota is used up", "quota of project", "the quota of", "quota is exhausted", "quota exhausted",
			"quota has been reached", "quota reached", "exceeded the quota", "exceeds the quota", "exceeded its quota",
			"exceeded your quota", "exceed the quota", "exceed the configured upper limit", "storage quota",
			"traffic quota", "bandwidth quota", "disk quota", "transfer quota", "quota available", "quota limit",
			"storage limit", "data transfer limit", "bandwidth limit", "traffic limit", "disk usage is too high",
			"insufficient storage", "out of storage",
		}},
		{Billing, []string{"PAYMENT_REQUIRED", "UserProjectAccountProblem", "AccountProblem", "UserDisable"}, []string{
			"payment required", "billing-related error", "billing status", "billing account", "billing issue",
			"billing problem", "requires billing", "billing is not enabled", "billing is disabled",
			"billing has been disabled", "billing to be enabled", "requires a subscription", "active subscription",
			"valid subscription", "subscription has expired", "subscription expired", "subscription is required",
			"subscription required", "subscription has been", "paid subscription", "paid plan", "current plan",
			"your plan", "trial has expired", "trial expired", "license has expired", "license expired",
			"license is expired", "no valid license", "unpaid invoice", "overdue payment", "payment overdue",
			"payment is overdue", "in arrears", "insufficient balance", "account balance",
		}},
		{Network, nil, []string{
			"client with ip", "ip allow list", "ip allowlist", "ip whitelist", "ip address is not permitted",
			"ip address is not allowed", "ip is not allowed", "ip address not allowed", "ip not allowed",
			"ip address is blocked", "ip has been blocked", "ip is blocked", "ip has been banned", "banned your ip",
			"blocked your ip", "ip restriction", "not in the allow list", "denied by network", "network rules",
			"network access rules", "public network access", "public access is disabled", "public endpoint is disabled",
			"vpc service controls", "prohibited by organization's policy", "vpc endpoint policy", "from this network",
			"from your network", "trusted network", "blocked by firewall", "blocked by the firewall", "firewall rule",
			"web application firewall", "request blocked", "request is blocked", "request was blocked",
			"you have been blocked", "requested url was rejected", "your client does not have permission to get url",
			"reference #18.", "incapsula incident",
		}},
		{Policy, []string{"PROJECTPOLICYVIOLATION", "PROJECT_POLICY_VIOLATION", "POLICY_VIOLATION"}, []string{
			"configured policy", "image is not signed", "artifact is not signed", "not signed by", "unsigned image",
			"content trust", "prevent vulnerable images", "blocking policy", "security policy", "policy violation",
			"violates policy", "violates the policy", "violates a policy", "policies violated", "policy violated",
			"blocked by policy", "blocked by a policy", "blocked by the policy", "denied by policy",
			"rejected by policy", "prohibited by policy", "forbidden by policy", "not allowed by policy",
			"due to policy", "due to the policy", "blocked by jfrog", "curation service", "include/exclude patterns",
			"has vulnerabilities", "critical vulnerabilit", "high vulnerabilit", "vulnerability severity",
			"not been scanned", "is not scanned", "unsupported for scanning", "contains malware", "is malicious",
			"marked as malicious",
		}},
	}
}

// reasonOfStatus is what a status means whatever the text is (RFC 9110, RFC 7725, RFC
// 4918; 412 is Harbor's for a policy of the project).
var reasonOfStatus = map[int]string{
	http.StatusPaymentRequired:            Billing,
	http.StatusPreconditionFailed:         Policy,
	http.StatusUnavailableForLegalReasons: Country,
	http.StatusInsufficientStorage:        Quota,
}

// ReasonOfStatus returns the reason that a status alone gives; empty: none.
func ReasonOfStatus(status int) string { return reasonOfStatus[status] }

// plainRefusals are the texts of a refusal for want of a right, whose reason is none of
// the above: distribution, Harbor, Quay, GitLab, GHCR, ECR, Artifact Registry.
var plainRefusals = []string{
	"denied", "unauthorized", "not authorized", "forbidden", "authentication required", "permission", "no access", "not have access",
	"insufficient scope", "insufficient_scope", "authorization token has expired", "authorization token is expired",
}

// hintsOfReasons are words of the reasons above. A text with one of them, but without a
// phrase, may give a reason in other words: it counts as not read.
var hintsOfReasons = []string{
	"policy", "policies", "quota", "limit", "limited", "exceeded", "storage", "space", "traffic", "bandwidth",
	"bill", "billing", "pay", "payment", "subscription", "subscribe", "plan", "license", "licence", "trial",
	"balance", "suspended", "disabled", "deactivated", "locked", "blocked", "banned", "rejected", "quarantine",
	"quarantined", "country", "countries", "region", "location", "geo", "sanctions", "export", "law", "legal", "ip",
	"address", "network", "firewall", "vpn", "vpc", "proxy", "waf", "allowlist", "whitelist", "vulnerable",
	"vulnerability", "vulnerabilities", "cve", "scan", "scanned", "scanning", "malware", "malicious", "signed",
	"unsigned", "signature", "trust", "untrusted", "approved", "approval", "compliance", "retention", "immutable",
	"deprecated", "maintenance",
}

// Reason returns the reason that a refusal gives: one of those above; empty if it
// was not understood. status is that of the answer, code its error code, text its body.
// A limit of requests (429) is no quota, and 401 is no refusal but asks for a login.
func Reason(status int, code, text string) string {
	if !refuses(status) {
		return ""
	}
	message, plain := refusalMessage(text)
	for _, r := range refusalReasons() {
		if status == http.StatusTooManyRequests && r.reason != Quota && r.reason != Billing {
			continue
		}
		if slices.Contains(r.codes, code) || hasPhrase(message, r.phrases) {
			if status == http.StatusTooManyRequests && limitsRequests(message) {
				return ""
			}
			return r.reason
		}
	}
	switch reason := reasonOfStatus[status]; {
	case reason != "":
		return reason
	case status != http.StatusForbidden, !plain:
		return ""
	case message == "" && (code != "" || strings.TrimSpace(text) == ""):
		return None
	case !hints(message) && containsAny(message, plainRefusals):
		return None
	}
	return ""
}

// refuses reports whether a status is a refusal that may have a reason of its own.
func refuses(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable,
		http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusRequestedRangeNotSatisfiable:
		return false
	}
	return status >= 400 && status < 500 || status == http.StatusInsufficientStorage
}

// limitsRequests reports whether the text of a 429 is about a number of requests, as
// "quota exceeded for quota metric … per minute" is.
func limitsRequests(message string) bool {
	return containsAny(message, []string{"rate limit", "pull rate", "requests per", "per minute", "per second", "quota metric"})
}

// refusalMessage returns what a body says for people, in lower case: the messages of a
// JSON answer, not the names in its details; the text of a page without its tags; or
// the text itself. plain is false for a page, which is not a registry's own answer, and
// for what is not text.
func refusalMessage(text string) (message string, plain bool) {
	text = strings.TrimSpace(text)
	plain = utf8.ValidString(text)
	switch {
	case strings.HasPrefix(text, "{"):
		var answer any
		if json.Unmarshal([]byte(text), &answer) == nil {
			text = strings.Join(messagesIn(answer, false, 0), " | ")
		} else {
			plain = false // the end is cut off
		}
	case strings.HasPrefix(text, "<"):
		text, plain = withoutTags(text), false
	}
	text = strings.ReplaceAll(text, "’", "'")
	return strings.ToLower(strings.Join(strings.Fields(text), " ")), plain
}

// messagesIn returns the messages of a registry's or a token service's JSON answer:
// {"errors":[{"message":…}]}, {"error":{"message":…}}, {"error_description":…} and the
// like. Of other fields it returns what has a space: names and codes have none.
func messagesIn(answer any, isMessage bool, depth int) (out []string) {
	switch x := answer.(type) {
	case string:
		if isMessage || strings.Contains(x, " ") {
			out = append(out, x)
		}
	case []any:
		for _, one := range x {
			out = append(out, messagesIn(one, isMessage, depth)...)
		}
	case map[string]any:
		for field, value := range x {
			if depth < maxJSONDepth {
				_, nested := value.(map[string]any)
				out = append(out, messagesIn(value, slices.Contains(messageFields, field) && !nested, depth+1)...)
			}
		}
	}
	return out
}

// maxJSONDepth bounds the objects within each other that are read.
const maxJSONDepth = 5

// messageFields are the fields of an error that have a message.
var messageFields = []string{"message", "error", "error_description", "reason", "details", "detail"}

// withoutTags returns the text of a page or an XML document.
func withoutTags(page string) string {
	var b strings.Builder
	for page != "" {
		before, rest, tag := strings.Cut(page, "<")
		b.WriteString(html.UnescapeString(before))
		if !tag {
			break
		}
		b.WriteByte(' ')
		name := strings.ToLower(rest[:min(len(rest), 6)])
		for _, hidden := range []string{"script", "style"} {
			if strings.HasPrefix(name, hidden) {
				_, rest, _ = strings.Cut(rest, "</")
			}
		}
		_, page, _ = strings.Cut(rest, ">")
	}
	return b.String()
}

func containsAny(text string, phrases []string) bool {
	return slices.ContainsFunc(phrases, func(p string) bool { return strings.Contains(text, p) })
}

// hasPhrase reports whether a text has a phrase that begins with a word of the text:
// "membership is not allowed" has nothing of "ip is not allowed".
func hasPhrase(text string, phrases []string) bool {
	return slices.ContainsFunc(phrases, func(p string) bool {
		for rest := text; ; {
			at := strings.Index(rest, p)
			if at < 0 {
				return false
			}
			before, _ := utf8.DecodeLastRuneInString(text[:len(text)-len(rest)+at])
			if !unicode.IsLetter(before) && !unicode.IsDigit(before) {
				return true
			}
			rest = rest[at+1:]
		}
	})
}

// hints reports whether a message has a word of a reason. Names of repositories and
// permissions are no words. What is not in English may give a reason, too.
func hints(message string) bool {
	if strings.ContainsFunc(message, func(r rune) bool { return r > unicode.MaxASCII && unicode.IsLetter(r) }) {
		return true
	}
	message = strings.NewReplacer(
		"no identity-based policy allows", "", "(or it may not exist)", "",
	).Replace(message)
	return hasWord(message, hintsOfReasons)
}

// wordsOf returns the words of a message without punctuation, and without names of
// repositories and permissions.
func wordsOf(message string) (words []string) {
	for word := range strings.FieldsSeq(message) {
		if !strings.ContainsAny(word, `"/`) {
			words = append(words, strings.Trim(word, ".,;:!?()'"))
		}
	}
	return words
}

func hasWord(message string, words []string) bool {
	return slices.ContainsFunc(wordsOf(message), func(word string) bool { return slices.Contains(words, word) })
}
