package nodefacts

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// How many of each a reader takes over from one node.
const (
	maxHosts     = 128
	maxImages    = 32
	maxList      = 8 // addresses, resolvers, mirrors, hosts of an image
	maxAsks      = 8
	maxDropped   = 16
	maxHostName  = 260
	maxImageName = 300
	maxWord      = 100
)

// Decode reads the facts of a node. Nothing in them is trusted: values that make no sense
// become unknown, names and lists are bounded, and text loses what is no name. The error
// says what is wrong, without repeating the input.
func Decode(s string) (Facts, error) {
	if len(s) > maxInput {
		return Facts{}, fmt.Errorf("facts are %d bytes, more than the %d that are read", len(s), maxInput)
	}
	if strings.TrimSpace(s) == "" {
		return Facts{}, errors.New("facts are empty")
	}
	// The version first: the rest of another version may have other types.
	var head struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal([]byte(s), &head); err != nil {
		return Facts{}, reason(err)
	}
	switch {
	case head.Version < 1:
		return Facts{}, errors.New(`facts have no version ("v")`)
	case head.Version > Version:
		return Facts{}, fmt.Errorf("facts are of version %d, this program reads up to %d: update it", head.Version, Version)
	}
	var f Facts
	if err := json.Unmarshal([]byte(s), &f); err != nil {
		return Facts{}, reason(err)
	}
	if !f.At.plausible() {
		return Facts{}, errors.New(`facts have no time ("at")`)
	}
	f.sanitize()
	return f, nil
}

// reason returns what is wrong with JSON, without the JSON.
func reason(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax) && syntax.Error() == "unexpected end of JSON input":
		return errors.New("facts are cut short: their JSON does not end")
	case errors.As(err, &syntax):
		return fmt.Errorf("facts are not JSON: error at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Errorf("facts have a value of the wrong type at byte %d", kind.Offset)
	}
	return errors.New("facts have a value that is not allowed")
}

// maxStamp is a stamp beyond every time that makes sense: the year 2242.
const maxStamp = 1 << 33

func (s Stamp) plausible() bool { return s > 0 && s < maxStamp }

func (s Stamp) orUnknown() Stamp {
	if s.plausible() {
		return s
	}
	return 0
}

func (f *Facts) sanitize() {
	f.Cause = knownCause(f.Cause)
	f.Node.Resolvers = words(f.Node.Resolvers)
	f.Node.Proxy, f.Node.CA = word(f.Node.Proxy, maxWord), digest(f.Node.CA)
	if list := addresses([]string{f.Node.Egress}); len(list) == 1 {
		f.Node.Egress = list[0]
	} else {
		f.Node.Egress = ""
	}
	f.Dropped = f.Dropped[:min(len(f.Dropped), maxDropped)]
	for i := range f.Dropped {
		f.Dropped[i] = word(f.Dropped[i], maxWord)
	}
	f.Asks = hostNames(f.Asks, maxAsks)
	f.Hosts = f.saneHosts()
	f.Images = f.saneImages()
	f.Sort()
}

// saneHosts returns each host once, with values that make sense.
func (f *Facts) saneHosts() []Host {
	var out []Host
	seen := map[string]bool{}
	for _, h := range f.Hosts[:min(len(f.Hosts), maxHosts)] {
		h.Name = strings.ToLower(h.Name)
		h.Checked, h.Since = h.Checked.orUnknown(), h.Since.orUnknown()
		if !isHost(h.Name) || seen[h.Name] || h.Checked == 0 {
			continue // neither when nor what
		}
		seen[h.Name] = true
		if h.Since > h.Checked {
			h.Since = 0
		}
		h.Cause = knownCause(h.Cause)
		switch {
		case !h.State.Known():
			h.State, h.Cause, h.Fault = report.ReachUnknown, "", ""
		case !h.State.Bad():
			h.Cause, h.Fault = "", ""
		case h.Cause == "", h.Cause.DefaultFault() == report.FaultNone:
			h.Cause = report.Undetermined
		}
		if h.Fault == report.FaultNone || !knownFault(h.Fault) {
			h.Fault = ""
		}
		if h.Status < 100 || h.Status > 599 {
			h.Status = 0
		}
		h.Addresses = addresses(h.Addresses)
		if !slices.Contains(h.Addresses, h.Used) {
			h.Used = ""
		}
		h.Certificate, h.Issuer, h.HostsTOML = digest(h.Certificate), digest(h.Issuer), digest(h.HostsTOML)
		h.Mirrors = hostNames(h.Mirrors, maxList)
		if h.Clock != nil && (*h.Clock > maxClock || *h.Clock < -maxClock) {
			h.Clock = nil
		}
		out = append(out, h)
	}
	return out
}

