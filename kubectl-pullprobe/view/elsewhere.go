package view

import (
	"fmt"
	"slices"

	"github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/cluster"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/waiting"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Elsewhere returns what the other nodes see of a case's image and host, in the text of the
// comparison where it has some.
func Elsewhere(c waiting.Case, all cluster.Comparison) (out []string) {
	for _, f := range all.Result.Findings {
		switch {
		case f.About == compare.AboutImage && about(f, c.Image):
			out = append(out, f.Summary)
		case f.About == compare.AboutHost && about(f, c.Host()) && (c.Verdict.Cause.OnTheNetwork() || f.Cause == c.Verdict.Cause):
			out = append(out, f.Summary) // of a missing tag, whether the host is reached elsewhere proves nothing
		}
	}
	if len(out) > 0 {
		return out
	}
	var good, bad []string
	for _, n := range all.Nodes {
		if n.Facts == nil || n.Name == c.Node {
			continue
		}
		at := slices.IndexFunc(n.Facts.Images, func(i nodefacts.Image) bool { return i.Name == c.Image })
		switch {
		case at < 0:
		case n.Facts.Images[at].Good():
			good = append(good, n.Name)
		case n.Facts.Images[at].Cause == c.Verdict.Cause:
			bad = append(bad, n.Name)
		}
	}
	if len(bad) > 0 {
		out = append(out, fmt.Sprintf("the same on %s", readable.Abbreviate(bad)))
	}
	if len(good) > 0 {
		out = append(out, fmt.Sprintf("%s can pull this image", readable.Abbreviate(good)))
	}
	return out
}

func about(f compare.Finding, name string) bool {
	return f.Name == name || slices.Contains(f.Also.First, name)
}
