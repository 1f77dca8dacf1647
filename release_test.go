package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestWorkflows checks that the workflows run nothing but make with targets that exist,
// and name every action by its commit.
func TestWorkflows(t *testing.T) {
	makefile := read(t, "Makefile")
	files, err := filepath.Glob(".github/workflows/*.yaml")
	if err != nil || len(files) != 2 {
		t.Fatalf("workflows: %q, %v", files, err)
	}
	action := regexp.MustCompile(`^[\w-]+/[\w-]+@[0-9a-f]{40}$`)
	for _, file := range files {
		var workflow struct {
			Jobs map[string]struct{ Steps []struct{ Run, Uses string } }
		}
		if err := yaml.Unmarshal([]byte(read(t, file)), &workflow); err != nil {
			t.Fatal(file, err)
		}
		for name, job := range workflow.Jobs {
			for _, step := range job.Steps {
				target, isMake := strings.CutPrefix(step.Run, "make ")
				switch {
				case step.Uses != "" && !action.MatchString(step.Uses):
					t.Errorf("%s: %s: %s is not named by a commit", file, name, step.Uses)
				case step.Uses == "" && !isMake:
					t.Errorf("%s: %s runs %q, not make", file, name, step.Run)
				case step.Uses == "" && !strings.Contains(makefile, "\n"+target+":"):
					t.Errorf("%s: %s: the Makefile has no target %s", file, name, target)
				}
			}
		}
	}
}

// TestVersion checks that all files of the source have the same version.
func TestVersion(t *testing.T) {
	version := regexp.MustCompile(`(?m)^VERSION \?= (v\S+)$`).FindStringSubmatch(read(t, "Makefile"))
	if version == nil {
		t.Fatal("the Makefile has no version")
	}
	v := version[1]
	for file, want := range map[string]string{
		"manifests/base/kustomization.yaml":             "newTag: " + v + "\n",
		"manifests/components/fleet/kustomization.yaml": "newTag: " + v + "\n",
		"charts/pullprobe/Chart.yaml":                   "\nversion: " + strings.TrimPrefix(v, "v") + "\nappVersion: " + v + "\n",
		"lab/e2e/cluster_test.go":                       "pullprobe:" + v + `"`,
		"lab/chart/lab_test.go":                         "pullprobe:" + v + `"`,
		"CHANGELOG.md":                                  "\n## " + v + "\n",
	} {
		if !strings.Contains(read(t, file), want) {
			t.Errorf("%s has no %q, but the Makefile has VERSION ?= %s", file, want, v)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
