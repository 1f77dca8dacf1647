// Package chart tests the Helm chart: it renders to the same objects as the
// kustomization, and installs, upgrades and uninstalls on the lab.
package chart

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/pullprobe/pullprobe/lab"
)

const (
	chartDir  = "../../charts/pullprobe"
	manifests = "../../manifests"
)

// objects are Kubernetes objects by "Kind namespace/name".
type objects map[string]*unstructured.Unstructured

func parse(t *testing.T, text []byte) objects {
	t.Helper()
	out := objects{}
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		o := new(unstructured.Unstructured)
		switch err := decoder.Decode(&o.Object); {
		case errors.Is(err, io.EOF):
			return out
		case err != nil:
			t.Fatalf("%v\n%s", err, text)
		case len(o.Object) > 0:
			out[o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName()] = o
		}
	}
}

// run runs a program that `lab build` has built, and returns its output.
func run(t *testing.T, program string, args ...string) ([]byte, error) {
	t.Helper()
	path := lab.DefaultDir().Bin(program)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: make lab-build builds it", err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	home := t.TempDir() // Helm's cache and the configuration of whoever runs this
	cmd.Env = append(os.Environ(), "HOME="+home, "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = errors.New(err.Error() + ": " + stderr.String())
	}
	return out, err
}

func must(t *testing.T, program string, args ...string) []byte {
	t.Helper()
	out, err := run(t, program, args...)
	if err != nil {
		t.Fatalf("%s %q: %v", program, args, err)
	}
	return out
}

// template renders the chart with these values, given as YAML.
func template(t *testing.T, values string, args ...string) objects {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	command := []string{"template", "pullprobe", chartDir, "--namespace=pullprobe", "--skip-tests", "--values=" + file}
	return parse(t, must(t, "helm", append(command, args...)...))
}
