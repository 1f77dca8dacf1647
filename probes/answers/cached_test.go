package answers

import (
	"net/http"
	"testing"
)

func TestCached(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"Age", "600", "Age 600"},
		{"Age", "0", ""},
		{"Age", "soon", ""},
		{"X-Cache", "HIT from proxy.example:3128", "X-Cache HIT"},
		{"X-Cache", "MISS", ""},
		{"Cache-Status", "ExampleCache; hit; ttl=30", "Cache-Status hit"},
		{"Cache-Status", "ExampleCache; fwd=miss", ""},
		{"Via", "1.1 varnish", ""}, // it says who passed the answer on, not that it is old
	} {
		if got := Cached(http.Header{tt.name: {tt.value}}); got != tt.want {
			t.Errorf("%s: %s: %q, want %q", tt.name, tt.value, got, tt.want)
		}
	}
}
