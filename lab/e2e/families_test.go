//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/lab"
)

// familyCase is an image that a node of some address families pulls, or cannot.
type familyCase struct {
	name, image string
	want        string // the verdict; empty: the pod runs
	dial        string // the check of the address that decides, "HOST/ADDRESS", if any
	says        string // part of that check's summary
	taken       bool   // the host has other addresses too, and the runtime takes this one
}

// testIPv6Only tests the verdicts of names, addresses and the registry on a node with IPv6
// only.
func testIPv6Only(t *testing.T) {
	const ipv4Only = "ipv4-only" + lab.AnyHost
	suite.resolveBy(t, lab.ResolverV6, ipv4Only, registryAddr)
	testFamilies(t, "node-v6", []string{"fd77::105"}, []familyCase{
		{name: "runs", image: "v6.lab/app:1", dial: "v6.lab/[fd77::26]:443"},
		{name: "runs-by-either", image: "dual.lab/app:2", dial: "dual.lab/[fd77::25]:443", taken: true},
		{name: "tag", image: "v6.lab/app:nope", want: "cluster-config TagNotFound confirmed"},
		{name: "tag-at-address", image: "[fd77::26]:443/app:nope", want: "cluster-config TagNotFound confirmed"},
		{name: "refused", image: "refused6.lab/app:1", want: "* ConnectionRefused *", dial: "refused6.lab/[fd77::16]:443"},
		{name: "black-hole", image: "blackhole6.lab/app:1", want: "* ConnectionTimeout likely", dial: "blackhole6.lab/[fd77::17]:443"},
		{name: "no-name", image: "nosuchhost.lab/app:1", want: "cluster-config HostNotFound *"},
		{
			name: "ipv4-registry", image: ipv4Only + "/app:1", want: "node-infrastructure NetworkUnreachable likely",
			dial: ipv4Only + "/" + registryAddr + ":443", says: "this node has a default route for IPv6 only",
		},
	})
}

// testBothFamilies tests that a node with both families takes the address that the runtime
// takes.
func testBothFamilies(t *testing.T) {
	const refused, fallsBack = "refused-by-both" + lab.AnyHost, "v6-refused" + lab.AnyHost
	suite.resolveBy(t, lab.ResolverV6, refused, refusedAddr, lab.InfraGlobal)
	suite.resolveBy(t, lab.ResolverV6, fallsBack, registryAddr, lab.InfraGlobal)
	testFamilies(t, "node-dual", []string{"10.77.0.106", "2001:db8:77::106"}, []familyCase{
		{name: "runs", image: "global.lab/app:1", dial: "global.lab/[2001:db8:77::28]:443", taken: true},
		{name: "runs-by-ipv4", image: fallsBack + "/app:2", dial: fallsBack + "/" + registryAddr + ":443", taken: true},
		{name: "tag", image: "global.lab/app:nope", want: "cluster-config TagNotFound confirmed"},
		{name: "tag-by-ipv4", image: fallsBack + "/app:nope", want: "cluster-config TagNotFound confirmed"},
		{name: "refused", image: refused + "/app:1", want: "* ConnectionRefused *", dial: refused + "/[" + lab.InfraGlobal + "]:443"},
		{name: "ipv6-registry", image: "refused6.lab/app:1", want: "* ConnectionRefused *", dial: "refused6.lab/[fd77::16]:443"},
	})
}

// testFamilies starts a node, and compares its verdicts. The address that decides is the one
// that the runtime takes.
func testFamilies(t *testing.T, node string, addresses []string, cases []familyCase) {
	suite.addNode(t, node)
	object, err := suite.api.CoreV1().Nodes().Get(t.Context(), node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var internal []string
	for _, a := range object.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			internal = append(internal, a.Address)
		}
	}
	if !slices.Equal(internal, addresses) {
		t.Errorf("the addresses of %s are %v, want %v", node, internal, addresses)
	}
	ns := suite.namespace(t)
	var running []familyCase
	pods := map[string]*corev1.Pod{}
	for _, c := range cases {
		pods[c.name] = suite.pod(t, podOptions{Node: node, Namespace: ns, Name: c.name, Image: c.image, Policy: corev1.PullAlways})
		if c.want == "" {
			running = append(running, c)
		}
	}
	for _, c := range running {
		suite.waitRunning(t, ns, c.name)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			want := c.want
			if want == "" {
				want = "none Healthy *"
			}
			if c.want != "" {
				suite.waitVerdict(t, node, ns+"/"+c.name, want, 2*time.Minute)
			}
			// A diagnosis that was asked for keeps its evidence in the report.
			request := "now"
			suite.annotate(t, pods[c.name], &request)
			suite.waitHandled(t, node, ns+"/"+c.name, request)
			d := suite.waitVerdict(t, node, ns+"/"+c.name, want, time.Minute)
			t.Logf("%s: %s", d, d.Verdict.Summary)
			if c.dial == "" {
				return
			}
			outcome, summary, evidence := d.check("dial/" + c.dial)
			if wanted := map[bool]string{true: "pass", false: "fail"}[c.want == ""]; outcome != wanted || !strings.Contains(summary, c.says) {
				t.Errorf("dial/%s: %q %q, want %s %q\n%s", c.dial, outcome, summary, wanted, c.says, d.explain())
			}
			if c.taken && evidence["taken"] != "true" {
				t.Errorf("dial/%s is not taken: %v", c.dial, evidence)
			}
		})
	}
	_, r, ok := suite.waitReport(t, node, time.Minute, func(_ *corev1.ConfigMap, r nodeReport) bool {
		return r.Stuck == len(cases)-len(running) && !slices.ContainsFunc(running, func(c familyCase) bool {
			host, _, _ := strings.Cut(c.image, "/")
			return r.Sweep.stateOf(host) != "reachable"
		})
	})
	if !ok {
		t.Errorf("report of %s: %d stuck, sweep %s", node, r.Stuck, fmt.Sprint(r.Sweep.Registries))
	}
}
