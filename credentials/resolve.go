package credentials

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// Found is one pull secret that a pod names, as far as it could be read.
type Found struct {
	Namespace, Name string
	Secret          *Secret // nil: absent or not readable
	Err             error   // why it is not readable; nil with a nil Secret means that it does not exist
}

// ForbiddenError says which permission the agent lacks.
type ForbiddenError struct {
	Verb, Resource, Namespace, Name string

	Node       string // that the agent tried to read as, too; empty: as none
	NodeReason string // why that was refused
}

func (e *ForbiddenError) Error() string {
	what := fmt.Sprintf("may not %s %s in namespace %s (%s)", e.Verb, e.Resource, e.Namespace, e.Name)
	if e.Node == "" {
		return "the agent's ServiceAccount " + what + ": grant it with the secrets component of the manifests"
	}
	return "the agent " + what + " as node " + e.Node + ": " + e.NodeReason + "; nor as its own ServiceAccount, without the secrets component of the manifests"
}

// Account is the pod's ServiceAccount. Its pull secrets are put into a pod when
// that is created, and only if the pod lists none itself (kube-apiserver,
// plugin/pkg/admission/serviceaccount, Admit); the kubelet never looks at it.
type Account struct {
	Namespace, Name string
	Err             error   // why it could not be read
	Unattached      []Found // secrets that it lists and the pod does not carry
	// PodListsOwn: the pod carries secrets that the ServiceAccount does not list.
	// Otherwise what is unattached was added after the pod had been created.
	PodListsOwn bool
}

// Node is what the kubelet would add to the pod's secrets.
type Node struct {
	Unknown   string // why the kubelet could not be seen; all else is empty then
	File      NodeFile
	Providers ProviderConfig
	Answers   []Answer // of the providers that match, in the kubelet's order
}

// Sources are all places that credentials for one image may come from.
type Sources struct {
	Secrets []Found      // that the pod names, in its order
	Account *Account     // nil: not looked at
	Node    *Node        // nil: not looked for
	Runtime []Credential // containerd's own
	Now     time.Time
}

// Walked is what came of a walk.
type Walked struct {
	// Matched are the credentials that apply, in the order in which the kubelet
	// tries them. Only if there are none it pulls without any.
	Matched []Credential
	// Runtime are containerd's own, which apply if the kubelet has none.
	Runtime []Credential
	// Unknown says what could not be read and may hold further credentials.
	Unknown []string
	// Checks are "credentials", what was found at each place, and one for each
	// credential in the order in which they are tried.
	Checks []report.Check
	// Used are the credentials that go anywhere from here, so that whoever writes
	// a report can keep them out of it. What does not apply stays here.
	Used []Credential
}

// Walk goes through all sources as the kubelet does (pkg/kubelet/images,
// makeLookupPullCredentialsFunc): the pod's secrets together, then the docker
// configuration file of the node, then its credential providers together; in
// each of the three the most specific path comes first. What applies to the
// repository (host/path without tag) is tried one after the other until a pull
// works (kuberuntime_image.go, PullImage).
func Walk(repository string, s Sources) Walked {
	w := &walk{repository: repository, now: s.Now, check: report.Check{ID: "credentials", Kind: report.KindCredentials, Evidence: map[string]string{}}}
	w.secrets(s.Secrets)
	w.node(s.Node)
	w.account(s.Account)
	switch {
	case len(w.fatal) > 0:
		w.others = append(w.matched, w.others...)
		w.matched = nil
	case len(w.matched) == 0:
		w.runtime = s.Runtime
	case len(w.matched) > maxTried:
		w.unknown = append(w.unknown, fmt.Sprintf("%d further credentials that apply, which only the kubelet tries", len(w.matched)-maxTried))
		w.matched = w.matched[:maxTried]
	}
	w.conclude(s)
	w.candidates()
	return Walked{
		Matched: w.matched, Runtime: w.runtime, Unknown: w.unknown,
		Used:   slices.Concat(w.matched, w.runtime),
		Checks: slices.Concat([]report.Check{w.check}, w.places, w.tried),
	}
}

// Covered reports whether the pod's secrets decide by themselves what the
// kubelet does first, so that nobody need ask what the ServiceAccount lists.
func Covered(repository string, secrets []Found) bool {
	w := &walk{repository: repository, check: report.Check{Evidence: map[string]string{}}}
	w.secrets(secrets)
	return len(w.matched)+len(w.fatal)+len(w.unreadable)+len(w.absent) > 0
}

