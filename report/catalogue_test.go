package report_test

import (
	"strings"
	"testing"

	. "github.com/pullprobe/pullprobe/report"
)

// Every {name} in the catalogue is one that placeholders fill, and every cause that
// needs a fix has one for every fault.
func TestCatalogueIsFilled(t *testing.T) {
	for _, info := range Catalogue() {
		for _, who := range []Fault{FaultNone, FaultUndetermined, FaultConfig, FaultRegistry, FaultNode} {
			meaning, fix := Advice(info.Cause, who, Reading{Host: "registry.example", Repository: "app", Reference: "1"})
			if meaning == "" || strings.ContainsAny(meaning+fix, "{}") {
				t.Errorf("%s, %s: %q, %q", info.Cause, who, meaning, fix)
			}
			if fix == "" && info.Fault != FaultNone && info.Cause != Undetermined {
				t.Errorf("%s, %s: no fix", info.Cause, who)
			}
		}
		if text := StandIns().Fill(info.Cause.FixInWords()); strings.ContainsAny(text, "{}") {
			t.Errorf("%s: %q", info.Cause, text)
		}
	}
}
