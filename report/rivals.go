package report

import (
	"cmp"
	"net"
	"slices"
	"strings"
)

// rival is another explanation of the same evidence. Runtime and probe send the
// same request through the same resolver, proxy and trust store. That they agree
// proves the symptom. It proves the cause only if every rival is excluded.
type rival struct {
	id       string
	looks    string // what looks exactly so from here
	acts     Fault  // who must act then; empty: the same as without it
	rare     bool   // unlikely enough that the verdict keeps its fault while the rival is open
	same     bool   // the cause is right all the same: only who must act differs
	question string // what decides: a request or a command, with placeholders as in fixes
	excluded func(finding) bool
}

// rivalry is all rivals of one cause, the cheapest question first.
type rivalry struct {
	cause  Cause
	note   string // why the cause has no rivals, or no others
	rivals []rival
}

// finding is a verdict with the evidence that it rests on.
type finding struct {
	*evaluation
	verdict Verdict
	host    string // the host that the verdict is about
}

func allRivalries() []rivalry {
	return slices.Concat(
		rivalsOfNames(),
		rivalsOfLogins(),
		rivalsOfSecrets(),
		rivalsOfResolvers(),
		rivalsOfConnections(),
		rivalsOfCertificates(),
		rivalsOfTheRuntime(),
		rivalsOfTheDisk(),
		rivalsOfAnswers(),
		rivalsOfNoFault(),
	)
}

// maxQuestions is how many questions of open rivals a verdict shows.
const maxQuestions = 2

// withRivals lowers a verdict for what else may explain its evidence: to likely if
// a rival is open, and to an undetermined fault if another one must act then. A
// fault that a rule found by evidence of its own stays.
func (e *evaluation) withRivals(v Verdict) Verdict {
	f := e.findingOf(v)
	ruled := e.faultByRule || v.Fault != v.Cause.DefaultFault()
	questions := 0
	for _, r := range e.rivalsOf(v.Cause) {
		if r.excluded != nil && r.excluded(f) {
			continue
		}
		if !r.same {
			v.Confidence = atMost(v.Confidence, Likely)
		}
		question := e.placeholders(f.verdict).replacer().Replace(r.question)
		if r.acts != "" && r.acts != v.Fault && !r.rare && !ruled {
			v.Fault = FaultUndetermined
			e.openQuestion = cmp.Or(e.openQuestion, question)
		}
		if questions < maxQuestions {
			v.WouldDecide = appendNew(v.WouldDecide, question)
			questions++
		}
	}
	if v.Confidence != Confirmed && len(v.WouldDecide) == 0 && v.Fault != FaultNone && len(e.checks) > 0 {
		v.WouldDecide = []string{e.secondSource(v)}
	}
	return v
}

// secondSource says what would confirm a verdict about which no rule asks anything.
func (e *evaluation) secondSource(v Verdict) string {
	switch {
	case v.Cause == Undetermined:
		return "read the runtime's log on this node at the time of the pull"
	case !slices.Contains(v.Because, e.messageID()):
		return "wait for the runtime's own error at its next attempt"
	case len(v.Because) > 1:
		return "wait for the kubelet's next attempt"
	}
	return "check the same by hand: nothing but the runtime's message shows it"
}

func (r ruleSet) rivalsOf(c Cause) []rival {
	for _, x := range r.rivalries {
		if x.cause == c {
			return x.rivals
		}
	}
	return nil
}

func appendNew(list []string, s string) []string {
	if s == "" || slices.Contains(list, s) {
		return list
	}
	return append(slices.Clone(list), s)
}

func (e *evaluation) findingOf(v Verdict) finding {
	f := finding{evaluation: e, verdict: v}
	for _, id := range v.Because {
		// A check of secrets has the name in the image, such as docker.io, and not that of
		// the host that answers, such as registry-1.docker.io.
		if c := e.get(id); c.Host != "" && c.Outcome == Fail && id != e.messageID() && c.Kind != KindCredentials {
			f.host = c.Host
			return f
		}
	}
	if hosts := e.hosts(); len(hosts) > 0 {
		f.host = hosts[len(hosts)-1]
	} else {
		f.host = e.fact(IDReference, KeyDomain)
	}
	return f
}

// decided returns a fact of the first check that decided and has it.
func (f finding) decided(key string) string { return f.evaluation.decided(f.verdict, key) }

// has reports whether a check that decided has one of these values of a fact;
// without values, whether one has the fact at all.
func (f finding) has(key string, values ...string) bool {
	for _, id := range f.verdict.Because {
		if s := f.fact(id, key); s != "" && (len(values) == 0 || slices.Contains(values, s)) {
			return true
		}
	}
	return false
}

