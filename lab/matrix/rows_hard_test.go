//go:build matrix

package matrix

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"google.golang.org/grpc/codes"

	"github.com/pullprobe/pullprobe/lab"
)

// challenge answers 401 with these challenges to requests without a login.
func challenge(challenges ...string) func(http.Handler) http.Handler {
	return replaceResponse(func(r *http.Request) bool { return r.Header.Get("Authorization") == "" && r.URL.Path != "/token" },
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Www-Authenticate"] = challenges
			lab.RegistryError(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
		})
}

// expiredAuthority makes an authority whose own certificate has expired, and a valid
// certificate of it.
func (s *scene) expiredAuthority(name string) (root []byte, leaf tls.Certificate) {
	s.t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(s.t, err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(randomNumber(1 << 40)), Subject: pkix.Name{CommonName: "Old Root " + randomWord()},
		NotBefore: time.Now().Add(-300 * day), NotAfter: time.Now().Add(-day), KeyUsage: x509.KeyUsageCertSign,
		IsCA: true, BasicConstraintsValid: true,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(s.t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(s.t, err)
	der, err := x509.CreateCertificate(rand.Reader, leafSpec{name: name}.template(), ca, key.Public(), caKey)
	must(s.t, err)
	root = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	return root, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// hardRows returns further rows: situations that need containerd's source to explain.
func hardRows() []row {
	const notHealthy = "none * *"
	// simple makes a registry with a fault, which the fix removes.
	simple := func(name string, k kind, runtime runtimeResult, w want, fault func(*scene, *host) func(http.Handler) http.Handler,
		never ...string) row {
		return row{
			name: name, kind: k,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(fault(s, h))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: runtime, want: w, never: never, neverFix: []string{"create secret"},
		}
	}
	always := func(f func(http.Handler) http.Handler) func(*scene, *host) func(http.Handler) http.Handler {
		return func(*scene, *host) func(http.Handler) http.Handler { return f }
	}
	healthy := bounds("none", "Healthy", "confirmed", "pull")
	// tokens makes a registry whose token service answers with this JSON, a valid token
	// in place of TOKEN.
	tokens := func(name string, runtime runtimeResult, w want, text string) row {
		return simple(name, requests, runtime, w, func(_ *scene, h *host) func(http.Handler) http.Handler {
			t := &tokenService{grant: grantAll, valid: map[string]bool{"a-valid-token": true}}
			tokenIssuers.Store("a-valid-token", h.String())
			answer := replaceResponse(func(r *http.Request) bool { return r.URL.Path == "/token" },
				func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					io.WriteString(w, strings.ReplaceAll(text, "TOKEN", "a-valid-token"))
				})
			return func(next http.Handler) http.Handler { return answer(t.requireToken(realmOf(h))(next)) }
		})
	}
	tokenFails := bounds("registry", "TokenServiceFailed", "confirmed|likely")
	return []row{
		tokens("token-as-access-token", passes(), healthy, `{"access_token":"TOKEN"}`),
		tokens("token-with-an-expiry-of-nothing", passes(), healthy, `{"token":"TOKEN","expires_in":0}`),
		tokens("token-service-without-a-token", fails(`.`), tokenFails, `{"expires_in":300}`),
		tokens("token-service-with-an-empty-token", fails(`.`), tokenFails, `{"token":"","access_token":""}`),
		simple("challenge-of-kerberos", rivals, fails(`401 Unauthorized`),
			bounds("undetermined|registry", "*", "likely|undetermined", "manifest/{host}"),
			always(challenge("Negotiate")), notHealthy, "* CredentialsMissing confirmed"),
		simple("challenge-without-a-realm", rivals, fails(`.`), bounds("registry|undetermined", "*", "*", "manifest/{host}"),
			always(challenge(`Bearer service="registry"`)), notHealthy, "cluster-config * *"),
		{
			name: "two-challenges", kind: logins,
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantOnly(l)}
				h.setFault(func(next http.Handler) http.Handler {
					return challenge(`Basic realm="registry"`, fmt.Sprintf(`Bearer realm=%q,service="registry"`, realmOf(h)))(
						t.requireToken(realmOf(h))(next))
				})
				return &subject{image: image, auth: l, fix: func() {}}
			},
			runtime: passes(), want: healthy,
		},
		simple("head-with-a-length-of-nothing", requests, failsWithAny(`.`), bounds("registry|undetermined", "*", "*"),
			always(headOnly(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
				w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
				w.Header().Set("Content-Length", "0")
			})), notHealthy, "cluster-config * *"),
		simple("manifest-of-nine-megabytes", requests, failsWith(codes.NotFound, `rejecting \d+ byte manifest`),
			bounds("registry|undetermined|cluster-config", "UnsupportedManifest|Undetermined|LayerCorrupt", "*", "pull"),
			always(headOnly(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
				w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
				w.Header().Set("Content-Length", "9000000")
			})), notHealthy, "* TagNotFound|RepositoryNotFound *"),
		simple("head-breaks-and-get-does-not", rivals, fails(`EOF|reset`),
			bounds("undetermined|registry|node-infrastructure", "*", "likely|undetermined", "pull"),
			always(headOnly(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })), notHealthy),
		{
			name: "head-401-get-200", kind: rivals,
			misleads: "401 Unauthorized: a gateway removes the login from HEAD, the password is right",
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				strip := func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.Method == http.MethodHead {
							r.Header.Del("Authorization")
						}
						next.ServeHTTP(w, r)
					})
				}
				h.setFault(func(next http.Handler) http.Handler { return strip(requireBasicAuth(l)(next)) })
				return &subject{image: image, auth: l, fix: func() { h.setFault(requireBasicAuth(l)) }}
			},
			runtime: fails(`401 Unauthorized`),
			want:    bounds("registry|undetermined", "*", "likely|undetermined", "manifest/{host}"),
			never:   []string{notHealthy, "cluster-config * *"},
		},
		{
			name: "manifest-of-the-platform-lost", kind: rivals,
			misleads: "not found: the tag is there, and so is its index",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository, tag := randomWord(), randomWord()
				index := s.index("linux/amd64", "linux/arm64")
				s.pushObject(repository, tag, index)
				m, err := index.IndexManifest()
				must(s.t, err)
				h.setFault(respondError(func(r *http.Request) bool {
					return strings.HasSuffix(r.URL.Path, m.Manifests[0].Digest.String())
				}, http.StatusNotFound, "MANIFEST_UNKNOWN"))
				return &subject{image: h.image(repository, tag), fix: func() { h.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `not found`),
			want:    bounds("registry", "LayerCorrupt|RegistryUnavailable|UnsupportedManifest", "likely|confirmed", "pull"),
			never:   []string{"* TagNotFound|PlatformMismatch *"},
		},
		{
			name: "configuration-lost", kind: rivals,
			misleads: "not found: the manifest is there, one of its blobs is not",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository, tag := randomWord(), randomWord()
				config, err := s.pushRandom(repository, tag, lab.Image{}).ConfigName()
				must(s.t, err)
				h.setFault(respondError(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, config.String()) },
					http.StatusNotFound, "BLOB_UNKNOWN"))
				return &subject{image: h.image(repository, tag), fix: func() { h.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `not found`),
			want:    bounds("registry", "LayerCorrupt", "likely|confirmed", "pull"),
			never:   []string{"* TagNotFound *"},
		},
		{
			name: "layer-encrypted", kind: rivals,
			misleads: "no processor for media-type: the layer is intact, and this node has no key",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository, tag := randomWord(), randomWord()
				s.pushObject(repository, tag, s.imageOfLayer(s.randomTar(1<<10), types.OCILayer+"+encrypted"))
				return &subject{image: h.image(repository, tag), fix: func() { s.pushRandom(repository, tag, lab.Image{}) }}
			},
			runtime: failsWithAny(`.`),
			want:    bounds("*", "UnsupportedManifest|UnpackFailed|Undetermined", "likely|undetermined|confirmed"),
			never:   []string{notHealthy, "* LayerCorrupt *"},
		},
		{
			name: "name-resolves-by-a-search-domain", kind: rivals,
			misleads: "certificate is valid for another name: the registry has no name, a search domain's wildcard record has",
			setup: func(s *scene) *subject {
				domain := s.w.name()
				ingress := s.host(hostOptions{name: "www." + domain, port: 443})
				s.w.setDNS("*."+domain, lab.Answer{Addrs: ingress.addrs})
				m := s.w.newMachine(s.t, machineSpec{
					resolvConf: "nameserver " + resolver1 + "\nsearch " + domain + "\n",
				})
				right := s.host(hostOptions{port: 443})
				s.hosts = []*host{right, ingress}
				image, _, _ := s.pushApp(right)
				s.w.setDNS(right.name, lab.Answer{Rcode: "NXDOMAIN"})
				return &subject{image: image, machine: m, fix: func() { s.w.setDNS(right.name, lab.Answer{Addrs: right.addrs}) }}
			},
			runtime: fails(`certificate is valid for www`),
			want:    bounds("undetermined|cluster-config|node-infrastructure", "*", "likely|undetermined"),
			never:   []string{"registry * *"}, wouldDecide: true,
		},
		{
			name: "authority-expired-in-the-trust-store", kind: rivals,
			misleads: "certificate has expired: not the registry's, that of its authority, which the node trusts",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				root, leaf := s.expiredAuthority(h.name)
				m := s.w.newMachine(s.t, machineSpec{trust: append(s.w.trustedCA.PEM(), root...)})
				image, _, _ := s.pushApp(h)
				h.setCertificate(leaf)
				return &subject{image: image, machine: m, fix: func() {
					h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name}))
				}}
			},
			runtime: fails(`x509: `),
			want: bounds("node-infrastructure|undetermined", "CertificateExpired|CertificateUntrusted|CertificateInvalid", "*",
				"tls/{host}/{addr}"),
			never: []string{notHealthy}, neverFix: []string{"renew the certificate of"},
		},
		{
			name: "proxy-spoken-to-in-tls", kind: detours,
			misleads: "first record does not look like a TLS handshake: not the registry's, the proxy's",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				p := s.connectProxy(nil)
				m := s.w.newMachine(s.t, machineSpec{env: []string{"HTTPS_PROXY=https://" + p.addr}})
				image, _, _ := s.pushApp(h)
				return &subject{image: image, machine: m, fix: func() { m.restart(s.t, "HTTPS_PROXY=http://"+p.addr) }}
			},
			runtime: fails(`.`),
			want:    bounds("node-infrastructure", "ProxyUnreachable|ProxyDenied", "likely|confirmed"),
			never:   []string{"* PlainHTTPRegistry|TLSHandshakeFailed *"},
		},
		{
			name: "name-is-an-alias-of-nothing", kind: rivals,
			misleads: "no such host: the name exists, what it is an alias of does not",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				s.w.setDNS(h.name, lab.Answer{CNAME: s.w.name()})
				return &subject{image: image, fix: func() { s.w.setDNS(h.name, lab.Answer{Addrs: h.addrs}) }}
			},
			runtime: fails(`no such host|server misbehaving`),
			want:    bounds("cluster-config|registry|undetermined", "HostNotFound|ResolverFailed", "likely|undetermined", "dns/{host}"),
		},
		{
			name: "address-without-a-name-in-the-certificate", kind: rivals,
			setup: func(s *scene) *subject {
				addr := s.w.addr(private4)
				h := s.host(hostOptions{name: addr.String(), port: 5000, addrs: []netip.Addr{addr}, notInDNS: true})
				image, _, _ := s.pushApp(h)
				h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: s.w.name()}))
				return &subject{image: image, fix: func() { h.setCertificate(s.certificateForAddress(addr)) }}
			},
			runtime: fails(`doesn't contain any IP SANs`),
			want:    bounds("registry|undetermined", "CertificateNameMismatch|CertificateInvalid", "confirmed|likely", "tls/{host}/{addr}"),
		},
		{
			name: "portal-over-plain-http", kind: rivals,
			misleads: "HTTP response to HTTPS client: not a registry without TLS, but a login page on its port",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{port: 443})
				image, _, _ := s.pushApp(h)
				h.setConnHandler(servePlainHTTP)
				h.setFault(replaceResponse(anyRequest, func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, "http://portal.guest.net/login", http.StatusFound)
				}))
				return &subject{image: image, fix: func() {
					h.setFault(nil)
					h.setConnHandler(nil)
				}}
			},
			runtime: fails(`server gave HTTP response to HTTPS client`),
			want:    bounds("*", "*", "likely|undetermined", "tls/{host}/{addr}"),
			never:   []string{notHealthy, "* PlainHTTPRegistry confirmed"}, neverFix: []string{"http://"},
		},
		{
			name: "second-resolver-invents-answers", kind: rivals,
			misleads: "a resolver that knows the name: it answers for every name of the domain",
			setup: func(s *scene) *subject {
				right := s.host(hostOptions{port: 443})
				_, domain, _ := strings.Cut(right.name, ".")
				ads := s.host(hostOptions{port: 443})
				s.w.setDNS("*."+domain, lab.Answer{Addrs: ads.addrs}, resolver2)
				_, repository, tag := s.pushApp(right)
				return &subject{image: randomWord() + "." + domain + "/" + repository + ":" + tag,
					fixedImage: right.image(repository, tag), fix: func() {}}
			},
			runtime: fails(`no such host`),
			want:    bounds("cluster-config|undetermined", "HostNotFound", "likely|undetermined"),
			never:   []string{"node-infrastructure * *"},
		},
		{
			name: "private-endpoint-refuses", kind: clouds,
			misleads: "a wrong address: it is that of the registry's private endpoint",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{name: randomWord() + ".azurecr.io", port: 443, notListening: true})
				image, _, _ := s.pushApp(h)
				return &subject{image: image, fix: func() { h.listen() }}
			},
			runtime: fails(`connection refused`),
			want:    bounds("undetermined|node-infrastructure", "ConnectionRefused", "likely|confirmed|undetermined", "dial/{host}/{addr}"),
			never:   []string{"* ResolverWrongAnswer *", "node-infrastructure * confirmed"},
		},
		{
			name: "private-endpoint-and-a-missing-tag", kind: clouds,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{name: randomWord() + ".azurecr.io", port: 443})
				_, repository, _ := s.pushApp(h)
				tag := randomWord()
				return &subject{image: h.image(repository, tag), fix: func() { s.pushRandom(repository, tag, lab.Image{}) }}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want:    bounds("cluster-config", "TagNotFound", "confirmed|likely", "manifest/{host}", "pull"),
		},
		{
			name: "realm-at-a-web-site", kind: rivals,
			misleads: "401 Unauthorized: by a web site that the challenge names, the password is right",
			setup: func(s *scene) *subject {
				h, site, l := s.host(hostOptions{}), s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantOnly(l)}
				h.setFault(t.requireToken(realmOf(site)))
				site.setFault(replaceResponse(anyRequest, serveSite))
				return &subject{image: image, auth: l, fix: func() { h.setFault(requireBasicAuth(l)) }}
			},
			runtime: fails(`401 Unauthorized`),
			want:    bounds("registry|undetermined", "*", "likely|undetermined"),
			never:   []string{notHealthy, "* CredentialsRejected *"}, neverFix: []string{"create secret"},
		},
		{
			name: "rejected-by-one-of-two-registries-behind-a-name", kind: rivals,
			misleads: "401 Unauthorized: the password is right for the other machine of this name",
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				h.setFault(replaceResponse(func(r *http.Request) bool { return strings.HasPrefix(r.UserAgent(), "containerd") },
					func(w http.ResponseWriter, r *http.Request) {
						requireBasicAuth(newLogin())(nil).ServeHTTP(w, r)
					}))
				return &subject{image: image, auth: l, fix: func() { h.setFault(requireBasicAuth(l)) }}
			},
			runtime: fails(`401 Unauthorized`),
			want:    bounds("*", "*", "likely|undetermined", "pull"),
			never:   []string{notHealthy, "cluster-config CredentialsRejected confirmed"},
		},
		{
			name: "layers-host-forbids-ranges", kind: requests,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(replaceResponse(func(r *http.Request) bool { return lab.IsBlob(r) && r.Header.Get("Range") != "" },
					respondStatus(http.StatusRequestedRangeNotSatisfiable)))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: passes(), want: healthy,
		},
		{
			name: "layers-host-forbids-head", kind: requests,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(replaceResponse(func(r *http.Request) bool { return r.Method == http.MethodHead && !isManifest(r) },
					respondStatus(http.StatusForbidden)))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: passes(), want: healthy,
		},
		{
			name: "list-of-tags-that-never-ends", kind: requests,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				_, repository, _ := s.pushApp(h)
				h.setFault(replaceResponse(isTagList, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					io.WriteString(w, `{"name":"x","tags":["a"`)
					tag, _ := json.Marshal(strings.Repeat("t", 100))
					for tick := time.NewTicker(time.Millisecond); r.Context().Err() == nil; <-tick.C {
						if _, err := fmt.Fprintf(w, ",%s", tag); err != nil {
							return
						}
					}
				}))
				tag := randomWord()
				return &subject{image: h.image(repository, tag), fix: func() {
					h.setFault(nil)
					s.pushRandom(repository, tag, lab.Image{})
				}}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want: bounds("cluster-config|undetermined", "TagNotFound|RepositoryNotFound|AccessDeniedOrMissing",
				"likely|confirmed", "manifest/{host}"),
		},
	}
}
