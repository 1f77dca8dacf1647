package refusal

import (
	"slices"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/probes/answers"
	"github.com/pullprobe/pullprobe/probes/probetest"
)

// refusal is a refusal as a product words it. The texts are those of its source, its
// documentation or its users' reports.
type refusal struct {
	product string
	status  int
	body    string
	want    string
}

var refusals = []refusal{
	// Harbor: src/server/middleware/vulnerable, contenttrust, cosign; src/lib/errors.
	{"Harbor, vulnerabilities", 412, probetest.OCIError("PROJECTPOLICYVIOLATION", `current image with 86 vulnerabilities cannot be pulled due to configured policy in 'Prevent images with vulnerability severity of "Medium" or higher from running.' To continue with pull, please contact your project administrator to exempt matched vulnerabilities through configuring the CVE allowlist.`), "policy"},
	{"Harbor, not scanned", 412, probetest.OCIError("PROJECTPOLICYVIOLATION", `current image without vulnerability scanning cannot be pulled due to configured policy in 'Prevent images with vulnerability severity of "High" or higher from running.'`), "policy"},
	{"Harbor, Notary", 412, probetest.OCIError("PROJECT_POLICY_VIOLATION", "The image is not signed in Notary."), "policy"},
	{"Harbor, cosign", 412, probetest.OCIError("PROJECTPOLICYVIOLATION", "The image is not signed by cosign."), "policy"},
	{"Harbor before 1.9, plain text", 412, "The image is not signed in Notary.\n", "policy"},
	{"Harbor behind a gateway that rewrites the status", 403, probetest.OCIError("PROJECTPOLICYVIOLATION", "The image is not signed by cosign."), "policy"},
	{"Harbor, quota of the project", 412, probetest.OCIError("DENIED", "Quota exceeded when processing the request of adding 1.3 MiB of storage resource, which when updated to current usage of 235.9 MiB will exceed the configured upper limit of 100.0 MiB."), "quota"},
	{"Harbor, no right", 403, probetest.OCIError("FORBIDDEN", "unauthorized to access repository: library/app, action: pull: unauthorized to access repository: library/app, action: pull"), "none"},
	// Azure.
	{"ACR, address", 403, `{"errors":[{"code":"DENIED","message":"client with IP \u0027172.214.169.102\u0027 is not allowed access. Refer https://aka.ms/acr/firewall to grant access."}]}` + "\n", "network"},
	{"ACR, no role", 403, probetest.OCIError("DENIED", "retrieving permissions failed"), "none"},
	// AWS.
	{"ECR, no right", 403, probetest.OCIError("DENIED", "User: arn:aws:sts::254865750963:assumed-role/nodes/i-0e is not authorized to perform: ecr:BatchGetImage on resource: arn:aws:ecr:us-west-2:254865750963:repository/app because no identity-based policy allows the ecr:BatchGetImage action"), "none"},
	{"ECR, another account", 403, probetest.OCIError("DENIED", "User: arn:aws:sts::1:assumed-role/n/i is not authorized to perform: ecr:BatchGetImage on resource: arn:aws:ecr:us-west-2:2:repository/app because no resource-based policy allows the ecr:BatchGetImage action"), "owner"},
	{"ECR, the repository's policy", 403, probetest.OCIError("DENIED", "User: arn:aws:sts::1:assumed-role/n/i is not authorized to perform: ecr:BatchGetImage on resource: arn:aws:ecr:us-west-2:1:repository/app with an explicit deny in a resource-based policy"), "owner"},
	{"ECR, endpoint", 403, probetest.OCIError("DENIED", "User: arn:aws:sts::1:assumed-role/n/i is not authorized to perform: ecr:BatchGetImage on resource: arn:aws:ecr:us-west-2:1:repository/app with an explicit deny in a VPC endpoint policy"), "network"},
	{"ECR, service control policy", 403, probetest.OCIError("DENIED", "User: arn:aws:sts::1:assumed-role/n/i is not authorized to perform: ecr:BatchGetImage on resource: arn:aws:ecr:us-west-2:1:repository/app with an explicit deny in a service control policy"), ""},
	{"ECR, expired", 403, probetest.OCIError("DENIED", "Your authorization token has expired. Reauthenticate and try again."), "none"},
	{"S3", 403, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message><RequestId>X</RequestId></Error>`, ""},
	{"S3, signature of the URL", 403, `<Error><Code>SignatureDoesNotMatch</Code><Message>The request signature we calculated does not match the signature you provided.</Message></Error>`, ""},
	{"CloudFront, country", 403, `<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN"><HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD><BODY><H1>403 ERROR</H1><H2>The request could not be satisfied.</H2><HR noshade size="1px">The Amazon CloudFront distribution is configured to block access from your country.`, "country"},
	{"CloudFront, WAF", 403, `<HTML><BODY><H1>403 ERROR</H1><H2>The request could not be satisfied.</H2>Request blocked. We can't connect to the server for this app or website at this time.`, "network"},
	// Google.
	{"Artifact Registry, no right", 403, probetest.OCIError("DENIED", `Permission "artifactregistry.repositories.downloadArtifacts" denied on resource "projects/p/locations/europe-west2/repositories/ml" (or it may not exist)`), "none"},
	{"Artifact Registry, anonymous", 403, probetest.OCIError("DENIED", `Unauthenticated request. Unauthenticated requests do not have permission "artifactregistry.repositories.downloadArtifacts" on resource "projects/p/locations/us/repositories/r" (or it may not exist)`), "none"},
	{"Artifact Registry, perimeter", 403, probetest.OCIError("DENIED", "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: 8c1f0b2d"), "network"},
	{"Cloud Storage, billing", 403, `<?xml version='1.0' encoding='UTF-8'?><Error><Code>UserProjectAccountProblem</Code><Message>User project billing account not in good standing.</Message><Details>The billing account for the owning project is disabled in state absent</Details></Error>`, "billing"},
	{"Cloud Storage, country", 403, `<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code><Message>Access denied.</Message><Details>We're sorry, but this service is not available in your location</Details></Error>`, "country"},
	{"Google's front end", 403, "<!DOCTYPE html>\n<html lang=en>\n<title>Error 403 (Forbidden)!!1</title>\n<style>*{margin:0}</style><p><b>403.</b> <ins>That’s an error.</ins>\n  <p>Your client does not have permission to get URL <code>/v2/app/manifests/1</code> from this server.  <ins>That’s all we know.</ins>", "network"},
	{"Artifact Registry, requests", 429, `{"errors":[{"code":"TOOMANYREQUESTS","message":"Quota exceeded for quota metric 'Requests per project per region' and limit 'Requests per minute' of service"}]}`, ""},
	// Docker Hub.
	{"Docker Hub, export control", 403, "<html><body><h1>403 Forbidden</h1>\nSince Docker is a US company, we must comply with US export control regulations. In an effort to comply with these, we now block all IP addresses that are located in Cuba, Iran, North Korea, Republic of Crimea, Sudan, and Syria.\n</body></html>\n\n", "country"},
	{"Docker Hub, no right", 403, `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied","detail":[{"Type":"repository","Class":"","Name":"team/quota-policy","Action":"pull"}]}]}`, "none"},
	{"Docker Hub, pull limit", 429, `{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit"}]}`, ""},
	// GitHub.
	{"GHCR", 403, `{"errors":[{"code":"DENIED","message":"denied"}]}`, "none"},
	{"GHCR, no right", 403, probetest.OCIError("DENIED", "permission_denied: read_package"), "none"},
	{"GHCR, addresses", 403, probetest.OCIError("DENIED", "Although you appear to have the correct authorization credentials, the `acme` organization has an IP allow list enabled, and your IP address is not permitted to access this resource."), "network"},
	{"GitHub Packages, billing", 403, probetest.OCIError("DENIED", "Encountered a billing-related error. Please verify the billing status for this account."), "billing"},
	// GitLab.
	{"GitLab", 403, `{"errors":[{"code":"DENIED","message":"access forbidden"}]}`, "none"},
	// Quay: endpoints/v2/errors.py.
	{"Quay, quota", 403, probetest.OCIError("DENIED", "Quota has been exceeded on namespace"), "quota"},
	{"Quay, no right", 403, probetest.OCIError("UNAUTHORIZED", "access to the requested resource is not authorized"), "none"},
	// JFrog.
	{"Artifactory, Xray", 403, "{\n  \"errors\" : [ {\n    \"status\" : 403,\n    \"message\" : \"Artifact download request rejected: app/1/manifest.json was not downloaded due to the download blocking policy configured in Xray for docker-remote-cache.\"\n  } ]\n}", "policy"},
	{"Artifactory, Curation", 403, probetest.OCIError("DENIED", "Package app:1 download was blocked by JFrog Packages Curation service due to the following policies violated {block-critical,...}"), "policy"},
	{"Artifactory, patterns", 403, `{"errors":[{"status":403,"message":"The repository 'docker-remote' rejected the resolution of an artifact 'docker-remote:app/1' due to conflict with its include/exclude patterns."}]}`, "policy"},
	{"Artifactory, disk", 413, `{"errors":[{"status":413,"message":"Datastore disk usage is too high. Contact your Artifactory administrator to add additional storage space or change the disk quota limits."}]}`, "quota"},
	{"Artifactory, no right", 403, `{"errors":[{"code":"DENIED","message":"The client does not have permission to manifest","detail":{"manifest":"app:1"}}]}`, "none"},
	// Sonatype.
	{"Nexus, Firewall", 403, "Requested item is quarantined", "quarantine"},
	{"Nexus, Firewall, page", 403, "<!DOCTYPE html>\n<html><head><title>403 - Nexus Repository Manager</title></head><body><h1>REQUESTED ITEM IS QUARANTINED</h1></body></html>", "quarantine"},
	{"Nexus", 403, probetest.OCIError("DENIED", "access to the requested resource is denied"), "none"},
	// Others.
	{"Cloudsmith", 402, "", "billing"},
	{"Cloudsmith, with a page", 402, "<html><title>402</title><p>See other", "billing"},
	{"Volcengine, traffic", 429, `{"errors":[{"code":"TOOMANYREQUESTS","message":"remaining traffic quota is not enough to download this layer for current month"}]}`, "quota"},
	{"laws", 451, "", "country"},
	{"a full registry", 507, "", "quota"},
	{"Cloudflare, country", 403, `<html><head><title>Access denied</title></head><body><h1>Error 1009</h1><p>The owner of this website (r.lab) has banned the country or region your IP address is in (XX) from accessing this website.</p>`, "country"},
	{"Cloudflare, WAF", 403, `<html><h1>Sorry, you have been blocked</h1><h2>You are unable to access r.lab</h2>`, "network"},
	{"nginx", 403, "<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n<center><h1>403 Forbidden</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n", ""},

	{"a quota used up", 403, probetest.OCIError("DENIED", "no space left on device: the quota of project team is used up"), "quota"},
	{"quarantined", 403, probetest.OCIError("DENIED", "image is quarantined: context deadline exceeded while scanning"), "quarantine"},
	{"in arrears", 403, probetest.OCIError("DENIED", "billing is disabled on this project: TLS handshake timeout is unrelated"), "billing"},
	{"country", 451, probetest.OCIError("DENIED", "unavailable in your country: no such host"), "country"},

	// What is no reason, and what may be one in other words.
	{"nothing", 403, "", "none"},
	{"only a code", 403, `{"errors":[{"code":"DENIED"}]}`, "none"},
	{"an object without an error", 403, `{"state":"quota"}`, ""},
	{"a sentence in a field of its own", 403, `{"errors":[{"code":"DENIED","message":"denied","detail":{"description":"the storage quota of this project is used up"}}]}`, "quota"},
	{"a reason in other words", 403, probetest.OCIError("DENIED", "access denied: monthly allowance of bandwidth is gone"), ""},
	{"a reason in another language", 403, probetest.OCIError("DENIED", "denied: das Kontingent ist erschöpft"), ""},
	{"another language altogether", 403, probetest.OCIError("DENIED", "Zugriff verweigert"), ""},
	{"a repository with a telling name", 403, probetest.OCIError("DENIED", "denied: team/security-policy/quota-exceeded:export-control"), "none"},
	{"a phrase within a word", 403, probetest.OCIError("DENIED", "permission denied: membership is not allowed, IP is not allowed"), "network"},
	{"only within a word", 403, probetest.OCIError("DENIED", "permission denied: membership is not allowed"), "none"},
	{"the end cut off", 403, `{"errors":[{"code":"DENIED","message":"requested access to the resource is den`, ""},
	{"the end cut off after the reason", 403, `{"errors":[{"code":"DENIED","message":"Quota has been exceeded on namespace","detail":{"x":"`, "quota"},
	{"not text", 403, "\x1f\x8b\x08\x00denied", ""},
	{"a request for a login", 401, probetest.OCIError("UNAUTHORIZED", "Quota has been exceeded on namespace"), ""},
	{"not there", 404, probetest.OCIError("DENIED", "Quota has been exceeded on namespace"), ""},
	{"out of order", 503, "Quota has been exceeded on namespace", ""},
}

func TestRefusedFor(t *testing.T) {
	for _, tt := range refusals {
		if got := Reason(tt.status, answers.StoreCode([]byte(tt.body)), tt.body); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.product, got, tt.want)
		}
	}
}

