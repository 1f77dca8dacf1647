package credentials

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletv1 "k8s.io/kubelet/config/v1"

	"github.com/pullprobe/pullprobe/report"
)

// accountOf is a [TokenSource] that counts the tokens. Each token is another one.
type accountOf struct {
	account  *AccountMetadata
	err      error // of Account
	tokenErr error
	tokens   int
	uid, aud string // of the last request
}

func (a *accountOf) Account(context.Context) (*AccountMetadata, error) { return a.account, a.err }

func (a *accountOf) Token(_ context.Context, uid, audience string) (string, error) {
	a.tokens, a.uid, a.aud = a.tokens+1, uid, audience
	return fmt.Sprintf("%s-token-%d", canary, a.tokens), a.tokenErr
}

// tokenProvider returns the lab's provider in a mode, which takes a token.
func tokenProvider(mode string, edit func(*kubeletv1.ServiceAccountTokenAttributes)) Provider {
	required := true
	attributes := &kubeletv1.ServiceAccountTokenAttributes{
		ServiceAccountTokenAudience: "lab", CacheType: kubeletv1.ServiceAccountServiceAccountTokenCacheType, RequireServiceAccount: &required,
	}
	if edit != nil {
		edit(attributes)
	}
	return Provider{
		Name: "lab-provider", APIVersion: providerVersions[0], Args: []string{mode}, MatchImages: []string{"r.example"},
		DefaultCacheDuration: &metav1.Duration{Duration: time.Hour}, TokenAttributes: attributes,
		Env: []kubeletv1.ExecEnvVar{{Name: "PROVIDER_USER", Value: "puller"}, {Name: "PROVIDER_PASSWORD", Value: canary}},
	}
}

// tokenCase is a provider that takes a token, and what becomes of it for a pod.
type tokenCase struct {
	name       string
	provider   Provider
	pod        string // its ServiceAccount
	source     accountOf
	request    string    // fields of the provider's request; empty: it has not echoed it
	failed     string    // kind
	notForPod  NotForPod // without the reason
	summary    string    // part of that of the provider's check
	outcome    report.Outcome
	kubeletToo bool
}

