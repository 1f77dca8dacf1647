package report

import (
	"cmp"
	"slices"
	"strings"
)

// Diagnose draws the verdict from the checks of one image. It is a pure
// function: the same checks give the same verdict, so saved evidence can be
// replayed.
//
// It weighs two witnesses against each other. The one is the runtime, by its
// own words: the test pull's if there was one, else what the kubelet wrote
// into the pod's status. The other are the checks made beside it, followed
// from the goal (the image) back along BlockedBy to the first one that failed.
// Both agree: confirmed. One alone: likely. They contradict each other and no
// rule settles it: undetermined.
func Diagnose(checks []Check) Verdict {
	d := newEvidence(checks)
	v := d.verdict()
	v.Also = d.also(v)
	if v.Fix == "" {
		v.Fix = d.fix(v)
	}
	if v.Summary == "" {
		v.Summary = d.summary(v)
	}
	return v
}

// evidence is the list of checks with what is asked of it again and again.
type evidence struct {
	checks []Check
	byID   map[string]*Check
	words  words // the ones that count
	said   words // the kubelet's
}

// words are what the runtime or the kubelet said.
type words struct {
	check  *Check  // nil: they said nothing
	cause  Cause   // their best single reading
	could  []Cause // everything these words are known to have meant
	proven bool    // the text alone proves the cause
}

func newEvidence(checks []Check) *evidence {
	d := &evidence{checks: checks, byID: make(map[string]*Check, len(checks))}
	for i := range checks {
		d.byID[checks[i].ID] = &checks[i]
	}
	d.said = wordsOf(d.byID["pod"])
	// The test pull is fresher than the pod's status and was made under our eyes.
	// But as nobody in particular it says nothing against a kubelet that may have
	// had credentials of the node, which are not looked at.
	d.words = wordsOf(d.byID["pull"])
	if d.words.check == nil || d.anonymousPull() && inCredentials(d.words.cause) && d.said.tells() && !d.said.means(d.words.cause) {
		d.words = d.said
	}
	return d
}

// wordsOf are the words that a failed check carries.
func wordsOf(c *Check) words {
	if c == nil || c.Outcome != Fail {
		return words{}
	}
	w := words{check: c, cause: c.Cause, could: splitCauses(c.Evidence["could"]), proven: c.Evidence["proven"] == "true"}
	if w.cause == "" {
		w.cause = Undetermined
	}
	return w
}

// tells reports whether the words say anything of the way to the image.
func (w words) tells() bool {
	return w.check != nil && w.cause != Undetermined && w.cause != PullTimedOut && w.cause != PullQueueLimited
}

// means reports whether the words can mean this cause.
func (w words) means(c Cause) bool {
	return w.check != nil && (w.cause == c || slices.Contains(w.could, c) || slices.Contains(saidAs[c], w.cause))
}

// anonymousPull reports whether the test pull was made without credentials.
func (d *evidence) anonymousPull() bool { return d.get("pull").Evidence["auth"] == "anonymous" }

// stage is how far the runtime had come when it said this. A broken connection
// while it fetched a layer is no word about the way to the manifest.
func (w words) stage() int {
	if step := w.check.Evidence["step"]; step == "blob" || step == "unpack" {
		return max(stage(w.cause), stageBlob)
	}
	return stage(w.cause)
}

func splitCauses(s string) []Cause {
	var out []Cause
	for f := range strings.SplitSeq(s, ",") {
		if c := Cause(strings.TrimSpace(f)); c != "" && c != Undetermined {
			out = append(out, c)
		}
	}
	return out
}

// get is the check with this id; a check that is not there is unknown.
func (d *evidence) get(id string) Check {
	if c := d.byID[id]; c != nil {
		return *c
	}
	return Check{}
}

// local says what of this registry is on the node already.
func (d *evidence) local() Check { return d.get("local/" + d.get("reference").Evidence["domain"]) }

func (d *evidence) failed(id string) bool { return d.get(id).Outcome == Fail }

