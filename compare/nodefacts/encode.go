package nodefacts

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pullprobe/pullprobe/report"
)

// Encode returns the facts as JSON, in at most [MaxHealthy] bytes if nothing fails, and
// else in at most [MaxSize]. It drops the least important first, and Dropped says what.
func (f Facts) Encode() (string, error) {
	f.Version = Version
	limit := MaxHealthy
	if f.CutOff() || slices.ContainsFunc(f.Hosts, func(h Host) bool { return h.State.Bad() }) ||
		slices.ContainsFunc(f.Images, func(i Image) bool { return !i.Good() }) {
		limit = MaxSize
	}
	return f.encode(limit)
}

func (f Facts) encode(limit int) (string, error) {
	f.Hosts, f.Images, f.Asks = slices.Clone(f.Hosts), slices.Clone(f.Images), slices.Clone(f.Asks)
	f.Dropped = slices.Clone(f.Dropped)
	body, err := json.Marshal(f)
	for _, drop := range droppable() {
		if err != nil || len(body) <= limit {
			break
		}
		before := len(f.Dropped)
		f.Dropped = append(f.Dropped, "")
		n := 0
		// The last of a list goes first; about as many at once as are too many.
		for many := 1; many > 0 && len(body) > limit && err == nil; n += many {
			many = drop.from(&f, max(1, (len(body)-limit)/256))
			f.Dropped[before] = fmt.Sprintf("%d %s", n+many, drop.what)
			body, err = json.Marshal(f)
		}
		if n == 0 {
			f.Dropped = f.Dropped[:before]
		}
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("facts of the node: %w", err)
	case len(body) > limit:
		return "", fmt.Errorf("facts of the node are %d bytes, %d are allowed", len(body), limit)
	}
	return string(body), nil
}

// droppableFact is one kind of fact that may be left out.
type droppableFact struct {
	what string
	from func(*Facts, int) int // drops up to so many, and returns how many
}

// droppable returns what may be left out, the least important first. Addresses of a host
// go all or not at all: part of a list reads like another list.
func droppable() []droppableFact {
	good := func(h *Host) bool { return !h.State.Bad() }
	every := func(*Host) bool { return true }
	return []droppableFact{
		{"issuers", detail(good, func(h *Host) bool { return h.Issuer != "" && h.Certificate != "" }, func(h *Host) { h.Issuer = "" })},
		{"digests of hosts.toml", detail(good, func(h *Host) bool { return h.HostsTOML != "" }, func(h *Host) { h.HostsTOML = "" })},
		{"lists of mirrors", detail(good, func(h *Host) bool { return h.Mirrors != nil }, func(h *Host) { h.Mirrors = nil })},
		{"images that can be pulled", images(Image.Good)},
		{"lists of addresses of reachable hosts", detail(good, func(h *Host) bool { return h.Addresses != nil }, func(h *Host) {
			h.Addresses, h.Used = nil, ""
		})},
		{"reachable hosts", hosts(good)},
		{"lists of addresses", detail(every, func(h *Host) bool { return h.Addresses != nil }, func(h *Host) { h.Addresses, h.Used = nil, "" })},
		{"lists of mirrors of failing hosts", detail(every, func(h *Host) bool { return h.Mirrors != nil }, func(h *Host) { h.Mirrors = nil })},
		{"failing images", images(func(Image) bool { return true })},
		{"failing hosts", hosts(every)},
		{"requests for a second opinion", func(f *Facts, _ int) int { n := len(f.Asks); f.Asks = nil; return n }},
		{"resolvers", func(f *Facts, _ int) int { n := len(f.Node.Resolvers); f.Node.Resolvers = nil; return n }},
	}
}

// detail returns a function that drops one detail of hosts, the last ones first.
func detail(of func(*Host) bool, has func(*Host) bool, drop func(*Host)) func(*Facts, int) int {
	return func(f *Facts, most int) (n int) {
		for i := len(f.Hosts) - 1; i >= 0 && n < most; i-- {
			if h := &f.Hosts[i]; of(h) && has(h) {
				drop(h)
				n++
			}
		}
		return n
	}
}

// hosts returns a function that drops hosts, the last ones first.
func hosts(which func(*Host) bool) func(*Facts, int) int {
	return func(f *Facts, most int) (n int) {
		for i := len(f.Hosts) - 1; i >= 0 && n < most; i-- {
			if which(&f.Hosts[i]) {
				f.Hosts = slices.Delete(f.Hosts, i, i+1)
				n++
			}
		}
		return n
	}
}

// images returns a function that drops images, the last ones first.
func images(which func(Image) bool) func(*Facts, int) int {
	return func(f *Facts, most int) (n int) {
		for i := len(f.Images) - 1; i >= 0 && n < most; i-- {
			if which(f.Images[i]) {
				f.Images = slices.Delete(f.Images, i, i+1)
				n++
			}
		}
		return n
	}
}

// Sort puts the facts into the order in which they are kept if there is no room: the
// worst first.
func (f *Facts) Sort() {
	rank := func(h Host) int {
		return slices.Index([]report.HostState{report.Unreachable, report.Limited, report.ReachUnknown, report.Reachable}, h.State)
	}
	slices.SortStableFunc(f.Hosts, func(a, b Host) int { return rank(a) - rank(b) })
	slices.SortStableFunc(f.Images, func(a, b Image) int {
		switch {
		case a.Good() == b.Good():
			return 0
		case b.Good():
			return -1
		}
		return 1
	})
}
