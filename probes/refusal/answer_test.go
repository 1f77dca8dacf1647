package refusal

import (
	"testing"

	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/probetest"
)

// Only a text that was read as it is, and that answers the runtime's own request, gives
// no reason.
func TestReasonOfAnswer(t *testing.T) {
	denied, quota := []byte(probetest.OCIError("DENIED", "denied")), []byte(probetest.OCIError("DENIED", "Quota has been exceeded on namespace"))
	for _, tt := range []struct {
		name string
		rep  httpclient.Reply
		want string
	}{
		{"read", httpclient.Reply{Status: 403, Body: denied}, "none"},
		{"cut off", httpclient.Reply{Status: 403, Body: denied, Cut: true}, ""},
		{"cut off, with a reason", httpclient.Reply{Status: 403, Body: quota, Cut: true}, "quota"},
		{"without the login", httpclient.Reply{Status: 403, Body: denied, Dropped: true}, ""},
		{"without the login, with a reason", httpclient.Reply{Status: 403, Body: quota, Dropped: true}, "quota"},
		{"in an encoding", httpclient.Reply{Status: 403, Encoded: "br"}, ""},
	} {
		if got := ReasonOfAnswer(&tt.rep); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