// verdict weighs the evidence. The order of its steps is the order in which
// kubelet and runtime come past these things.
func (d *evidence) verdict() Verdict {
	if c := d.get("reference"); c.Outcome == Fail {
		return Verdict{Cause: c.Cause, Fault: c.Cause.DefaultFault(), Confidence: Confirmed, Because: d.because("reference", d.wordsID())}
	}
	if p := d.get("pod"); p.Outcome == Pass && p.Cause != "" {
		// The pod itself says that no pull is in its way.
		v := Verdict{Cause: p.Cause, Fault: p.Cause.DefaultFault(), Confidence: Confirmed, Because: d.because("pod")}
		if p.Evidence["reason"] == "CreateContainerError" {
			v.Confidence = Likely // unpacking is a part of that
		}
		return v
	}
	if d.words.proven && d.words.cause == NeverPullNotPresent && d.local().Evidence["present"] == "true" {
		// Newer kubelets use the same words for an image that is present but was
		// pulled with credentials that this pod does not have.
		return Verdict{Cause: PresentNotAuthorized, Fault: FaultConfig, Confidence: Likely, Because: d.because(d.words.check.ID, d.local().ID)}
	}
	if d.words.proven {
		return Verdict{Cause: d.words.cause, Fault: d.words.cause.DefaultFault(), Confidence: Confirmed, Because: d.because(d.words.check.ID)}
	}
	if c := d.get("runtime"); c.Outcome == Fail {
		return d.weigh(finding{check: c, because: []string{"runtime"}})
	}
	if c := d.get("pull"); c.Outcome == Pass {
		return d.pulled()
	}
	if c := d.get("credentials"); c.Outcome == Fail && c.Evidence["fatal"] == "true" {
		// The kubelet gives up before it asks anybody (pkg/credentialprovider/secrets).
		return d.weigh(finding{check: c, because: []string{"credentials"}})
	}
	if local := d.local(); d.get("pod").Evidence["creating"] == "true" && local.Evidence["present"] == "true" && d.get("pod").Evidence["policy"] != "Always" {
		return Verdict{Cause: NotAPullProblem, Fault: FaultNone, Confidence: Likely, Because: d.because(local.ID, "pod"),
			WouldDecide: []string{"the kubelet's next word on this container: the image is on the node"}}
	}
	disk := d.get("disk")
	if disk.Outcome == Fail && d.words.check != nil && d.agree(disk.Cause) {
		return d.weigh(finding{check: disk, because: []string{"disk"}})
	}
	path := d.path()
	if path.found() {
		if f := d.refine(path); !d.pastLogin(f) {
			return d.weigh(f)
		}
		v := d.wordsAlone(finding{})
		v.WouldDecide = append([]string{"the node's own credentials (kubelet credential providers, docker config files), which are not looked at"}, v.WouldDecide...)
		return v
	}
	if disk.Outcome == Fail && d.words.check == nil && disk.Evidence["need"] == "" {
		// Whatever was resolved still has to be written.
		return d.weigh(finding{check: disk, because: []string{"disk"}})
	}
	if f := d.besides(path); f.found() {
		return d.weigh(f)
	}
	if d.words.check != nil {
		return d.wordsAlone(path)
	}
	return d.nothingWrong(path)
}

// pastLogin reports whether the checks were stopped for want of credentials at
// a place that the kubelet, by its own words, got past.
func (d *evidence) pastLogin(f finding) bool {
	return inCredentials(f.name()) && f.check.Evidence["anonymous"] == "true" && d.words.check != nil && d.words.check.ID == "pod" &&
		d.words.tells() && !d.agree(f.name()) && d.words.stage() >= stageAnswer && d.get("credentials").Outcome != Fail
}

// besides finds a failed check off the path that the words speak of: one
// address of several, say, at which the runtime may have knocked.
func (d *evidence) besides(path finding) finding {
	if !path.ok || d.words.check == nil {
		return finding{}
	}
	for _, c := range d.checks {
		if c.Outcome == Fail && (c.Kind == KindDial || c.Kind == KindTLS) && d.agree(c.Cause) {
			return finding{check: c, because: []string{c.ID}, softened: true}
		}
	}
	return finding{}
}

