package lab

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestGrant(t *testing.T) {
	for _, tt := range []struct {
		scope string
		known bool
		want  string // granted repository, or empty
	}{
		{"repository:public/app:pull", false, "public/app"},
		{"repository:private/app:pull", false, ""},
		{"repository:private/app:pull", true, "private/app"},
		{"repository:app:pull", false, ""},
		{"repository:app:push,pull", true, "app"},
		{"repository:app:push", true, ""},
		{"registry:catalog:*", true, ""},
		{"nonsense", true, ""},
		{"", true, ""},
	} {
		got := grantScopes([]string{tt.scope}, tt.known)
		name := ""
		if len(got) > 0 {
			name = got[0].Name
			if len(got[0].Actions) != 1 || got[0].Actions[0] != "pull" {
				t.Errorf("%q: granted %v", tt.scope, got[0].Actions)
			}
		}
		if name != tt.want {
			t.Errorf("%q, known %v: granted %q, want %q", tt.scope, tt.known, name, tt.want)
		}
	}
}

func TestTokenService(t *testing.T) {
	issuer, err := newTokenService(testPKI(t))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(issuer)
	defer s.Close()
	const scope = "repository:private/app:pull"

	token := func(resp *http.Response) string {
		t.Helper()
		defer resp.Body.Close()
		var body struct{ Token string }
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s", resp.Status)
		}
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
			t.Fatal(err)
		}
		return body.Token
	}
	do := func(user, password string) *http.Response {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, s.URL+"/token?service=token.lab&scope="+url.QueryEscape(scope), nil)
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			req.SetBasicAuth(user, password)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}

	got := claims(t, &issuer.key.PublicKey, token(do(User, Password)))
	if len(got.Access) != 1 || got.Access[0].Name != "private/app" || got.Sub != User {
		t.Errorf("GET as user: %+v", got)
	}
	if got := claims(t, &issuer.key.PublicKey, token(do("", ""))); len(got.Access) != 0 || got.Aud != tokenService {
		t.Errorf("GET as anybody: %+v", got)
	}
	if resp := do(User, "wrong"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("wrong password: %s", resp.Status)
	}
	post := func(password string) *http.Response {
		t.Helper()
		resp, err := http.PostForm(s.URL+"/token", url.Values{
			"grant_type": {"password"}, "username": {User}, "password": {password}, "scope": {scope}, "service": {tokenService},
		})
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	if got := claims(t, &issuer.key.PublicKey, token(post(Password))); len(got.Access) != 1 {
		t.Errorf("POST: %+v", got)
	}
	if resp := post("wrong"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("POST, wrong password: %s", resp.Status)
	}
}

type claimSet struct {
	Sub, Aud, Iss string
	Exp, Nbf      int64
	Access        []access
}

// claims verifies a token's signature and reads it.
func claims(t *testing.T, key *ecdsa.PublicKey, token string) claimSet {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("token %q", token)
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		t.Fatalf("signature: %d bytes, %v", len(signature), err)
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		t.Fatal("the signature is wrong")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var c claimSet
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return c
}
