package agent

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// TestConfigurationPolicy checks that the component's policy keeps the agents from
// writing their own configuration, and from nothing else.
func TestConfigurationPolicy(t *testing.T) {
	w := newWorld(t)
	w.do(http.MethodPost, "/api/v1/namespaces", "application/json", map[string]any{"metadata": map[string]any{"name": "pullprobe"}})
	text, err := os.ReadFile("../manifests/components/configuration/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for doc := range bytes.SplitSeq(text, []byte("\n---\n")) {
		var o struct {
			Kind     string
			Metadata struct{ Name string }
		}
		var whole map[string]any
		if err := errors.Join(yaml.Unmarshal(doc, &o), yaml.Unmarshal(doc, &whole)); err != nil {
			t.Fatal(err)
		}
		path := "/apis/admissionregistration.k8s.io/v1/" + map[string]string{
			"ValidatingAdmissionPolicy": "validatingadmissionpolicies", "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
		}[o.Kind]
		w.post(path, whole)
		t.Cleanup(func() { w.do(http.MethodDelete, path+"/"+o.Metadata.Name, "application/json", nil) })
	}
	const configMaps = "/api/v1/namespaces/pullprobe/configmaps"
	write := func(user, method, path, contentType, name string) string {
		t.Helper()
		body := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"` + name + `"}}`
		req, err := http.NewRequestWithContext(
			t.Context(),
			method,
			w.testProxy.URL+path+"?dryRun=All&fieldManager=pullprobe&force=true",
			strings.NewReader(body),
		)
		if method == http.MethodPost {
			req.URL.RawQuery = "dryRun=All"
		}
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("Impersonate-User", user)
		req.Header.Set("Impersonate-Group", "system:masters") // what it may do by RBAC is another matter
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode/100 == 2 {
			return ""
		}
		return string(answer)
	}
	const agents, admin = "system:serviceaccount:pullprobe:pullprobe", "admin"
	apply := func(user, name string) string {
		return write(user, http.MethodPatch, configMaps+"/"+name, "application/apply-patch+yaml", name)
	}
	create := func(user, name string) string {
		return write(user, http.MethodPost, configMaps, "application/json", name)
	}
	w.until("the policy holds", 30*time.Second, func() bool { return apply(agents, "pullprobe-config") != "" })
	for what, answer := range map[string]string{"apply": apply(agents, "pullprobe-config"), "create": create(agents, "pullprobe-config")} {
		if !strings.Contains(answer, "the agents do not write their own configuration") {
			t.Errorf("%s: %s", what, answer)
		}
	}
	for what, answer := range map[string]string{
		"a report": apply(agents, "pullprobe-node-a"), "a new report": create(agents, "pullprobe-node-a"), "an administrator": apply(admin, "pullprobe-config"),
	} {
		if answer != "" {
			t.Errorf("%s: %s", what, answer)
		}
	}
}