// finding is the failed check that the path leads back to.
type finding struct {
	check    Check
	cause    Cause    // if it differs from check.Cause
	because  []string // ids of the checks that decided it
	ok       bool     // a host gave all that was asked of it
	goals    []string // ids of the checks that would prove the image can be had
	softened bool     // a rule, not agreement, picked this finding: likely at most
}

func (f finding) found() bool { return f.check.Outcome == Fail }

func (f finding) name() Cause {
	if f.cause != "" {
		return f.cause
	}
	return f.check.Cause
}

// hosts lists the registry hosts in the order in which the runtime asks them,
// which is that of the checks.
func (d *evidence) hosts() []string {
	var out []string
	for _, c := range d.checks {
		if c.Kind == KindManifest && !slices.Contains(out, c.Host) {
			out = append(out, c.Host)
		}
	}
	return out
}

// path follows every host from the goal back to what stands in its way.
func (d *evidence) path() finding {
	var goals []string
	var failed []finding
	for _, h := range d.hosts() {
		goal := "image/" + h
		if c := d.get(goal); c.Outcome != Pass && c.Outcome != Fail {
			goal = "manifest/" + h
		}
		goals = append(goals, goal)
		if c := d.get(goal); c.Outcome == Pass {
			return finding{ok: true, goals: []string{goal}}
		} else if d.get("manifest/"+h).Outcome == Pass && c.Outcome == Fail {
			// The runtime takes the first manifest it gets, whatever is in it.
			return finding{check: c, because: []string{goal}, goals: goals}
		}
		if root := d.root(goal); root.Outcome == Fail {
			failed = append(failed, finding{check: root, because: []string{root.ID}})
		}
	}
	if len(failed) == 0 {
		return finding{goals: goals}
	}
	// With mirrors before it, the upstream decides: a mirror that lacks the
	// image is what mirrors do, an upstream that cannot be reached is a fault.
	f := failed[len(failed)-1]
	for _, other := range failed[:len(failed)-1] {
		f.because = append(f.because, other.check.ID)
		f.softened = f.softened || other.check.Cause != f.check.Cause
	}
	f.goals = goals
	return f
}

// root follows BlockedBy from a check that could not run to the one that
// failed. A chain that ends elsewhere, or in a circle, gives the zero check.
func (d *evidence) root(id string) Check {
	for range d.checks {
		c := d.get(id)
		if c.Outcome == Fail || c.BlockedBy == "" {
			return c
		}
		id = c.BlockedBy
	}
	return Check{}
}

// refine replaces what the registry answered by what led to that answer.
func (d *evidence) refine(f finding) finding {
	cred := d.get("credentials")
	anonymous := f.name() == CredentialsMissing || f.check.Evidence["anonymous"] == "true"
	if !anonymous {
		return f
	}
	switch f.name() {
	case CredentialsMissing, AccessDeniedOrMissing:
		// Asked as nobody, while a secret that was meant to be there is not.
		if cred.Outcome == Fail {
			// Whether the repository exists at all is not known for the latter.
			f.softened = f.softened || f.name() == AccessDeniedOrMissing
			f.cause = cred.Cause
			f.because = append([]string{"credentials"}, f.because...)
		}
	case RepositoryNotFound, TagNotFound:
		f.softened = f.softened || cred.Outcome == Fail // with credentials it might be seen
	}
	if cred.Outcome == Skipped && f.name() != TagNotFound {
		f.softened = true
		if d.words.check != nil && inCredentials(d.words.cause) {
			f.cause = d.words.cause
		}
	}
	return f
}

func inCredentials(c Cause) bool {
	switch c {
	case CredentialsMissing, CredentialsRejected, CredentialsExpired, AccessDeniedOrMissing, AccessForbidden:
		return true
	}
	return false
}

// withoutCredentials is what a registry's answer to nobody in particular may
// read as.
var withoutCredentials = []Cause{CredentialsMissing, AccessDeniedOrMissing, RepositoryNotFound, CredentialsRejected}