// tokenCases returns what a provider gets of a ServiceAccount, and why it is not run.
func tokenCases() []tokenCase {
	annotated := &AccountMetadata{UID: "u-1", Annotations: map[string]string{"lab/role": "puller", "other": "x"}}
	required := func(a *kubeletv1.ServiceAccountTokenAttributes) {
		a.RequiredServiceAccountAnnotationKeys = []string{"lab/role"}
		a.OptionalServiceAccountAnnotationKeys = []string{"lab/zone"}
	}
	optional := func(a *kubeletv1.ServiceAccountTokenAttributes) {
		a.RequireServiceAccount = new(bool)
		a.OptionalServiceAccountAnnotationKeys = []string{"lab/role", "lab/zone"}
	}
	tokenCache := func(a *kubeletv1.ServiceAccountTokenAttributes) {
		a.CacheType = kubeletv1.TokenServiceAccountTokenCacheType
	}
	return []tokenCase{
		{
			name: "gets token and annotations", provider: tokenProvider("echo", required), pod: "web", source: accountOf{account: annotated},
			request: `{"serviceAccountAnnotations":{"lab/role":"puller"},"serviceAccountToken":"` + canary + `-token-1"}`, outcome: report.Pass,
		},
		{
			name: "optional annotation", provider: tokenProvider("echo", optional), pod: "web", source: accountOf{account: annotated},
			request: `{"serviceAccountAnnotations":{"lab/role":"puller"},"serviceAccountToken":"` + canary + `-token-1"}`, outcome: report.Pass,
		},
		{
			name: "no annotations", provider: tokenProvider("echo", nil), pod: "web", source: accountOf{account: annotated},
			request: `{"serviceAccountToken":"` + canary + `-token-1"}`, outcome: report.Pass,
		},
		{
			name: "a pod without ServiceAccount, none required", provider: tokenProvider("echo", optional),
			request: `{}`, outcome: report.Pass,
		},
		{
			name: "required annotation is missing", provider: tokenProvider("echo", required), pod: "web",
			source:    accountOf{account: &AccountMetadata{UID: "u-1"}},
			notForPod: NotForPod{Kind: "annotationMissing", Annotation: "lab/role"},
			summary:   "the kubelet does not run credential provider lab-provider for this pod: ServiceAccount shop/web has no annotation lab/role",
			outcome:   report.Pass,
		},
		{
			name: "no such ServiceAccount", provider: tokenProvider("echo", nil), pod: "web",
			notForPod: NotForPod{Kind: "serviceAccountAbsent"}, summary: "ServiceAccount shop/web does not exist", outcome: report.Pass,
		},
		{
			name: "may not read the ServiceAccount", provider: tokenProvider("echo", nil), pod: "web",
			source: accountOf{err: &NodeForbiddenError{
				Node: "n", Verb: "get", Resource: "serviceaccounts", Namespace: "shop", Object: "web", Reason: "it lacks x",
			}},
			summary: "but the kubelet runs it for this image: pullprobe cannot get serviceaccounts in namespace shop (web) as node n: it lacks x",
			outcome: report.Skipped,
		},
		{
			name: "may not request a token", provider: tokenProvider("echo", nil), pod: "web",
			source:  accountOf{account: annotated, tokenErr: errors.New("the API server did not answer")},
			summary: "but the kubelet runs it for this image: pullprobe got no token of ServiceAccount shop/web: the API server did not answer",
			outcome: report.Skipped,
		},
		{
			name: "the node gets no token", provider: tokenProvider("echo", nil), pod: "web",
			source:     accountOf{account: annotated, tokenErr: &NodeForbiddenError{Verb: "create", Reason: "the audience", NodeRefused: true}},
			summary:    "was not run, and probably the kubelet cannot run it either: pullprobe cannot create",
			outcome:    report.Skipped,
			kubeletToo: true,
		},
		{
			name: "returns the token", provider: tokenProvider("returns", nil), pod: "web", source: accountOf{account: annotated},
			failed: "tokenReturned", summary: "returned the ServiceAccount's token as the password", outcome: report.Fail,
		},
		{
			name: "may return the token", provider: tokenProvider("returns", tokenCache), pod: "web", source: accountOf{account: annotated},
			summary: "returned credentials for this image", outcome: report.Pass,
		},
		{
			name: "exits without a token", provider: tokenProvider("token", optional), failed: "exit", outcome: report.Fail,
		},
	}
}

// TestProviderToken checks what a provider that takes a token gets, and why it is not run.
func TestProviderToken(t *testing.T) {
	bin := filepath.Join(buildProvider(t), "bin")
	for _, tt := range tokenCases() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := (&ProviderRunner{Timeout: 10 * time.Second}).Run(t.Context(), ProviderCall{
				Kubelet: Kubelet{WorkDir: "/", Files: dirFS{root: "/"}}, Config: ProviderConfig{BinDir: bin},
				Provider: tt.provider, Repository: "r.example/app",
				Identity: &Identity{Namespace: "shop", Account: tt.pod, Tokens: &tt.source},
			})
			if tt.request != "" {
				if len(a.Credentials) != 1 {
					t.Fatalf("got %+v", a)
				}
				checkRequest(t, a.Credentials[0].Username, tt.request)
			}
			if tt.source.tokens > 0 && (tt.source.uid != "u-1" || tt.source.aud != "lab") {
				t.Errorf("token requested of UID %q for audience %q", tt.source.uid, tt.source.aud)
			}
			if kind := failedKind(a); kind != tt.failed || a.KubeletToo != tt.kubeletToo {
				t.Errorf("failed %q, kubelet too: %v", kind, a.KubeletToo)
			}
			r := Resolve("r.example/app", Sources{Node: &NodeSources{
				Providers: ProviderConfig{Path: "/p.yaml", BinDir: bin}, Results: []ProviderResult{a},
			}})
			check := report.Find(r.Checks, "credentials/provider/lab-provider")
			if check.Outcome != tt.outcome || !strings.Contains(check.Summary, tt.summary) ||
				check.Evidence["notForPod"] != tt.notForPod.Kind || check.Evidence["annotation"] != tt.notForPod.Annotation {
				t.Errorf("check %s %q %v", check.Outcome, check.Summary, check.Evidence)
			}
			if text := fmt.Sprintf("%+v %+v", a, r.Checks); strings.Contains(text, canary) {
				t.Errorf("shows the token: %s", text)
			}
			if got := tt.source.tokens > 0 && tt.source.tokenErr == nil; got != (tokenIn(r.Used) != "") {
				t.Errorf("the redaction knows the token: %v", !got)
			}
		})
	}
}

