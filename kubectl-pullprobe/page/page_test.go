package page

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/cluster"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/view"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/waiting"
	"github.com/pullprobe/pullprobe/report"
)

// The pages are written here for make page-check, which opens them in a browser.
var pages = flag.String("pages", "", "a directory to write the pages to")

var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// incident returns what so many nodes show, of which a tenth does not reach one registry.
func incident(nodes int) Input {
	in := Input{Context: "prod", Notes: []string{"you may not list nodes: compared are the nodes that have a report, without their zones, pools and subnets"}}
	compared := compare.Input{Now: now, MaxAge: 10 * time.Minute}
	for i := range nodes {
		n := cluster.Node{Name: fmt.Sprintf("node-%03d", i), Labels: map[string]string{report.LabelStuck: "0"}, Written: now.Add(-time.Minute)}
		f := nodefacts.Facts{Version: nodefacts.Version, At: nodefacts.StampOf(now), Control: report.Pass, Fresh: 600}
		for h := range 12 {
			x := nodefacts.Host{Name: fmt.Sprintf("registry-%d.example", h), State: report.Reachable, Since: nodefacts.StampOf(now.Add(-time.Hour)), Checked: nodefacts.StampOf(now)}
			switch {
			case h == 3 && i%10 == 0:
				x.State, x.Cause = report.Unreachable, report.ConnectionTimeout
				n.Labels[report.LabelStuck], n.Labels[report.LabelFault], n.Labels[report.LabelCause] = "2", "node-infrastructure", "ConnectionTimeout"
			case h == 7 && i%7 == 1:
				x.State, x.Cause = report.Limited, report.RateLimited
			case h == 9 && i%11 == 2:
				continue
			}
			f.Hosts = append(f.Hosts, x)
		}
		n.Facts = &f
		if i == nodes-1 {
			n.Written = now.Add(-time.Hour) // silent
		}
		in.All.Nodes = append(in.All.Nodes, n)
		compared.Nodes = append(compared.Nodes, compare.Node{Name: n.Name, Facts: &f})
	}
	in.All.Result = compare.Compare(compared)
	in.Overview = view.Overview{Now: now, Nodes: nodes, Cases: cases(nodes)}
	return in
}

// cases returns pods that wait: one with a hostile text, and some on each tenth node.
func cases(nodes int) []waiting.Case {
	d := &report.Diagnosis{
		Image: "registry-3.example/shop/web:v9", Time: now.Add(-time.Minute), Verdict: report.Verdict{
			Fault: report.FaultNode, Cause: report.ConnectionTimeout, Confidence: report.Likely, Because: []string{"dial"},
			Summary: "registry-3.example: cannot connect to 192.0.2.7:443: no answer within 2.5 s", Fix: "on node-000: check firewall, security group and route to 192.0.2.7:443",
			WouldDecide: []string{"check from another node:\ncurl -sI https://registry-3.example/v2/"},
		},
		Checks: []report.Check{
			{ID: "reference", Kind: report.KindReference, Outcome: report.Pass, Summary: "registry-3.example/shop/web:v9"},
			{ID: "dial", Kind: report.KindDial, Host: "registry-3.example", Outcome: report.Fail, Summary: "cannot connect to 192.0.2.7:443: no answer within 2.5 s", Duration: report.Millis(2500 * time.Millisecond)},
			{ID: "tls", Kind: report.KindTLS, Outcome: report.Skipped, BlockedBy: "dial"},
			{ID: "pull", Kind: report.KindPull, Outcome: report.Error, Summary: "no test pull"},
		},
	}
	hostile := waiting.Case{
		Namespace: "shop", Pod: "hostile", UID: "h", Container: "app", Image: `"><script>alert(1)</script>`, Node: "node-001", Since: now.Add(-time.Hour), Source: waiting.FromReport,
		Verdict: report.Verdict{
			Fault: report.FaultConfig, Cause: report.TagNotFound, Confidence: report.Confirmed, Summary: "<img src=https://evil.example/x>\x1b[31m",
			Fix: "use an existing tag:\nkubectl -n shop set image pod/hostile app=registry.example/web:v1",
		},
	}
	out := []waiting.Case{hostile}
	for i := 0; i < nodes; i += 10 {
		out = append(out, waiting.Case{
			Namespace: "shop", Pod: fmt.Sprintf("web-%d", i), UID: fmt.Sprint(i), Container: "app", Image: d.Image, Node: fmt.Sprintf("node-%03d", i), Owner: "deployment/web",
			Since: now.Add(-20 * time.Minute), Source: waiting.FromReport, Verdict: d.Verdict, Diagnosis: d, At: d.Time,
		})
	}
	return out
}

func render(t *testing.T, in Input) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, in); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestPage checks that the page has what is known, requests nothing, and runs nothing that a
// report or a pod says.
func TestPage(t *testing.T) {
	for _, nodes := range []int{0, 3, 500} {
		page := render(t, incident(nodes))
		if *pages != "" && nodes > 0 {
			if err := os.WriteFile(filepath.Join(*pages, fmt.Sprintf("page-%d.html", nodes)), []byte(page), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		// The last is an attribute with a script, such as onload=.
		for _, bad := range []string{"<script", "<img", "<link", "@import", `url\(`, "\x1b", "ZgotmplZ", "<no value>", `<[^>]*\son[a-z]+=`} {
			if regexp.MustCompile(bad).MatchString(page) {
				t.Errorf("%d nodes: the page has %q", nodes, bad)
			}
		}
		for _, attribute := range regexp.MustCompile(`(?:src|href|action)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
			if attribute[1] != "#registries" {
				t.Errorf("%d nodes: the page refers to %q", nodes, attribute[1])
			}
		}
		want := []string{"<code>kubectl -n shop set image", "you may not list nodes", "1 pod"}
		if nodes > 0 {
			want = []string{"node-infrastructure  ConnectionTimeout  (likely)", "2.5 s", "registry-3.example", "not checked: dial failed", "The node team must act",
				"unreachable: ConnectionTimeout", "not known, the node is silent; at last reachable"}
		}
		for _, text := range want {
			if !strings.Contains(page, text) {
				t.Errorf("%d nodes: the page has no %q", nodes, text)
			}
		}
		if len(page) > 1<<20 {
			t.Errorf("%d nodes: the page has %d bytes", nodes, len(page))
		}
	}
}

// TestRows checks that nodes that see all hosts alike are one row, and that none is lost.
func TestRows(t *testing.T) {
	in := incident(500)
	m := newMatrix(in.All, now)
	names := 0
	for _, r := range m.Rows {
		names += len(r.Names)
		if len(r.Cells) != len(m.Hosts) {
			t.Errorf("%s has %d cells, there are %d hosts", r.Name, len(r.Cells), len(m.Hosts))
		}
	}
	if names != 500 || len(m.Rows) > 20 {
		t.Errorf("%d nodes in %d rows", names, len(m.Rows))
	}
	if got := m.Rows[0].Cells[0]; got.Class != "bad" {
		t.Errorf("the first host of the first node is %+v, want one that fails", got)
	}
}
