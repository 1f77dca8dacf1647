package compare

import (
	"slices"

	"github.com/pullprobe/pullprobe/report"
)

// Sighting is what other nodes found of an image that one node does not find where it looks.
type Sighting struct {
	Image  string        `json:"image"`
	Found  []string      `json:"found"`            // hosts that have its manifest
	Which  Names         `json:"which"`            // nodes that found it
	Around bool          `json:"around,omitempty"` // some of them before and some after the node that did not
	Age    report.Millis `json:"ageMs"`            // of the oldest of these observations
}

// Sightings returns, by node, what other nodes found of the images that it does not find.
func Sightings(in Input) map[string][]Sighting {
	c := allRules().comparison(in)
	out := map[string][]Sighting{}
	for _, s := range c.imageObservations() {
		for _, bad := range s.bad {
			if !notThere(bad.cause) && bad.cause != report.MirrorFaulty {
				continue
			}
			g := &group{name: s.name, failing: []*observation{bad}, through: s.good, others: s.bad, skewed: c.skewed}
			finders := slices.DeleteFunc(g.finders(), func(o *observation) bool { return o.node.Name == bad.node.Name })
			if len(finders) == 0 {
				continue
			}
			x := Sighting{
				Image: bad.image.Name, Found: union(foundAt, finders), Which: namesOf(finders), Around: around(bad, finders),
			}
			for _, o := range finders {
				x.Age = max(x.Age, report.Millis(c.Now.Sub(o.checked)))
			}
			out[bad.node.Name] = append(out[bad.node.Name], x)
		}
	}
	return out
}

func foundAt(o *observation) []string { return o.image.Found }

// around reports whether the image was found both before and after one node did not find it:
// else it may have been pushed or removed in between.
func around(bad *observation, finders []*observation) bool {
	before := slices.ContainsFunc(finders, func(o *observation) bool { return !o.checked.After(bad.checked) })
	after := slices.ContainsFunc(finders, func(o *observation) bool { return !o.checked.Before(bad.checked) })
	return before && after
}