// checkRequest compares a provider's request with these fields beside those that every
// request has.
func checkRequest(t *testing.T, request, want string) {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(request), &fields); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"kind": "CredentialProviderRequest", "apiVersion": providerVersions[0], "image": "r.example/app",
	} {
		if fields[key] != value {
			t.Errorf("%s: %v", key, fields[key])
		}
		delete(fields, key)
	}
	rest, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	if string(rest) != want {
		t.Errorf("request has %s, want %s", rest, want)
	}
}

func failedKind(a ProviderResult) string {
	if a.Failed == nil {
		return ""
	}
	return a.Failed.Kind
}

// tokenIn returns the token among credentials.
func tokenIn(list []Credential) string {
	for _, c := range list {
		if c.IdentityToken != "" {
			return c.IdentityToken
		}
	}
	return ""
}

// TestProviderTokenCache checks for whom else a response counts that was made for a token:
// with the cache type ServiceAccount for the same ServiceAccount with the same annotations,
// with Token for nobody.
func TestProviderTokenCache(t *testing.T) {
	call := func(namespace, account string, cacheType kubeletv1.ServiceAccountTokenCacheType) ProviderCall {
		return ProviderCall{
			Provider:   tokenProvider("works", func(a *kubeletv1.ServiceAccountTokenAttributes) { a.CacheType = cacheType }),
			Repository: "r.example/app", Identity: &Identity{Namespace: namespace, Account: account},
		}
	}
	of := func(uid, role string) tokenInput {
		return tokenInput{uid: uid, token: "t", annotations: map[string]string{"lab/role": role}}
	}
	const account, token = kubeletv1.ServiceAccountServiceAccountTokenCacheType, kubeletv1.TokenServiceAccountTokenCacheType
	first := call("shop", "web", account)
	key := first.cacheKeys(of("u-1", "a")).global
	for name, other := range map[string]string{
		"namespace":          call("bank", "web", account).cacheKeys(of("u-1", "a")).global,
		"name":               call("shop", "api", account).cacheKeys(of("u-1", "a")).global,
		"UID":                first.cacheKeys(of("u-2", "a")).global,
		"annotation":         first.cacheKeys(of("u-1", "b")).global,
		"no annotation":      first.cacheKeys(tokenInput{uid: "u-1"}).global,
		"no ServiceAccount":  first.cacheKeys(tokenInput{}).global,
		"pasted annotations": first.cacheKeys(tokenInput{uid: "u-1", annotations: map[string]string{"lab/role\" \"a": ""}}).global,
	} {
		if other == key {
			t.Errorf("another %s has the same key", name)
		}
	}
	same := of("u-1", "a")
	same.token = "another"
	if first.cacheKeys(same).global != key {
		t.Error("another token has another key")
	}
	if !first.cacheable(same) || call("shop", "web", token).cacheable(same) || !call("shop", "web", token).cacheable(tokenInput{}) {
		t.Error("the cache type does not count")
	}

	r := &ProviderRunner{}
	r.store("k", ProviderResult{Token: Credential{IdentityToken: canary}}, time.Hour)
	if got, ok := r.cached(time.Now(), "k"); !ok || got.Token.IdentityToken != "" {
		t.Error("a token is cached")
	}
}

