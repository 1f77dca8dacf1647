//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/lab"
)

// canarySet has the planted secrets, by the place where each was planted.
type canarySet map[string]string

// plant returns a new canary for a place.
func (s canarySet) plant(where string) string {
	s[where] = "canary-" + strings.ReplaceAll(where, " ", "-") + "-5bd1e995"
	return s[where]
}

// search fails the test if a text has a canary, in any encoding.
func (s canarySet) search(t *testing.T, where, text string) {
	t.Helper()
	if text == "" {
		t.Errorf("%s is empty: nothing was searched", where)
	}
	for what, secret := range s {
		for _, form := range []string{
			secret,
			base64.StdEncoding.EncodeToString([]byte(secret)),
			base64.RawURLEncoding.EncodeToString([]byte(secret)),
			basicAuth("u", secret),
			basicAuth(lab.User, secret),
			url.QueryEscape(secret),
		} {
			if i := strings.Index(text, form); i >= 0 {
				t.Errorf("%s has the %s: …%s…", where, what, text[max(0, i-120):min(len(text), i+len(form)+40)])
			}
		}
	}
}

// basicAuth encodes a user and a password as in a docker configuration.
func basicAuth(user, secret string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + secret))
}

// testCanaries checks that no secret leaves the agent's memory. It plants canaries
// everywhere the agent reads secrets, and searches everything that the agent writes for
// them. The agents run providers and log at debug level.
func testCanaries(t *testing.T, node string) {
	c := suite
	canaries := canarySet{"credential provider": lab.Password}
	ns := c.namespace(t)
	pods := c.podsWithCanaries(t, node, ns, canaries)
	c.plantNodeFiles(t, node, canaries)
	c.pod(t, podOptions{Node: node, Namespace: ns, Name: "node", Image: c.pushOwnImage(t, "auth.lab", "canary/node")})
	c.pod(t, podOptions{Node: node, Namespace: ns, Name: "hosts", Image: "refused.lab/canary/hosts:1"})
	for _, mode := range []string{"garbage", "exit", "unknown", "huge"} {
		if mode == "unknown" && !c.Dir().Versions().KubernetesSince("1.32") {
			continue // such a kubelet ignores the field that it does not know, and pulls
		}
		if err := c.WriteFile(node, lab.ProviderMode, []byte(mode)); err != nil {
			t.Fatal(err)
		}
		name := "provider-" + mode
		c.pod(t, podOptions{Node: node, Namespace: ns, Name: name, Image: c.pushOwnImage(t, "auth.lab", "provider/canary-"+mode)})
		c.waitVerdict(t, node, ns+"/"+name, "* * *", time.Minute)
	}
	for _, name := range append(pods, "node", "hosts") {
		c.waitVerdict(t, node, ns+"/"+name, "* * *", time.Minute)
	}

	token, err := scraperToken()
	if err != nil {
		t.Fatal(err)
	}
	canaries["token of a scraper"] = token
	canaries.search(t, "ConfigMaps", c.kubectl(t, "-n", agentNamespace, "get", "configmaps", "-o", "yaml"))
	canaries.search(t, "Events", c.kubectl(t, "get", "events", "-A", "-o", "yaml"))
	canaries.search(t, "metrics", c.metrics(t, node))
	agent := c.agentPod(t, node).Name
	canaries.search(t, "log at debug level", c.agentLog(t, agent))
	canaries.search(t, "crash", c.crashAgent(t, node, agent))
}

