package similar

import (
	"slices"
	"strings"
	"testing"
)

func TestHost(t *testing.T) {
	for _, tt := range []struct{ host, used, want string }{
		{"registy.lab", "quay.io registry.lab", "registry.lab"},
		{"regsitry.lab", "registry.lab", "registry.lab"},
		{"registry.lab.corp", "registry.lab", ""}, // another domain
		{"Registry.Lba", "registry.lab", "registry.lab"},
		{"regitsy.company.com", "registry.company.com", "registry.company.com"},
		{"registry.compny.com", "registry.company.com", "registry.company.com"},
		{"registry-company.com", "registry.company.com", "registry.company.com"},
		{"harbor", "harbor.lab", "harbor.lab"},
		{"registy.lab:5000", "registry.lab:5000", "registry.lab:5000"},
		{"registr.lab", "registra.lab registry.lab", "registra.lab"}, // the first is used most
		{"regstry.lab", "regsty.lab registry.lab", "regsty.lab"},

		// Two registries, or none that is used.
		{"registy.lab:5000", "registry.lab", ""},
		{"registry.lab", "registry.lab", ""},
		{"registry1.lab", "registry2.lab", ""},
		{"registry-eu.lab", "registry-us.lab", ""},
		{"eu.gcr.io", "us.gcr.io", ""},
		{"dev.lab", "prd.lab", ""},
		{"registry-dev.lab", "registry-prd.lab", ""},
		{"team-a.lab", "team-b.lab", ""},
		{"reg1stry.lab", "registry.lab", ""},
		{"regisry.lbb", "registry.lab", ""}, // two words differ
		{"harbor.lab", "registry.lab", ""},
		{"ha", "harbor.lab", ""},
		{"10.0.0.1", "10.0.0.11", ""},
		{"registy.lab", "", ""},
	} {
		if got := Host(tt.host, strings.Fields(tt.used)); got != tt.want {
			t.Errorf("%s among %s: %q, want %q", tt.host, tt.used, got, tt.want)
		}
	}
}

func FuzzHost(f *testing.F) {
	f.Add("registy.lab:5000", "registry.lab:5000 quay.io")
	f.Add("[::1]:5000", "::1 [::2]:5000")
	f.Add("a--b..c", "a-b.c")
	f.Fuzz(func(t *testing.T, host, used string) {
		list := strings.Fields(used)
		if got := Host(host, list); got != "" && (!slices.Contains(list, got) || strings.EqualFold(got, host)) {
			t.Errorf("%q among %q: %q", host, list, got)
		}
	})
}