// saidAs lists the words in which the runtime speaks of a cause that it cannot
// itself see, beyond those that the reader of its messages already allows for.
var saidAs = map[Cause][]Cause{
	PullSecretMissing:       withoutCredentials,
	PullSecretMalformed:     withoutCredentials,
	PullSecretOtherRegistry: withoutCredentials,
	PullSecretNotAttached:   withoutCredentials,
	CredentialsMissing:      {AccessDeniedOrMissing},
	AccessForbidden:         {AccessDeniedOrMissing},
	CredentialsExpired:      {CredentialsRejected, AccessForbidden},
	ClockSkewed:             {CertificateExpired, CertificateNotYetValid},
	RepositoryNotFound:      {TagNotFound},
	InodesExhausted:         {DiskFull},
	PlatformMismatch:        {TagNotFound},
	RuntimeConfigInvalid:    {CertificateUntrusted},
	ResolverFailed:          {ResolverUnreachable},
}

// agree reports whether the words can mean this cause.
func (d *evidence) agree(c Cause) bool {
	return d.words.means(c)
}

// weigh puts a finding beside the runtime's words.
func (d *evidence) weigh(f finding) Verdict {
	v := Verdict{Cause: f.name(), Because: f.because}
	v.Fault = d.fault(&v, f)
	switch {
	case d.words.check == nil:
		v.Confidence = atMost(v.Confidence, Likely)
	case d.agree(f.name()):
		v.Because = append(v.Because, d.words.check.ID)
		v.Confidence = atMost(v.Confidence, Confirmed)
	case !d.words.tells(), len(d.hosts()) > 1:
		// Words that say nothing of the way to the image, or that merge several
		// hosts into one error, do not contradict what was seen.
		v.Confidence = atMost(v.Confidence, Likely)
	case stage(f.name()) < d.words.stage():
		// The checks are stopped earlier than the runtime was when it spoke:
		// what holds the pull up now is not what it spoke of, but its words are
		// the older ones unless the test pull said them.
		if d.words.check.Kind == KindPull {
			return d.contradicted(f)
		}
		v.Confidence = atMost(v.Confidence, Likely)
		v.WouldDecide = append(v.WouldDecide, "the kubelet's next attempt: its last message ("+string(d.words.cause)+") does not fit what the node sees now")
	default:
		return d.contradicted(f)
	}
	if f.softened || f.check.Evidence["deadline"] == "true" || f.check.Evidence["repository"] == "unknown" {
		v.Confidence = atMost(v.Confidence, Likely)
	}
	if f.name() == Undetermined {
		v.Confidence = Uncertain
		v.WouldDecide = append(v.WouldDecide, "what stands behind this answer: "+f.check.Summary)
	}
	if f.name() == AccessForbidden && f.check.Evidence["auth"] == "basic" {
		v.Confidence = atMost(v.Confidence, Likely)
		v.WouldDecide = append(v.WouldDecide, "whether the credentials have expired: some registries answer 403 then")
	}
	if inCredentials(f.name()) && d.words.check != nil && d.words.check.ID == "pull" && d.anonymousPull() && d.said.check != nil && !d.said.means(f.name()) {
		v.Confidence = atMost(v.Confidence, Likely)
		v.WouldDecide = append(v.WouldDecide, "the kubelet's own words on this: it may have credentials of the node")
	}
	if d.local().Evidence["present"] == "true" && stage(f.name()) == stageAnswer && d.get("pod").Evidence["policy"] != "Always" {
		v.Confidence = atMost(v.Confidence, Likely)
		v.WouldDecide = append(v.WouldDecide, "the kubelet's next attempt: the image is on the node by now")
	}
	if f.check.Evidence["deadline"] == "true" && d.words.check == nil {
		v.WouldDecide = append(v.WouldDecide, "the runtime's own error, which comes when its longer deadline has passed")
	}
	if stage(f.name()) == stageDial && d.get("runtime/proxy").Outcome == Skipped {
		v.Confidence = atMost(v.Confidence, Likely)
		v.WouldDecide = append(v.WouldDecide, "the runtime's proxy setting, which could not be read")
	}
	if c := d.get("credentials"); c.Outcome == Skipped && stage(f.name()) == stageAnswer {
		v.Confidence = atMost(v.Confidence, Likely)
		v.WouldDecide = append(v.WouldDecide, "the same request with the pod's pull secrets: "+c.Summary)
	}
	return v
}

