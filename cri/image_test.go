package cri

import (
	"strings"
	"testing"
)

func TestPlatformOf(t *testing.T) {
	for info, want := range map[string]string{
		`{"chainID":"sha256:1","imageSpec":{"architecture":"arm64","os":"linux","config":{}}}`: "linux/arm64",
		`{"imageSpec":{"architecture":"arm","variant":"v7","os":"linux"}}`:                     "linux/arm/v7",
		`{"imageSpec":{"os":"linux"}}`: "",
		`{"imageSpec":[]}`:             "",
		`{}`:                           "",
		"":                             "",
	} {
		if got := platformOf(info); got != want {
			t.Errorf("%s: %q, want %q", info, got, want)
		}
	}
}

func FuzzPlatformOf(f *testing.F) {
	f.Add(`{"imageSpec":{"architecture":"arm","variant":"v7","os":"linux"}}`)
	f.Add(`{"imageSpec":{"architecture":"a","os":"b","variant":null}}`)
	f.Fuzz(func(t *testing.T, info string) {
		if got := platformOf(info); got != "" && !strings.Contains(got, "/") {
			t.Errorf("%q", got)
		}
	})
}
