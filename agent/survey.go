package agent

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/registry"
	"github.com/pullprobe/pullprobe/report"
)

// surveyed is what is to be looked at in a sweep.
type surveyed struct {
	Domains map[string][]report.Role // registries as images name them, and why each is looked at
	Leads   []lead                   // where registries have sent the runtime before
	Leave   map[string]bool          // hosts that are left alone this time, by name
	Width   int                      // hosts looked at side by side
	Each    time.Duration            // what one host may take

	// Configured adds what the runtime's registry configuration names.
	Configured bool
}

// lead is where the host Via sends the runtime.
type lead struct {
	registry.Lead
	Via  string
	Role report.Role
}

// sighting is what was seen of one host.
type sighting struct {
	Host   string
	Roles  []report.Role
	Checks []report.Check // redacted
	At     time.Time
	Lead   *lead // a token service that it names, or nil
}

// Survey looks at hosts as the runtime would reach them: no credentials, no
// manifest, no pull. The sightings come in the order of domains, mirrors before
// their registry. Of the node it tells what is amiss with the runtime's settings.
func (e *Examiner) Survey(ctx context.Context, want surveyed) (seen []sighting, amiss []report.Check) {
	node := e.look(ctx)
	defer node.close()
	node.Limits = limitedTo(node.Limits, want.Each)
	about := e.aboutNode(ctx, node)

	s := survey{want: want, at: map[string]int{}}
	if want.Configured {
		for _, domain := range node.Config.ConfiguredDomains(node.Files) {
			if _, ok := want.Domains[domain]; !ok {
				s.domain(node, domain, nil, about)
			}
		}
	}
	for _, domain := range sortedKeys(want.Domains) {
		s.domain(node, domain, want.Domains[domain], about)
	}
	for _, l := range want.Leads {
		if via := slices.IndexFunc(s.places, func(p registry.Place) bool { return p.Name() == l.Via }); via >= 0 {
			s.place(s.places[via].Behind(l.Lead), nil, l.Role)
		}
	}

	for _, look := range registry.Survey(ctx, node.Prober, s.places, want.Width) {
		i, known := s.at[look.Place.Key()]
		if !known {
			i = s.seen(look.Place, nil, report.RoleToken)
		}
		found := &s.sightings[i]
		found.At = look.At
		found.Checks = append(found.Checks, look.Checks...)
		if look.Lead != nil {
			found.Lead = &lead{Lead: *look.Lead, Via: look.Place.Name(), Role: report.RoleToken}
		}
	}
	clean := report.NewRedactor()
	for i := range s.sightings {
		s.sightings[i].Checks = clean.Checks(s.sightings[i].Checks)
	}
	for _, c := range clean.Checks(node.checks) {
		if c.Outcome == report.Fail || c.Evidence["newer"] == "true" || c.Kind == report.KindRuntime && c.Outcome == report.Skipped {
			amiss = append(amiss, c)
		}
	}
	return s.sightings, amiss
}

// limitedTo bounds every step to what one host may take.
func limitedTo(l connect.Limits, each time.Duration) connect.Limits {
	if each <= 0 {
		return l
	}
	l.Overall = each
	for _, step := range []*time.Duration{&l.DNS, &l.Dial, &l.TLS, &l.HTTP} {
		if *step > each {
			*step = each
		}
	}
	return l
}

// aboutNode gives what the checks of one domain need to know of the node: which
// images it has from there already.
func (e *Examiner) aboutNode(ctx context.Context, node vantage) func(domain string) []report.Check {
	var images []cri.Image
	if e.Runtime != nil {
		ctx, cancel := context.WithTimeout(ctx, runtimeIn)
		defer cancel()
		images, _ = e.Runtime.Images(ctx) // what is not known is not said
	}
	return func(domain string) []report.Check {
		count, example := imagesFrom(images, domain)
		local := report.Check{ID: "local/" + domain, Kind: report.KindImage, Host: domain, Outcome: report.Skipped, Summary: "the runtime did not list its images"}
		if images != nil {
			local.Outcome, local.Summary = report.Pass, localSummary(count, domain, example)
			local.Evidence = map[string]string{"count": strconv.Itoa(count)}
		}
		named := report.Check{ID: "reference", Kind: report.KindReference, Outcome: report.Pass, Evidence: map[string]string{"domain": domain}, Summary: domain}
		return append([]report.Check{named, local}, node.checks...)
	}
}

// survey gathers places, each once, and what is seen of them.
type survey struct {
	want      surveyed
	places    []registry.Place
	at        map[string]int // index of the sighting, by the place's key
	sightings []sighting
}

// domain adds the hosts that the runtime asks for images of a domain.
func (s *survey) domain(node vantage, domain string, roles []report.Role, about func(string) []report.Check) {
	config, places := registry.Places(node.Prober, domain)
	checks := append(about(domain), config)
	if config.Outcome == report.Fail && config.Evidence["ignored"] == "" && len(roles) > 0 {
		// The runtime asks nobody: that is what stands in the way, whatever the hosts say.
		i := len(s.sightings)
		s.sightings = append(s.sightings, sighting{Host: domain, Roles: roles, At: time.Now(), Checks: append(checks, report.Check{
			ID: "registry/" + domain, Kind: report.KindRegistry, Host: domain, Outcome: report.Skipped, BlockedBy: config.ID, Summary: "not asked: the runtime does not ask either",
		})})
		s.at[domain] = i
		return
	}
	for i, p := range places {
		role := report.RoleMirror
		if i == len(places)-1 && len(roles) > 0 {
			s.place(p, checks, roles...)
			continue
		}
		s.place(p, checks, role)
	}
}

// place has a place looked at, unless it is to be left alone.
func (s *survey) place(p registry.Place, about []report.Check, roles ...report.Role) {
	if i, known := s.at[p.Key()]; known {
		for _, r := range roles {
			if !slices.Contains(s.sightings[i].Roles, r) {
				s.sightings[i].Roles = append(s.sightings[i].Roles, r)
			}
		}
		return
	}
	s.seen(p, about, roles...)
	if !s.want.Leave[p.Name()] {
		s.places = append(s.places, p)
	}
}

// seen adds a sighting of a place.
func (s *survey) seen(p registry.Place, about []report.Check, roles ...report.Role) int {
	name, i := p.Name(), len(s.sightings)
	s.sightings = append(s.sightings, sighting{Host: name, Roles: roles, Checks: slices.Clone(about)})
	s.at[p.Key()] = i
	return i
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// imagesFrom counts the images that the node pulled from a registry.
func imagesFrom(images []cri.Image, domain string) (count int, example string) {
	for _, img := range images {
		if img.Pinned {
			continue // loaded with the node, not pulled by it
		}
		for _, name := range append(img.Tags, img.Digests...) {
			if host, _, ok := strings.Cut(name, "/"); ok && host == domain {
				count++
				example = name
				break
			}
		}
	}
	return count, example
}

func localSummary(count int, domain, example string) string {
	s := strconv.Itoa(count) + " images from " + domain + " are on this node"
	if example != "" {
		s += ", e.g. " + example
	}
	return s
}
