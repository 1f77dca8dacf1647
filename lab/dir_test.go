package lab

import (
	"strings"
	"testing"
)

func TestDirCheck(t *testing.T) {
	for _, tt := range []struct {
		dir Dir
		ok  bool
	}{
		{"/var/tmp/pullprobe-lab", true},
		{"/srv/lab", true},
		{"relative", false},
		{"/srv/../lab", false},
		{"/etc/lab", false},
		{"/var/lib/lab", false},
		{"/var/library", true},
		{"/run/lab", false},
		{Dir("/" + strings.Repeat("x", 80)), false},
	} {
		if err := tt.dir.Check(); (err == nil) != tt.ok {
			t.Errorf("%q: %v", tt.dir, err)
		}
	}
}

func TestDefaultDirFollowsEnvironment(t *testing.T) {
	t.Setenv("PULLPROBE_LAB_DIR", "/srv/x")
	if d := DefaultDir(); d != "/srv/x" {
		t.Errorf("DefaultDir() = %q", d)
	}
}
