package nodefacts

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/pullprobe/pullprobe/report"
)

// AnswersKey is the key of the data of an answer's ConfigMap.
const AnswersKey = "answers.json"

// MaxAnswers is the largest encoded answer to one node, in bytes.
const MaxAnswers = 8 << 10

// Answers are what the fleet says to one node: what other nodes see of the hosts that it
// asks about, and which hosts it should check for others.
type Answers struct {
	Version  int        `json:"v"`
	Opinions []Opinion  `json:"opinions,omitempty"`
	Images   []Sighting `json:"images,omitempty"`
	Checks   []Wanted   `json:"checks,omitempty"`
	// Preflights are pods that ask whether this node could pull their images.
	Preflights []Pod `json:"preflights,omitempty"`
}

// Sighting is what other nodes found of an image that this node does not find where it looks.
type Sighting struct {
	Image  string   `json:"i"`
	Found  []string `json:"found"`            // hosts that have its manifest
	Which  []string `json:"which,omitempty"`  // the first of the nodes that found it
	Around bool     `json:"around,omitempty"` // some before and some after this node did not: it was not pushed or removed in between
	Oldest Stamp    `json:"oldest,omitempty"` // when the oldest of these observations was made
}

// Opinion is what other nodes see of a host.
type Opinion struct {
	Host        string   `json:"h"`
	Asked       int      `json:"asked"`                 // nodes with an observation that counts
	Reached     int      `json:"reached"`               // of these
	Failed      int      `json:"failed"`                // of these
	How         []string `json:"how,omitempty"`         // causes with which those fail, the most frequent first
	Which       []string `json:"which,omitempty"`       // the first that get through
	Failing     []string `json:"failing,omitempty"`     // the first that do not
	Addresses   []string `json:"ip,omitempty"`          // of the host, that the first that get through connect to
	SetsApart   []string `json:"apart,omitempty"`       // "trait value": of the nodes that fail alike, and of no other
	Rivals      []string `json:"rivals,omitempty"`      // what else would seem the same where none gets through, or "none"
	SeesAnother []string `json:"seesAnother,omitempty"` // what this node sees differently from those that get through: certificate, issuer
	Oldest      Stamp    `json:"oldest,omitempty"`      // when the oldest observation that counts was made
}

// Wanted is a host that other nodes want to be checked.
type Wanted struct {
	Host  string `json:"h"`
	Since Stamp  `json:"since"` // a check that began later need not be repeated
}

// Pod names a pod that asks for a preflight. The agent finds out for itself whether it does.
type Pod struct {
	Namespace string `json:"ns"`
	Name      string `json:"pod"`
	UID       string `json:"uid"`
}

// maxPreflights is how many pods at a time one node checks images for.
const maxPreflights = 16

// Encode returns the answers as JSON. It drops the end of the lists if they are too large.
func (a Answers) Encode() (string, error) {
	a.Version = Version
	for {
		body, err := json.Marshal(a)
		switch {
		case err != nil:
			return "", fmt.Errorf("answers to a node: %w", err)
		case len(body) <= MaxAnswers:
			return string(body), nil
		case len(a.Images) > 0:
			a.Images = a.Images[:len(a.Images)-1]
		case len(a.Opinions) > 0:
			a.Opinions = a.Opinions[:len(a.Opinions)-1]
		case len(a.Checks) > 0:
			a.Checks = a.Checks[:len(a.Checks)-1]
		case len(a.Preflights) > 0:
			a.Preflights = a.Preflights[:len(a.Preflights)-1]
		default:
			return "", errors.New("answers to a node are too large")
		}
	}
}

// DecodeAnswers reads what the fleet says. It trusts it as little as [Decode] trusts nodes:
// what makes no sense is left out. An empty text has no answers.
func DecodeAnswers(s string) (Answers, error) {
	var a Answers
	switch {
	case s == "":
		return a, nil
	case len(s) > 2*MaxAnswers:
		return a, fmt.Errorf("answers are %d bytes, more than the %d that are read", len(s), 2*MaxAnswers)
	}
	if err := json.Unmarshal([]byte(s), &a); err != nil {
		return Answers{}, errors.New("answers are not JSON of the expected form")
	}
	if a.Version != Version {
		return Answers{}, fmt.Errorf("answers are of version %d, this program reads %d: update this program", a.Version, Version)
	}
	var opinions []Opinion
	for _, o := range a.Opinions[:min(len(a.Opinions), maxAsks)] {
		if !isHost(o.Host) || o.Reached < 0 || o.Failed < 0 || o.Reached+o.Failed != o.Asked || o.Asked > maxNodes {
			continue
		}
		o.How = causes(o.How)
		o.Which, o.Failing, o.SetsApart = words(o.Which), words(o.Failing), words(o.SetsApart)
		o.Rivals, o.SeesAnother = words(o.Rivals), words(o.SeesAnother)
		o.Addresses = addresses(o.Addresses)
		o.Oldest = o.Oldest.orUnknown()
		opinions = append(opinions, o)
	}
	a.Opinions = opinions
	var images []Sighting
	for _, i := range a.Images[:min(len(a.Images), maxImages)] {
		i.Image, i.Found, i.Which, i.Oldest = word(i.Image, maxImageName), hostNames(i.Found, maxList), words(i.Which), i.Oldest.orUnknown()
		if i.Image != "" && len(i.Found) > 0 {
			images = append(images, i)
		}
	}
	a.Images = images
	var wanted []Wanted
	for _, w := range a.Checks[:min(len(a.Checks), maxAsks)] {
		if isHost(w.Host) && w.Since.plausible() {
			wanted = append(wanted, w)
		}
	}
	a.Checks = wanted
	var pods []Pod
	for _, p := range a.Preflights[:min(len(a.Preflights), maxPreflights)] {
		if isName(p.Namespace) && isName(p.Name) && isName(p.UID) {
			pods = append(pods, p)
		}
	}
	a.Preflights = pods
	return a, nil
}

// maxNodes is more than the nodes of any cluster.
const maxNodes = 1_000_000

// causes returns the causes of a list, by the names of the catalogue.
func causes(list []string) []string {
	var out []string
	for _, s := range list[:min(len(list), maxList)] {
		out = append(out, string(knownCause(report.Cause(s))))
	}
	return out
}

// objectName matches the names and UIDs of Kubernetes objects (RFC 1123 subdomains).
var objectName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)

func isName(s string) bool { return len(s) <= 253 && objectName.MatchString(s) }