// walk is a walk under way.
type walk struct {
	repository string
	now        time.Time
	check      report.Check
	places     []report.Check
	tried      []report.Check

	matched, runtime []Credential
	others           []Credential // those that do not apply
	servers          []string     // keys of the pod's secrets

	absent, unreadable, fatal, ignored []string
	secret                             string // name of the one that the check is about
	provider, failed, notRun           []string
	notAttached                        []string
	unknown                            []string
}

// add looks up the repository among credentials that the kubelet holds
// together.
func (w *walk) add(list []Credential) (matched int) {
	var ring Keyring
	for _, c := range list {
		ring.Add(c)
	}
	found := ring.Lookup(w.repository)
	for _, c := range list {
		if !slices.Contains(found, c) {
			w.others = append(w.others, c)
		}
	}
	w.matched = append(w.matched, found...)
	return len(found)
}

func (w *walk) secrets(list []Found) {
	var all []Credential
	about := func(name string) {
		if w.secret == "" {
			w.secret = name
		}
	}
	for _, f := range list {
		name := label(f.Namespace, f.Name)
		switch {
		case f.Err != nil:
			w.unreadable = append(w.unreadable, fmt.Sprintf("%s (%v)", name, f.Err))
			w.unknown = append(w.unknown, name)
			continue
		case f.Secret == nil:
			w.absent = append(w.absent, name)
			about(f.Name)
			continue
		}
		entries, err := Decode(*f.Secret)
		var bad *UnusableError
		if errors.As(err, &bad) {
			if bad.Fatal {
				w.fatal = append(w.fatal, bad.Error())
				w.secret = f.Name
			} else {
				w.ignored = append(w.ignored, bad.Error())
				about(f.Name)
			}
			continue
		}
		all = append(all, entries...)
	}
	for _, c := range all {
		if key, ok := key(c.Server); ok {
			w.servers = append(w.servers, clean(key))
		}
	}
	slices.Sort(w.servers)
	w.servers = slices.Compact(w.servers)
	if n := len(w.servers); n > maxTried {
		w.servers = append(w.servers[:maxTried], fmt.Sprintf("%d more", n-maxTried))
	}
	if w.add(all) > 0 && len(w.fatal) == 0 {
		w.secret = w.matched[0].secret
	}
}

// node adds what the node has.
func (w *walk) node(n *Node) {
	if n == nil {
		return
	}
	c := report.Check{ID: "credentials/node", Kind: report.KindCredentials, Outcome: report.Pass, Evidence: map[string]string{}}
	if n.Unknown != "" {
		c.Outcome, c.Summary = report.Skipped, "the node's own credentials are not known: "+n.Unknown
		w.check.Evidence["node"] = "unknown"
		w.unknown = append(w.unknown, "the node's docker configuration and credential providers")
		w.places = append(w.places, c)
		return
	}
	f := n.File
	w.check.Evidence["node"] = "read"
	c.Evidence["lookedAt"] = strings.Join(f.Places, " ")
	if f.Unread != "" {
		c.Target = f.Unread
		c.Outcome, c.Summary = report.Skipped, "the node's own docker configuration is not known: the kubelet can read "+f.Unread+", and it is closed to this process"
		w.check.Evidence["node"] = "unknown"
		w.unknown = append(w.unknown, "the node's docker configuration")
		w.places = append(w.places, c)
		w.providers(n)
		return
	}
	if len(f.Passed) > 0 {
		c.Evidence["passedOver"] = strings.Join(f.Passed, "; ")
	}
	if f.Path == "" {
		c.Summary = "the kubelet finds no docker configuration file on the node"
	} else {
		c.Target, c.Evidence["file"] = f.Path, f.Path
		n := w.add(f.Credentials)
		c.Summary = fmt.Sprintf("the kubelet reads %s, which has %d credentials for this image", f.Path, n)
		if n == 1 {
			c.Summary = fmt.Sprintf("the kubelet reads %s, which has credentials for this image", f.Path)
		} else if n == 0 {
			c.Summary = fmt.Sprintf("the kubelet reads %s, which has nothing for this image", f.Path)
		}
		if !f.Modified.IsZero() {
			c.Evidence["modified"] = f.Modified.UTC().Format(time.RFC3339)
			if age := w.now.Sub(f.Modified); age >= 0 && age < nodeFileCache {
				c.Evidence["fresh"] = "true"
				c.Summary += "; it was changed " + age.Round(time.Second).String() + " ago, and for up to 5 min the kubelet goes on with what was there before"
			}
		}
		if f.Note != "" {
			c.Evidence["note"] = f.Note
		}
	}
	w.places = append(w.places, c)
	w.providers(n)
}

