package compare_test

import (
	"fmt"
	"testing"
	"time"

	. "github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

func TestSightings(t *testing.T) {
	const mirror = "mirror.example"
	missing := report.TagNotFound
	for _, tt := range []struct {
		name  string
		nodes []Node
		want  string
	}{
		{
			"two others found it, before and after",
			[]Node{node("a", misses(missing, 30, mirror)), node("b", has(60, reg)), node("c", has(10, reg))},
			"a: [registry.example] by [b c], around, oldest 1 min",
		},
		{
			"found afterwards only",
			[]Node{node("a", misses(missing, 60, mirror)), node("b", has(30, reg))},
			"a: [registry.example] by [b], oldest 30 s",
		},
		{
			"its verdict is that of the answer by now",
			[]Node{node("a", misses(report.MirrorFaulty, 30, mirror)), node("b", has(60, reg))},
			"a: [registry.example] by [b], oldest 1 min",
		},
		{"another fault", []Node{node("a", misses(report.AccessForbidden, 30)), node("b", has(60, reg))}, ""},
		{"nobody found it", []Node{node("a", misses(missing, 30, mirror)), node("b", misses(missing, 60, reg))}, ""},
		{"the one that found it is cut off", []Node{node("a", misses(missing, 30, mirror)), node("b", has(60, reg), cutOff(""))}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			for node, list := range Sightings(Input{Now: now, MaxAge: maxAge, Nodes: tt.nodes}) {
				for _, s := range list {
					if s.Image != image {
						t.Errorf("of image %s", s.Image)
					}
					got += fmt.Sprintf("%s: %v by %v", node, s.Found, s.Which.First)
					if s.Around {
						got += ", around"
					}
					got += ", oldest " + readable.Duration(time.Duration(s.Age))
				}
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
