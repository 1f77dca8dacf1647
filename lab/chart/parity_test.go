package chart

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// bare are the values of the chart for manifests/base alone.
const bare = "secrets: {enabled: false}\nadmissionPolicy: {enabled: false}\nfleet: {enabled: false}\n"

// parity lists components of the kustomization and the values that mean the same.
var parity = map[string]struct {
	components []string
	values     string
}{
	"base":             {nil, bare},
	"default":          {[]string{"secrets", "admission-policy", "fleet"}, ""},
	"secrets":          {[]string{"secrets"}, "admissionPolicy: {enabled: false}\nfleet: {enabled: false}"},
	"admission policy": {[]string{"admission-policy"}, "secrets: {enabled: false}\nfleet: {enabled: false}"},
	"one namespace":    {[]string{"secrets-per-namespace"}, bare + "secretsPerNamespace: [shop]"},
	"as the node":      {[]string{"read-as-node"}, bare + "readAsNode: {enabled: true}"},
	"hardened":         {[]string{"hardened"}, bare + "hardened: {enabled: true}"},
	"providers":        {[]string{"credential-providers"}, bare + "credentialProviders: {enabled: true}"},
	"provider tokens": {
		[]string{"credential-providers", "credential-provider-tokens"},
		bare + "credentialProviders: {enabled: true}\ncredentialProviderTokens: {enabled: true}",
	},
	"configuration":        {[]string{"configuration"}, bare + "configuration: {enabled: true}"},
	"metrics":              {[]string{"metrics"}, bare + "metrics: {enabled: true}"},
	"metrics of the fleet": {[]string{"fleet", "metrics"}, "secrets: {enabled: false}\nadmissionPolicy: {enabled: false}\nmetrics: {enabled: true}"},
	"pod monitor":          {[]string{"metrics", "pod-monitor"}, bare + "metrics: {enabled: true}\npodMonitor: {enabled: true}"},
	"scrape config":        {[]string{"metrics", "scrape-config"}, bare + "metrics: {enabled: true}\nscrapeConfig: {enabled: true}"},
	"fleet":                {[]string{"fleet"}, "secrets: {enabled: false}\nadmissionPolicy: {enabled: false}"},
	"dashboard":            {[]string{"dashboard"}, bare + "dashboard: {enabled: true}"},
	"alerts":               {[]string{"prometheus-rule"}, bare + "prometheusRule: {enabled: true}"},
	"all": {
		[]string{
			"secrets", "admission-policy", "fleet", "read-as-node", "hardened", "credential-providers", "credential-provider-tokens",
			"configuration",
			"metrics", "pod-monitor", "prometheus-rule", "dashboard",
		},
		`{readAsNode: {enabled: true}, hardened: {enabled: true}, credentialProviders: {enabled: true},
credentialProviderTokens: {enabled: true}, configuration: {enabled: true},
metrics: {enabled: true}, podMonitor: {enabled: true}, prometheusRule: {enabled: true}, dashboard: {enabled: true}}`,
	},
}

// TestParity checks that the chart and the kustomization render to equal objects.
func TestParity(t *testing.T) {
	tested := []string{"metrics-scraper"} // a part of pod-monitor and scrape-config
	for name, tt := range parity {
		tested = append(tested, tt.components...)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, got := kustomize(t, tt.components), template(t, tt.values)
			// Helm does not create the namespace. NOTES.txt says which labels it needs.
			delete(want, "Namespace /pullprobe")
			for key, w := range want {
				g := got[key]
				if g == nil {
					t.Errorf("the chart has no %s", key)
					continue
				}
				permit(t, w, g)
				if diff := cmp.Diff(w.Object, g.Object); diff != "" {
					t.Errorf("%s (-kustomize +chart):\n%s", key, diff)
				}
				delete(got, key)
			}
			for key := range got {
				t.Errorf("the kustomization has no %s", key)
			}
		})
	}
	for _, dir := range value(filepath.Glob(manifests + "/components/*"))(t) {
		if !slices.Contains(tested, filepath.Base(dir)) {
			t.Errorf("the component %s is compared with no values", filepath.Base(dir))
		}
	}
}

