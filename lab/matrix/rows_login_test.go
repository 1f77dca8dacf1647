//go:build matrix

package matrix

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/pullprobe/pullprobe/lab"
)

func newLogin() *login { return &login{"robot" + randomWord(), randomWord() + randomWord()} }

// loginRows returns the rows about credentials and token services.
func loginRows() []row {
	// expired makes a password that has expired: a JSON web token, as cloud registries
	// use them.
	expired := func() string {
		b64 := base64.RawURLEncoding.EncodeToString
		claims := fmt.Appendf(nil, `{"sub":"robot","exp":%d}`, time.Now().Add(-time.Hour).Unix())
		return b64([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + b64(claims) + "." + b64([]byte(randomWord()))
	}
	// token makes a host with a token service on another host.
	token := func(s *scene, o hostOptions) (h, service *host, t *tokenService, image string) {
		h, service = s.host(hostOptions{}), s.host(o)
		t = &tokenService{grant: grantAll}
		image, _, _ = s.pushApp(h)
		h.setFault(t.requireToken(realmOf(service)))
		service.setFault(func(http.Handler) http.Handler { return t })
		s.setPlaceholder("realm", service.String())
		return h, service, t, image
	}
	return []row{
		{
			name: "credentials-missing",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(requireBasicAuth(newLogin()))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: fails(`no basic auth credentials`),
			want:    want{"cluster-config", "CredentialsMissing", "confirmed", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name: "credentials-rejected",
			setup: func(s *scene) *subject {
				h, right := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				h.setFault(requireBasicAuth(right))
				sub := &subject{image: image, auth: &login{right.user, randomWord()}}
				sub.fix = func() { sub.auth = right }
				return sub
			},
			runtime: fails(`401 Unauthorized`),
			want:    want{"cluster-config", "CredentialsRejected", "confirmed", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name: "secret-for-another-registry",
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				h.setFault(requireBasicAuth(l))
				sub := &subject{image: image, secret: dockerConfig(s.w.name(), l)}
				sub.fix = func() { sub.secret, sub.auth = "", l }
				return sub
			},
			runtime: fails(`no basic auth credentials`),
			want:    want{"cluster-config", "PullSecretOtherRegistry", "confirmed", []string{"credentials", "manifest/{host}", "pull"}, ""},
		},
		{
			name: "forbidden-with-credentials",
			setup: func(s *scene) *subject {
				h, right := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				h.setFault(forbidOtherLogins(right))
				sub := &subject{image: image, auth: newLogin()}
				sub.fix = func() { sub.auth = right }
				return sub
			},
			runtime: fails(`403 Forbidden`),
			want:    want{"cluster-config", "AccessForbidden", "likely", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name:     "token-expired-403",
			misleads: "403 Forbidden: the account may, but its token has expired",
			setup: func(s *scene) *subject {
				h, right := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				h.setFault(forbidOtherLogins(right))
				sub := &subject{image: image, auth: &login{"AWS", expired()}}
				sub.fix = func() { sub.auth = right }
				return sub
			},
			runtime: fails(`403 Forbidden`),
			want:    want{"cluster-config", "CredentialsExpired", "confirmed", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name:     "token-expired-401",
			misleads: "401 Unauthorized: the password was right once",
			setup: func(s *scene) *subject {
				h, right := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				h.setFault(requireBasicAuth(right))
				sub := &subject{image: image, auth: &login{"oauth2accesstoken", expired()}}
				sub.fix = func() { sub.auth = right }
				return sub
			},
			runtime: fails(`401 Unauthorized`),
			want:    want{"cluster-config", "CredentialsExpired", "confirmed", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name: "forbidden-to-anybody",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(respondError(isManifest, http.StatusForbidden, "DENIED"))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: fails(`403 Forbidden`),
			want:    want{"cluster-config", "AccessDeniedOrMissing", "likely", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name: "hidden-repository",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantOnly(newLogin())}
				h.setFault(t.requireToken(realmOf(h)))
				return &subject{image: image, fix: func() { t.setGrant(grantAll) }}
			},
			runtime: fails(`insufficient_scope: authorization failed`),
			want:    want{"cluster-config", "AccessDeniedOrMissing", "confirmed", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name:     "private-beside-a-public-sibling",
			misleads: "a typo: a public repository has almost this name, and this one exists too",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				group, app, tag := randomWord(), randomWord(), randomWord()
				s.pushRandom(group+"/"+app, tag, lab.Image{})
				s.pushRandom(group+"/"+app+"s", tag, lab.Image{})
				t, public := &tokenService{grant: grantOnly(newLogin())}, &tokenService{grant: grantAll}
				h.setFault(func(next http.Handler) http.Handler {
					private, open := t.requireToken(realmOf(h))(next), public.requireToken(realmOf(h))(next)
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.URL.Path == "/v2/"+group+"/"+app+"/manifests/"+tag || r.URL.Path == "/token" {
							private.ServeHTTP(w, r)
							return
						}
						open.ServeHTTP(w, r)
					})
				})
				return &subject{image: h.image(group+"/"+app, tag), fix: func() { h.setFault(nil) }}
			},
			runtime: fails(`pull access denied, repository does not exist or may require authorization`),
			want:    want{"cluster-config", "AccessDeniedOrMissing", "confirmed", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name: "token-service-rejects-credentials",
			setup: func(s *scene) *subject {
				h, right := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantOnly(right)}
				h.setFault(t.requireToken(realmOf(h)))
				sub := &subject{image: image, auth: &login{right.user, randomWord()}}
				sub.fix = func() { sub.auth = right }
				return sub
			},
			runtime: fails(`401 Unauthorized`),
			want:    want{"cluster-config", "CredentialsRejected", "confirmed", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name:     "stale-secret-for-a-public-image",
			misleads: "the image seems private: anybody may pull it, but not with a password that is no more",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: func(l *login) (int, bool) {
					if l == nil {
						return http.StatusOK, true
					}
					return http.StatusUnauthorized, false
				}}
				h.setFault(t.requireToken(realmOf(h)))
				sub := &subject{image: image, auth: newLogin()}
				sub.fix = func() { sub.auth = nil }
				return sub
			},
			runtime: fails(`401 Unauthorized`),
			want:    want{"cluster-config", "CredentialsRejected", "confirmed", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name: "token-service-forbids",
			setup: func(s *scene) *subject {
				h, right := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: func(l *login) (int, bool) {
					if l != nil && *l == *right {
						return http.StatusOK, true
					}
					return http.StatusForbidden, false
				}}
				h.setFault(t.requireToken(realmOf(h)))
				sub := &subject{image: image, auth: newLogin()}
				sub.fix = func() { sub.auth = right }
				return sub
			},
			runtime: fails(`403 Forbidden`),
			want:    want{"cluster-config", "AccessForbidden", "likely", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name: "token-opens-nothing",
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: func(*login) (int, bool) { return http.StatusOK, false }}
				h.setFault(t.requireToken(realmOf(h)))
				return &subject{image: image, auth: l, fix: func() { t.setGrant(grantOnly(l)) }}
			},
			runtime: fails(`insufficient_scope`),
			want:    want{"cluster-config", "AccessDeniedOrMissing", "confirmed", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name: "token-service-error",
			setup: func(s *scene) *subject {
				_, _, t, image := token(s, hostOptions{})
				t.setGrant(func(*login) (int, bool) { return http.StatusBadGateway, false })
				return &subject{image: image, fix: func() { t.setGrant(grantAll) }}
			},
			runtime: fails(`502 Bad Gateway`),
			want:    want{"registry", "TokenServiceFailed", "confirmed", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name: "token-service-rate-limited",
			setup: func(s *scene) *subject {
				_, _, t, image := token(s, hostOptions{})
				t.setGrant(func(*login) (int, bool) { return http.StatusTooManyRequests, false })
				return &subject{image: image, fix: func() { t.setGrant(grantAll) }}
			},
			runtime: fails(`429 Too Many Requests`),
			want:    want{"registry", "RateLimited", "likely", []string{"manifest/{host}"}, ""},
		},
		{
			name:     "token-service-garbage",
			misleads: "invalid character '<': a web page instead of a token",
			setup: func(s *scene) *subject {
				_, service, t, image := token(s, hostOptions{})
				service.setFault(replaceResponse(anyRequest, servePortal))
				return &subject{image: image, fix: func() { service.setFault(func(http.Handler) http.Handler { return t }) }}
			},
			runtime: fails(`invalid character|unable to decode token`),
			want:    want{"registry", "TokenServiceFailed", "confirmed", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name:     "token-service-without-a-name",
			misleads: "no such host: the registry's name is right, its token service's is not",
			setup: func(s *scene) *subject {
				_, service, _, image := token(s, hostOptions{notInDNS: true})
				return &subject{image: image, fix: func() { s.w.setDNS(service.name, lab.Answer{Addrs: service.addrs}) }}
			},
			runtime: fails(`no such host`),
			want:    want{"undetermined", "TokenServiceFailed", "likely", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name:     "token-service-refuses",
			misleads: "connection refused: the registry answers, its token service does not",
			setup: func(s *scene) *subject {
				_, service, _, image := token(s, hostOptions{notListening: true})
				return &subject{image: image, fix: func() { service.listen() }}
			},
			runtime: fails(`connection refused`),
			want:    want{"undetermined", "TokenServiceFailed", "likely", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name:     "token-service-in-a-black-hole",
			misleads: "i/o timeout: the registry answers, its token service does not",
			setup: func(s *scene) *subject {
				_, service, _, image := token(s, hostOptions{})
				lift := s.firewall("-d", service.addrs[0].String(), "-j", "DROP")
				return &subject{image: image, fix: lift}
			},
			runtime: hangs(),
			want:    want{"undetermined", "TokenServiceFailed", "likely", []string{"manifest/{host}"}, ""},
		},
		{
			name:     "token-service-certificate-expired",
			misleads: "certificate has expired: not the registry's",
			setup: func(s *scene) *subject {
				_, service, _, image := token(s, hostOptions{})
				service.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: service.name, since: -30 * day, until: -day}))
				return &subject{image: image, fix: func() { service.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: service.name})) }}
			},
			runtime: fails(`certificate has expired`),
			want:    want{"registry", "TokenServiceFailed", "likely", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name:     "unauthorized-without-a-challenge",
			misleads: "401 Unauthorized: no credentials would help, the registry does not say which it wants",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(respondError(anyRequest, http.StatusUnauthorized, "UNAUTHORIZED"))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: runtimeResult{code: codes.Unknown, text: `401 Unauthorized`},
			want:    want{"undetermined", "Undetermined", "undetermined", []string{"manifest/{host}"}, ""},
		},
	}
}
