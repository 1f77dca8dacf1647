package fleet

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// TestMetrics checks what the replica that leads tells a scraper with the rights of the component
// metrics, and that others get nothing.
func TestMetrics(t *testing.T) {
	w := newWorld(t)
	w.must("apply", "-f", "../manifests/components/metrics/rbac.yaml")
	w.must("create", "clusterrolebinding", "scraper", "--clusterrole=pullprobe-metrics-reader", "--serviceaccount=default:scraper")
	for _, name := range []string{"scraper", "other"} {
		w.must("-n", "default", "create", "serviceaccount", name)
	}
	for i, n := range []string{"a", "b", "c", "d"} {
		w.node(n, []string{"z1", "z2"}[i/2])
	}
	before := time.Now().Truncate(time.Second)
	w.says("a", sees(report.ConnectionTimeout))
	w.says("b", sees(""))
	w.says("c", sees(""))

	addr := w.freePort()
	f, err := New(Options{
		Namespace: "pullprobe", Identity: "one", Kubeconfig: w.kubeconfig(w.token()), MetricsAddr: addr, MetricsAuth: true, Version: "v1.2.3",
	}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	w.check(err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })

	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	scrape := func(token string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+"/metrics", nil)
		w.check(err)
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(r)
		if err != nil {
			return 0, ""
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	token := w.must("-n", "default", "create", "token", "scraper")
	var text string
	w.until("the metrics show what the nodes say", func() bool {
		_, text = scrape(token)
		return strings.Contains(text, `pullprobe_fleet_findings{cause="ConnectionTimeout",fault="node-infrastructure"} 1`)
	})
	for _, want := range []string{
		`pullprobe_fleet_nodes{registry="registry.example",state="failing"} 1`,
		`pullprobe_fleet_nodes{registry="registry.example",state="through"} 2`,
		`pullprobe_fleet_silent_nodes 1`,
		`pullprobe_fleet_leader 1`,
		`pullprobe_fleet_build_info{version="v1.2.3"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("there is no %s", want)
		}
	}
	var oldest float64
	if m := regexp.MustCompile(`(?m)^pullprobe_fleet_oldest_report_timestamp_seconds (\S+)$`).FindStringSubmatch(text); m != nil {
		oldest, err = strconv.ParseFloat(m[1], 64)
		w.check(err)
	}
	if at := time.Unix(int64(oldest), 0); at.Before(before) || at.After(time.Now()) {
		t.Errorf("the oldest report is of %v", at)
	}
	if status, body := scrape(w.must("-n", "default", "create", "token", "other")); status != http.StatusForbidden || strings.Contains(body, "pullprobe_fleet") {
		t.Errorf("a token that may not get /metrics: %d %.100s", status, body)
	}
	if status, _ := scrape("nonsense"); status != http.StatusUnauthorized {
		t.Errorf("no token of the cluster: %d", status)
	}
}
