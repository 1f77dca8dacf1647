package connect

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// keyHTTPAnswer is what answers GET /v2/ in plain HTTP at an address where TLS failed
// for that: "registry" or "other". Of "tls/<host>/<address>".
const keyHTTPAnswer = "httpAnswer"

// Bounds of that request.
const (
	plainHTTPTimeout = time.Second
	plainHTTPBytes   = 2 << 10 // of the body
)

// askAddress adds to the check of the address that the runtime's dialer would use
// what answers there in plain HTTP. A host that a server named, such as a token
// service, need not be a registry.
func (p *Prober) askAddress(ctx context.Context, h runtimeconfig.Host, ends []endpoint, taken int) {
	if taken < 0 || h.Foreign || ends[taken].tls == nil || ends[taken].tls.Cause != report.PlainHTTPRegistry {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, plainHTTPTimeout)
	defer cancel()
	if _, conn := p.dial(ctx, h, ends[taken].addr); conn != nil {
		AskPlainHTTP(ctx, h, conn, ends[taken].tls)
	}
}

// AskPlainHTTP adds to a check of TLS that failed because the server speaks plain HTTP
// what answers GET /v2/ over conn, a new connection to the same address. It sends no
// login and none of the headers of hosts.toml, follows no redirect, and closes conn.
// It adds nothing if the answer is not HTTP.
func AskPlainHTTP(ctx context.Context, h runtimeconfig.Host, conn net.Conn, check *report.Check) {
	defer conn.Close()
	if check.Cause != report.PlainHTTPRegistry {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, plainHTTPTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.Host+basePath(h), nil)
	if err != nil {
		return
	}
	req.Header.Set("User-Agent", UserAgent)
	req.Close = true
	if req.Write(conn) != nil {
		return
	}
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, MaxHeaderBytes+plainHTTPBytes)), req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, plainHTTPBytes)) // what was read before an error counts
	answer := "other"
	if isRegistryAnswer(resp, body) {
		answer = "registry"
	}
	check.Evidence = evidence.With(check.Evidence, keyHTTPAnswer, answer)
}

// basePath returns the path of GET /v2/ at a host, whose own path may have a namespace.
func basePath(h runtimeconfig.Host) string {
	base := "/" + strings.Trim(h.Path, "/")
	if base == "/" || strings.HasPrefix(base, "/v2/") {
		base = "/v2"
	}
	return base + "/"
}

// isRegistryAnswer reports whether an answer to GET /v2/ is that of a registry: by its
// API version, a challenge for a token, or the errors of the distribution
// specification. A challenge for basic authentication alone is that of any web site.
func isRegistryAnswer(resp *http.Response, body []byte) bool {
	switch resp.StatusCode {
	case http.StatusOK, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
	default:
		return false
	}
	if resp.Header.Get("Docker-Distribution-Api-Version") != "" {
		return true
	}
	for _, challenge := range resp.Header.Values("WWW-Authenticate") {
		scheme, parameters, _ := strings.Cut(strings.TrimSpace(challenge), " ")
		if resp.StatusCode == http.StatusUnauthorized && strings.EqualFold(scheme, "Bearer") && strings.Contains(parameters, "realm=") {
			return true
		}
	}
	var answer struct {
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	}
	return json.Unmarshal(body, &answer) == nil && len(answer.Errors) > 0 && answer.Errors[0].Code != ""
}
