package kube

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
)

// Authorize returns the HTTP status for a caller of /metrics with this token: 200 if
// the token's user may get that path.
func (k *Client) Authorize(ctx context.Context, token string) (int, error) {
	user, ok, err := k.reviewToken(ctx, token)
	if err != nil || !ok {
		return http.StatusUnauthorized, err
	}
	if ok, err = k.allowedPath(ctx, user, "/metrics"); err != nil || !ok {
		return http.StatusForbidden, err
	}
	return http.StatusOK, nil
}

// review creates a review object, whose status is the answer. These kinds are not
// in the client's scheme.
func (k *Client) review(ctx context.Context, apiVersion, kind string, spec, status any) error {
	object := map[string]any{"kind": kind, "apiVersion": apiVersion}
	if spec != nil {
		object["spec"] = spec
	}
	body, err := json.Marshal(object)
	if err != nil {
		return err
	}
	r := k.client.Post().AbsPath("/apis/"+apiVersion+"/"+strings.ToLower(kind)+"s").
		SetHeader("Content-Type", runtime.ContentTypeJSON).SetHeader("Accept", runtime.ContentTypeJSON).Body(body).Do(ctx)
	answer, err := r.Raw()
	if err != nil {
		return r.Error() // more precise than Raw's error
	}
	return json.Unmarshal(answer, &struct {
		Status any `json:"status"`
	}{status})
}

// userInfo is the user of a token (authentication.k8s.io/v1, UserInfo).
type userInfo struct {
	Name   string              `json:"username"`
	UID    string              `json:"uid"`
	Groups []string            `json:"groups"`
	Extra  map[string][]string `json:"extra"`
}

// reviewToken returns the user of a token; ok is false if the token is not valid.
func (k *Client) reviewToken(ctx context.Context, token string) (user userInfo, ok bool, err error) {
	var answer struct {
		Authenticated bool     `json:"authenticated"`
		User          userInfo `json:"user"`
	}
	err = k.review(ctx, "authentication.k8s.io/v1", "TokenReview", map[string]any{"token": token}, &answer)
	return answer.User, answer.Authenticated && answer.User.Name != "", err
}

// allowedPath reports whether a user may get a path that is not a resource.
func (k *Client) allowedPath(ctx context.Context, user userInfo, path string) (bool, error) {
	var answer struct {
		Allowed bool `json:"allowed"`
		Denied  bool `json:"denied"`
	}
	err := k.review(ctx, "authorization.k8s.io/v1", "SubjectAccessReview", map[string]any{
		"user": user.Name, "uid": user.UID, "groups": user.Groups, "extra": user.Extra,
		"nonResourceAttributes": map[string]string{"path": path, "verb": "get"},
	}, &answer)
	return answer.Allowed && !answer.Denied, err
}