// failedHere reports whether a check of this kind failed, and is among those that
// decided.
func (f finding) failedHere(kind Kind) bool {
	return slices.ContainsFunc(f.verdict.Because, func(id string) bool {
		c := f.get(id)
		return c.Kind == kind && c.Outcome == Fail
	})
}

// agreed reports whether a message of the runtime is among what decided.
func (f finding) agreed() bool { return slices.Contains(f.verdict.Because, f.messageID()) }

func (f finding) manifest(key string) string { return f.fact(ManifestID(f.host), key) }

// isRegistry reports whether the host was seen to behave as a registry. A login
// page and an ingress without a rule do not.
func (f finding) isRegistry() bool {
	if f.get(ManifestID(f.host)).Outcome == Pass {
		return true
	}
	base := f.get(RegistryID(f.host)).Evidence
	switch base[KeyIsRegistry] {
	case True:
		return true
	case "false":
		return false
	}
	return base[KeyAPIVersion] != "" || base[KeyCode] != "" || f.manifest(KeyCode) != "" || f.repositoryVisible()
}

// repositoryVisible reports whether this registry showed the repository's tag list
// to the same login.
func (f finding) repositoryVisible() bool { return f.manifest(KeyRepository) == "exists" }

// withLogin reports whether the answer was given to a login.
func (f finding) withLogin() bool {
	return f.manifest(KeyLoginUsed) == True || f.manifest(KeyUsedCredential) != "" && f.manifest(KeyAnonymous) != True
}

// logsIn reports whether the host asks for a login where one is needed. Products
// that hide repositories do not, even if they challenge other requests.
func (f finding) logsIn() bool {
	return f.manifest(KeyChallenged) == True && f.fact(RegistryID(f.host), KeyProduct) != "artifactory"
}

// mayBeHidden reports whether what the host answers 404 for may exist, for those who
// log in: it was asked without a login, showed nothing of the repository, and is not
// known to ask for one.
func (f finding) mayBeHidden() bool { return !f.withLogin() && !f.repositoryVisible() && !f.logsIn() }

// nameIsItsOwn reports whether the host's name exists for itself, and not by a
// wildcard record that any misspelt name finds.
func (f finding) nameIsItsOwn() bool {
	name := f.get(DNSID(f.host)).Evidence
	sibling := name[KeySibling]
	literal := name[KeyFrom] == "literal" || name[KeyFrom] == "hosts"
	return literal || sibling == "other" || sibling == "none"
}

// underWildcard reports whether any sibling of the host's name has its address.
func (f finding) underWildcard() bool { return f.fact(DNSID(f.host), KeySibling) == "same" }

// direct reports whether the runtime reaches the host without a proxy.
func (f finding) direct() bool {
	return f.byID[DialID(f.host, "proxy")] == nil && f.decided(KeyProxy) == ""
}

// isolatedNode reports whether this node reaches nothing else either, by enough
// hosts to be certain.
func (f finding) isolatedNode() bool { return f.isolated() && !f.is(IDControl, KeyWeak) }

// otherNameFails reports whether every resolver that failed fails for a name of
// another domain, too.
func (f finding) otherNameFails() bool {
	n := 0
	for _, c := range f.below(DNSID(f.host)) {
		if c.Outcome != Fail {
			continue
		}
		if c.Evidence[KeyOtherName] != "fails" {
			return false
		}
		n++
	}
	return n > 0
}

// refusedByResolver reports whether every resolver that failed refused to answer,
// which is its own decision, and not the failure of a domain's name servers.
func (f finding) refusedByResolver() bool {
	n := 0
	for _, c := range f.below(DNSID(f.host)) {
		if c.Outcome != Fail {
			continue
		}
		if c.Evidence[KeyRcode] != "REFUSED" && c.Evidence[KeyError] != "ECONNREFUSED" {
			return false
		}
		n++
	}
	return n > 0
}

// refusedByProxy reports whether the proxy refused the host itself: probes name
// this cause only then, and not where the proxy could not reach the host.
func (f finding) refusedByProxy() bool {
	return slices.ContainsFunc(f.verdict.Because, func(id string) bool {
		c := f.get(id)
		return c.Outcome == Fail && id != f.messageID() && (c.Cause == ProxyDenied || c.Evidence[KeyInnerCause] == string(ProxyDenied))
	})
}

// certificateNames reports whether the certificate that was received is for the
// host. Its window is checked before its name, so an expired one may be another's.
func (f finding) certificateNames() bool {
	host := f.host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, parent, _ := strings.Cut(host, ".")
	for name := range strings.SplitSeq(f.decided(KeyNames), ",") {
		if name = strings.TrimSpace(name); strings.EqualFold(name, host) || strings.EqualFold(name, "*."+parent) {
			return true
		}
	}
	return false
}
