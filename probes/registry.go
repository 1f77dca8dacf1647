package probes

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// maxHosts bounds how many hosts of one image are visited.
const maxHosts = 8

// Target is what is asked of the registries.
type Target struct {
	Image       string       // as the pod names it
	Credentials []Credential // already matched to this image, in the kubelet's order; empty is anonymous
	Platform    string       // os/arch[/variant]; empty is this machine's
	Refusals    Refusals     // nil: nothing is remembered

	// Secret is told what else is secret of what is sent, before it is: tokens,
	// and what hosts.toml adds to requests. Several hosts tell at a time. nil:
	// nobody wants to know.
	Secret func(string)

	// Known gives what a host answered to GET /v2/ a moment ago, and how old that is; nil:
	// nothing is known.
	Known func(host string) (answer report.Check, age time.Duration, ok bool)
}

// Registry climbs the ladder at every host that the runtime would try for
// ref: configuration, name, dial, TLS, registry, token service, manifest,
// image and a layer. Hosts go side by side, and so do resolvers and addresses;
// the call ends within [Limits].Overall. Checks come in the order of the hosts.
func (n *Node) Registry(ctx context.Context, ref Ref, t Target) []report.Check {
	n, ctx, cancel := n.begin(ctx)
	defer cancel()

	check, hosts := n.hostsCheck(ref)
	if check.Outcome == report.Fail && check.Evidence["ignored"] == "" {
		return refusedByConfig(check, ref, hosts)
	}
	visits := n.visit(hosts, func(v *visit) {
		v.ref, v.target = ref, t
		v.tellHeader()
		v.climb(ctx)
	})
	defer closeAll(visits)

	// What is left of the budget goes to the first host that has the image;
	// if none has, to why the hosts say so.
	if i := slices.IndexFunc(visits, (*visit).found); i >= 0 {
		lookInto(ctx, visits, visits[i])
	} else {
		explain(ctx, visits)
	}
	judgeClocks(visits)
	nameRealms(visits)
	return collect(check, visits)
}

// lookInto looks at the image at the host that has its manifest, and at one of
// its layers at the hosts that the runtime asks for them.
func lookInto(ctx context.Context, visits []*visit, at *visit) {
	image := at.openImage(ctx)
	if image.layer == nil || image.check.Outcome != report.Pass {
		at.add(image.done())
		at.skip(report.KindBlob, "blob/"+at.host.name(), "not asked: which layers there are is not known", "image/"+at.host.name())
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { image.readConfig(ctx) })
	var blobs []report.Check
	wg.Go(func() { blobs = askBlobs(ctx, visits, at, *image.layer) })
	wg.Wait()
	if image.noConfig && slices.ContainsFunc(blobs, func(c report.Check) bool { return c.Outcome == report.Pass }) {
		blobs = askBlobs(ctx, visits, at, *image.config) // it is a blob that the runtime needs like any other
	}
	at.add(image.done())
	for i, check := range blobs {
		visits[i].add(check)
	}
}

// explain asks the hosts why none has the image, the registry itself first.
func explain(ctx context.Context, visits []*visit) {
	var last *visit
	for _, v := range slices.Backward(visits) {
		if v.host.blobsOnly {
			continue
		}
		v.explain(ctx, last == nil)
		if last == nil {
			last = v
		}
	}
	if last != nil {
		name := last.host.name()
		last.skip(report.KindImage, "image/"+name, "not looked at: the manifest was not found", "manifest/"+name)
		last.skip(report.KindBlob, "blob/"+name, "not asked: the manifest was not found", "manifest/"+name)
	}
}

// refusedByConfig is what is left to say if the runtime asks no host at all:
// every manifest is blocked by its configuration.
func refusedByConfig(check report.Check, ref Ref, hosts []host) []report.Check {
	hosts = slices.DeleteFunc(hosts, func(h host) bool { return h.blobsOnly })
	if len(hosts) == 0 {
		hosts = defaultHosts(ref.Domain).Hosts
	}
	checks := []report.Check{check}
	for _, h := range hosts {
		checks = append(checks, report.Check{
			ID: "manifest/" + h.name(), Kind: report.KindManifest, Host: h.name(), Outcome: report.Skipped,
			Summary: "not asked: the runtime does not ask either", BlockedBy: check.ID,
		})
	}
	return unique(checks)
}