// No name of a repository, project or tag is a phrase: it has no space.
func TestPhrasesHaveSpaces(t *testing.T) {
	for _, r := range refusalReasons() {
		for _, p := range r.phrases {
			if !strings.Contains(p, " ") || strings.ToLower(p) != p || strings.TrimSpace(p) != p {
				t.Errorf("%s: %q", r.reason, p)
			}
		}
	}
}

// FuzzRefusedFor reads any text: the answer is one of the reasons, and the name of a
// repository in a plain refusal is never one.
func FuzzRefusedFor(f *testing.F) {
	for _, r := range refusals {
		f.Add(r.status, r.body)
	}
	f.Add(403, "<script><style>a</b>&#39;</")
	f.Add(403, `{"errors":[[[[{"error":{"error":"x y"}}]]]]}`)
	f.Fuzz(func(t *testing.T, status int, text string) {
		known := []string{"", Policy, Quota, Billing, Quarantine, Country, Network, Owner, None}
		got := Reason(status, answers.StoreCode([]byte(text)), text)
		if !slices.Contains(known, got) {
			t.Errorf("%q", got)
		}
		if again := Reason(status, answers.StoreCode([]byte(text)), text); again != got {
			t.Errorf("%q, then %q", got, again)
		}
		if got != "" && !refuses(status) {
			t.Errorf("%d is refused for %q", status, got)
		}
		if !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			body := `{"errors":[{"code":"DENIED","message":"requested access to ` + text + ` is denied"}]}`
			if got := Reason(403, "DENIED", body); got != "" && got != None {
				t.Errorf("%s: %q", body, got)
			}
		}
	})
}