func (w *walk) providers(n *Node) {
	config := n.Providers
	if config.Path == "" {
		return
	}
	if config.Unread {
		w.places = append(w.places, report.Check{
			ID: "credentials/providers", Kind: report.KindCredentials, Target: config.Path, Outcome: report.Skipped,
			Summary: "the kubelet's credential providers are not known: their configuration is closed to this process: " + config.Problem,
		})
		w.unknown = append(w.unknown, "the kubelet's credential providers")
		return
	}
	if config.Problem != "" {
		w.places = append(w.places, report.Check{
			ID: "credentials/providers", Kind: report.KindCredentials, Target: config.Path, Outcome: report.Error,
			Summary: "the kubelet's credential providers are not known, because it would not start with this: " + config.Problem,
		})
		w.unknown = append(w.unknown, "the kubelet's credential providers")
		return
	}
	var all []Credential
	for _, a := range n.Answers {
		name := clean(a.Provider)
		w.provider = append(w.provider, name)
		c := report.Check{ID: "credentials/provider/" + name, Kind: report.KindCredentials, Target: name, Outcome: report.Pass, Evidence: map[string]string{"config": config.Path}}
		if !config.Changed.IsZero() {
			c.Evidence["configChanged"] = config.Changed.UTC().Format(time.RFC3339)
		}
		switch {
		case a.Failed != nil:
			w.failed = append(w.failed, name)
			w.unknown = append(w.unknown, "credential provider "+name+", whose last good answer the kubelet may keep")
			c.Outcome, c.Cause = report.Fail, report.CredentialProviderFailed
			c.Summary = "credential provider " + name + " fails: " + a.Failed.Reason
			c.Evidence["failure"] = a.Failed.Kind
			if a.Failed.Kind == "exit" {
				c.Evidence["exitCode"] = strconv.Itoa(a.Failed.ExitCode)
			}
			if a.Failed.Kind == "timeout" {
				c.Evidence["deadline"] = "true" // ours, shorter than the kubelet's
			}
		case a.Skipped != "":
			w.notRun = append(w.notRun, name)
			w.unknown = append(w.unknown, "credential provider "+name)
			c.Outcome = report.Skipped
			c.Summary = "the kubelet asks credential provider " + name + " for this image; not asked here: " + a.Skipped
		default:
			all = append(all, a.Credentials...)
			var ring Keyring
			for _, k := range a.Credentials {
				ring.Add(k)
			}
			n := len(ring.Lookup(w.repository))
			c.Evidence["given"] = strconv.Itoa(n)
			c.Summary = "credential provider " + name + " gives credentials for this image"
			if n == 0 {
				c.Summary = "credential provider " + name + " works and gives no credentials for this image"
				if len(a.Credentials) > 0 {
					c.Summary += ", but for " + a.Credentials[0].server()
				}
			}
		}
		w.places = append(w.places, c)
	}
	w.add(all)
}

// account looks for credentials that would apply if only the pod carried them.
func (w *walk) account(a *Account) {
	if a == nil {
		return
	}
	name := a.Namespace + "/" + a.Name
	c := report.Check{ID: "credentials/account", Kind: report.KindCredentials, Target: name, Outcome: report.Pass, Evidence: map[string]string{}}
	if a.Err != nil {
		c.Outcome, c.Summary = report.Skipped, "whether ServiceAccount "+name+" lists a pull secret that the pod lacks is not known: "+a.Err.Error()
		w.places = append(w.places, c)
		return
	}
	var unread []string
	for _, f := range a.Unattached {
		if f.Err != nil {
			unread = append(unread, fmt.Sprintf("%s (%v)", label(f.Namespace, f.Name), f.Err))
			continue
		}
		if f.Secret == nil {
			continue
		}
		entries, err := Decode(*f.Secret)
		if err != nil {
			continue
		}
		var ring Keyring
		for _, e := range entries {
			ring.Add(e)
		}
		if len(ring.Lookup(w.repository)) > 0 {
			w.notAttached = append(w.notAttached, f.Name)
		}
	}
	switch {
	case len(w.notAttached) > 0:
		why := "it was added after the pod had been created"
		c.Evidence["why"] = "later"
		if a.PodListsOwn {
			why, c.Evidence["why"] = "the pod lists pull secrets of its own", "podListsOwn"
		}
		c.Evidence["secret"] = strings.Join(w.notAttached, ",")
		c.Summary = fmt.Sprintf("ServiceAccount %s lists secret %s for this registry, which this pod does not carry: %s", name, w.notAttached[0], why)
		c.Outcome, c.Cause = report.Fail, report.PullSecretNotAttached
	case len(unread) > 0:
		c.Outcome, c.Summary = report.Skipped, "ServiceAccount "+name+" lists what the pod lacks and could not be read: "+strings.Join(unread, ", ")
	default:
		c.Summary = "ServiceAccount " + name + " lists no pull secret for this registry that the pod lacks"
	}
	w.places = append(w.places, c)
}

