package lab

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"strings"
	"time"
)

// tokenKeyID names the signing key in tokens and in the registry's key set.
const tokenKeyID = "lab"

// tokenLifetime is the lifetime of issued tokens.
const tokenLifetime = 5 * time.Minute

// tokenIssuer is a token service that follows distribution's token specification
// (https://distribution.github.io/distribution/spec/auth/token/ and …/oauth/):
// GET with basic auth or none, POST with an OAuth 2 password grant. Anonymous users may
// pull public/*, the lab's user may pull everything.
type tokenIssuer struct {
	key *ecdsa.PrivateKey
	now func() time.Time
}

func newTokenService(d Dir) (*tokenIssuer, error) {
	b, err := os.ReadFile(d.PKI("token.key"))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("token.key: no PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("token.key: unexpected %T", key)
	}
	return &tokenIssuer{key: ec, now: time.Now}, nil
}

func (t *tokenIssuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/token" {
		http.NotFound(w, r)
		return
	}
	var user, password string
	var given bool
	var scopes []string
	switch r.Method {
	case http.MethodGet:
		user, password, given = r.BasicAuth()
		scopes = r.URL.Query()["scope"]
	case http.MethodPost:
		if r.PostFormValue("grant_type") != "password" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		user, password, given = r.PostFormValue("username"), r.PostFormValue("password"), true
		scopes = r.PostForm["scope"]
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	known := subtle.ConstantTimeCompare([]byte(user+":"+password), []byte(User+":"+Password)) == 1
	if given && !known {
		RegistryError(w, http.StatusUnauthorized, "UNAUTHORIZED", "incorrect username or password")
		return
	}
	token, err := t.issue(user, grantScopes(scopes, known))
	if err != nil {
		RegistryError(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{
		"token": token, "access_token": token, "expires_in": int(tokenLifetime.Seconds()), "issued_at": t.now().UTC().Format(time.RFC3339),
	})
}

// access is one entry of a token's access claim.
type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// grantScopes returns the requested scopes that the caller may have: only pull.
func grantScopes(scopes []string, known bool) []access {
	granted := []access{}
	for _, list := range scopes {
		for scope := range strings.FieldsSeq(list) {
			kind, rest, _ := strings.Cut(scope, ":")
			name, actions, ok := strings.Cut(rest, ":")
			if !ok || kind != "repository" || !strings.Contains(","+actions+",", ",pull,") {
				continue
			}
			if known || strings.HasPrefix(name, "public/") {
				granted = append(granted, access{Type: kind, Name: name, Actions: []string{"pull"}})
			}
		}
	}
	return granted
}

// issue signs a JSON web token (RFC 7515, ES256).
func (t *tokenIssuer) issue(subject string, granted []access) (string, error) {
	now := t.now()
	header, err := json.Marshal(map[string]string{"typ": "JWT", "alg": "ES256", "kid": tokenKeyID})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{
		"iss": tokenService, "sub": subject, "aud": tokenService, "access": granted,
		"iat": now.Unix(), "nbf": now.Add(-10 * time.Second).Unix(), "exp": now.Add(tokenLifetime).Unix(), "jti": rand.Text(),
	})
	if err != nil {
		return "", err
	}
	b64 := base64.RawURLEncoding.EncodeToString
	signed := b64(header) + "." + b64(claims)
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, t.key, sum[:])
	if err != nil {
		return "", err
	}
	fixed := func(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }
	return signed + "." + b64(append(fixed(r), fixed(s)...)), nil
}