// permit removes what may differ between the two:
//   - the labels of the object that Helm's conventions ask for;
//   - the order of lists whose items have a key, which kustomize changes when it merges;
//   - comments in the agent's configuration file.
func permit(t *testing.T, kustomized, charted *unstructured.Unstructured) {
	t.Helper()
	labels := charted.GetLabels()
	for _, name := range []string{
		"helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/instance", "app.kubernetes.io/version",
	} {
		if labels[name] == "" {
			t.Errorf("%s %s has no label %s", charted.GetKind(), charted.GetName(), name)
		}
		delete(labels, name)
	}
	charted.SetLabels(labels)
	for _, o := range []*unstructured.Unstructured{kustomized, charted} {
		sortKeyed(o.Object)
		if text, ok, _ := unstructured.NestedString(o.Object, "data", "config.yaml"); ok {
			var settings map[string]any
			if err := yaml.Unmarshal([]byte(text), &settings); err != nil {
				t.Error(err)
			}
			if err := unstructured.SetNestedMap(o.Object, settings, "data", "config.yaml"); err != nil {
				t.Error(err)
			}
		}
	}
}

// sortKeyed sorts the lists of containers, env, ports, volumes and volumeMounts.
func sortKeyed(v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			if list, ok := inner.([]any); ok && slices.Contains([]string{"env", "volumes", "volumeMounts"}, name) {
				slices.SortFunc(list, func(a, b any) int {
					return strings.Compare(a.(map[string]any)["name"].(string), b.(map[string]any)["name"].(string))
				})
			}
			sortKeyed(inner)
		}
	case []any:
		for _, inner := range v {
			sortKeyed(inner)
		}
	}
}

// kustomize renders manifests/base with these components.
func kustomize(t *testing.T, components []string) objects {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "manifests"), os.DirFS(manifests)); err != nil {
		t.Fatal(err)
	}
	write := func(name string, k map[string]any) string {
		text, err := yaml.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "kustomization.yaml"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	resources, list := []string{"../manifests/base"}, []string{}
	for _, c := range components {
		path := "../manifests/components/" + c
		if c == "secrets-per-namespace" { // as its comment says
			write("shop", map[string]any{"namespace": "shop", "components": []string{path}})
			resources = append(resources, "../shop")
			continue
		}
		list = append(list, path)
	}
	return parse(t, must(t, "kubectl", "kustomize", write("whole", map[string]any{"resources": resources, "components": list})))
}

// TestNamespace checks that no object remains in the namespace pullprobe, or names it,
// if the chart is installed elsewhere.
func TestNamespace(t *testing.T) {
	t.Parallel()
	for name, tt := range parity {
		here, there := template(t, tt.values), template(t, tt.values, "--namespace=watch")
		if len(here) != len(there) {
			t.Errorf("%s: %d objects in pullprobe, %d in watch", name, len(here), len(there))
		}
		for key, o := range there {
			text := string(value(yaml.Marshal(o.Object))(t))
			for _, wrong := range []string{
				"namespace: pullprobe", "serviceaccount:pullprobe:", "metadata.name: pullprobe", "names:\n    - pullprobe",
			} {
				if strings.Contains(text, wrong) {
					t.Errorf("%s: %s has %q:\n%s", name, key, wrong, text)
				}
			}
		}
	}
	policy := template(t, "", "--namespace=watch")["ValidatingAdmissionPolicy /pullprobe-report"]
	conditions, _, err := unstructured.NestedSlice(policy.Object, "spec", "matchConditions")
	want := []any{map[string]any{"name": "agent", "expression": `request.userInfo.username == "system:serviceaccount:watch:pullprobe"`}}
	if err != nil || !reflect.DeepEqual(conditions, want) {
		t.Errorf("the policy applies to %v, %v", conditions, err)
	}
}

// value returns the value, and fails the test if there is an error.
func value[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
