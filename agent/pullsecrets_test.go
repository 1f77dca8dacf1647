package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// tableServer answers GETs from a table: the object at a path, or a status code.
func tableServer(t *testing.T, objects map[string]any) *kube.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch o := objects[r.URL.Path].(type) {
		case nil:
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: metav1.StatusReasonNotFound, Code: 404})
		case int:
			w.WriteHeader(o)
			_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: metav1.StatusReasonForbidden, Message: "canary-message", Code: int32(o)})
		default:
			_ = json.NewEncoder(w).Encode(o)
		}
	}))
	t.Cleanup(server.Close)
	k, err := kube.New(kubeconfig(t, server.URL), "test", "")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func serviceAccount(secrets ...string) corev1.ServiceAccount {
	sa := corev1.ServiceAccount{
		TypeMeta:   metav1.TypeMeta{Kind: "ServiceAccount", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop"},
	}
	for _, s := range secrets {
		sa.ImagePullSecrets = append(sa.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
	}
	return sa
}

func pullSecret(name, server string) corev1.Secret {
	return corev1.Secret{
		TypeMeta: metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"},
		Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: fmt.Appendf(nil, `{"auths":{%q:{"username":"u","password":"hunter2-canary"}}}`, server)},
	}
}

const (
	accountPath = "/api/v1/namespaces/shop/serviceaccounts/web"
	secretsPath = "/api/v1/namespaces/shop/secrets/"
)

// TestUnattachedSecrets checks what the ServiceAccount lists and the pod does not
// name, and why it does not.
func TestUnattachedSecrets(t *testing.T) {
	tests := []struct {
		name    string
		objects map[string]any
		pod     []string // secrets that it names
		cause   report.Cause
		summary string // part of one of the checks'
	}{
		{"added later", map[string]any{accountPath: serviceAccount("late"), secretsPath + "late": pullSecret("late", "r.example")}, nil,
			report.PullSecretNotAttached, "it was added after the pod was created"},
		{
			"one of two added later",
			map[string]any{
				accountPath:           serviceAccount("early", "late"),
				secretsPath + "early": pullSecret("early", "other.example"),
				secretsPath + "late":  pullSecret("late", "r.example"),
			},
			[]string{"early"},
			report.PullSecretNotAttached,
			"it was added after the pod was created",
		},
		{
			"the pod lists its own",
			map[string]any{
				accountPath:          serviceAccount("late"),
				secretsPath + "late": pullSecret("late", "r.example"),
				secretsPath + "own":  pullSecret("own", "other.example"),
			},
			[]string{"own"},
			report.PullSecretNotAttached,
			"the pod lists its own pull secrets",
		},
		{
			"attached",
			map[string]any{accountPath: serviceAccount("late"), secretsPath + "late": pullSecret("late", "other.example")},
			[]string{"late"},
			report.PullSecretOtherRegistry,
			"has no additional pull secret for this registry",
		},
		{
			"for another registry",
			map[string]any{accountPath: serviceAccount("late"), secretsPath + "late": pullSecret("late", "other.example")},
			nil,
			"",
			"has no additional pull secret for this registry",
		},
		{"listed and absent", map[string]any{accountPath: serviceAccount("late")}, nil, "", "has no additional pull secret for this registry"},
		{"no ServiceAccount any more", nil, nil, "", "the pod has no pull secrets"},
		{
			"may not read the ServiceAccount",
			map[string]any{accountPath: 403},
			nil,
			"",
			"cannot get serviceaccounts in namespace shop (web)",
		},
		{
			"may not read the secret",
			map[string]any{accountPath: serviceAccount("late"), secretsPath + "late": 403},
			nil,
			"",
			"cannot get secrets in namespace shop (late)",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := secretReader{tableServer(t, tt.objects)}
			p := pods.Pod{Namespace: "shop", Name: "web-1", ServiceAccount: "web", PullSecrets: tt.pod}
			w := (&examine.Examiner{Node: &examine.NodeReader{}}).Credentials(t.Context(), "r.example/app", examine.Subject{
				Secrets: func(ctx context.Context) []credentials.SecretLookup { return r.pullSecrets(ctx, p) },
				Account: func(ctx context.Context) *credentials.ServiceAccount { return r.account(ctx, p) },
			})
			if w.Checks[0].Cause != tt.cause || len(w.Matched) != 0 {
				t.Errorf("got %s with %d credentials", w.Checks[0].Cause, len(w.Matched))
			}
			text := fmt.Sprintf("%+v", w.Checks)
			if !strings.Contains(text, tt.summary) || strings.Contains(text, "canary") {
				t.Errorf("got %s\nwant %q", text, tt.summary)
			}
		})
	}
}

// TestAccountIsNotRead checks that the ServiceAccount is not read where the pod's
// secrets decide, nor for a pod without one.
func TestAccountIsNotRead(t *testing.T) {
	r := secretReader{tableServer(t, map[string]any{secretsPath + "own": pullSecret("own", "r.example")})}
	if got := r.account(t.Context(), pods.Pod{Namespace: "shop"}); got != nil {
		t.Errorf("got %+v", got)
	}
	p := pods.Pod{Namespace: "shop", ServiceAccount: "web", PullSecrets: []string{"own"}}
	(&examine.Examiner{Node: &examine.NodeReader{}}).Credentials(t.Context(), "r.example/app", examine.Subject{
		Secrets: func(ctx context.Context) []credentials.SecretLookup { return r.pullSecrets(ctx, p) },
		Account: func(context.Context) *credentials.ServiceAccount {
			t.Error("read although a secret applies")
			return nil
		},
	})
}

// TestReadErrors checks the errors of a secret that may not or cannot be read.
func TestReadErrors(t *testing.T) {
	k := tableServer(t, map[string]any{secretsPath + "a": 403, secretsPath + "b": 500})
	var forbidden *credentials.ForbiddenError
	if f := k.Secret(t.Context(), "shop", "a"); !errors.As(f.Err, &forbidden) || forbidden.Resource != "secrets" || forbidden.Name != "a" {
		t.Errorf("got %v", f.Err)
	}
	if f := k.Secret(t.Context(), "shop", "b"); f.Err == nil || strings.Contains(f.Err.Error(), "canary") {
		t.Errorf("got %v", f.Err)
	}
	if f := k.Secret(t.Context(), "shop", "c"); f.Err != nil || f.Secret != nil {
		t.Errorf("absent: %+v", f)
	}
}
