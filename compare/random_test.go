package compare_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	. "github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
)

// pick returns one of a list.
func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// anyHost returns a host in any state, with times around now that agree with each other or
// not.
func anyHost(r *rand.Rand, name string, bad int, causes []report.Cause) nodefacts.Host {
	h := up(named(name), times(r.IntN(1200), r.IntN(700)-60))
	if r.IntN(4) < bad {
		h = down(pick(r, causes...), named(name), times(r.IntN(1200), r.IntN(700)-60))
	}
	h.Flapping, h.Asked = r.IntN(20) == 0, r.IntN(5) == 0
	h.Mirrors, h.HostsTOML = pick(r, nil, nil, []string{"b.example", name}), pick(r, "", "none", "ee")
	h.Status = pick(r, 0, 0, 0, 403, 404)
	h.Addresses = pick(r, nil, []string{"192.0.2.7"}, []string{"192.0.2.7", "192.0.2.8"}, []string{"192.0.2.9"}, []string{"127.0.0.1"})
	h.Certificate, h.Issuer = pick(r, "", "aa", "bb"), pick(r, "", "cc", "dd")
	if seconds := pick(r, 0, 0, 1, 300, -86400); r.IntN(2) == 0 {
		h.Clock = &seconds
	}
	return h
}

func anyFleet(r *rand.Rand) Input {
	in := Input{Now: now, MaxAge: maxAge}
	likely := []report.Cause{
		report.ConnectionTimeout, report.HostNotFound, report.CertificateUntrusted, report.RegistryUnavailable, report.RateLimited,
		report.CertificateExpired, report.ResolverUnreachable,
	}
	causes := []report.Cause{pick(r, likely...), pick(r, likely...), pick(r, report.Catalogue()...).Cause}
	causes, bad := causes[:1+r.IntN(3)], r.IntN(5) // of four observations
	for i := range 1 + r.IntN(9) {
		n := node(
			fmt.Sprint("n", i), trait(TraitSubnet, pick(r, "s1", "s2", "s3")),
			resolver(pick(r, "r1", "r2", "")), proxy(pick(r, "", "none", "p")),
		)
		for _, host := range []string{"a.example", "b.example"} {
			if r.IntN(4) > 0 {
				n.Facts.Hosts = append(n.Facts.Hosts, anyHost(r, host, bad, causes))
			}
		}
		for range r.IntN(3) {
			x := has(r.IntN(700), reg)
			if r.IntN(2) == 0 {
				cause := pick(r, report.TagNotFound, report.MirrorFaulty, report.CredentialsMissing, report.PlatformMismatch, report.DiskFull)
				x = misses(cause, r.IntN(700), pick(r, reg, "mirror.example"))
			}
			n.Facts.Images = append(n.Facts.Images, x)
		}
		if r.IntN(3) == 0 { // its verdict on an image of the host
			x := misses(causes[0], r.IntN(700))
			x.Name, x.Host = pick(r, "a.example", "c.example")+"/app:1", "a.example"
			x.Confidence = pick(r, report.Confirmed, report.Likely)
			n.Facts.Images = append(n.Facts.Images, x)
		}
		switch r.IntN(12) {
		case 0:
			n.Facts.Control, n.Facts.Cause = report.Fail, pick(r, report.ConnectionTimeout, report.ResolverUnreachable, "")
		case 1:
			n.Facts = nil
		case 2:
			n.Traits = nil
		}
		if n.Facts != nil { // as it is read from another node
			text, err := n.Facts.Encode()
			if err != nil {
				panic(err)
			}
			f, err := nodefacts.Decode(text)
			if err != nil {
				panic(err)
			}
			n.Facts = &f
		}
		in.Nodes = append(in.Nodes, n)
	}
	return in
}

// Whatever nodes say, what is confirmed is confirmed by others, and the order of the nodes
// changes nothing.
func TestRandomFleets(t *testing.T) {
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	rules := map[string]int{}
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		in := anyFleet(r)
		got := Compare(in)
		checkInvariants(t, in, got)
		want, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(in.Nodes)
		if again, _ := json.Marshal(Compare(in)); string(again) != string(want) {
			t.Fatalf("seed %d: the order of the nodes changes the result", seed)
		}
		for _, f := range got.Findings {
			rules[f.Rule]++
			if f.Confidence == report.Confirmed && f.Through.Count > 0 && f.About == AboutHost &&
				(f.Fault == report.FaultConfig || f.Fault == report.FaultRegistry && f.Cause != report.RateLimited) {
				t.Errorf("seed %d: a node that gets through contradicts it: %s", seed, f.Text())
			}
		}
		o := SecondOpinions(in, Request{Node: "n0", Host: "a.example", Cause: report.ConnectionTimeout})[0]
		if o.Asked != o.Reached+o.Failed || o.Asked > len(in.Nodes)-1 || o.Age < 0 && o.Asked == 0 {
			t.Errorf("seed %d: %+v", seed, o)
		}
		if t.Failed() {
			return
		}
	}
	for _, rule := range Rules() {
		if rules[rule.ID] == 0 && (rule.Table == "host" || rule.Table == "image") {
			t.Logf("no random fleet meets the rule %s", rule)
		}
	}
}