// TestTokenOncePerCachedResponse checks that no token is requested where a response is
// cached, and for which ServiceAccounts and cache types it is.
func TestTokenOncePerCachedResponse(t *testing.T) {
	bin := filepath.Join(buildProvider(t), "bin")
	r := &ProviderRunner{Timeout: 10 * time.Second}
	run := func(mode, account string, source *accountOf, edit ...func(*Provider)) ProviderResult {
		p := tokenProvider(mode, nil)
		for _, f := range edit {
			f(&p)
		}
		return r.Run(t.Context(), ProviderCall{
			Kubelet: Kubelet{WorkDir: "/", Files: dirFS{root: "/"}}, Config: ProviderConfig{BinDir: bin},
			Provider: p, Repository: "r.example/app",
			Identity: &Identity{Namespace: "shop", Account: account, Tokens: source},
		})
	}
	caches := func(t kubeletv1.ServiceAccountTokenCacheType) func(*Provider) {
		return func(p *Provider) {
			p.TokenAttributes.CacheType = t
			p.Env = append(p.Env, kubeletv1.ExecEnvVar{Name: "PROVIDER_CACHE", Value: "1m"})
		}
	}
	for account, tt := range map[string]struct {
		cacheType kubeletv1.ServiceAccountTokenCacheType
		want      int
	}{
		"shared": {kubeletv1.ServiceAccountServiceAccountTokenCacheType, 1},
		"alone":  {kubeletv1.TokenServiceAccountTokenCacheType, 2},
	} {
		source := &accountOf{account: &AccountMetadata{UID: "u-" + account}}
		for range 2 {
			if a := run("token", account, source, caches(tt.cacheType)); len(a.Credentials) != 1 {
				t.Errorf("%s: %+v", account, a)
			}
		}
		if source.tokens != tt.want {
			t.Errorf("cache type %s: %d tokens for two examinations, want %d", tt.cacheType, source.tokens, tt.want)
		}
	}
	source := &accountOf{account: &AccountMetadata{UID: "u-1"}}
	if a := run("exit", "web", source); a.Failed == nil || source.tokens != 1 {
		t.Errorf("%+v after %d tokens", a, source.tokens)
	}
	if a := run("works", "web", source); a.Failed == nil || source.tokens != 1 {
		t.Errorf("%+v after %d tokens: the failure is not cached", a, source.tokens)
	}
	other := &accountOf{account: &AccountMetadata{UID: "u-2"}}
	if a := run("works", "api", other); a.Failed != nil || other.tokens != 1 {
		t.Errorf("%+v: the failure counts for another ServiceAccount", a)
	}
}

// TestProviderNotForPod checks the check "credentials" where the kubelet does not run the
// provider: no provider of the node is expected then.
func TestProviderNotForPod(t *testing.T) {
	const repository = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app"
	p := tokenProvider("works", nil)
	r := Resolve(repository, Sources{Node: &NodeSources{Providers: providers, Results: []ProviderResult{WithoutAccount(p)}}})
	c := report.Find(r.Checks, "credentials")
	want := "the kubelet does not run credential provider lab-provider for this pod: the pod has no ServiceAccount"
	if c.Outcome != report.Pass || !strings.HasSuffix(c.Summary, "; "+want) || c.Evidence["expectedProvider"] != "" ||
		c.Evidence["providerNotRun"] != "" || c.Evidence["unknown"] != "" {
		t.Errorf("%s %q %v", c.Outcome, c.Summary, c.Evidence)
	}
	optional := tokenProvider("works", func(a *kubeletv1.ServiceAccountTokenAttributes) { a.RequireServiceAccount = new(bool) })
	if !p.RequiresAccount() || optional.RequiresAccount() {
		t.Error("requireServiceAccount does not count")
	}
}