// atMost lowers have to limit; the empty word is the highest.
func atMost(have, limit Confidence) Confidence {
	rank := map[Confidence]int{Uncertain: 1, Likely: 2, Confirmed: 3, "": 4}
	if rank[have] < rank[limit] {
		return have
	}
	return limit
}

// contradicted is the verdict where checks and words cannot both be right.
func (d *evidence) contradicted(f finding) Verdict {
	return Verdict{
		Fault: FaultUndetermined, Cause: Undetermined, Confidence: Uncertain,
		Because: append(slices.Clone(f.because), d.words.check.ID),
		Summary: "the runtime says " + string(d.words.cause) + ", but the checks from this node say " + string(f.name()) + ": " + f.check.Summary,
		WouldDecide: []string{
			"asking again: one of the two may have been a passing state",
			"the runtime's own log on this node at the time of the pull",
		},
	}
}

// The stages of a pull in order; a later one is reached only through the
// earlier ones.
const (
	stageLocal  = iota + 1 // before anything is sent
	stageDNS               // the name
	stageDial              // the address
	stageTLS               // the handshake
	stageAnswer            // what the registry or its token service answers
	stageImage             // what the manifest says
	stageBlob              // the layers
	stageWrite             // the disk, the unpacking
)

func stage(c Cause) int {
	switch c {
	case HostNotFound, ResolverFailed, ResolverUnreachable, ResolverWrongAnswer:
		return stageDNS
	case ConnectionRefused, ConnectionTimeout, NetworkUnreachable, ConnectionReset, ProxyUnreachable, ProxyDenied:
		return stageDial
	case TLSHandshakeFailed, TLSIntercepted, CertificateUntrusted, CertificateNotYetValid, CertificateExpired,
		CertificateNameMismatch, CertificateInvalid, ClockSkewed, PlainHTTPRegistry:
		return stageTLS
	case TagNotFound, RepositoryNotFound, AccessDeniedOrMissing, AccessForbidden, CredentialsMissing, CredentialsRejected,
		CredentialsExpired, RateLimited, RegistryUnavailable, TokenServiceFailed, MirrorFaulty,
		PullSecretMissing, PullSecretOtherRegistry, PullSecretNotAttached, CredentialProviderFailed:
		return stageAnswer
	case PlatformMismatch, UnsupportedManifest, SignatureRejected:
		return stageImage
	case BlobHostUnreachable, LayerCorrupt, PullTimedOut:
		return stageBlob
	case DiskFull, InodesExhausted, DiskReadOnly, DiskIOError, UnpackFailed:
		return stageWrite
	}
	return stageLocal
}

// fault says who must act, and lowers the verdict's confidence where that was
// decided by a rule rather than seen.
func (d *evidence) fault(v *Verdict, f finding) Fault {
	c := f.name()
	switch c {
	case HostNotFound, ConnectionRefused, ConnectionTimeout:
		return d.faultSeenFromOneNode(v, f)
	case NetworkUnreachable, ConnectionReset, TLSHandshakeFailed:
		if e := f.check.Evidence["errno"]; c != NetworkUnreachable || e == "EHOSTUNREACH" {
			// It may come from the other end as well as from this node's network.
			v.Confidence = Likely
			v.WouldDecide = append(v.WouldDecide, "the same check from another node: "+otherNode(c, f.check.Host))
		}
	case BlobHostUnreachable, TokenServiceFailed:
		return d.faultOfOtherHost(v, f)
	case CertificateUntrusted:
		if f.check.Evidence["issuerURL"] != "" && f.check.Evidence["intermediates"] == "0" {
			// A certificate that says where its issuer's can be had is one that a
			// server has to send the issuer's along with.
			v.Confidence = Likely
			v.WouldDecide = append(v.WouldDecide, "whether "+f.check.Host+" should send the intermediate certificate of its issuer: openssl s_client -showcerts -connect "+f.check.Host+":443")
			return FaultUndetermined
		}
	case CredentialsMissing, CredentialsRejected, CredentialsExpired, AccessForbidden:
		source := f.check.Evidence["usedCredential"]
		if strings.HasPrefix(source, "node ") || strings.HasPrefix(source, "provider ") || strings.HasPrefix(source, "runtime ") {
			return FaultNode
		}
	case PlatformMismatch:
		if f.check.Evidence["publisher"] == "true" {
			return FaultRegistry
		}
	}
	return c.DefaultFault()
}

