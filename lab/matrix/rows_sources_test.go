//go:build matrix

package matrix

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"google.golang.org/grpc/codes"

	"github.com/pullprobe/pullprobe/lab"
)

// sourceRows returns rows in which a plausible verdict is a wrong one.
func sourceRows() []row {
	any := bounds("*", "*", "*")
	const notHealthy = "none * *"
	simple := func(name string, k kind, rt runtimeResult, w want, never []string, fault func(*scene, *host) func(http.Handler) http.Handler) row {
		return row{
			name: name, kind: k,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(fault(s, h))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: rt, want: w, never: never,
		}
	}
	always := func(f func(http.Handler) http.Handler) func(*scene, *host) func(http.Handler) http.Handler {
		return func(*scene, *host) func(http.Handler) http.Handler { return f }
	}
	noSuchKey := replaceResponse(anyRequest, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>`)
	})
	// staleCDN is a host of layers whose name leads this node to an old machine.
	staleCDN := func(name string, lead func(s *scene, cdn *host, old netip.Addr) (fix func()), pinned bool) row {
		return row{
			name: name, kind: rivals, misleads: "404: the layers are there, this node asks another machine for them",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				o := hostOptions{}
				old := s.w.addr(private4)
				if pinned {
					p := s.w.takePinnedName(s.t)
					o.name, old = p.name, p.addr
				}
				cdn := s.host(o)
				image, _, _ := s.pushApp(h)
				h.setFault(func(next http.Handler) http.Handler { return lab.RedirectBlobs(next, cdn.String()) })
				m := s.host(hostOptions{name: cdn.name, port: cdn.port, addrs: []netip.Addr{old}, notInDNS: true})
				m.setFault(noSuchKey)
				fix := lead(s, cdn, old)
				return &subject{image: image, fix: func() { m.setFault(nil); fix() }}
			},
			runtime: failsWith(codes.NotFound, `not found`), want: any,
			never: []string{"* * confirmed", "registry * confirmed"},
		}
	}
	// otherTokenMachine is a token service whose name leads to another machine with other users.
	otherTokenMachine := func(name string, lead func(s *scene, service *host, old netip.Addr) (fix func()), pinned bool) row {
		return row{
			name: name, kind: rivals, misleads: "401: the password is right, another machine is asked",
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				o, old := hostOptions{}, s.w.addr(private4)
				if pinned {
					p := s.w.takePinnedName(s.t)
					o.name, old = p.name, p.addr
				}
				service := s.host(o)
				t := &tokenService{grant: grantOnly(l)}
				image, _, _ := s.pushApp(h)
				h.setFault(t.requireToken(realmOf(service)))
				service.setFault(func(http.Handler) http.Handler { return t })
				m := s.host(hostOptions{name: service.name, port: service.port, addrs: []netip.Addr{old}, notInDNS: true})
				wrong := &tokenService{grant: grantOnly(newLogin())}
				m.setFault(func(http.Handler) http.Handler { return wrong })
				fix := lead(s, service, old)
				return &subject{image: image, auth: l, fix: func() {
					m.setFault(func(http.Handler) http.Handler { return t })
					fix()
				}}
			},
			runtime: fails(`401 Unauthorized`), want: any,
			never: []string{"* * confirmed", "cluster-config * confirmed"},
		}
	}
	firstResolver := func(s *scene, h *host, old netip.Addr) func() {
		s.w.setDNS(h.name, lab.Answer{Addrs: []netip.Addr{old}}, resolver1)
		return func() { s.w.setDNS(h.name, lab.Answer{Addrs: h.addrs}) }
	}
	inHostsFile := func(*scene, *host, netip.Addr) func() { return func() {} }
	bothMachines := func(s *scene, h *host, old netip.Addr) func() {
		s.w.setDNS(h.name, lab.Answer{Addrs: []netip.Addr{old, h.addrs[0]}})
		return func() {}
	}
	// mutual is a registry that wants a client certificate; the one in hosts.toml is not valid.
	mutual := func(name, alert string, config func(s *scene, h *host) *tls.Config, key func(s *scene) (cert, key []byte)) row {
		return row{
			name: name, kind: detours, misleads: "not the server's certificate: the one of this node",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setTLS(config(s, h))
				c, k := key(s)
				dir := randomWord()
				must(s.t, writeFiles(s.w.common.etc("containerd/"+dir), map[string]string{"c.pem": string(c), "k.pem": string(k)}))
				s.w.common.hostsTOML(s.t, h.String(), fmt.Sprintf(
					"server = \"https://%s\"\n[host.\"https://%[1]s\"]\n  client = [[\"/etc/containerd/%s/c.pem\", \"/etc/containerd/%[2]s/k.pem\"]]\n", h, dir))
				return &subject{image: image, fix: func() {
					h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name}))
					s.w.common.hostsTOML(s.t, h.String(), fmt.Sprintf("server = \"https://%s\"\n", h))
				}}
			},
			runtime: failsWithAny(alert), want: any,
			never: []string{"registry * *", "* CertificateExpired|CertificateUntrusted|CertificateInvalid *", notHealthy},
		}
	}
	clientCert := func(s *scene, a *lab.Authority, since, until time.Duration) (cert, key []byte) {
		t := leafSpec{name: "node", since: since, until: until}.template()
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		der, k, err := a.Sign(t)
		must(s.t, err)
		kb, err := x509.MarshalPKCS8PrivateKey(k)
		must(s.t, err)
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kb})
	}
	wantsClient := func(s *scene, h *host) *tls.Config {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(s.w.trustedCA.PEM())
		return &tls.Config{
			Certificates: []tls.Certificate{s.certificate(s.w.trustedCA, leafSpec{name: h.name})},
			ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool,
		}
	}
	// object is a registry with another object under a tag.
	object := func(name string, rt runtimeResult, w want, never []string, args []string, make func(s *scene, repository, tag string)) row {
		return row{
			name: name, kind: rivals,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository, tag := randomWord(), randomWord()
				make(s, repository, tag)
				return &subject{image: h.image(repository, tag), args: args, fix: func() {
					h.setFault(nil)
					s.pushRandom(repository, tag, lab.Image{})
				}}
			},
			runtime: rt, want: w, never: never,
		}
	}
	// foreign is an image whose layer has URLs: the runtime asks them first.
	foreign := func(s *scene, repository, tag, url string) v1.Image {
		base := s.imageOfLayer(s.randomTar(1<<10), types.OCIUncompressedLayer)
		layers, err := base.Layers()
		must(s.t, err)
		img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
		d, err := layers[0].Digest()
		must(s.t, err)
		img, err = mutate.Append(img, mutate.Addendum{Layer: layers[0], URLs: []string{url + "/v2/" + repository + "/blobs/" + d.String()}})
		must(s.t, err)
		config, err := img.ConfigFile()
		must(s.t, err)
		config = config.DeepCopy()
		config.OS, config.Architecture = "linux", "amd64"
		img, err = mutate.ConfigFile(img, config)
		must(s.t, err)
		raw, err := img.RawManifest()
		must(s.t, err)
		hash, err := img.Digest()
		must(s.t, err)
		s.pushObject(repository, "base", base)
		cfg, err := img.RawConfigFile()
		must(s.t, err)
		cn, err := img.ConfigName()
		must(s.t, err)
		s.hosts[0].setFault(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case isManifest(r) && (strings.HasSuffix(r.URL.Path, "/"+tag) || strings.HasSuffix(r.URL.Path, hash.String())):
					w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
					w.Header().Set("Docker-Content-Digest", hash.String())
					w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
					if r.Method == http.MethodGet {
						w.Write(raw)
					}
				case strings.HasSuffix(r.URL.Path, cn.String()):
					w.Write(cfg)
				case strings.HasSuffix(r.URL.Path, d.String()):
					lab.RegistryError(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry")
				default:
					next.ServeHTTP(w, r)
				}
			})
		})
		return img
	}
	withoutPull := []string{"--no-pull"}
	serverPath := func(name, server string, more string, auth bool, rt runtimeResult) row {
		return row{
			name: name, kind: detours, misleads: "not found: hosts.toml leads to another path of the right registry",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				sub := &subject{image: image, fix: func() {
					s.w.common.hostsTOML(s.t, h.String(), fmt.Sprintf("server = \"https://%s\"\n", h))
				}}
				check := func(next http.Handler) http.Handler { return next }
				if auth {
					sub.auth = newLogin()
					check = requireBasicAuth(sub.auth)
				}
				h.setFault(func(next http.Handler) http.Handler {
					return check(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
						if strings.HasPrefix(r.URL.Path, "/v2/proxy/") && !strings.HasPrefix(r.URL.Path, "/v2/proxy/v2/") {
							lab.RegistryError(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry")
							return
						}
						next.ServeHTTP(w, r)
					}))
				})
				s.w.common.hostsTOML(s.t, h.String(), fmt.Sprintf(server, h)+more)
				return sub
			},
			runtime: rt, want: any, never: []string{"cluster-config * *", "registry * confirmed", "* * confirmed"},
			neverFix: []string{"push "},
		}
	}
	rows := []row{
		staleCDN("first-resolver-leads-to-an-old-machine-of-the-layers", firstResolver, false),
		staleCDN("hosts-file-leads-to-an-old-machine-of-the-layers", inHostsFile, true),
		staleCDN("first-of-two-machines-lacks-the-layers-of-another-host", bothMachines, false),
		otherTokenMachine("first-resolver-leads-to-an-old-token-service", firstResolver, false),
		otherTokenMachine("hosts-file-leads-to-an-old-token-service", inHostsFile, true),
		otherTokenMachine("first-of-two-token-services-has-other-users", bothMachines, false),
		mutual("client-certificate-expired", `tls: `, wantsClient, func(s *scene) ([]byte, []byte) {
			return clientCert(s, s.w.trustedCA, -30*day, -day)
		}),
		mutual("client-certificate-of-another-authority", `tls: `, wantsClient, func(s *scene) ([]byte, []byte) {
			return clientCert(s, s.w.privateCA, -day, day)
		}),
		mutual("client-certificate-and-key-do-not-match", `.`, wantsClient, func(s *scene) ([]byte, []byte) {
			c, _ := clientCert(s, s.w.trustedCA, -day, day)
			_, k := clientCert(s, s.w.trustedCA, -day, day)
			return c, k
		}),
		serverPath("hosts-toml-with-a-wrong-path", "server = \"https://%s/v2/proxy\"\noverride_path = true\n", "", false, failsWith(codes.NotFound, `not found`)),
		serverPath("hosts-toml-with-a-path-and-no-override", "server = \"https://%s/v2/proxy\"\n", "", false, failsWithAny(`.`)),
		serverPath("hosts-toml-with-a-wrong-path-and-a-login", "server = \"https://%s/v2/proxy\"\noverride_path = true\n", "", true, failsWith(codes.NotFound, `not found`)),
		{
			name: "token-post-is-redirected", kind: rivals, misleads: "no access: the login is lost on a redirect of the token service",
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantOnly(l)}
				good := t.requireToken(realmOf(h))
				h.setFault(func(next http.Handler) http.Handler {
					inner := good(next)
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.URL.Path == "/token" && r.Method == http.MethodPost && r.URL.Query().Get("x") == "" {
							http.Redirect(w, r, "/token?x=1", http.StatusFound)
							return
						}
						inner.ServeHTTP(w, r)
					})
				})
				return &subject{image: image, auth: l, fix: func() { h.setFault(good) }}
			},
			runtime: failsWithAny(`.`), want: any, never: []string{"cluster-config * *", notHealthy},
			neverFix: []string{"create secret"},
		},
		{
			name: "token-get-and-post-are-redirected", kind: rivals,
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantOnly(l)}
				good := t.requireToken(realmOf(h))
				h.setFault(func(next http.Handler) http.Handler {
					inner := good(next)
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.URL.Path == "/token" && r.URL.Query().Get("x") == "" {
							http.Redirect(w, r, "/token?x=1", http.StatusMovedPermanently)
							return
						}
						inner.ServeHTTP(w, r)
					})
				})
				return &subject{image: image, auth: l, fix: func() { h.setFault(good) }}
			},
			runtime: failsWithAny(`.`), want: any, never: []string{"cluster-config * confirmed", notHealthy},
		},
		simple("realm-is-relative", requests, failsWithAny(`.`), any, []string{"cluster-config * *", "node-infrastructure * *", notHealthy},
			func(_ *scene, h *host) func(http.Handler) http.Handler {
				t := &tokenService{grant: grantAll}
				return t.requireToken("/token")
			}),
		{
			name: "two-challenges-in-one-line", kind: logins,
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantOnly(l)}
				h.setFault(func(next http.Handler) http.Handler {
					return challenge(fmt.Sprintf(`Basic realm="registry", Bearer realm=%q,service="registry"`, realmOf(h)))(
						t.requireToken(realmOf(h))(next))
				})
				return &subject{image: image, auth: l, fix: func() { h.setFault(t.requireToken(realmOf(h))) }}
			},
			runtime: runtimeResult{any: true}, want: any, never: []string{"cluster-config * confirmed"},
		},
		object("layer-with-a-url-that-is-dead", failsWithAny(`.`), any,
			[]string{"registry LayerCorrupt *", "* * confirmed", notHealthy}, nil, func(s *scene, repository, tag string) {
				dead := s.host(hostOptions{notListening: true})
				foreign(s, repository, tag, "https://"+dead.String())
			}),
		object("layer-with-a-url-that-is-dead-unpulled", failsWithAny(`.`), any, []string{notHealthy}, withoutPull, func(s *scene, repository, tag string) {
			foreign(s, repository, tag, "https://"+s.host(hostOptions{notListening: true}).String())
		}),
		object("layer-with-a-url-only-unpulled", passes(), any,
			[]string{"* LayerCorrupt *"}, withoutPull, func(s *scene, repository, tag string) {
				other := s.host(hostOptions{})
				foreign(s, repository, tag, "https://"+other.String())
			}),
		object("index-of-386-only", failsWithAny(`.`), any, []string{notHealthy, "node-infrastructure * *"}, nil, func(s *scene, repository, tag string) {
			s.pushObject(repository, tag, s.index("linux/386"))
		}),
		object("index-of-386-only-unpulled", failsWithAny(`.`), any, []string{notHealthy}, withoutPull, func(s *scene, repository, tag string) {
			s.pushObject(repository, tag, s.index("linux/386"))
		}),
		object("index-of-amd64-v3-only", failsWithAny(`no match`), bounds("cluster-config", "PlatformMismatch", "*"), nil, nil, func(s *scene, repository, tag string) {
			s.pushObject(repository, tag, s.index("linux/amd64/v3"))
		}),
		{
			name: "layers-on-a-subdomain-that-wants-one-login-only", kind: requests,
			misleads: "400 Bad Request: the login goes along to the layers' host",
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				cdn := s.host(hostOptions{name: "cdn." + h.name})
				image, _, _ := s.pushApp(h)
				h.setFault(func(next http.Handler) http.Handler {
					return requireBasicAuth(l)(lab.RedirectBlobs(next, cdn.String()))
				})
				cdn.setFault(replaceResponse(func(r *http.Request) bool { return r.Header.Get("Authorization") != "" },
					func(w http.ResponseWriter, _ *http.Request) {
						w.Header().Set("Content-Type", "application/xml")
						w.WriteHeader(http.StatusBadRequest)
						io.WriteString(w, `<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>`)
					}))
				return &subject{image: image, auth: l, args: withoutPull, fix: func() { h.setFault(requireBasicAuth(l)) }}
			},
			runtime: failsWithAny(`400`), want: any, never: []string{notHealthy},
		},
		{
			name: "tag-and-digest-and-the-digest-is-missing", kind: fixLines,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository, tag := randomWord(), randomWord()
				s.pushRandom(repository, tag, lab.Image{})
				return &subject{
					image:      h.image(repository, tag) + "@sha256:" + strings.Repeat("ab", 32),
					fixedImage: h.image(repository, tag), fix: func() {},
				}
			},
			runtime: failsWithAny(`not found`), want: bounds("cluster-config", "TagNotFound", "*"),
		},
		{
			name: "tag-and-digest-and-the-tag-is-missing", kind: rivals,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository := randomWord()
				d, err := s.pushRandom(repository, "other", lab.Image{}).Digest()
				must(s.t, err)
				return &subject{image: h.image(repository, "gone") + "@" + d.String(), fix: func() {}}
			},
			runtime: passes(), want: bounds("none", "Healthy", "*"),
		},
		{
			name: "repository-gone-that-the-node-has-images-of", kind: rivals,
			misleads: "name unknown: the registry's storage is not mounted",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository, tag := randomWord(), randomWord()
				s.pushRandom(repository, "before", lab.Image{})
				if p := s.pull(&subject{machine: s.w.common}, h.image(repository, "before"), hangTime); p.message != "" {
					s.t.Fatal(p.message)
				}
				s.pushRandom(repository, tag, lab.Image{})
				h.setFault(lacksRepository)
				return &subject{image: h.image(repository, tag), fix: func() { h.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `not found`), want: any,
			never: []string{"cluster-config * *", "* * confirmed"}, neverFix: []string{"push "},
		},
		{
			name: "repository-gone-that-the-node-has-images-of-with-a-login", kind: rivals,
			misleads: "name unknown: the registry's storage is not mounted",
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				repository, tag := randomWord(), randomWord()
				s.pushRandom(repository, "before", lab.Image{})
				if p := s.pull(&subject{machine: s.w.common}, h.image(repository, "before"), hangTime); p.message != "" {
					s.t.Fatal(p.message)
				}
				s.pushRandom(repository, tag, lab.Image{})
				h.setFault(func(next http.Handler) http.Handler { return requireBasicAuth(l)(lacksRepository(next)) })
				return &subject{image: h.image(repository, tag), auth: l, fix: func() { h.setFault(requireBasicAuth(l)) }}
			},
			runtime: failsWith(codes.NotFound, `not found`), want: any,
			never: []string{"* * confirmed"},
		},
		{
			name: "realm-over-plain-http-redirects-to-https", kind: rivals,
			misleads: "no access: the registry names its realm as http, and the login is lost on the redirect to https",
			setup: func(s *scene) *subject {
				h, plain, l := s.host(hostOptions{}), s.host(hostOptions{}), newLogin()
				plain.setConnHandler(servePlainHTTP)
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantOnly(l)}
				h.setFault(t.requireToken("http://" + plain.name + ":" + plain.portText() + "/token"))
				plain.setFault(replaceResponse(anyRequest, func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, realmOf(h)+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
				}))
				return &subject{image: image, auth: l, fix: func() { h.setFault(t.requireToken(realmOf(h))) }}
			},
			runtime: failsWithAny(`.`), want: any, never: []string{"cluster-config * confirmed", notHealthy},
		},
		{
			name: "token-get-is-redirected-within-the-host", kind: requests,
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantOnly(l)}
				good := t.requireToken(realmOf(h))
				h.setFault(func(next http.Handler) http.Handler {
					inner := good(next)
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						switch {
						case r.URL.Path == "/token" && r.Method == http.MethodPost:
							w.WriteHeader(http.StatusNotFound)
						case r.URL.Path == "/token" && r.URL.Query().Get("x") == "":
							http.Redirect(w, r, "/token?x=1", http.StatusMovedPermanently)
						default:
							inner.ServeHTTP(w, r)
						}
					})
				})
				return &subject{image: image, auth: l, args: withoutPull, fix: func() { h.setFault(good) }}
			},
			runtime: passes(), want: any, never: []string{"cluster-config * *", "registry * *", "node-infrastructure * *"},
		},
		{
			name: "v6-address-of-an-old-machine", kind: rivals, misleads: "not found: the AAAA record is an old one",
			setup: func(s *scene) *subject {
				six, four := s.w.addr(public6), s.w.addr(private4)
				h := s.host(hostOptions{addrs: []netip.Addr{four}, notInDNS: true})
				image, _, _ := s.pushApp(h)
				old := s.host(hostOptions{name: h.name, port: h.port, addrs: []netip.Addr{six}, notInDNS: true})
				old.setFault(lacksTag)
				s.hosts = append(s.hosts[:0], h, old)
				s.w.setDNS(h.name, lab.Answer{Addrs: []netip.Addr{six, four}})
				return &subject{image: image, fix: func() { old.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `not found`), want: any, never: []string{"* * confirmed", "cluster-config * *"},
		},
		{
			name: "v6-address-of-an-old-machine-with-other-users", kind: rivals,
			setup: func(s *scene) *subject {
				six, four, l := s.w.addr(public6), s.w.addr(private4), newLogin()
				h := s.host(hostOptions{addrs: []netip.Addr{four}, notInDNS: true})
				image, _, _ := s.pushApp(h)
				h.setFault(requireBasicAuth(l))
				old := s.host(hostOptions{name: h.name, port: h.port, addrs: []netip.Addr{six}, notInDNS: true})
				old.setFault(requireBasicAuth(newLogin()))
				s.hosts = append(s.hosts[:0], h, old)
				s.w.setDNS(h.name, lab.Answer{Addrs: []netip.Addr{six, four}})
				return &subject{image: image, auth: l, fix: func() { old.setFault(nil) }}
			},
			runtime: fails(`401`), want: any, never: []string{"* * confirmed"},
		},
		{
			name: "v6-address-of-an-old-machine-lacks-the-layers", kind: rivals,
			setup: func(s *scene) *subject {
				six, four := s.w.addr(public6), s.w.addr(private4)
				h := s.host(hostOptions{addrs: []netip.Addr{four}, notInDNS: true})
				image, _, _ := s.pushApp(h)
				old := s.host(hostOptions{name: h.name, port: h.port, addrs: []netip.Addr{six}, notInDNS: true})
				old.setFault(respondError(lab.IsBlob, http.StatusNotFound, "BLOB_UNKNOWN"))
				s.hosts = append(s.hosts[:0], h, old)
				s.w.setDNS(h.name, lab.Answer{Addrs: []netip.Addr{six, four}})
				return &subject{image: image, fix: func() { old.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `not found`), want: any, never: []string{"* * confirmed"},
		},
		{
			name: "public-registry-led-to-an-internal-machine", kind: rivals,
			misleads: "not found: DNS of the site leads a public registry's name to a machine of its own",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{name: "registry.gitlab.com", port: 443, addrs: []netip.Addr{s.w.addr(private4)}})
				image, _, _ := s.pushApp(h)
				h.setFault(lacksTag)
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `not found`), want: any, never: []string{"* * confirmed"},
		},
		{
			name: "public-registry-led-to-an-internal-machine-by-one-resolver", kind: rivals,
			setup: func(s *scene) *subject {
				real := s.w.addr(public4)
				h := s.host(hostOptions{name: "public.ecr.aws", port: 443, addrs: []netip.Addr{s.w.addr(private4)}, notInDNS: true})
				image, _, _ := s.pushApp(h)
				up := s.host(hostOptions{name: h.name, port: 443, addrs: []netip.Addr{real}, notInDNS: true})
				s.hosts = append(s.hosts[:0], h, up)
				s.w.setDNS(h.name, lab.Answer{Addrs: h.addrs}, resolver1)
				s.w.setDNS(h.name, lab.Answer{Addrs: up.addrs}, resolver2)
				h.setFault(lacksTag)
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `not found`), want: any, never: []string{"* * confirmed", "cluster-config * *"},
		},
		{
			name: "hosts-file-leads-to-a-machine-with-a-certificate-for-another-name", kind: rivals,
			setup: func(s *scene) *subject {
				p := s.w.takePinnedName(s.t)
				h := s.host(hostOptions{name: p.name})
				image, _, _ := s.pushApp(h)
				old := s.host(hostOptions{name: h.name, port: h.port, addrs: []netip.Addr{p.addr}, notInDNS: true})
				old.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: s.w.name()}))
				s.hosts = append(s.hosts[:0], h, old)
				return &subject{image: image, fix: func() { old.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name})) }}
			},
			runtime: fails(`x509`), want: bounds("node-infrastructure", "ResolverWrongAnswer", "*"),
		},
		{
			name: "hosts-file-leads-to-a-machine-with-a-private-authority", kind: rivals,
			setup: func(s *scene) *subject {
				p := s.w.takePinnedName(s.t)
				h := s.host(hostOptions{name: p.name})
				image, _, _ := s.pushApp(h)
				old := s.host(hostOptions{name: h.name, port: h.port, addrs: []netip.Addr{p.addr}, notInDNS: true})
				old.setCertificate(s.certificate(s.w.privateCA, leafSpec{name: h.name}))
				s.hosts = append(s.hosts[:0], h, old)
				return &subject{image: image, fix: func() { old.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name})) }}
			},
			runtime: fails(`x509`), want: any, never: []string{"* * confirmed"},
		},
		object("index-for-windows-only", failsWith(codes.NotFound, `no match for platform`), bounds("cluster-config", "PlatformMismatch", "*"), nil, nil,
			func(s *scene, repository, tag string) { s.pushObject(repository, tag, s.index("windows/amd64")) }),
		simple("layers-ask-anonymous-for-a-login", rivals, failsWithAny(`.`), any, []string{notHealthy},
			always(respondError(lab.IsBlob, http.StatusUnauthorized, "UNAUTHORIZED", "WWW-Authenticate", `Basic realm="x"`))),
		{
			name: "layers-refuse-the-login-that-the-manifest-takes", kind: rivals,
			misleads: "401: the login is right, another part of the registry does not know it",
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				h.setFault(func(next http.Handler) http.Handler {
					return requireBasicAuth(l)(respondError(lab.IsBlob, http.StatusUnauthorized, "UNAUTHORIZED", "WWW-Authenticate", `Basic realm="x"`)(next))
				})
				return &subject{image: image, auth: l, fix: func() { h.setFault(requireBasicAuth(l)) }}
			},
			runtime: failsWithAny(`.`), want: any, never: []string{"* CredentialsRejected *", "cluster-config * confirmed", notHealthy},
		},
		{
			name: "layers-forbid-the-login-that-the-manifest-takes", kind: rivals,
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				h.setFault(func(next http.Handler) http.Handler {
					return requireBasicAuth(l)(respondError(lab.IsBlob, http.StatusForbidden, "DENIED")(next))
				})
				return &subject{image: image, auth: l, fix: func() { h.setFault(requireBasicAuth(l)) }}
			},
			runtime: failsWithAny(`.`), want: any, never: []string{"cluster-config * confirmed", notHealthy},
		},
		{
			name: "token-too-long-for-the-gateway", kind: rivals, misleads: "400: the token is long, a gateway has short buffers",
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantOnly(l)}
				good := t.requireToken(realmOf(h))
				h.setFault(func(next http.Handler) http.Handler {
					inner := good(next)
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.Header.Get("Authorization") != "" && r.URL.Path != "/token" {
							w.Header().Set("Content-Type", "text/html")
							w.WriteHeader(http.StatusBadRequest)
							io.WriteString(w, "<html><head><title>400 Request Header Or Cookie Too Large</title></head></html>")
							return
						}
						inner.ServeHTTP(w, r)
					})
				})
				return &subject{image: image, auth: l, fix: func() { h.setFault(good) }}
			},
			runtime: failsWithAny(`400`), want: any, never: []string{"cluster-config * *", "* * confirmed", notHealthy},
		},
		{
			name: "disk-has-room-for-what-the-node-lacks", kind: rivals,
			misleads: "nothing: most layers are on the node already",
			setup: func(s *scene) *subject {
				m := s.w.newMachine(s.t, machineSpec{store: mount{Type: "tmpfs", Data: "size=256m"}})
				h := s.host(hostOptions{})
				repository := randomWord()
				base := s.pushRandom(repository, "base", lab.Image{Size: 60 << 20})
				if p := s.pull(&subject{machine: m}, h.image(repository, "base"), hangTime); p.message != "" {
					s.t.Fatal(p.message)
				}
				s.pushObject(repository, "app", s.withLayer(base, s.randomTar(4<<10)))
				must(s.t, fill(m.store(), 60<<20))
				return &subject{image: h.image(repository, "app"), machine: m, args: withoutPull, fix: func() { must(s.t, os.Remove(filler(m.store()))) }}
			},
			runtime: passes(), want: any, never: []string{"* DiskFull *"},
		},
		{
			name: "cache-of-google-lacks-the-tag", kind: rivals,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{name: "mirror.gcr.io", port: 443, addrs: []netip.Addr{s.w.addr(public4)}})
				image, _, _ := s.pushApp(h)
				h.setFault(lacksTag)
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `not found`), want: any, never: []string{"* * confirmed"},
		},
		simple("registry-rejects-every-token", rivals, failsWithAny(`.`), bounds("registry|undetermined", "*", "*"),
			[]string{"cluster-config * *", notHealthy}, func(_ *scene, h *host) func(http.Handler) http.Handler {
				t := &tokenService{grant: func(*login) (int, bool) { return http.StatusOK, false }}
				return func(next http.Handler) http.Handler {
					inner := t.requireToken(realmOf(h))(next)
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.Header.Get("Authorization") != "" && r.URL.Path != "/token" {
							w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="registry",error="invalid_token"`, realmOf(h)))
							lab.RegistryError(w, 401, "UNAUTHORIZED", "authentication required")
							return
						}
						inner.ServeHTTP(w, r)
					})
				}
			}),
		{
			name: "negative-serial-number", kind: rivals,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setCertificate(s.negativeSerial(h.name))
				return &subject{image: image, fix: func() { h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name})) }}
			},
			runtime: failsWithAny(`x509`), want: bounds("registry|undetermined", "*", "*"), never: []string{notHealthy},
		},
		{
			name: "image-without-layers", kind: rivals,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository, tag := randomWord(), randomWord()
				img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
				config, err := img.ConfigFile()
				must(s.t, err)
				config = config.DeepCopy()
				config.OS, config.Architecture, config.Author = "linux", "amd64", randomWord()
				img, err = mutate.ConfigFile(img, config)
				must(s.t, err)
				s.pushObject(repository, tag, img)
				return &subject{image: h.image(repository, tag), fix: func() { s.pushRandom(repository, tag, lab.Image{}) }}
			},
			runtime: passes(), want: bounds("none", "Healthy", "*"),
		},
	}
	rows = append(rows, row{
		name: "disk-has-room-for-what-the-node-lacks-and-a-test-pull", kind: rivals,
		setup: func(s *scene) *subject {
			m := s.w.newMachine(s.t, machineSpec{store: mount{Type: "tmpfs", Data: "size=640m"}})
			h := s.host(hostOptions{})
			repository := randomWord()
			base := s.pushRandom(repository, "base", lab.Image{Size: 60 << 20})
			if p := s.pull(&subject{machine: m}, h.image(repository, "base"), hangTime); p.message != "" {
				s.t.Fatal(p.message)
			}
			s.pushObject(repository, "app", s.withLayer(base, s.randomTar(4<<10)))
			must(s.t, fill(m.store(), 100<<20))
			return &subject{image: h.image(repository, "app"), machine: m, fix: func() { must(s.t, os.Remove(filler(m.store()))) }}
		},
		runtime: passes(), want: any, never: []string{"* DiskFull *"},
	},
		mirrorRow("mirror-resolves-only-and-upstream-lacks-the-tag", `"resolve"`, failsWith(codes.NotFound, `not found`), nil, func(s *scene, up, mirror *host) func() {
			up.setFault(lacksTag)
			return func() { up.setFault(nil) }
		}, nil, notHealthy),
		mirrorRow("mirror-pulls-only-and-lacks-everything", `"pull"`, passes(), withoutPull, func(s *scene, up, mirror *host) func() {
			mirror.setFault(lacksTag)
			return func() { mirror.setFault(nil) }
		}, nil, "registry * *", "cluster-config * *", "node-infrastructure * *"),
		mirrorRow("mirror-has-it-by-head-only", `"pull", "resolve"`, passes(), withoutPull, func(s *scene, up, mirror *host) func() {
			mirror.setFault(respondError(func(r *http.Request) bool { return r.Method == http.MethodGet }, http.StatusNotFound, "MANIFEST_UNKNOWN"))
			return func() { mirror.setFault(nil) }
		}, nil, "registry * *", "cluster-config * *", "node-infrastructure * *"),
		mirrorRow("mirror-lacks-layers-and-upstream-wants-a-login", `"pull", "resolve"`, failsWithAny(`.`), nil, func(s *scene, up, mirror *host) func() {
			mirror.setFault(respondError(lab.IsBlob, http.StatusNotFound, "BLOB_UNKNOWN"))
			up.setFault(requireBasicAuth(newLogin()))
			return func() { mirror.setFault(nil) }
		}, nil, "registry LayerCorrupt confirmed", "cluster-config * confirmed", notHealthy),
		row{
			name: "intermediate-of-the-chain-has-expired", kind: rivals, misleads: "expired: the server's own certificate is good",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
				must(s.t, err)
				it := leafSpec{name: "Intermediate", noNames: true, since: -300 * day, until: -day}.template()
				it.IsCA, it.BasicConstraintsValid, it.KeyUsage, it.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
				der, ikey, err := s.w.trustedCA.Sign(it)
				must(s.t, err)
				ic, err := x509.ParseCertificate(der)
				must(s.t, err)
				leaf, err := x509.CreateCertificate(rand.Reader, leafSpec{name: h.name}.template(), ic, key.Public(), ikey)
				must(s.t, err)
				h.setCertificate(tls.Certificate{Certificate: [][]byte{leaf, der}, PrivateKey: key})
				return &subject{image: image, fix: func() { h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name})) }}
			},
			runtime: fails(`x509`), want: any, never: []string{notHealthy}, neverFix: []string{"renew the certificate of"},
		},
		simple("cache-passes-on-a-limit", rivals, fails(`429`), any, []string{notHealthy},
			always(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Server", "Nexus/3.68.1-02 (OSS)")
					respondError(isManifest, 429, "TOOMANYREQUESTS")(next).ServeHTTP(w, r)
				})
			})),
		simple("ingress-has-no-route-to-manifests", rivals, failsWith(codes.NotFound, `not found`), any,
			[]string{"* * confirmed", notHealthy},
			always(replaceResponse(func(r *http.Request) bool { return r.URL.Path != "/v2/" }, func(w http.ResponseWriter, r *http.Request) {
				http.Error(w, "404 page not found", http.StatusNotFound)
			}))),
		row{
			name: "ingress-has-no-route-to-manifests-and-a-login", kind: rivals,
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				h.setFault(func(next http.Handler) http.Handler {
					return requireBasicAuth(l)(replaceResponse(func(r *http.Request) bool { return r.URL.Path != "/v2/" },
						func(w http.ResponseWriter, r *http.Request) { http.Error(w, "404 page not found", http.StatusNotFound) })(next))
				})
				return &subject{image: image, auth: l, fix: func() { h.setFault(requireBasicAuth(l)) }}
			},
			runtime: failsWith(codes.NotFound, `not found`), want: any, never: []string{"* * confirmed", notHealthy},
		},
		simple("ingress-has-no-route-to-layers", rivals, failsWith(codes.NotFound, `not found`), any,
			[]string{"* * confirmed", notHealthy},
			always(replaceResponse(lab.IsBlob, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(http.StatusNotFound)
				io.WriteString(w, "<html><head><title>404 Not Found</title></head><body><center><h1>404 Not Found</h1></center><hr><center>nginx</center></body></html>")
			}))),
		row{
			name: "layers-host-is-a-web-server", kind: rivals, misleads: "404: a web server answers in the place of the store",
			setup: func(s *scene) *subject {
				h, cdn := s.host(hostOptions{}), s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(func(next http.Handler) http.Handler { return lab.RedirectBlobs(next, cdn.String()) })
				cdn.setFault(replaceResponse(anyRequest, serveWebServer))
				return &subject{image: image, fix: func() { cdn.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `not found`), want: any, never: []string{"* * confirmed", notHealthy}, neverFix: []string{"push "},
		},
		object("helm-chart", passes(), bounds("none", "Healthy", "*"), nil, nil, func(s *scene, repository, tag string) {
			s.pushObject(repository, tag, s.artifact("application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"))
		}),
		object("helm-chart-unpulled", passes(), bounds("none", "Healthy", "*"), nil, withoutPull, func(s *scene, repository, tag string) {
			s.pushObject(repository, tag, s.artifact("application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"))
		}),
		object("signature", passes(), bounds("none", "Healthy", "*"), nil, nil, func(s *scene, repository, tag string) {
			s.pushObject(repository, tag, s.artifact("application/vnd.oci.image.config.v1+json", "application/vnd.dev.cosign.simplesigning.v1+json"))
		}),
		object("index-of-an-attestation-only", failsWithAny(`.`), any, []string{notHealthy}, nil, func(s *scene, repository, tag string) {
			s.pushObject(repository, tag, s.index("unknown/unknown"))
		}),
		object("layers-are-empty-files", failsWithAny(`.`), any, []string{"node-infrastructure * *", notHealthy}, nil,
			func(s *scene, repository, tag string) {
				s.pushRandom(repository, tag, lab.Image{Size: 64 << 10})
				s.hosts[0].setFault(emptyLayers(repository))
			}),
		object("layers-are-empty-files-without-a-length", failsWithAny(`.`), any, []string{"node-infrastructure * *", notHealthy}, nil,
			func(s *scene, repository, tag string) {
				s.pushRandom(repository, tag, lab.Image{Size: 64 << 10})
				s.hosts[0].setFault(replaceBigBlobs(func(w http.ResponseWriter) {
					w.Header().Set("Content-Type", "application/octet-stream")
					w.Header().Del("Content-Length")
					w.Header().Set("Transfer-Encoding", "chunked")
					w.WriteHeader(200)
				}))
			}),
		row{
			name: "ingress-with-basic-before-a-registry-with-tokens", kind: rivals,
			misleads: "401: the password is right for both, there are two logins for one header",
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantOnly(l)}
				h.setFault(func(next http.Handler) http.Handler {
					inner := t.requireToken(realmOf(h))(next)
					gate := requireBasicAuth(l)(inner)
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.URL.Path == "/token" {
							inner.ServeHTTP(w, r)
							return
						}
						gate.ServeHTTP(w, r)
					})
				})
				return &subject{image: image, auth: l, fix: func() { h.setFault(t.requireToken(realmOf(h))) }}
			},
			runtime: failsWithAny(`.`), want: any, never: []string{"cluster-config * confirmed", notHealthy},
		},
		row{
			name: "basic-first-and-then-a-token", kind: requests,
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantOnly(l)}
				good := t.requireToken(realmOf(h))
				h.setFault(func(next http.Handler) http.Handler { return challenge(`Basic realm="ingress"`)(good(next)) })
				return &subject{image: image, auth: l, args: withoutPull, fix: func() { h.setFault(good) }}
			},
			runtime: runtimeResult{any: true}, want: any, never: []string{"cluster-config CredentialsRejected *"},
		},
		row{
			name: "server-of-hosts-toml-without-a-scheme", kind: detours,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				s.w.common.hostsTOML(s.t, h.String(), fmt.Sprintf("server = %q\n", h))
				return &subject{image: image, fix: func() {
					s.w.common.hostsTOML(s.t, h.String(), fmt.Sprintf("server = \"https://%s\"\n", h))
				}}
			},
			runtime: runtimeResult{any: true}, want: any, never: []string{"cluster-config * *", "registry * *"},
		},
		row{
			name: "hosts-toml-of-a-name-in-other-letters", kind: detours,
			misleads: "unknown authority: hosts.toml has it, under the name in small letters",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setCertificate(s.certificate(s.w.privateCA, leafSpec{name: h.name}))
				must(s.t, writeFiles(s.w.common.etc("containerd"), map[string]string{h.name + ".pem": string(s.w.privateCA.PEM())}))
				s.w.common.hostsTOML(s.t, h.String(), fmt.Sprintf("server = \"https://%s\"\nca = \"/etc/containerd/%s.pem\"\n", h, h.name))
				upper := strings.ToUpper(image[:1]) + image[1:]
				return &subject{image: upper, fixedImage: image, fix: func() {}}
			},
			runtime: runtimeResult{any: true}, want: any, never: []string{notHealthy},
		},
		row{
			name: "login-without-access-is-told-that-the-name-is-unknown", kind: rivals,
			misleads: "name unknown: the repository exists, this account may not see it",
			setup: func(s *scene) *subject {
				h, l, right := s.host(hostOptions{}), newLogin(), newLogin()
				image, _, _ := s.pushApp(h)
				h.setFault(func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if u, p, ok := r.BasicAuth(); ok && (login{u, p}) == *l && r.URL.Path != "/v2/" {
							lab.RegistryError(w, 404, "NAME_UNKNOWN", "repository not found or access not granted")
							return
						} else if ok && (login{u, p}) == *l {
							w.WriteHeader(200)
							return
						}
						requireBasicAuth(right)(next).ServeHTTP(w, r)
					})
				})
				sub := &subject{image: image, auth: l}
				sub.fix = func() { sub.auth = right }
				return sub
			},
			runtime: failsWith(codes.NotFound, `not found`), want: any, never: []string{"* RepositoryNotFound confirmed"},
		},
		row{
			name: "digest-of-another-algorithm", kind: requests,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository := randomWord()
				img := s.pushRandom(repository, "1", lab.Image{})
				raw, err := img.RawManifest()
				must(s.t, err)
				d := fmt.Sprintf("sha512:%x", sha512.Sum512(raw))
				f := replaceResponse(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, d) }, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
					w.Header().Set("Docker-Content-Digest", d)
					w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
					if r.Method == http.MethodGet {
						w.Write(raw)
					}
				})
				h.setFault(f)
				return &subject{image: h.String() + "/" + repository + "@" + d, fixedImage: h.image(repository, "1"), args: withoutPull, fix: func() {}}
			},
			runtime: runtimeResult{any: true}, want: any, never: []string{"registry * *"},
		},
	)
	// machines is a host of two addresses, of which the runtime asks the faulty one first.
	machines := func(name string, six bool, rt runtimeResult, spoil func(s *scene, first *host), never ...string) row {
		return row{
			name: name, kind: rivals, misleads: "one of the two machines is at fault",
			setup: func(s *scene) *subject {
				a, b := s.w.addr(private4), s.w.addr(private4)
				if six {
					a = s.w.addr(public6)
				}
				h := s.host(hostOptions{addrs: []netip.Addr{b}, notInDNS: true})
				image, _, _ := s.pushApp(h)
				first := s.host(hostOptions{name: h.name, port: h.port, addrs: []netip.Addr{a}, notInDNS: true})
				spoil(s, first)
				s.hosts = append(s.hosts[:0], h, first)
				s.w.setDNS(h.name, lab.Answer{Addrs: []netip.Addr{a, b}})
				return &subject{image: image, fix: func() {
					first.setConnHandler(nil)
					first.setFault(nil)
					first.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name}))
				}}
			},
			runtime: rt, want: any, never: never,
		}
	}
	selfSigned := func(s *scene, first *host) { first.setCertificate(s.selfSigned(first.name)) }
	expired := func(s *scene, first *host) {
		first.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: first.name, since: -30 * day, until: -day}))
	}
	otherName := func(s *scene, first *host) {
		first.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: s.w.name()}))
	}
	plain := func(_ *scene, first *host) { first.setConnHandler(servePlainHTTP) }
	index := func(d ...v1.Descriptor) func(s *scene, repository, tag string) {
		return func(s *scene, repository, tag string) {
			ix := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
			for _, one := range d {
				img, err := lab.MakeImage(lab.DefaultDir(), lab.Image{})
				must(s.t, err)
				ix = mutate.AppendManifests(ix, mutate.IndexAddendum{Add: img, Descriptor: one})
			}
			s.pushObject(repository, tag, ix)
		}
	}
	// says is a token service that refuses a login with a text.
	says := func(name, text string, never ...string) row {
		return row{
			name: name, kind: foreignText, misleads: "401: the service says that it is not about the password",
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantOnly(l)}
				good := t.requireToken(realmOf(h))
				h.setFault(func(next http.Handler) http.Handler {
					return replaceResponse(func(r *http.Request) bool { return r.URL.Path == "/token" }, func(w http.ResponseWriter, _ *http.Request) {
						lab.RegistryError(w, http.StatusUnauthorized, "UNAUTHORIZED", text)
					})(good(next))
				})
				return &subject{image: image, auth: l, fix: func() { h.setFault(good) }}
			},
			runtime: fails(`401`), want: any, never: never,
		}
	}
	replica := func(name string, auth bool) row {
		return row{
			name: name, kind: rivals, misleads: "not found: at the replica that the registry redirects to",
			setup: func(s *scene) *subject {
				h, r2 := s.host(hostOptions{}), s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				r2.setFault(lacksTag)
				h.setFault(func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.URL.Path == "/v2/" {
							next.ServeHTTP(w, r)
							return
						}
						http.Redirect(w, r, "https://"+r2.String()+r.URL.RequestURI(), http.StatusTemporaryRedirect)
					})
				})
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `not found`), want: any, never: []string{"* * confirmed"},
		}
	}
	rows = append(rows,
		machines("first-of-two-machines-is-self-signed", false, fails(`x509`), selfSigned, "* * confirmed"),
		machines("first-of-two-machines-has-expired", false, fails(`x509`), expired, "cluster-config * *"),
		machines("first-of-two-machines-has-another-name", false, fails(`x509`), otherName, "cluster-config * *"),
		machines("first-of-two-machines-speaks-plain-http", false, failsWithAny(`http`), plain, "* * confirmed"),
		machines("v6-machine-is-self-signed", true, fails(`x509`), selfSigned, "* * confirmed"),
		machines("v6-machine-speaks-plain-http", true, failsWithAny(`http`), plain, "* * confirmed"),
		machines("v6-machine-lacks-the-repository", true, failsWith(codes.NotFound, `not found`), func(_ *scene, first *host) { first.setFault(lacksRepository) },
			"* * confirmed", "cluster-config * *"),
		machines("first-of-two-machines-lacks-the-layers", false, failsWith(codes.NotFound, `not found`), func(_ *scene, first *host) {
			first.setFault(respondError(lab.IsBlob, http.StatusNotFound, "BLOB_UNKNOWN"))
		}, "* * confirmed"),
		says("token-service-says-that-its-directory-is-down",
			"identity provider is not reachable: dial tcp 10.0.0.5:636: connect: connection refused", "cluster-config * confirmed"),
		says("token-service-says-that-the-account-is-locked", "account is locked: too many failed login attempts, try again in 15 minutes"),
		says("token-service-says-that-the-clock-differs", "request expired: the client's clock differs by more than 5 minutes", "cluster-config * confirmed"),
		replica("redirected-to-a-replica-that-lacks-the-tag", false),
		object("index-without-platforms", runtimeResult{any: true}, any, nil, withoutPull, index(v1.Descriptor{})),
		object("index-with-features", runtimeResult{any: true}, any, nil, withoutPull,
			index(v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64", OSFeatures: []string{"unknown-feature"}}})),
		object("index-with-a-version-of-the-system", runtimeResult{any: true}, any, nil, withoutPull,
			index(v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64", OSVersion: "9.9"}})),
		object("index-x86_64", runtimeResult{any: true}, any, nil, withoutPull,
			index(v1.Descriptor{Platform: &v1.Platform{OS: "Linux", Architecture: "x86_64"}})),
		row{
			name: "containerd-1.6-pulls-schema-1", kind: requests,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository, tag := randomWord(), randomWord()
				img := s.pushRandom(repository, tag, lab.Image{})
				raw := s.schema1(repository, tag, img)
				sum := fmt.Sprintf("sha256:%x", sha256.Sum256(raw))
				h.setFault(replaceResponse(isManifest, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v1+json")
					w.Header().Set("Docker-Content-Digest", sum)
					w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
					if r.Method == http.MethodGet {
						w.Write(raw)
					}
				}))
				return &subject{image: h.image(repository, tag), machine: s.old(), args: withoutPull, fix: func() { h.setFault(nil) }}
			},
			runtime: runtimeResult{any: true}, want: any,
		},
	)
	// tokenMachine is a token service that the hosts file leads to another machine.
	tokenMachine := func(name string, answer http.HandlerFunc, rt runtimeResult) row {
		return row{
			name: name, kind: rivals, misleads: "the token service answers well at its own address",
			setup: func(s *scene) *subject {
				p := s.w.takePinnedName(s.t)
				h, service := s.host(hostOptions{}), s.host(hostOptions{name: p.name})
				t := &tokenService{grant: grantAll}
				image, _, _ := s.pushApp(h)
				h.setFault(t.requireToken(realmOf(service)))
				service.setFault(func(http.Handler) http.Handler { return t })
				m := s.host(hostOptions{name: service.name, port: service.port, addrs: []netip.Addr{p.addr}, notInDNS: true})
				m.setFault(replaceResponse(anyRequest, answer))
				return &subject{image: image, fix: func() { m.setFault(func(http.Handler) http.Handler { return t }) }}
			},
			runtime: rt, want: any, never: []string{"* * confirmed"},
		}
	}
	rows = append(rows,
		tokenMachine("hosts-file-leads-the-token-service-to-a-web-server", serveWebServer, failsWithAny(`404`)),
		tokenMachine("hosts-file-leads-the-token-service-to-a-broken-machine", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
		}, failsWithAny(`500`)),
		row{
			name: "hosts-file-leads-the-layers-to-a-broken-machine", kind: rivals,
			setup: func(s *scene) *subject {
				p := s.w.takePinnedName(s.t)
				h, cdn := s.host(hostOptions{}), s.host(hostOptions{name: p.name})
				image, _, _ := s.pushApp(h)
				h.setFault(func(next http.Handler) http.Handler { return lab.RedirectBlobs(next, cdn.String()) })
				m := s.host(hostOptions{name: cdn.name, port: cdn.port, addrs: []netip.Addr{p.addr}, notInDNS: true})
				m.setFault(respondError(anyRequest, 500, "UNKNOWN"))
				return &subject{image: image, fix: func() { m.setFault(nil) }}
			},
			runtime: failsWithAny(`500`), want: any, never: []string{"* * confirmed"},
		},
		row{
			name: "tag-and-digest-lost-while-the-tag-is-listed", kind: rivals, misleads: "not found: the registry has lost the manifest",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository, tag := randomWord(), randomWord()
				d, err := s.pushRandom(repository, tag, lab.Image{}).Digest()
				must(s.t, err)
				h.setFault(respondError(isManifest, http.StatusNotFound, "MANIFEST_UNKNOWN"))
				return &subject{image: h.image(repository, tag) + "@" + d.String(), fix: func() { h.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `not found`), want: any, never: []string{"cluster-config * *"},
		},
		row{
			name: "name-with-a-port-unknown", kind: fixLines,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{port: 5000, notInDNS: true})
				image, _, _ := s.pushApp(h)
				return &subject{image: image, fix: func() { s.w.setDNS(h.name, lab.Answer{Addrs: h.addrs}) }}
			},
			runtime: fails(`no such host`), want: any, neverFix: []string{":5000 ;", ":5000 with", ":5000 in /etc/hosts", "nslookup"},
			also: func(_ *scene, d diagnosis) (out []string) {
				for _, q := range append(d.Verdict.WouldDecide, d.Verdict.Fix) {
					if strings.Contains(q, "nslookup") && strings.Contains(q, ":5000") {
						out = append(out, "nslookup takes no port: "+q)
					}
				}
				return out
			},
		},
		row{
			name: "one-resolver-knows-a-name-with-a-port", kind: fixLines,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{port: 5000})
				image, _, _ := s.pushApp(h)
				s.w.setDNS(h.name, lab.Answer{Rcode: "NXDOMAIN"}, resolver1)
				return &subject{image: image, fix: func() { s.w.setDNS(h.name, lab.Answer{Addrs: h.addrs}) }}
			},
			runtime: fails(`no such host`), want: any,
		},
		row{
			name: "containerd-1.6-and-a-negative-serial-number", kind: requests,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setCertificate(s.negativeSerial(h.name))
				m := s.old()
				m.hostsTOML(s.t, h.String(), fmt.Sprintf("server = \"https://%s\"\n[host.\"https://%[1]s\"]\n  skip_verify = true\n", h))
				return &subject{image: image, machine: m, args: withoutPull, fix: func() { h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name})) }}
			},
			runtime: passes(), want: any, never: []string{"node-infrastructure * *", "registry * *", "cluster-config * *"},
		},
		row{
			name: "containerd-1.6-and-a-server-of-rsa-key-exchange-only", kind: requests,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setTLS(&tls.Config{Certificates: []tls.Certificate{s.rsaCertificate(h.name)}, MaxVersion: tls.VersionTLS12,
					CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}})
				return &subject{image: image, machine: s.old(), args: withoutPull, fix: func() { h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name})) }}
			},
			runtime: passes(), want: any, never: []string{"node-infrastructure * *", "registry * *", "cluster-config * *"},
		},
		row{
			name: "containerd-1.6-pulls-signed-schema-1", kind: requests,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository, tag := randomWord(), randomWord()
				img := s.imageOfLayer(s.gzipped(s.randomTar(1<<10)), types.DockerLayer)
				s.pushObject(repository, tag, img)
				raw := s.schema1(repository, tag, img)
				sum := fmt.Sprintf("sha256:%x", sha256.Sum256(raw))
				protected := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"formatLength":%d,"formatTail":"fQ"}`, len(raw)-1))
				signed := string(raw[:len(raw)-1]) + fmt.Sprintf(`,"signatures":[{"header":{"alg":"ES256"},"signature":"x","protected":%q}]}`, protected)
				h.setFault(replaceResponse(isManifest, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
					w.Header().Set("Docker-Content-Digest", sum)
					w.Header().Set("Content-Length", fmt.Sprint(len(signed)))
					if r.Method == http.MethodGet {
						io.WriteString(w, signed)
					}
				}))
				return &subject{image: h.image(repository, tag), machine: s.old(), args: withoutPull, fixedImage: h.image(repository, "2"), fix: func() {
					h.setFault(nil)
					s.pushRandom(repository, "2", lab.Image{})
				}}
			},
			runtime: passes(), want: any, never: []string{"registry UnsupportedManifest *"},
		},
		row{
			name: "everything-is-redirected-within-the-host", kind: requests,
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				h.setFault(func(next http.Handler) http.Handler {
					inner := requireBasicAuth(l)(lacksTag(next))
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if rest, ok := strings.CutPrefix(r.URL.Path, "/real"); ok {
							r.URL.Path = rest
							inner.ServeHTTP(w, r)
							return
						}
						http.Redirect(w, r, "/real"+r.URL.RequestURI(), http.StatusPermanentRedirect)
					})
				})
				return &subject{image: image, auth: l, fix: func() { h.setFault(requireBasicAuth(l)) }}
			},
			runtime: failsWithAny(`.`), want: any, never: []string{notHealthy, "cluster-config Credentials* confirmed"},
		},
		row{
			name: "layers-redirected-within-the-host-and-a-login", kind: requests,
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				h.setFault(func(next http.Handler) http.Handler {
					inner := requireBasicAuth(l)(next)
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if rest, ok := strings.CutPrefix(r.URL.Path, "/store"); ok {
							if r.Header.Get("Authorization") != "" {
								lab.RegistryError(w, 403, "DENIED", "signed URLs take no login")
								return
							}
							r.URL.Path = rest
							next.ServeHTTP(w, r)
							return
						}
						if lab.IsBlob(r) {
							http.Redirect(w, r, "/store"+r.URL.RequestURI(), http.StatusTemporaryRedirect)
							return
						}
						inner.ServeHTTP(w, r)
					})
				})
				return &subject{image: image, auth: l, args: withoutPull, fix: func() { h.setFault(requireBasicAuth(l)) }}
			},
			runtime: failsWithAny(`.`), want: any, never: []string{notHealthy},
		},
	)
	before := func(name string, rt runtimeResult, spoil func(s *scene, h *host), never []string, neverFix ...string) row {
		return row{
			name: name, kind: rivals, misleads: "the node pulled from there an hour ago, and nothing changed on it",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				first, _, _ := s.pushApp(h)
				if p := s.pull(&subject{machine: s.w.common}, first, hangTime); p.message != "" {
					s.t.Fatal(p.message)
				}
				spoil(s, h)
				return &subject{image: image, fix: func() {
					h.setConnHandler(nil)
					h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name}))
				}}
			},
			runtime: rt, want: any, never: never, neverFix: neverFix,
		}
	}
	// head changes the answer to HEAD of a manifest.
	head := func(change func(http.Header)) func(http.Handler) http.Handler {
		which := func(r *http.Request) bool { return isManifest(r) && r.Method == http.MethodHead }
		return rewrite(which, func(h http.Header, _ []byte) []byte {
			change(h)
			return nil
		})
	}
	tokenText := func(name, text string) []row {
		r := simple(name, requests, failsWithAny(`.`), any, []string{notHealthy, "cluster-config * *", "node-infrastructure * *"}, func(_ *scene, h *host) func(http.Handler) http.Handler {
			valid := randomWord() + randomWord()
			t := &tokenService{grant: grantAll, valid: map[string]bool{valid: true}}
			tokenIssuers.Store(valid, h.String())
			answer := replaceResponse(func(r *http.Request) bool { return r.URL.Path == "/token" },
				func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					io.WriteString(w, strings.ReplaceAll(text, "TOKEN", valid))
				})
			return func(next http.Handler) http.Handler { return answer(t.requireToken(realmOf(h))(next)) }
		})
		without := unpulledRow(r)
		without.name += "-unpulled"
		return []row{r, without}
	}
	challenges := func(name string, make func(h *host) string) row {
		return row{
			name: name, kind: requests,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantAll}
				good := t.requireToken(realmOf(h))
				h.setFault(func(next http.Handler) http.Handler { return challenge(make(h))(good(next)) })
				return &subject{image: image, args: withoutPull, fix: func() { h.setFault(nil) }}
			},
			runtime: runtimeResult{any: true}, want: any,
		}
	}
	rows = append(rows, tokenText("token-with-its-expiry-as-a-text", `{"token":"TOKEN","expires_in":"300"}`)...)
	rows = append(rows, tokenText("token-issued-at-no-time", `{"token":"TOKEN","expires_in":300,"issued_at":""}`)...)
	rows = append(rows,
		row{
			name: "private-endpoint-with-a-certificate-for-another-name", kind: rivals,
			misleads: "the public endpoint, which another resolver knows, has a good certificate; the private one is meant, and has a wrong one",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{addrs: []netip.Addr{s.w.addr(public4)}, notInDNS: true})
				image, _, _ := s.pushApp(h)
				private := s.host(hostOptions{name: h.name, port: h.port, addrs: []netip.Addr{s.w.addr(private4)}, notInDNS: true})
				private.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: s.w.name()}))
				s.hosts = append(s.hosts[:0], h, private)
				s.w.setDNS(h.name, lab.Answer{Addrs: private.addrs}, resolver1)
				s.w.setDNS(h.name, lab.Answer{Addrs: h.addrs}, resolver2)
				return &subject{image: image, fix: func() { private.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name})) }}
			},
			runtime: fails(`x509`), want: any, never: []string{"* * confirmed"},
		},
		before("plain-http-since-an-hour", failsWithAny(`http`), func(_ *scene, h *host) { h.setConnHandler(servePlainHTTP) },
			[]string{"node-infrastructure * confirmed"}),
		before("self-signed-since-an-hour", fails(`x509`), func(s *scene, h *host) { h.setCertificate(s.selfSigned(h.name)) },
			[]string{"node-infrastructure * confirmed"}),
		simple("cached-answer-of-404", rivals, failsWith(codes.NotFound, `not found`), any, []string{"* * confirmed"},
			always(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Age", "600")
					w.Header().Set("X-Cache", "HIT")
					w.Header().Set("Via", "1.1 varnish")
					lacksTag(next).ServeHTTP(w, r)
				})
			})),
		challenges("challenge-in-capitals", func(h *host) string { return fmt.Sprintf(`BEARER REALM=%q,SERVICE="registry"`, realmOf(h)) }),
		challenges("challenge-without-quotes", func(h *host) string { return "Bearer realm=" + realmOf(h) + ",service=registry" }),
		challenges("challenge-with-spaces", func(h *host) string { return fmt.Sprintf(`Bearer  realm = %q , service = "registry"`, realmOf(h)) }),
		challenges("challenge-that-ends-early", func(h *host) string { return `Bearer realm="` + realmOf(h) }),
		challenges("challenge-with-single-quotes", func(h *host) string { return `Bearer realm='` + realmOf(h) + `',service='registry'` }),
		challenges("challenge-with-a-semicolon", func(h *host) string { return fmt.Sprintf(`Bearer realm=%q; service="registry"`, realmOf(h)) }),
		unpulledRow(simple("index-called-a-manifest", requests, failsWithAny(`.`), any, []string{notHealthy}, always(nil))),
		unpulledRow(simple("digest-in-capitals", requests, failsWithAny(`.`), any, []string{notHealthy}, always(head(func(h http.Header) {
			h.Set("Docker-Content-Digest", strings.ToUpper(h.Get("Docker-Content-Digest")))
		})))),
		unpulledRow(simple("digest-in-quotes", requests, failsWithAny(`.`), any, []string{notHealthy}, always(head(func(h http.Header) {
			h.Set("Docker-Content-Digest", strconv.Quote(h.Get("Docker-Content-Digest")))
		})))),
		unpulledRow(simple("head-with-a-longer-length", requests, failsWithAny(`.`), any, []string{notHealthy}, always(head(func(h http.Header) {
			n, _ := strconv.Atoi(h.Get("Content-Length"))
			h.Set("Content-Length", strconv.Itoa(n+7))
		})))),
		unpulledRow(simple("head-with-a-shorter-length", requests, failsWithAny(`.`), any, []string{notHealthy}, always(head(func(h http.Header) {
			n, _ := strconv.Atoi(h.Get("Content-Length"))
			h.Set("Content-Length", strconv.Itoa(n-7))
		})))),
		unpulledRow(simple("type-of-the-manifest-with-a-parameter", requests, passes(), bounds("none", "Healthy", "*"), nil, always(head(func(h http.Header) {
			h.Set("Content-Type", h.Get("Content-Type")+"; charset=utf-8")
		})))),
		object("config-with-fewer-layers", failsWithAny(`.`), any, []string{notHealthy}, withoutPull, func(s *scene, repository, tag string) {
			img := s.imageOfLayer(s.randomTar(1<<10), types.OCIUncompressedLayer)
			config, err := img.ConfigFile()
			must(s.t, err)
			config = config.DeepCopy()
			config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, config.RootFS.DiffIDs[0])
			img, err = mutate.ConfigFile(img, config)
			must(s.t, err)
			s.pushObject(repository, tag, img)
		}),
	)
	for i := range rows {
		if rows[i].name != "index-called-a-manifest" {
			continue
		}
		rows[i].setup = func(s *scene) *subject {
			h := s.host(hostOptions{})
			repository, tag := randomWord(), randomWord()
			s.pushObject(repository, tag, s.index("linux/amd64", "linux/arm64"))
			h.setFault(rewrite(isManifest, func(h http.Header, body []byte) []byte {
				h.Set("Content-Type", string(types.OCIManifestSchema1))
				return body
			}))
			return &subject{image: h.image(repository, tag), args: withoutPull, fix: func() { h.setFault(nil) }}
		}
	}
	// allReject is a host of so many machines that reject the login.
	allReject := func(name string, n int) row {
		return row{
			name: name, kind: logins, misleads: "nothing: the password is wrong; what matters is how often it is sent",
			setup: func(s *scene) *subject {
				right := newLogin()
				var addrs []netip.Addr
				for range n {
					addrs = append(addrs, s.w.addr(private4))
				}
				h := s.host(hostOptions{addrs: addrs})
				image, _, _ := s.pushApp(h)
				h.setFault(requireBasicAuth(right))
				sub := &subject{image: image, auth: &login{right.user, randomWord()}}
				sub.fix = func() { sub.auth = right }
				return sub
			},
			runtime: fails(`401`), want: bounds("cluster-config", "CredentialsRejected", "*"),
		}
	}
	withPull := func(name string, change func(http.Header), never ...string) row {
		return simple(name, requests, failsWithAny(`.`), any, append(never, notHealthy), always(head(change)))
	}
	longer := func(d int) func(http.Header) {
		return func(h http.Header) {
			n, _ := strconv.Atoi(h.Get("Content-Length"))
			h.Set("Content-Length", strconv.Itoa(n+d))
		}
	}
	rows = append(rows,
		allReject("two-machines-reject-the-login", 2),
		allReject("five-machines-reject-the-login", 5),
		withPull("head-with-a-longer-length-pulled", longer(7), "node-infrastructure * *"),
		withPull("head-with-a-shorter-length-pulled", longer(-7), "* * confirmed"),
		withPull("digest-in-quotes-pulled", func(h http.Header) { h.Set("Docker-Content-Digest", strconv.Quote(h.Get("Docker-Content-Digest"))) }, "cluster-config * *"),
		object("config-with-fewer-layers-pulled", failsWithAny(`.`), any, []string{notHealthy, "node-infrastructure * *"}, nil, func(s *scene, repository, tag string) {
			img := s.imageOfLayer(s.randomTar(1<<10), types.OCIUncompressedLayer)
			config, err := img.ConfigFile()
			must(s.t, err)
			config = config.DeepCopy()
			config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, config.RootFS.DiffIDs[0])
			img, err = mutate.ConfigFile(img, config)
			must(s.t, err)
			s.pushObject(repository, tag, img)
		}),
		row{
			name: "layers-on-a-subdomain-that-wants-one-login-only-pulled", kind: requests,
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				cdn := s.host(hostOptions{name: "cdn." + h.name})
				image, _, _ := s.pushApp(h)
				h.setFault(func(next http.Handler) http.Handler {
					return requireBasicAuth(l)(lab.RedirectBlobs(next, cdn.String()))
				})
				cdn.setFault(replaceResponse(func(r *http.Request) bool { return r.Header.Get("Authorization") != "" },
					func(w http.ResponseWriter, _ *http.Request) {
						w.Header().Set("Content-Type", "application/xml")
						w.WriteHeader(http.StatusForbidden)
						io.WriteString(w, `<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>`)
					}))
				return &subject{image: image, auth: l, fix: func() { cdn.setFault(nil) }}
			},
			runtime: failsWithAny(`403`), want: any, never: []string{"cluster-config * *", notHealthy},
		},
		row{
			name: "registry-of-the-image-has-no-port-and-mirror-path-is-wrong", kind: detours,
			misleads: "not found: the mirror's path is wrong, and the upstream is closed to this node",
			setup: func(s *scene) *subject {
				up, mirror := s.host(hostOptions{}), s.host(hostOptions{})
				image, _, _ := s.pushApp(up)
				lift := s.firewall("-d", up.addrs[0].String(), "-j", "REJECT", "--reject-with", "icmp-host-prohibited")
				s.w.common.hostsTOML(s.t, up.String(), fmt.Sprintf(
					"server = \"https://%s\"\n[host.\"https://%s/v2/wrong\"]\n  capabilities = [\"pull\", \"resolve\"]\n  override_path = true\n", up, mirror))
				return &subject{image: image, fix: func() {
					lift()
					s.w.common.hostsTOML(s.t, up.String(), mirrorTOML(up, `"pull", "resolve"`, mirror))
				}}
			},
			runtime: failsWithAny(`.`), want: any, never: []string{"cluster-config * *", "* * confirmed"},
		},
		row{
			name: "proxy-answers-for-the-layers-host-with-404", kind: detours,
			setup: func(s *scene) *subject {
				h, cdn := s.host(hostOptions{}), s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(func(next http.Handler) http.Handler { return lab.RedirectBlobs(next, cdn.String()) })
				cdn.setFault(noSuchKey)
				p := s.connectProxy(nil)
				m := s.w.newMachine(s.t, machineSpec{env: []string{"HTTPS_PROXY=http://" + p.addr, "NO_PROXY=" + h.name}})
				return &subject{image: image, machine: m, fix: func() { cdn.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `not found`), want: any, never: []string{"* * confirmed"},
		},
		row{
			name: "proxy-answers-for-the-token-service-with-401", kind: detours,
			setup: func(s *scene) *subject {
				h, service, l := s.host(hostOptions{}), s.host(hostOptions{}), newLogin()
				t := &tokenService{grant: grantOnly(l)}
				image, _, _ := s.pushApp(h)
				h.setFault(t.requireToken(realmOf(service)))
				wrong := &tokenService{grant: grantOnly(newLogin())}
				service.setFault(func(http.Handler) http.Handler { return wrong })
				p := s.connectProxy(nil)
				m := s.w.newMachine(s.t, machineSpec{env: []string{"HTTPS_PROXY=http://" + p.addr, "NO_PROXY=" + h.name}})
				return &subject{image: image, auth: l, machine: m, fix: func() { service.setFault(func(http.Handler) http.Handler { return t }) }}
			},
			runtime: fails(`401`), want: any,
		},
	)
	// picky is a mirror over plain HTTP that serves only requests with a header of hosts.toml.
	picky := func(name, scheme string, reach bool, args []string, rt runtimeResult) row {
		return row{
			name: name, kind: detours, misleads: "404: the mirror goes by a header that the node's hosts.toml sets",
			setup: func(s *scene) *subject {
				up, mirror := s.host(hostOptions{notInDNS: !reach}), s.host(hostOptions{})
				image, _, _ := s.pushApp(up)
				if scheme == "http" {
					mirror.setConnHandler(servePlainHTTP)
				}
				mirror.setFault(replaceResponse(func(r *http.Request) bool { return r.Header.Get("X-Dragonfly-Registry") == "" },
					func(w http.ResponseWriter, _ *http.Request) {
						lab.RegistryError(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry")
					}))
				s.w.common.hostsTOML(s.t, up.String(), fmt.Sprintf(
					"server = \"https://%s\"\n[host.\"%s://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n[host.\"%[2]s://%[3]s\".header]\n  X-Dragonfly-Registry = \"https://%[1]s\"\n",
					up, scheme, mirror.name+":"+mirror.portText()))
				return &subject{image: image, args: args, fix: func() { mirror.setFault(nil) }}
			},
			runtime: rt, want: any, never: []string{"cluster-config * *", "registry * *", "node-infrastructure * *"},
		}
	}
	edited := func(name string, files map[string]string) row {
		return row{
			name: name, kind: rivals, misleads: "an edited configuration: what it names now is what it named before",
			setup: func(s *scene) *subject {
				m := s.w.newMachine(s.t, machineSpec{config: containerdBasics +
					"[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = \"/etc/elsewhere\"\n"})
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				same := fmt.Sprintf("server = \"https://%s\"\n", h)
				must(s.t, writeFiles(m.etc(""), map[string]string{
					"elsewhere/" + h.String() + "/hosts.toml":          same,
					"containerd/certs.d/" + h.String() + "/hosts.toml": same,
					"containerd/config.toml":                           containerdConfig,
				}))
				h.setFault(replaceResponse(func(r *http.Request) bool { return isManifest(r) && strings.HasPrefix(r.UserAgent(), "containerd") },
					func(w http.ResponseWriter, _ *http.Request) {
						lab.RegistryError(w, http.StatusServiceUnavailable, "UNAVAILABLE", "busy")
					}))
				return &subject{image: image, machine: m, fix: func() { h.setFault(nil) }}
			},
			runtime: fails(`503`), want: any, never: []string{"* RuntimeConfigStale confirmed"}, neverFix: []string{"restart"},
		}
	}
	rows = append(rows,
		picky("plain-mirror-with-a-header-unpulled", "http", false, withoutPull, passes()),
		picky("plain-mirror-with-a-header-and-an-upstream-unpulled", "http", true, withoutPull, passes()),
		picky("mirror-with-a-header-unpulled", "https", false, withoutPull, passes()),
		edited("config-edited-to-the-same", nil),
		row{
			name: "proxy-with-a-list-and-a-mistyped-host", kind: detours, misleads: "403 of the proxy: the name is misspelt, the right one is on its list",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{port: 443})
				image, repository, tag := s.pushApp(h)
				p := s.connectProxy(func(w http.ResponseWriter, host string) bool {
					if host == h.name {
						return false
					}
					w.Header().Set("X-Squid-Error", "ERR_ACCESS_DENIED 0")
					w.WriteHeader(http.StatusForbidden)
					return true
				})
				m := s.w.newMachine(s.t, machineSpec{env: []string{"HTTPS_PROXY=http://" + p.addr}})
				return &subject{image: "x" + h.name + "/" + repository + ":" + tag, fixedImage: image, machine: m, fix: func() {}}
			},
			runtime: failsWithAny(`Forbidden`), want: any, never: []string{"node-infrastructure * confirmed"},
		},
		row{
			name: "token-service-of-another-registry-behind-a-wildcard", kind: rivals,
			misleads: "401: the realm that the registry names has a typing error, a wildcard leads it to another service",
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				domain := s.w.name()
				other := s.host(hostOptions{name: "x." + domain})
				s.w.setDNS("*."+domain, lab.Answer{Addrs: other.addrs})
				other.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: "*." + domain}))
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantOnly(l)}
				h.setFault(t.requireToken("https://tokne." + domain + ":" + other.portText() + "/token"))
				other.setFault(replaceResponse(anyRequest, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("WWW-Authenticate", `Basic realm="grafana"`)
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(401)
					io.WriteString(w, `{"message":"Invalid username or password"}`)
				}))
				return &subject{image: image, auth: l, fix: func() { h.setFault(t.requireToken(realmOf(h))) }}
			},
			runtime: fails(`401`), want: any, never: []string{"cluster-config * confirmed"},
		},
		row{
			name: "registry-behind-a-wildcard-and-another-has-the-login", kind: rivals,
			misleads: "not found: a misspelt name, led by a wildcard record to another registry",
			setup: func(s *scene) *subject {
				domain := s.w.name()
				right := s.host(hostOptions{name: "registry." + domain, port: 443})
				other := s.host(hostOptions{name: "dev." + domain, port: 443})
				other.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: "*." + domain}))
				s.w.setDNS("*."+domain, lab.Answer{Addrs: other.addrs})
				image, repository, tag := s.pushApp(right)
				other.setFault(lacksTag)
				return &subject{image: "regsitry." + domain + "/" + repository + ":" + tag, fixedImage: image, fix: func() {}}
			},
			runtime: failsWith(codes.NotFound, `not found`), want: any, never: []string{"* TagNotFound confirmed"},
		},
	)
	withHeader := func(name string, elsewhere, auth bool) row {
		return row{
			name: name, kind: logins,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				service := h
				if elsewhere {
					service = s.host(hostOptions{})
				}
				image, _, _ := s.pushApp(h)
				sub := &subject{image: image}
				t := &tokenService{grant: grantAll}
				if auth {
					sub.auth = newLogin()
					t.grant = grantOnly(sub.auth)
				}
				h.setFault(t.requireToken(realmOf(service)))
				if elsewhere {
					service.setFault(func(http.Handler) http.Handler { return t })
				}
				s.w.common.hostsTOML(s.t, h.String(), fmt.Sprintf(
					"server = \"https://%s\"\n[host.\"https://%[1]s\"]\n[host.\"https://%[1]s\".header]\nAuthorization = \"Basic %s\"\nX-Secret = \"%[2]s\"\n",
					h, base64.StdEncoding.EncodeToString([]byte("robot:"+randomWord()))))
				sub.fix = func() { h.setFault(nil) }
				return sub
			},
			runtime: runtimeResult{any: true}, want: any,
		}
	}
	wrongAtToken := func(name string, n int) row {
		return row{
			name: name, kind: logins,
			setup: func(s *scene) *subject {
				right := newLogin()
				var addrs []netip.Addr
				for range n {
					addrs = append(addrs, s.w.addr(private4))
				}
				h, service := s.host(hostOptions{addrs: addrs}), s.host(hostOptions{addrs: []netip.Addr{s.w.addr(private4), s.w.addr(private4)}})
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantOnly(right)}
				h.setFault(t.requireToken(realmOf(service)))
				service.setFault(func(http.Handler) http.Handler { return t })
				sub := &subject{image: image, auth: &login{right.user, randomWord()}}
				sub.fix = func() { sub.auth = right }
				return sub
			},
			runtime: fails(`401`), want: bounds("cluster-config", "CredentialsRejected", "*"),
		}
	}
	rows = append(rows,
		withHeader("header-with-a-login-and-a-token-service-at-the-same-host", false, false),
		withHeader("header-with-a-login-and-a-token-service-elsewhere", true, false),
		withHeader("header-with-a-login-and-a-secret-and-a-token-service", false, true),
		wrongAtToken("two-machines-and-two-token-services-reject-the-login", 2),
		row{
			name: "forbidden-login-at-two-machines", kind: logins,
			setup: func(s *scene) *subject {
				right := newLogin()
				h := s.host(hostOptions{addrs: []netip.Addr{s.w.addr(private4), s.w.addr(private4), s.w.addr(private4)}})
				image, _, _ := s.pushApp(h)
				h.setFault(forbidOtherLogins(right))
				sub := &subject{image: image, auth: newLogin()}
				sub.fix = func() { sub.auth = right }
				return sub
			},
			runtime: fails(`403`), want: any,
		},
		row{
			name: "mirror-and-upstream-reject-the-login", kind: logins,
			setup: func(s *scene) *subject {
				up, mirror, right := s.host(hostOptions{}), s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(up)
				up.setFault(requireBasicAuth(right))
				mirror.setFault(requireBasicAuth(right))
				s.w.common.hostsTOML(s.t, up.String(), mirrorTOML(up, `"pull", "resolve"`, mirror))
				sub := &subject{image: image, auth: &login{right.user, randomWord()}}
				sub.fix = func() { sub.auth = right }
				return sub
			},
			runtime: failsWithAny(`401`), want: any,
		},
		row{
			name: "layers-only-reject-the-login-of-three-layers", kind: logins,
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				repository, tag := randomWord(), randomWord()
				img := s.withLayer(s.withLayer(s.pushRandom(repository, "base", lab.Image{}), s.randomTar(3<<10)), s.randomTar(5<<10))
				s.pushObject(repository, tag, img)
				h.setFault(func(next http.Handler) http.Handler {
					return requireBasicAuth(l)(respondError(lab.IsBlob, http.StatusUnauthorized, "UNAUTHORIZED", "WWW-Authenticate", `Basic realm="x"`)(next))
				})
				return &subject{image: h.image(repository, tag), auth: l, args: withoutPull, fix: func() { h.setFault(requireBasicAuth(l)) }}
			},
			runtime: failsWithAny(`.`), want: any,
		},
		row{
			name: "login-over-plain-http-of-hosts-toml", kind: logins,
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				h.setConnHandler(servePlainHTTP)
				h.setFault(requireBasicAuth(l))
				s.w.common.hostsTOML(s.t, h.String(), fmt.Sprintf("server = \"http://%s\"\n", h.name+":"+h.portText()))
				sub := &subject{image: image, auth: &login{l.user, "wrong"}}
				sub.fix = func() { sub.auth = l }
				return sub
			},
			runtime: failsWithAny(`401`), want: any, never: []string{notHealthy},
		},
	)
	// Fixes that cannot work, or do harm.
	neverFix := map[string][]string{
		"index-for-windows-only":                                   {"kubernetes.io/arch"},
		"index-of-amd64-v3-only":                                   {"kubernetes.io/arch"},
		"index-of-386-only":                                        {"crictl rmi"},
		"head-with-a-shorter-length-pulled":                        {"push "},
		"digest-in-quotes-pulled":                                  {"push "},
		"ingress-has-no-route-to-layers":                           {"push "},
		"first-of-two-machines-speaks-plain-http":                  {"http://"},
		"v6-machine-speaks-plain-http":                             {"http://"},
		"plain-http-since-an-hour":                                 {"http://"},
		"first-of-two-machines-is-self-signed":                     {"trust store"},
		"v6-machine-is-self-signed":                                {"trust store"},
		"self-signed-since-an-hour":                                {"trust store"},
		"proxy-with-a-list-and-a-mistyped-host":                    {"NO_PROXY"},
		"repository-gone-that-the-node-has-images-of-with-a-login": {"push "},
	}
	for i := range rows {
		rows[i].neverFix = append(rows[i].neverFix, neverFix[rows[i].name]...)
		if rows[i].name == "layer-with-a-url-that-is-dead" {
			rows[i].also = func(s *scene, d diagnosis) []string {
				if strings.Contains(d.Verdict.Fix, "https://"+s.hosts[0].String()+"/") {
					return []string{"the registry answers: the host that does not is another one: " + d.Verdict.Fix}
				}
				return nil
			}
		}
	}
	return rows
}

