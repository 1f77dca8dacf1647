package registry

import (
	"context"
	"net/url"

	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/report"
)

// askPlainHTTP adds to "tls/<host>/proxy", if it failed because the server speaks plain
// HTTP, what answers there: through another tunnel of the proxy.
func (s *session) askPlainHTTP(ctx context.Context, proxy *url.URL, check *report.Check) {
	if check.Cause != report.PlainHTTPRegistry || s.client.Blocked(s.host.Host, s.host.Scheme) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, httpclient.QuestionTimeout)
	defer cancel()
	if conn, err := s.prober.Tunnel(ctx, s.host, proxy); err == nil && conn != nil {
		connect.AskPlainHTTP(ctx, s.host, conn, check)
	}
}