// faultOfOtherHost decides about a host that the registry sends the runtime to:
// who must act follows what was wrong there.
func (d *evidence) faultOfOtherHost(v *Verdict, f finding) Fault {
	token := d.get(f.check.BlockedBy)
	inner := Cause(cmp.Or(f.check.Evidence["innerCause"], token.Evidence["innerCause"]))
	if inner == "" {
		return f.name().DefaultFault() // it answered, and wrongly
	}
	v.Confidence = Likely
	switch inner {
	case CertificateExpired, CertificateNameMismatch, CertificateInvalid, RegistryUnavailable:
		return FaultRegistry
	case CertificateUntrusted, ResolverFailed, ResolverUnreachable:
		return FaultNode
	}
	host := cmp.Or(f.check.Evidence["blobHost"], token.Evidence["realmHost"], f.check.Host)
	v.WouldDecide = append(v.WouldDecide, "the same check from another node: "+otherNode(f.name(), host))
	return FaultUndetermined
}

// faultSeenFromOneNode decides what a single node can decide about a host that
// it does not reach: little, unless something else speaks.
func (d *evidence) faultSeenFromOneNode(v *Verdict, f finding) Fault {
	host := f.check.Host
	if len(d.hosts()) > 1 {
		// Which of several hosts images came from is not known.
		v.WouldDecide = append(v.WouldDecide, "the same check from another node: "+otherNode(f.name(), host))
		v.Confidence = Likely
		return FaultUndetermined
	}
	if local := d.local(); local.Outcome == Pass && local.Evidence["count"] != "" && local.Evidence["count"] != "0" {
		v.Confidence = Likely
		v.Because = append(v.Because, local.ID)
		v.WouldDecide = append(v.WouldDecide, "the same check from another node: if it fails there too, "+host+" itself is down")
		return FaultNode
	}
	if f.name() == HostNotFound && d.nobodyResolves(host) && !slices.Contains(wellKnown, d.get("reference").Evidence["domain"]) {
		v.Confidence = Likely
		v.WouldDecide = append(v.WouldDecide, "whether "+host+" is the name you meant, and whether it exists outside this node's resolvers")
		return FaultConfig
	}
	v.WouldDecide = append(v.WouldDecide, "the same check from another node: "+otherNode(f.name(), host))
	return FaultUndetermined
}

func otherNode(c Cause, host string) string {
	if c == HostNotFound {
		return "if " + host + " resolves there, this node's resolvers are at fault"
	}
	return "if " + host + " answers there, this node or its network is at fault; if not, " + host + " is"
}

// wellKnown are registries that exist, whatever the node's resolvers say.
var wellKnown = []string{"docker.io", "ghcr.io", "quay.io", "gcr.io", "registry.k8s.io", "mcr.microsoft.com", "public.ecr.aws", "registry.gitlab.com", "nvcr.io"}

// nobodyResolves reports whether every resolver of the node was asked and says
// that there is no such name.
func (d *evidence) nobodyResolves(host string) bool {
	n := 0
	for _, c := range d.checks {
		if c.Kind != KindDNS || c.Host != host || c.ID == "dns/"+host {
			continue
		}
		if c.Cause != HostNotFound {
			return false
		}
		n++
	}
	return n > 0
}