func (s *scene) gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	must(s.t, w.Close())
	return out.Bytes()
}

// rsaCertificate makes a certificate with an RSA key, of an intermediate authority.
func (s *scene) rsaCertificate(name string) tls.Certificate {
	s.t.Helper()
	it := leafSpec{name: "Intermediate", noNames: true}.template()
	it.IsCA, it.BasicConstraintsValid, it.KeyUsage, it.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
	der, ikey, err := s.w.trustedCA.Sign(it)
	must(s.t, err)
	ic, err := x509.ParseCertificate(der)
	must(s.t, err)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(s.t, err)
	leaf, err := x509.CreateCertificate(rand.Reader, leafSpec{name: name}.template(), ic, key.Public(), ikey)
	must(s.t, err)
	return tls.Certificate{Certificate: [][]byte{leaf, der}, PrivateKey: key}
}

// schema1 makes a manifest of Docker's old kind, unsigned.
func (s *scene) schema1(repository, tag string, img v1.Image) []byte {
	s.t.Helper()
	layers, err := img.Layers()
	must(s.t, err)
	d, err := layers[0].Digest()
	must(s.t, err)
	return fmt.Appendf(nil, `{"schemaVersion":1,"name":%q,"tag":%q,"architecture":"amd64","fsLayers":[{"blobSum":%q}],`+
		`"history":[{"v1Compatibility":"{\"id\":\"%064d\",\"created\":\"2015-01-01T00:00:00Z\",\"architecture\":\"amd64\",\"os\":\"linux\"}"}]}`,
		repository, tag, d.String(), 1)
}

