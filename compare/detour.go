package compare

import (
	"fmt"
	"slices"

	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
)

// sentFor returns the registries of which a file of the node sends pulls to the host, sorted: the host is a
// mirror of theirs, or an image of theirs fails at it.
func (o *observation) sentFor() []string {
	var out []string
	for _, i := range o.node.Facts.Images {
		if i.Host == o.host.Name && i.Cause == o.cause {
			out = append(out, registryOf(i.Name))
		}
	}
	for _, h := range o.node.Facts.Hosts {
		if slices.Contains(h.Mirrors, o.host.Name) {
			out = append(out, h.Name)
		}
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(r string) bool { return isUpstream(o.host.Name, r) })
}

// senders returns the failing observations of nodes of which a file sends pulls to the host.
func (g *group) senders() []*observation {
	return slices.DeleteFunc(slices.Clone(g.failing), func(o *observation) bool { return len(o.sentFor()) == 0 })
}

// withoutDetour asks to compare hosts.toml of a node that does not get through with that of a node
// which needs the host for no pull from the same registry; empty if no such node is known.
func (c *comparison) withoutDetour(g *group) string {
	senders := g.senders()
	for _, registry := range union((*observation).sentFor, senders) {
		for i := range c.Nodes {
			if does := c.without(&c.Nodes[i], g.name, registry); does != "" {
				return fmt.Sprintf("compare hosts.toml of %s on %s with that on %s, which %s without %s",
					registry, list(namesOf(senders).First), c.Nodes[i].Name, does, g.name)
			}
		}
	}
	return ""
}

// without returns what a node does with a registry though it does not use a mirror of it: it
// pulls an image, or reaches the registry. It is empty if that is not known.
func (c *comparison) without(n *Node, mirror, registry string) string {
	if n.Facts == nil {
		return ""
	}
	if h, ok := n.Facts.Host(mirror); ok && !h.Asked {
		return ""
	}
	does := ""
	for _, h := range n.Facts.Hosts {
		if slices.Contains(h.Mirrors, mirror) {
			return ""
		}
		o := observe(n, h, c.skewed[n.Name])
		if report.Serves(h.Name, registry) && h.HostsTOML != "" && o.good && c.counted(o) {
			does = "reaches " + h.Name
		}
	}
	i := slices.IndexFunc(n.Facts.Images, func(i nodefacts.Image) bool {
		o := observeImage(n, i, c.skewed[n.Name])
		return registryOf(i.Name) == registry && o.good && c.counted(o) && !slices.Contains(i.Found, mirror)
	})
	if i >= 0 {
		return "can pull " + n.Facts.Images[i].Name
	}
	return does
}

// counted reports whether an observation counts.
func (c *comparison) counted(o *observation) bool {
	return !slices.ContainsFunc(c.counts, func(r countRule) bool { return r.excludes(o, c.Input) })
}