// podsWithCanaries creates stuck pods with canaries in their pull secrets, each for one
// source of credentials. It returns the names of the pods.
func (c *cluster) podsWithCanaries(t *testing.T, node, ns string, canaries canarySet) []string {
	t.Helper()
	plant := canaries.plant
	var names []string
	for name, auths := range map[string]any{
		"password":    map[string]any{"auth.lab": map[string]string{"username": "u", "password": plant("password")}},
		"auth":        map[string]any{"auth.lab": map[string]string{"auth": basicAuth("u", plant("auth string"))}},
		"token":       map[string]any{"token.lab": map[string]string{"username": "u", "password": plant("password for a token")}},
		"identity":    map[string]any{"auth.lab": map[string]string{"identitytoken": plant("identity token")}},
		"undecodable": map[string]any{"auth.lab": map[string]string{"auth": plant("undecodable auth")}},
		"wrong-type":  map[string]any{"auth.lab": plant("entry of the wrong type")},
		"userinfo": map[string]any{
			"https://u:" + plant("userinfo of the server") + "@auth.lab/v1/?x=" + plant("query of the server"): map[string]string{
				"username": "u", "password": plant("password beside userinfo"),
			},
		},
		"elsewhere": map[string]any{"https://u:" + plant("userinfo elsewhere") + "@other.lab": map[string]string{
			"username": "u", "password": plant("password for elsewhere"),
		}},
	} {
		data, err := json.Marshal(map[string]any{"auths": auths})
		if err != nil {
			t.Fatal(err)
		}
		c.secret(t, ns, name, corev1.SecretTypeDockerConfigJson, corev1.DockerConfigJsonKey, data)
		host := "auth.lab"
		if name == "token" {
			host = "token.lab"
		}
		c.pod(t, podOptions{Node: node, Namespace: ns, Name: name, Image: c.pushOwnImage(t, host, "canary/"+name), Secret: name})
		names = append(names, name)
	}
	return names
}

// plantNodeFiles writes canaries into the node's files: a docker configuration, providers
// and hosts.toml. It restores the files when the test ends.
func (c *cluster) plantNodeFiles(t *testing.T, node string, canaries canarySet) {
	t.Helper()
	files := map[string]string{
		"/var/lib/kubelet/config.json": fmt.Sprintf(`{"auths":{"auth.lab/canary/node":{"username":"u","password":%q}}}`,
			canaries.plant("docker configuration of the node")),
		"/etc/containerd/certs.d/refused.lab/hosts.toml": fmt.Sprintf(
			"server = \"https://u:%s@refused.lab\"\n[host.\"https://auth.lab\".header]\n  Authorization = \"Basic %s\"\n",
			canaries.plant("userinfo in hosts.toml"), canaries.plant("header in hosts.toml")),
		lab.ProviderMode: "garbage",
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for name := range files {
			if name != lab.ProviderMode {
				_ = c.RemoveFile(node, name)
			}
		}
		_ = c.WriteFile(node, lab.ProviderMode, []byte("nothing\n"))
		_ = c.RestartService(ctx, node, "kubelet")
	})
	for name, text := range files {
		if err := c.WriteFile(node, name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.RestartService(t.Context(), node, "kubelet"); err != nil {
		t.Fatal(err)
	}
}

// crashAgent makes a node's agent print all stacks and exit, and returns its output.
func (c *cluster) crashAgent(t *testing.T, node, agent string) string {
	t.Helper()
	pids, err := c.PIDs(node, "pullprobe")
	if err != nil || len(pids) == 0 {
		t.Fatalf("no agent's process on %s: %v", node, err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
			t.Fatal(err)
		}
	}
	var crash string
	if !c.eventually(t, time.Minute, func(ctx context.Context) bool {
		out, err := c.Kubectl(ctx, nil, "-n", agentNamespace, "logs", "--previous", agent)
		crash = string(out)
		return err == nil && strings.Contains(crash, "goroutine ")
	}) {
		t.Fatalf("no stacks of the crash: %s", crash)
	}
	return crash
}

// scraperToken returns a token that may read metrics, like a Prometheus server's.
var scraperToken = sync.OnceValues(func() (string, error) {
	const name, namespace = "scraper", "default"
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := suite.api.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", err
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "pullprobe-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: name, Namespace: namespace}},
	}
	_, err = suite.api.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", err
	}
	long := int64(4 * 60 * 60)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &long}}
	request, err = suite.api.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return request.Status.Token, nil
})

// metrics returns the metrics of a node's agent. It scrapes them from inside the node, so
// that no network fault affects it.
func (c *cluster) metrics(t *testing.T, node string) string {
	t.Helper()
	token, err := scraperToken()
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // as in docs/metrics.md
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return c.Dial(ctx, node, network, addr)
		},
	}}
	scrape := func(ctx context.Context) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://127.0.0.1:9781/metrics", nil)
		if err != nil {
			return "", err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %.200s", resp.Status, text)
		}
		return string(text), err
	}
	// The API server may have been down, or not know the binding yet.
	var text string
	if !c.eventually(t, 30*time.Second, func(ctx context.Context) bool {
		text, err = scrape(ctx)
		return err == nil
	}) {
		t.Fatalf("metrics of %s: %v", node, err)
	}
	return text
}
