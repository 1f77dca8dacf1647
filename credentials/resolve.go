package credentials

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// Resolution is the result of [Resolve].
type Resolution struct {
	// Matched are the credentials that apply, in the order in which the kubelet
	// tries them. It pulls anonymously only if there are none.
	Matched []Credential
	// Runtime are containerd's own, which apply if the kubelet has none.
	Runtime []Credential
	// Checks are "credentials", one check for each source, and one for each
	// credential in the order in which they are tried.
	Checks []report.Check
	// Used are the credentials that may be sent from here, for the redaction of
	// reports. Those that do not apply are not among them. Tokens of the pod's
	// ServiceAccount that providers got are, as IdentityToken.
	Used []Credential
}

// Resolve resolves all sources as the kubelet does (pkg/kubelet/images,
// makeLookupPullCredentialsFunc): the pod's secrets together, then the node's
// docker config file, then its credential providers together. In each of the
// three the most specific path comes first. (Kubelets before 1.33 keep the last two
// together, see [NodeSources].) The kubelet tries the credentials
// that apply to the repository (host/path without tag) one after the other,
// until a pull succeeds (kuberuntime_image.go, PullImage).
func Resolve(repository string, s Sources) Resolution {
	r := newResolver(repository, s.Now)
	r.addSecrets(s.Secrets)
	r.addNode(s.Node)
	r.addAccount(s.Account)
	switch {
	case len(r.malformed) > 0:
		r.mismatched = append(r.matched, r.mismatched...)
		r.matched = nil
	case len(r.matched) == 0:
		r.runtime = s.Runtime
	case len(r.matched) > maxCandidates:
		r.addUnknown(fmt.Sprintf("%d more matching credentials, which only the kubelet tries", len(r.matched)-maxCandidates))
		r.matched = r.matched[:maxCandidates]
	}
	r.disambiguate()
	r.fillEvidence()
	r.decide(s.Secrets)
	r.addCandidates()
	return Resolution{
		Matched: r.matched,
		Runtime: r.runtime,
		Used:    slices.Concat(r.matched, r.runtime, r.tokens),
		Checks:  slices.Concat([]report.Check{r.overall}, r.sources, r.candidates),
	}
}

// Sufficient reports whether the pod's secrets alone decide what the kubelet does
// first, so that the ServiceAccount need not be read.
func Sufficient(repository string, secrets []SecretLookup) bool {
	r := newResolver(repository, time.Time{})
	r.addSecrets(secrets)
	return len(r.matched)+len(r.malformed)+len(r.unreadable)+len(r.absent) > 0
}

// resolver collects what the sources have for one repository.
type resolver struct {
	repository string
	now        time.Time

	overall    report.Check   // the check "credentials"
	sources    []report.Check // one for each source but the secrets
	candidates []report.Check // one for each credential

	matched, mismatched []Credential
	runtime             []Credential
	servers             []string // keys of the pod's secrets

	absent, unreadable, malformed, ignored []string // secrets, with the reason
	missing                                []string // the absent ones, as a sentence names them
	malformedSummary, ignoredSummary       string   // about the first of them
	secret                                 string   // name of the secret that the overall check is about

	providers, providersFailed, providersNotRun []string
	providerFailure                             string       // summary of the first that failed
	providerRefused                             string       // summary of the first that the kubelet cannot run either
	notForPod                                   string       // summary of the first that the kubelet does not run for this pod
	tokens                                      []Credential // that providers got, see [ProviderResult.Token]
	notAttached                                 []string
	notAttachedSummary                          string
	unknown                                     []string
}

func newResolver(repository string, now time.Time) *resolver {
	return &resolver{repository: repository, now: now, overall: newCheck("credentials")}
}

func newCheck(id string) report.Check {
	return report.Check{ID: id, Kind: report.KindCredentials, Outcome: report.Pass, Evidence: map[string]string{}}
}

// registry returns the host of the repository.
func (r *resolver) registry() string {
	host, _, _ := strings.Cut(r.repository, "/")
	return host
}

// addUnknown records that a source may contain more credentials than are known.
func (r *resolver) addUnknown(source string) { r.unknown = append(r.unknown, source) }

