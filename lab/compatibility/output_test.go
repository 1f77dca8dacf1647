package compatibility

import (
	"slices"
	"strings"
	"testing"
)

func TestParseOutput(t *testing.T) {
	o, err := ParseOutput(strings.NewReader(`{"Action":"run","Test":"TestA"}
{"Action":"output","Test":"TestA/one","Output":"    a_test.go:7: containerd 2.1 is the first that does so\n"}
{"Action":"pass","Test":"TestA/one"}
{"Action":"fail","Test":"TestA/two"}
{"Action":"fail","Test":"TestA"}
{"Action":"output","Test":"TestB","Output":"    b_test.go:3: Kubernetes 1.31: no tokens\n"}
{"Action":"skip","Test":"TestB"}
{"Action":"output","Test":"TestC","Output":"    c_test.go:3: other manifests\n"}
{"Action":"skip","Test":"TestC"}
{"Action":"pass","Test":"TestD/one"}
{"Action":"fail","Test":"TestD"}
{"Action":"fail"}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ got, want []string }{
		{o.Passed, []string{"TestA/one", "TestD/one"}},
		{o.Failed, []string{"TestA/two", "TestD"}},
		{o.Skipped, []string{"TestB", "TestC"}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	if want := []Difference{
		{"TestA/one", "containerd 2.1 is the first that does so", true},
		{"TestB", "Kubernetes 1.31: no tokens", false},
	}; !slices.Equal(o.Differences, want) {
		t.Errorf("differences: %v", o.Differences)
	}
	for name, want := range map[string]bool{"TestA": false, "TestA/one": true, "TestD": false, "TestD/one": true, "TestE": false} {
		if got := o.PassedAll(name); got != want {
			t.Errorf("%s passed: %v", name, got)
		}
	}
	if got := (Outcome{Passed: []string{"TestD/one"}}).PassedAll("TestD"); !got {
		t.Error("a test whose subtests passed has not passed")
	}
	if _, err := ParseOutput(strings.NewReader(`{"Action":"output","Output":"does not compile"}` + "\n")); err == nil {
		t.Error("a run without tests has an outcome")
	}
}