func mirrorRow(name, capabilities string, rt runtimeResult, args []string, lead func(s *scene, up, mirror *host) func(), _ []string, never ...string) row {
	return row{
		name: name, kind: detours,
		setup: func(s *scene) *subject {
			up, mirror := s.host(hostOptions{}), s.host(hostOptions{})
			image, _, _ := s.pushApp(up)
			s.w.common.hostsTOML(s.t, up.String(), mirrorTOML(up, capabilities, mirror))
			return &subject{image: image, args: args, fix: lead(s, up, mirror)}
		},
		runtime: rt, want: bounds("*", "*", "*"), never: never,
	}
}

// artifact makes a manifest that is no container image.
func (s *scene) artifact(config, layer string) v1.Image {
	s.t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.MediaType(config))
	img, err := mutate.AppendLayers(img, static.NewLayer(s.randomTar(1<<10), types.MediaType(layer)))
	must(s.t, err)
	return img
}

// emptyLayers serves layers, but not configurations, as files of no bytes.
func emptyLayers(string) func(http.Handler) http.Handler {
	return replaceBigBlobs(func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(200)
	})
}

// unpulledRow returns the row without a test pull.
func unpulledRow(r row) row {
	made := r.setup
	r.setup = func(s *scene) *subject {
		sub := made(s)
		sub.args = []string{"--no-pull"}
		return sub
	}
	return r
}

// replaceBigBlobs replaces the answers for blobs that are no configuration.
func replaceBigBlobs(answer func(http.ResponseWriter)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !lab.IsBlob(r) {
				next.ServeHTTP(w, r)
				return
			}
			head := r.Clone(r.Context())
			head.Method = http.MethodHead
			head.Header.Del("Range")
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, head)
			if n, _ := strconv.Atoi(rec.Header().Get("Content-Length")); n < 4<<10 {
				next.ServeHTTP(w, r)
				return
			}
			answer(w)
		})
	}
}

// negativeSerial makes a certificate of the trusted authority with a negative serial
// number, as old appliances have.
func (s *scene) negativeSerial(name string) tls.Certificate {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(s.t, err)
	t := leafSpec{name: name}.template()
	t.SerialNumber = big.NewInt(0x11223344)
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	must(s.t, err)
	// The serial number is the first INTEGER of four bytes.
	at := strings.Index(string(der), "\x02\x04\x11\x22\x33\x44")
	der[at+2] = 0x91
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
