package examine

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/registry"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/redact"
)

// SurveyRequest is what a sweep wants to know.
type SurveyRequest struct {
	Domains map[string][]report.Role // registries as images name them, and why each is checked
	Leads   []Redirect               // where registries have sent the runtime before
	Leave   map[string]bool          // hosts that are not contacted this time, by name
	Width   int                      // how many hosts are checked side by side
	Each    time.Duration            // limit for one host

	// Configured adds the registries that the runtime's configuration names.
	Configured bool
}

// Redirect is where the host Via sends the runtime.
type Redirect struct {
	registry.Lead
	Via  string
	Role report.Role
}

// Observation is what was found of one host.
type Observation struct {
	Host   string
	Roles  []report.Role
	Checks []report.Check // redacted
	At     time.Time      // zero: it was not contacted
	Lead   *Redirect      // a token service that it names, or nil
}

// SurveyResult is what a survey found.
type SurveyResult struct {
	Observations []Observation  // in the order of the domains, mirrors before their registry
	Problems     []report.Check // of the runtime's settings: failed, newer than the runtime, or not possible
	Traits       report.NodeTraits
}

// Surveyor checks hosts without an image.
type Surveyor struct {
	Node *NodeReader
}

// Survey checks hosts as the runtime would reach them: without credentials,
// manifest or pull.
func (s Surveyor) Survey(ctx context.Context, want SurveyRequest) (found SurveyResult) {
	node := s.Node.read(ctx)
	defer node.close()
	node.Limits = capLimits(node.Limits, want.Each)

	all := survey{want: want, index: map[string]int{}}
	all.addDomains(node, s.domainChecks(ctx, node))
	for _, look := range registry.Survey(ctx, node.Prober, all.places, want.Width) {
		i, known := all.index[look.Place.Key()]
		if !known {
			i = all.addObservation(look.Place, nil, report.RoleToken)
		}
		o := &all.observations[i]
		o.At = look.At
		o.Checks = append(o.Checks, look.Checks...)
		if look.Lead != nil {
			o.Lead = &Redirect{Lead: *look.Lead, Via: look.Place.Name(), Role: report.RoleToken}
		}
	}
	redactor := redact.New()
	for i := range all.observations {
		all.observations[i].Checks = report.RedactedChecks(redactor, all.observations[i].Checks)
	}
	for _, c := range report.RedactedChecks(redactor, node.checks) {
		if c.Outcome == report.Fail || c.Is(report.KeyNewer) || c.Kind == report.KindRuntime && c.Outcome == report.Skipped {
			found.Problems = append(found.Problems, c)
		}
	}
	found.Observations = all.observations
	found.Traits = report.NodeTraits{Proxy: redactor.Text(node.Proxy.Setting(), 0), CA: node.Roots.Digest()}
	return found
}

// capLimits limits every step to what one host may take.
func capLimits(l connect.Limits, each time.Duration) connect.Limits {
	if each <= 0 {
		return l
	}
	l.Overall = each
	for _, step := range []*time.Duration{&l.DNS, &l.Dial, &l.TLS, &l.HTTP} {
		*step = min(*step, each)
	}
	return l
}

// domainChecks returns a function that returns what the verdict on a domain
// depends on beside its hosts: the node, and the images that it has from there.
func (s Surveyor) domainChecks(ctx context.Context, node nodeView) func(domain string) []report.Check {
	var images []cri.Image
	if s.Node.Runtime != nil {
		ctx, cancel := context.WithTimeout(ctx, runtimeTimeout)
		defer cancel()
		images, _ = s.Node.Runtime.Images(ctx) // nil: the check is skipped
	}
	return func(domain string) []report.Check {
		refCheck := report.Check{
			ID:       report.IDReference,
			Kind:     report.KindReference,
			Outcome:  report.Pass,
			Evidence: map[string]string{report.KeyDomain: domain},
			Summary:  domain,
		}
		return append([]report.Check{refCheck, localCheck(domain, images)}, node.checks...)
	}
}

// survey collects the places to be checked, each once, and what was found of
// them.
type survey struct {
	want         SurveyRequest
	places       []registry.Place
	index        map[string]int // of the observation, by the place's key
	observations []Observation
}

// addDomains adds all hosts of the request. About returns the checks that belong
// to a domain.
func (s *survey) addDomains(node nodeView, about func(domain string) []report.Check) {
	if s.want.Configured {
		for _, domain := range node.Config.ConfiguredDomains(node.Files) {
			if _, ok := s.want.Domains[domain]; !ok {
				s.addDomain(node, domain, nil, about)
			}
		}
	}
	for _, domain := range slices.Sorted(maps.Keys(s.want.Domains)) {
		s.addDomain(node, domain, s.want.Domains[domain], about)
	}
	for _, l := range s.want.Leads {
		if via := slices.IndexFunc(s.places, func(p registry.Place) bool { return p.Name() == l.Via }); via >= 0 {
			s.addPlace(s.places[via].Behind(l.Lead), nil, l.Role)
		}
	}
}

// addDomain adds the hosts that the runtime contacts for images of a domain.
func (s *survey) addDomain(node nodeView, domain string, roles []report.Role, about func(string) []report.Check) {
	config, places := registry.Places(node.Prober, domain)
	checks := append(about(domain), config)
	if config.Outcome == report.Fail && config.Evidence[report.KeyIgnored] == "" && len(roles) > 0 {
		s.addBlocked(domain, roles, config.ID, checks)
		return
	}
	for i, p := range places {
		if i == len(places)-1 && len(roles) > 0 {
			s.addPlace(p, checks, roles...)
			continue
		}
		s.addPlace(p, checks, report.RoleMirror)
	}
}

// addBlocked adds an observation of a domain whose configuration the runtime
// rejects. The runtime contacts no host then, so the hosts do not matter.
func (s *survey) addBlocked(domain string, roles []report.Role, config string, checks []report.Check) {
	s.index[domain] = len(s.observations)
	s.observations = append(s.observations, Observation{
		Host:  domain,
		Roles: roles,
		At:    time.Now(),
		Checks: append(checks, report.Check{
			ID:        report.RegistryID(domain),
			Kind:      report.KindRegistry,
			Host:      domain,
			Outcome:   report.Skipped,
			BlockedBy: config,
			Summary:   "skipped: the runtime does not contact this host",
		}),
	})
}

// addPlace adds a place, or these roles if it is known already. A host that is
// left out this time gets an observation without result.
func (s *survey) addPlace(p registry.Place, about []report.Check, roles ...report.Role) {
	if i, known := s.index[p.Key()]; known {
		for _, r := range roles {
			if !slices.Contains(s.observations[i].Roles, r) {
				s.observations[i].Roles = append(s.observations[i].Roles, r)
			}
		}
		return
	}
	s.addObservation(p, about, roles...)
	if !s.want.Leave[p.Name()] {
		s.places = append(s.places, p)
	}
}

// addObservation adds an observation of a place and returns its index.
func (s *survey) addObservation(p registry.Place, about []report.Check, roles ...report.Role) int {
	i := len(s.observations)
	s.observations = append(s.observations, Observation{Host: p.Name(), Roles: roles, Checks: slices.Clone(about)})
	s.index[p.Key()] = i
	return i
}
