package probes

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

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
}

// Registry climbs the ladder at every host that the runtime would try for
// ref: configuration, name, dial, TLS, registry, token service, manifest and
// image. Hosts go side by side, and so do resolvers and addresses; the call
// ends within [Limits].Overall. Checks come in the order of the hosts.
func (n *Node) Registry(ctx context.Context, ref Ref, t Target) []report.Check {
	n, ctx, cancel := n.begin(ctx)
	defer cancel()

	check, hosts := n.hostsCheck(ref)
	if check.Outcome == report.Fail && check.Evidence["ignored"] == "" {
		return refusedByConfig(check, ref, hosts)
	}
	visits := n.visit(hosts, func(v *visit) {
		v.ref, v.target = ref, t
		v.climb(ctx)
	})
	defer closeAll(visits)

	// What is left of the budget goes to the first host that has the image;
	// if none has, to why the hosts say so.
	found := false
	for _, v := range visits {
		if v.found() && !found {
			found = true
			v.add(v.imageCheck(ctx))
		}
	}
	if !found {
		for i := len(visits) - 1; i >= 0; i-- {
			visits[i].explain(ctx)
		}
		if len(visits) > 0 {
			last := visits[len(visits)-1]
			last.skip(report.KindImage, "image/"+last.host.name(), "not looked at: the manifest was not found", "manifest/"+last.host.name())
		}
	}
	judgeClocks(visits)
	nameRealms(visits)
	return collect(check, visits)
}

// refusedByConfig is what is left to say if the runtime asks no host at all:
// every manifest is blocked by its configuration.
func refusedByConfig(check report.Check, ref Ref, hosts []host) []report.Check {
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

// Sweep climbs the ladder for a registry as images name it ("docker.io"), up
// to GET /v2/: no credentials, no manifest.
func (n *Node) Sweep(ctx context.Context, domain string) []report.Check {
	n, ctx, cancel := n.begin(ctx)
	defer cancel()
	check, hosts := n.hostsCheck(Ref{Domain: domain})
	visits := n.visit(hosts, func(v *visit) {
		if v.approach(ctx) {
			v.askRegistry(ctx)
		}
	})
	defer closeAll(visits)
	judgeClocks(visits)
	return collect(check, visits)
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
	var order, bad []string
	for _, h := range config.Hosts {
		if h.Capabilities&need != need {
			continue
		}
		if h.Scheme != "https" && h.Scheme != "http" || h.Host == "" {
			bad = append(bad, clean(h.Scheme+"://"+h.Host, 80))
			continue
		}
		order = append(order, h.name())
		if len(hosts) < maxHosts {
			hosts = append(hosts, h)
		}
	}
	e := evidence{
		"order": strings.Join(order, ","), "file": config.File,
		"unknownKeys": strings.Join(config.Unknown, ", "), "unusable": strings.Join(bad, ", "),
		"unused": strings.Join(config.Unused, ", "),
	}
	if len(order) > len(hosts) {
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
