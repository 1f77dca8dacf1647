package nodefacts

import (
	"net/http"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// This file alone knows how a node's report is laid out.

// Of returns the facts in a node's report. Its sweep must be redacted.
func Of(r report.NodeReport) Facts {
	f := Facts{Version: Version, At: StampOf(r.Time)}
	if s := r.Sweep; s != nil {
		f.Control, f.Weak = s.Control.Outcome, s.Control.Is(report.KeyWeak)
		if f.CutOff() {
			f.Cause = s.Control.Cause
		}
		f.Node.Proxy, f.Node.CA = s.Traits.Proxy, s.Traits.CA
		for _, x := range s.Resolvers {
			f.Node.Resolvers = append(f.Node.Resolvers, strings.TrimSuffix(x.Address, ":53"))
		}
		for _, x := range s.Registries {
			f.Hosts = append(f.Hosts, hostOf(x))
			if x.State == report.Unreachable && !x.ForOthers() {
				f.ask(x.Host)
			}
		}
	}
	for _, d := range r.Diagnoses {
		f.addDiagnosis(d.Image, StampOf(d.Time), d.Verdict, r.ChecksOf(d))
	}
	f.sanitize()
	return f
}

func hostOf(r report.Registry) Host {
	h := Host{
		Name: r.Host, State: r.State, Since: StampOf(r.Since), Checked: StampOf(r.Checked), Asked: r.ForOthers(), Flapping: r.Flapping,
		Addresses: r.Addresses, Used: r.Used, Mirrors: r.Mirrors, HostsTOML: r.HostsFile,
	}
	if r.State.Bad() {
		h.Cause = r.Cause
		if r.Fault != report.FaultUndetermined {
			h.Fault = r.Fault
		}
	}
	if r.Status != http.StatusOK && r.Status != http.StatusUnauthorized {
		h.Status = r.Status
	}
	if r.Certificate != nil {
		h.Certificate, h.Issuer = r.Certificate.Fingerprint, report.Digest(r.Certificate.Issuer)
	}
	if r.ClockMs != nil {
		seconds := int(*r.ClockMs / 1000)
		h.Clock = &seconds
	}
	return h
}

// addDiagnosis adds what the checks of one image show.
func (f *Facts) addDiagnosis(image string, at Stamp, v report.Verdict, checks []report.Check) {
	if i := (Image{Cause: v.Cause}); v.Fault == report.FaultNone && !i.Good() {
		return // nothing is known of the image
	}
	i := Image{Name: image, Cause: v.Cause, Fault: v.Fault, Confidence: v.Confidence, Checked: at}
	for _, id := range v.Because {
		if c := report.Find(checks, id); c.Host != "" && i.Host == "" {
			i.Host = c.Host
		}
	}
	for _, c := range checks {
		switch {
		case c.Kind == report.KindManifest && c.Outcome == report.Pass:
			i.Found = append(i.Found, c.Host)
		case c.Kind == report.KindManifest && c.Outcome == report.Fail && (c.Cause == report.TagNotFound || c.Cause == report.RepositoryNotFound):
			i.Missing = append(i.Missing, c.Host)
		}
	}
	if !slices.ContainsFunc(f.Images, func(x Image) bool { return x.Name == i.Name && x.Cause == i.Cause }) {
		f.Images = append(f.Images, i)
	}
	if i.Host != "" && (v.Cause.OnTheNetwork() || v.Fault == report.FaultUndetermined) {
		f.ask(i.Host)
	}
}

// ask adds a host on which other nodes could give an opinion. It does not depend on how certain
// the verdict is: that may rest on the answer, which must not go away with the request. A
// node that is cut off needs no other opinion.
func (f *Facts) ask(host string) {
	if !f.CutOff() && !slices.Contains(f.Asks, host) {
		f.Asks = append(f.Asks, host)
	}
}