// maxClock is the largest difference of two clocks that is taken over, in seconds: 100
// years. A node without a clock starts in 1970.
const maxClock = 100 * 365 * 24 * 3600

// saneImages returns the images with values that make sense.
func (f *Facts) saneImages() []Image {
	var out []Image
	for _, i := range f.Images[:min(len(f.Images), maxImages)] {
		i.Name, i.Checked = word(i.Name, maxImageName), i.Checked.orUnknown()
		i.Cause = knownCause(i.Cause)
		if i.Name == "" || i.Checked == 0 || i.Cause == "" || i.Cause.DefaultFault() == report.FaultNone && !i.Good() {
			continue
		}
		if !knownFault(i.Fault) {
			i.Fault = i.Cause.DefaultFault()
		}
		if i.Confidence != report.Confirmed && i.Confidence != report.Likely {
			i.Confidence = report.ConfidenceUndetermined
		}
		if i.Host = strings.ToLower(i.Host); !isHost(i.Host) {
			i.Host = ""
		}
		i.Found, i.Missing = hostNames(i.Found, maxList), hostNames(i.Missing, maxList)
		out = append(out, i)
	}
	return out
}

// knownCause returns a cause of the catalogue; one that is not known here is
// Undetermined, none stays none.
func knownCause(c report.Cause) report.Cause {
	if c == "" || c.Known() {
		return c
	}
	return report.Undetermined
}

func knownFault(f report.Fault) bool {
	return slices.Contains([]report.Fault{
		report.FaultNone, report.FaultUndetermined, report.FaultConfig, report.FaultRegistry, report.FaultNode,
	}, f)
}

// addresses returns the IP addresses in their usual form, sorted; none if there are too
// many or one is not an address: part of a list reads like another list.
func addresses(list []string) []string {
	if len(list) > maxList {
		return nil
	}
	var out []string
	for _, s := range list {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil
		}
		out = append(out, a.Unmap().WithZone("").String())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// maxDigest is the length of a [report.Digest].
const maxDigest = 12

// digest returns a digest, or [report.None]; empty if it is neither.
func digest(s string) string {
	if s == report.None {
		return s
	}
	if len(s) > maxDigest {
		return ""
	}
	for _, r := range s {
		if (r < '0' || r > '9') && (r < 'a' || r > 'f') {
			return ""
		}
	}
	return s
}

// hostNames returns the first names that can be hosts, in lower case.
func hostNames(list []string, most int) []string {
	var out []string
	for _, s := range list[:min(len(list), most)] {
		if s = strings.ToLower(s); isHost(s) && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// isHost reports whether s has the characters of a host with a port, and no others.
func isHost(s string) bool {
	if s == "" || len(s) > maxHostName {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-._:[]", r) {
			return false
		}
	}
	return true
}

func words(list []string) []string {
	var out []string
	for _, s := range list[:min(len(list), maxList)] {
		if s = word(s, maxWord); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// word returns a name in at most limit bytes. A question mark replaces what no name has,
// so that a node's text cannot read as a command or as markup.
func word(s string, limit int) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-._/:@+~[]… ", r) {
			return r
		}
		return '?'
	}, readable.Clean(s, limit))
}
