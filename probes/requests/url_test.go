package requests

import (
	"net/url"
	"testing"

	"github.com/pullprobe/pullprobe/runtimeconfig"
)

func TestURL(t *testing.T) {
	mirror := runtimeconfig.Host{Scheme: "http", Host: "mirror.lab:5000", Path: "/v2/hub"}
	for _, tt := range []struct {
		host   runtimeconfig.Host
		domain string
		query  url.Values
		want   string
	}{
		{runtimeconfig.Host{Scheme: "https", Host: "r.lab", Path: "/v2"}, "r.lab", nil, "https://r.lab/v2/team/app/tags/list"},
		{runtimeconfig.Host{Scheme: "https", Host: "registry-1.docker.io", Path: "/v2"}, "docker.io", nil, "https://registry-1.docker.io/v2/team/app/tags/list"},
		{mirror, "r.lab", nil, "http://mirror.lab:5000/v2/hub/team/app/tags/list?ns=r.lab"},
		{mirror, "r.lab", url.Values{"n": {"1"}}, "http://mirror.lab:5000/v2/hub/team/app/tags/list?n=1&ns=r.lab"},
	} {
		if got := URL(tt.host, tt.domain, "team/app", tt.query, "tags", "list"); got != tt.want {
			t.Errorf("%s for %s: %s, want %s", tt.host.Host, tt.domain, got, tt.want)
		}
	}
}