// visit runs do for all hosts side by side, on one budget.
func (n *Node) visit(hosts []host, do func(*visit)) []*visit {
	b := newBudget()
	visits := make([]*visit, len(hosts))
	var wg sync.WaitGroup
	for i, h := range hosts {
		visits[i] = &visit{node: n, host: h, budget: b}
		wg.Go(func() { do(visits[i]) })
	}
	wg.Wait()
	return visits
}

func closeAll(visits []*visit) {
	for _, v := range visits {
		v.close()
	}
}

func collect(first report.Check, visits []*visit) []report.Check {
	checks := []report.Check{first}
	for _, v := range visits {
		checks = append(checks, v.checks...)
	}
	return unique(checks)
}

// unique gives checks of hosts that are listed twice ids of their own.
func unique(checks []report.Check) []report.Check {
	seen := map[string]int{}
	for i := range checks {
		id := checks[i].ID
		if seen[id]++; seen[id] > 1 {
			checks[i].ID = fmt.Sprintf("%s#%d", id, seen[id])
		}
	}
	return checks
}

// hostsCheck is "hosts/<domain>": which hosts the runtime would ask for ref.
func (n *Node) hostsCheck(ref Ref) (report.Check, []host) {
	check := report.Check{ID: "hosts/" + ref.Domain, Kind: report.KindRuntime, Host: ref.Domain}
	var config hostsConfig
	var problem *hostsProblem
	if n.Files == nil {
		config = defaultHosts(ref.Domain)
	} else {
		config, problem = loadHosts(n.Files, n.Config, ref.Domain)
	}

	need := canPull
	if ref.Digest == "" {
		need |= canResolve
	}
	var hosts []host
	var order, bad, blobsOnly []string
	for _, h := range config.Hosts {
		// For content the runtime asks all of them, whatever they are said to be
		// capable of (containerd's dockerFetcher.Fetch).
		h.blobsOnly = h.Capabilities&need != need
		if h.Scheme != "https" && h.Scheme != "http" || h.Host == "" {
			bad = append(bad, clean(h.Scheme+"://"+h.Host, 80))
			continue
		}
		if h.blobsOnly {
			blobsOnly = append(blobsOnly, h.name())
		} else {
			order = append(order, h.name())
		}
		if len(hosts) < maxHosts {
			hosts = append(hosts, h)
		}
	}
	e := evidence{
		"order": strings.Join(order, ","), "file": config.File,
		"unknownKeys": strings.Join(config.Unknown, ", "), "unusable": strings.Join(bad, ", "),
		"unused":    strings.Join(config.Unused, ", "),
		"blobsOnly": strings.Join(blobsOnly, ","),
	}
	if len(order)+len(blobsOnly) > len(hosts) {
		e["visited"] = strconv.Itoa(len(hosts))
	}
	check.Outcome = report.Pass
	check.Summary = "the runtime asks " + strings.Join(order, ", then ")
	switch {
	case problem != nil && problem.Unread:
		check.Outcome = report.Skipped
		check.Summary = "the registry configuration " + problem.File + ": " + problem.Reason + "; taken as none"
	case problem != nil && problem.Ignored:
		check.Outcome, check.Cause = report.Fail, report.RuntimeConfigInvalid
		check.Summary = "the runtime ignores " + problem.File + " without a word: " + problem.Reason
		e["ignored"] = "true"
		if problem.Stale {
			check.Cause = report.RuntimeConfigStale
			check.Summary = "the runtime does not read " + problem.File + " before it is restarted: " + problem.Reason
		}
	case problem != nil:
		check.Outcome, check.Cause = report.Fail, report.RuntimeConfigInvalid
		check.Summary = "the runtime refuses every pull from " + ref.Domain + ": " + problem.Error()
	case len(order) == 0:
		check.Outcome, check.Cause = report.Fail, report.RuntimeConfigInvalid
		check.Summary = config.File + " leaves no host to ask for " + ref.Domain
	case len(config.Unknown) > 0:
		check.Summary += "; " + config.File + " has keys that mean nothing: " + strings.Join(config.Unknown, ", ")
	case len(config.Unused) > 0:
		check.Summary += "; it does not read " + strings.Join(config.Unused, ", ")
	}
	if problem != nil {
		e["file"] = problem.File
		e["reason"] = problem.Reason
	}
	check.Summary = clean(check.Summary, 500) // names in it are somebody's configuration
	check.Evidence = e.checked()
	return check, hosts
}