// conclude fills the check "credentials".
func (w *walk) conclude(s Sources) {
	c := &w.check
	w.tellApart()
	for key, values := range map[string][]string{
		"absent": w.absent, "unreadable": w.unreadable, "malformed": w.fatal, "ignored": w.ignored, "servers": w.servers, "matched": texts(w.matched),
		"runtime": texts(w.runtimeOwn()), "provider": w.provider, "providerFailed": w.failed, "providerNotRun": w.notRun, "notAttached": w.notAttached, "unknown": w.unknown,
	} {
		if len(values) > 0 {
			c.Evidence[key] = strings.Join(values, "; ")
		}
	}
	if len(w.matched) > 0 {
		c.Evidence["source"] = w.matched[0].Source
	} else if p := expectedProvider(w.repository); p != "" && len(w.provider) == 0 {
		key := "possibleProvider" // for all that is known
		if c.Evidence["node"] == "read" {
			key = "expectedProvider"
		}
		c.Evidence[key] = p
	}
	fail := func(cause report.Cause, summary string) {
		c.Outcome, c.Cause, c.Summary = report.Fail, cause, summary
	}
	switch {
	case len(w.fatal) > 0:
		fail(report.PullSecretMalformed, w.fatal[0])
		c.Evidence["fatal"] = "true"
	case len(w.unreadable) > 0:
		c.Outcome = report.Skipped
		c.Summary = "could not read " + strings.Join(w.unreadable, ", ")
	case len(w.matched) > 0:
		c.Outcome = report.Pass
		c.Summary = "the kubelet would use " + strings.Join(texts(w.matched), ", then ")
		if !slices.ContainsFunc(w.matched, Credential.anonymous) {
			c.Summary += ", and does not pull anonymously"
		}
	case len(w.failed) > 0:
		fail(report.CredentialProviderFailed, w.failedSummary())
	case len(w.notRun) > 0:
		c.Outcome = report.Skipped
		c.Summary = "the kubelet asks credential provider " + w.notRun[0] + " for this image, which was not asked here"
	case len(w.absent) > 0:
		fail(report.PullSecretMissing, strings.Join(w.absent, ", ")+" does not exist")
	case len(w.notAttached) > 0:
		fail(report.PullSecretNotAttached, w.placed("credentials/account").Summary)
		w.secret = w.notAttached[0]
	case len(w.ignored) > 0:
		fail(report.PullSecretMalformed, "the kubelet passes over "+w.ignored[0])
	case len(s.Secrets) > 0:
		fail(report.PullSecretOtherRegistry, "the pull secrets are for "+strings.Join(w.servers, ", ")+" only")
		w.secret = s.Secrets[0].Name
	default:
		c.Outcome = report.Pass
		c.Summary = "the pod names no pull secrets"
		if c.Evidence["node"] == "read" {
			c.Summary += ", and the node has none for this image"
		}
	}
	if own := w.runtimeOwn(); len(own) > 0 && c.Outcome == report.Pass {
		c.Summary += "; containerd has its own for " + clean(own[0].Host)
	}
	if w.secret != "" {
		c.Evidence["secret"] = w.secret
	}
}

// tellApart makes the sources of the credentials that apply different, where
// one secret has several.
func (w *walk) tellApart() {
	times := map[string]int{}
	for _, m := range w.matched {
		times[m.Source]++
	}
	for i, m := range w.matched {
		if times[m.Source] > 1 {
			w.matched[i].Source = m.Source + ", " + m.server()
		}
	}
}

func (w *walk) failedSummary() string {
	for _, name := range w.failed {
		if c := w.placed("credentials/provider/" + name); c.Summary != "" {
			return c.Summary
		}
	}
	return ""
}

func (w *walk) placed(id string) report.Check {
	for _, c := range w.places {
		if c.ID == id {
			return c
		}
	}
	return report.Check{}
}

func texts(list []Credential) []string {
	var out []string
	for _, c := range list {
		out = append(out, c.String())
	}
	return out
}

// runtimeOwn are those of containerd's own credentials that are for the
// repository's registry; the others may be for a mirror.
func (w *walk) runtimeOwn() []Credential {
	domain, _, _ := strings.Cut(w.repository, "/")
	var out []Credential
	for _, c := range w.runtime {
		if c.Host == domain || domain == "docker.io" && c.Host == "registry-1.docker.io" {
			out = append(out, c)
		}
	}
	return out
}
