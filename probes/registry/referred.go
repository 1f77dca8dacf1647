package registry

import (
	"context"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// describeReferred adds what is known of a host that a registry redirects the runtime to,
// where that host's answer is a failure: "dns/<host>", and whether a proxy is in between.
// They show whether another machine than the intended one may have answered.
func (s *session) describeReferred(ctx context.Context, check *report.Check, key string) {
	name := check.Evidence[key]
	if check.Outcome != report.Fail || name == "" || name == s.host.Host {
		return
	}
	h := s.host.Referral("https", name)
	proxy, err := s.prober.Proxy.For(h.Scheme, h.Host)
	if err == nil && proxy != nil {
		check.Evidence = evidence.With(check.Evidence, report.KeyProxy, readable.Clean(proxy.Scheme+"://"+proxy.Host, 100))
		return
	}
	if _, port := runtimeconfig.SplitHost(name, h.Scheme); err != nil || !validPort(port) || s.prober.Denies(h) != "" {
		return
	}
	for _, c := range s.prober.Reach(ctx, &h).Checks {
		if c.Kind == report.KindDNS {
			s.checks = append(s.checks, c)
		}
	}
}