// pulled is the verdict after a test pull that worked.
func (d *evidence) pulled() Verdict {
	for _, c := range d.checks {
		if c.Kind == KindImage && c.Outcome == Fail && c.Cause == PlatformMismatch {
			// The runtime pulls a single manifest of another architecture without a
			// word; the container then dies with "exec format error".
			v := Verdict{Cause: c.Cause, Confidence: Likely, Because: []string{c.ID, "pull"}}
			v.Fault = d.fault(&v, finding{check: c})
			return v
		}
	}
	if w := d.said; d.anonymousPull() && (w.cause == CredentialsRejected || w.cause == AccessForbidden || w.cause == CredentialsExpired) {
		// It works without credentials, and the kubelet was refused with some.
		return Verdict{Fault: FaultNode, Cause: w.cause, Confidence: Likely, Because: d.because("pod", "pull"),
			WouldDecide: []string{"which credentials of the node the kubelet sends (credential providers, docker config files): without any the image can be pulled"}}
	}
	cause := Healthy
	if d.failed("pod") {
		cause = Recovered
	}
	return Verdict{Fault: FaultNone, Cause: cause, Confidence: Confirmed, Because: d.because("pull")}
}

// wordsAlone is the verdict where no check found what the runtime complains of.
func (d *evidence) wordsAlone(path finding) Verdict {
	w := d.words
	v := Verdict{Cause: w.cause, Because: []string{w.check.ID}, Confidence: Likely}
	v.Fault = d.fault(&v, finding{check: Check{Host: d.get("reference").Evidence["domain"]}, cause: w.cause})
	if w.cause == Undetermined {
		v.Confidence = Uncertain
		v.Summary = "the runtime's words do not say why, and no check from this node found a fault: " + w.check.Summary
		v.WouldDecide = append(v.WouldDecide, d.unchecked()...)
		return v
	}
	if path.ok && w.stage() <= stageImage && w.cause != PullQueueLimited {
		return Verdict{
			Fault: FaultUndetermined, Cause: Undetermined, Confidence: Uncertain,
			Because:     append([]string{w.check.ID}, path.goals...),
			Summary:     "the runtime said " + string(w.cause) + ", but every check from this node passes now; it may have been a passing state",
			WouldDecide: append([]string{"the kubelet's next attempt"}, d.unchecked()...),
		}
	}
	v.WouldDecide = append(v.WouldDecide, d.unchecked()...)
	return v
}

// nothingWrong is the verdict where neither words nor checks complain.
func (d *evidence) nothingWrong(path finding) Verdict {
	if path.ok && d.get("pod").Evidence["creating"] == "true" {
		return Verdict{
			Fault: FaultUndetermined, Cause: Undetermined, Confidence: Uncertain, Because: append(path.goals, "pod"),
			Summary:     "the kubelet has been waiting for the image and has reported no failure; every check from this node passes, so the pull may be slow rather than broken",
			WouldDecide: []string{"the end of the kubelet's own pull", "how fast the layers come, which was not measured"},
		}
	}
	if path.ok {
		return Verdict{Fault: FaultNone, Cause: Healthy, Confidence: Likely, Because: path.goals}
	}
	return Verdict{
		Fault: FaultUndetermined, Cause: Undetermined, Confidence: Uncertain,
		Summary:     "nothing failed, but the image was not seen to be available either",
		WouldDecide: d.unchecked(),
	}
}

// unchecked names what was not looked at, as what would decide.
func (d *evidence) unchecked() []string {
	var out []string
	for _, c := range d.checks {
		if (c.Outcome == Skipped && c.BlockedBy == "") || c.Outcome == Error || c.Outcome == Unknown {
			out = append(out, c.ID+": "+c.Summary)
		}
		if len(out) == 4 {
			break
		}
	}
	return out
}

// also lists further causes that were seen, in the order of the checks.
func (d *evidence) also(v Verdict) []Cause {
	var out []Cause
	for _, c := range d.checks {
		if c.Outcome == Fail && c.Cause != "" && c.Cause != Undetermined && c.Cause != v.Cause && !slices.Contains(out, c.Cause) &&
			!slices.Contains(saidAs[v.Cause], c.Cause) && !(c.ID == d.wordsID() && d.agree(v.Cause)) {
			out = append(out, c.Cause)
		}
	}
	return out
}

func (d *evidence) wordsID() string {
	if d.words.check == nil {
		return ""
	}
	return d.words.check.ID
}

// because keeps the ids that name a check.
func (d *evidence) because(ids ...string) []string {
	return slices.DeleteFunc(ids, func(id string) bool { return d.byID[id] == nil })
}
