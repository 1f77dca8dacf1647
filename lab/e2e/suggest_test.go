//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

// A misspelt registry is recognized by what other pods of the node run. The command of the
// fix makes the pod run.
func TestMisspeltRegistry(t *testing.T) {
	suite.useNode(t, nodeA)
	ns, other := suite.namespace(t), suite.namespace(t)
	const image = "registry.lab/app:1"
	for _, namespace := range []string{ns, other} {
		suite.pod(t, podOptions{Node: nodeA, Namespace: namespace, Name: "runs", Image: image})
		suite.waitRunning(t, namespace, "runs")
	}
	p := suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "typo", Image: "registy.lab/app:1"})
	suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "elsewhere", Image: "harbour.lab/app:1"})

	suite.waitVerdict(t, nodeA, ns+"/typo", "cluster-config HostNotFound likely", 30*time.Second)
	// A diagnosis that was asked for keeps its evidence in the report.
	request := "now"
	suite.annotate(t, p, &request)
	suite.waitHandled(t, nodeA, ns+"/typo", request)
	d := suite.waitVerdict(t, nodeA, ns+"/typo", "cluster-config HostNotFound likely", 30*time.Second)
	outcome, _, evidence := d.check("reference/suggested")
	if outcome != "pass" || evidence["suggestImage"] != image || evidence["suggestHost"] != "registry.lab" ||
		evidence["usedByNamespace"] != "1" {
		t.Errorf("the suggestion is %s %v\n%s", outcome, evidence, d.explain())
	}
	command := "kubectl -n " + ns + " set image pod/typo app=" + image
	if !strings.Contains(d.Verdict.Fix, command) || !strings.Contains(d.Verdict.Summary, "registry.lab is the registry of ") {
		t.Errorf("%s\n%s", d.Verdict.Summary, d.Verdict.Fix)
	}
	none := suite.waitVerdict(t, nodeA, ns+"/elsewhere", "cluster-config HostNotFound likely", 30*time.Second)
	if outcome, _, evidence := none.check("reference/suggested"); outcome != "" {
		t.Errorf("suggested for harbour.lab: %v", evidence)
	}

	suite.kubectl(t, strings.Fields(command)[1:]...)
	suite.waitRunning(t, ns, p.Name)
}