// addCredentials looks up the repository among credentials that the kubelet
// holds in one keyring. It returns how many match.
func (r *resolver) addCredentials(list []Credential) (matched int) {
	found := newKeyring(list).Lookup(r.repository)
	for _, c := range list {
		if !slices.Contains(found, c) {
			r.mismatched = append(r.mismatched, c)
		}
	}
	r.matched = append(r.matched, found...)
	return len(found)
}

// addSecrets adds the pod's pull secrets.
func (r *resolver) addSecrets(list []SecretLookup) {
	var all []Credential
	for _, f := range list {
		all = append(all, r.decodeSecret(f)...)
	}
	for _, c := range all {
		if key, ok := keyOf(c.Server); ok {
			r.servers = append(r.servers, clean(key))
		}
	}
	slices.Sort(r.servers)
	r.servers = slices.Compact(r.servers)
	if n := len(r.servers); n > maxCandidates {
		r.servers = append(r.servers[:maxCandidates], fmt.Sprintf("%d more", n-maxCandidates))
	}
	if r.addCredentials(all) > 0 && len(r.malformed) == 0 {
		r.secret = r.matched[0].secret
	}
}

// decodeSecret returns the credentials of one secret, or records why it has
// none.
func (r *resolver) decodeSecret(f SecretLookup) []Credential {
	name := describeSource(f.Namespace, f.Name)
	switch {
	case f.Err != nil:
		r.unreadable = append(r.unreadable, fmt.Sprintf("%s (%v)", name, f.Err))
		r.addUnknown(name)
		return nil
	case f.Secret == nil:
		r.absent = append(r.absent, name)
		r.missing = append(r.missing, describePullSecret(f.Namespace, f.Name))
		r.secret = cmp.Or(r.secret, f.Name)
		return nil
	}
	entries, err := DecodeSecret(*f.Secret)
	if bad, ok := errors.AsType[*UnusableError](err); ok {
		name := describePullSecret(f.Namespace, f.Name)
		if bad.Fatal {
			r.malformed = append(r.malformed, bad.Error())
			effect := " is not valid, so every pull of this pod fails: "
			if f.Namespace == "" { // a file: there is no pod
				effect = " is not valid: "
			}
			r.malformedSummary = cmp.Or(r.malformedSummary, name+effect+bad.Reason)
			r.secret = f.Name
		} else {
			r.ignored = append(r.ignored, bad.Error())
			r.ignoredSummary = cmp.Or(r.ignoredSummary, "the kubelet ignores "+name+": "+bad.Reason)
			r.secret = cmp.Or(r.secret, f.Name)
		}
	}
	return entries
}

// addAccount searches for credentials that would apply if the pod listed them.
func (r *resolver) addAccount(a *ServiceAccount) {
	if a == nil {
		return
	}
	if a.Err != nil {
		r.sources = append(r.sources, accountErrorCheck(a))
		return
	}
	var unread []string
	for _, f := range a.NotAttached {
		if f.Err != nil {
			unread = append(unread, fmt.Sprintf("%s (%v)", describeSource(f.Namespace, f.Name), f.Err))
			continue
		}
		if f.Secret == nil {
			continue
		}
		entries, err := DecodeSecret(*f.Secret)
		if err == nil && len(newKeyring(entries).Lookup(r.repository)) > 0 {
			r.notAttached = append(r.notAttached, f.Name)
		}
	}
	c := accountCheck(a, r.notAttached, unread)
	if len(r.notAttached) > 0 {
		r.notAttachedSummary = c.Summary
	}
	r.sources = append(r.sources, c)
}

// ownCredentials returns containerd's own credentials for the repository's
// registry. The others may be for a mirror.
func (r *resolver) ownCredentials() []Credential {
	host := r.registry()
	var out []Credential
	for _, c := range r.runtime {
		if report.Serves(c.Host, host) {
			out = append(out, c)
		}
	}
	return out
}

// disambiguate appends the server to a source that occurs more than once among
// the credentials that apply.
func (r *resolver) disambiguate() {
	times := map[string]int{}
	for _, m := range r.matched {
		times[m.Source]++
	}
	for i, m := range r.matched {
		if times[m.Source] > 1 {
			r.matched[i].Source = m.Source + ", " + m.server()
		}
	}
}
