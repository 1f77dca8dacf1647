package registry

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

// ociError returns the JSON of an error of the distribution specification.
func ociError(code, message string) string {
	return fmt.Sprintf(`{"errors":[{"code":%q,"message":%q,"detail":{}}]}`, code, message)
}

// refusal is a refusal as a product words it. The texts are those of its source, its
// documentation or its users' reports.
type refusal struct {
	product string
	status  int
	body    string
	want    string
}

var refusals = []refusal{
	// Harbor: src/server/middleware/vulnerable, contenttrust, cosign; src/lib/errors.
	{"Harbor, vulnerabilities", 412, ociError("PROJECTPOLICYVIOLATION", `current image with 86 vulnerabilities cannot be pulled due to configured policy in 'Prevent images with vulnerability severity of "Medium" or higher from running.' To continue with pull, please contact your project administrator to exempt matched vulnerabilities through configuring the CVE allowlist.`), "policy"},
	{"Harbor, not scanned", 412, ociError("PROJECTPOLICYVIOLATION", `current image without vulnerability scanning cannot be pulled due to configured policy in 'Prevent images with vulnerability severity of "High" or higher from running.'`), "policy"},
	{"Harbor, Notary", 412, ociError("PROJECT_POLICY_VIOLATION", "The image is not signed in Notary."), "policy"},
	{"Harbor, cosign", 412, ociError("PROJECTPOLICYVIOLATION", "The image is not signed by cosign."), "policy"},
	{"Harbor before 1.9, plain text", 412, "The image is not signed in Notary.\n", "policy"},
	{"Harbor behind a gateway that rewrites the status", 403, ociError("PROJECTPOLICYVIOLATION", "The image is not signed by cosign."), "policy"},
	{"Harbor, quota of the project", 412, ociError("DENIED", "Quota exceeded when processing the request of adding 1.3 MiB of storage resource, which when updated to current usage of 235.9 MiB will exceed the configured upper limit of 100.0 MiB."), "quota"},
	{"Harbor, no right", 403, ociError("FORBIDDEN", "unauthorized to access repository: library/app, action: pull: unauthorized to access repository: library/app, action: pull"), "none"},
	// Azure.
	{"ACR, address", 403, `{"errors":[{"code":"DENIED","message":"client with IP \u0027172.214.169.102\u0027 is not allowed access. Refer https://aka.ms/acr/firewall to grant access."}]}` + "\n", "network"},
	{"ACR, no role", 403, ociError("DENIED", "retrieving permissions failed"), "none"},
	// AWS.
	{"ECR, no right", 403, ociError("DENIED", "User: arn:aws:sts::254865750963:assumed-role/nodes/i-0e is not authorized to perform: ecr:BatchGetImage on resource: arn:aws:ecr:us-west-2:254865750963:repository/app because no identity-based policy allows the ecr:BatchGetImage action"), "none"},
	{"ECR, endpoint", 403, ociError("DENIED", "User: arn:aws:sts::1:assumed-role/n/i is not authorized to perform: ecr:BatchGetImage on resource: arn:aws:ecr:us-west-2:1:repository/app with an explicit deny in a VPC endpoint policy"), "network"},
	{"ECR, service control policy", 403, ociError("DENIED", "User: arn:aws:sts::1:assumed-role/n/i is not authorized to perform: ecr:BatchGetImage on resource: arn:aws:ecr:us-west-2:1:repository/app with an explicit deny in a service control policy"), ""},
	{"ECR, expired", 403, ociError("DENIED", "Your authorization token has expired. Reauthenticate and try again."), "none"},
	{"S3", 403, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message><RequestId>X</RequestId></Error>`, ""},
	{"S3, signature of the URL", 403, `<Error><Code>SignatureDoesNotMatch</Code><Message>The request signature we calculated does not match the signature you provided.</Message></Error>`, ""},
	{"CloudFront, country", 403, `<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN"><HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD><BODY><H1>403 ERROR</H1><H2>The request could not be satisfied.</H2><HR noshade size="1px">The Amazon CloudFront distribution is configured to block access from your country.`, "country"},
	{"CloudFront, WAF", 403, `<HTML><BODY><H1>403 ERROR</H1><H2>The request could not be satisfied.</H2>Request blocked. We can't connect to the server for this app or website at this time.`, "network"},
	// Google.
	{"Artifact Registry, no right", 403, ociError("DENIED", `Permission "artifactregistry.repositories.downloadArtifacts" denied on resource "projects/p/locations/europe-west2/repositories/ml" (or it may not exist)`), "none"},
	{"Artifact Registry, anonymous", 403, ociError("DENIED", `Unauthenticated request. Unauthenticated requests do not have permission "artifactregistry.repositories.downloadArtifacts" on resource "projects/p/locations/us/repositories/r" (or it may not exist)`), "none"},
	{"Artifact Registry, perimeter", 403, ociError("DENIED", "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: 8c1f0b2d"), "network"},
	{"Cloud Storage, billing", 403, `<?xml version='1.0' encoding='UTF-8'?><Error><Code>UserProjectAccountProblem</Code><Message>User project billing account not in good standing.</Message><Details>The billing account for the owning project is disabled in state absent</Details></Error>`, "billing"},
	{"Cloud Storage, country", 403, `<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code><Message>Access denied.</Message><Details>We're sorry, but this service is not available in your location</Details></Error>`, "country"},
	{"Google's front end", 403, "<!DOCTYPE html>\n<html lang=en>\n<title>Error 403 (Forbidden)!!1</title>\n<style>*{margin:0}</style><p><b>403.</b> <ins>That’s an error.</ins>\n  <p>Your client does not have permission to get URL <code>/v2/app/manifests/1</code> from this server.  <ins>That’s all we know.</ins>", "network"},
	{"Artifact Registry, requests", 429, `{"errors":[{"code":"TOOMANYREQUESTS","message":"Quota exceeded for quota metric 'Requests per project per region' and limit 'Requests per minute' of service"}]}`, ""},
	// Docker Hub.
	{"Docker Hub, export control", 403, "<html><body><h1>403 Forbidden</h1>\nSince Docker is a US company, we must comply with US export control regulations. In an effort to comply with these, we now block all IP addresses that are located in Cuba, Iran, North Korea, Republic of Crimea, Sudan, and Syria.\n</body></html>\n\n", "country"},
	{"Docker Hub, no right", 403, `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied","detail":[{"Type":"repository","Class":"","Name":"team/quota-policy","Action":"pull"}]}]}`, "none"},
	{"Docker Hub, pull limit", 429, `{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit"}]}`, ""},
	// GitHub.
	{"GHCR", 403, `{"errors":[{"code":"DENIED","message":"denied"}]}`, "none"},
	{"GHCR, no right", 403, ociError("DENIED", "permission_denied: read_package"), "none"},
	{"GHCR, addresses", 403, ociError("DENIED", "Although you appear to have the correct authorization credentials, the `acme` organization has an IP allow list enabled, and your IP address is not permitted to access this resource."), "network"},
	{"GitHub Packages, billing", 403, ociError("DENIED", "Encountered a billing-related error. Please verify the billing status for this account."), "billing"},
	// GitLab.
	{"GitLab", 403, `{"errors":[{"code":"DENIED","message":"access forbidden"}]}`, "none"},
	// Quay: endpoints/v2/errors.py.
	{"Quay, quota", 403, ociError("DENIED", "Quota has been exceeded on namespace"), "quota"},
	{"Quay, no right", 403, ociError("UNAUTHORIZED", "access to the requested resource is not authorized"), "none"},
	// JFrog.
	{"Artifactory, Xray", 403, "{\n  \"errors\" : [ {\n    \"status\" : 403,\n    \"message\" : \"Artifact download request rejected: app/1/manifest.json was not downloaded due to the download blocking policy configured in Xray for docker-remote-cache.\"\n  } ]\n}", "policy"},
	{"Artifactory, Curation", 403, ociError("DENIED", "Package app:1 download was blocked by JFrog Packages Curation service due to the following policies violated {block-critical,...}"), "policy"},
	{"Artifactory, patterns", 403, `{"errors":[{"status":403,"message":"The repository 'docker-remote' rejected the resolution of an artifact 'docker-remote:app/1' due to conflict with its include/exclude patterns."}]}`, "policy"},
	{"Artifactory, disk", 413, `{"errors":[{"status":413,"message":"Datastore disk usage is too high. Contact your Artifactory administrator to add additional storage space or change the disk quota limits."}]}`, "quota"},
	{"Artifactory, no right", 403, `{"errors":[{"code":"DENIED","message":"The client does not have permission to manifest","detail":{"manifest":"app:1"}}]}`, "none"},
	// Sonatype.
	{"Nexus, Firewall", 403, "Requested item is quarantined", "quarantine"},
	{"Nexus, Firewall, page", 403, "<!DOCTYPE html>\n<html><head><title>403 - Nexus Repository Manager</title></head><body><h1>REQUESTED ITEM IS QUARANTINED</h1></body></html>", "quarantine"},
	{"Nexus", 403, ociError("DENIED", "access to the requested resource is denied"), "none"},
	// Others.
	{"Cloudsmith", 402, "", "billing"},
	{"Cloudsmith, with a page", 402, "<html><title>402</title><p>See other", "billing"},
	{"Volcengine, traffic", 429, `{"errors":[{"code":"TOOMANYREQUESTS","message":"remaining traffic quota is not enough to download this layer for current month"}]}`, "quota"},
	{"laws", 451, "", "country"},
	{"a full registry", 507, "", "quota"},
	{"Cloudflare, country", 403, `<html><head><title>Access denied</title></head><body><h1>Error 1009</h1><p>The owner of this website (r.lab) has banned the country or region your IP address is in (XX) from accessing this website.</p>`, "country"},
	{"Cloudflare, WAF", 403, `<html><h1>Sorry, you have been blocked</h1><h2>You are unable to access r.lab</h2>`, "network"},
	{"nginx", 403, "<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n<center><h1>403 Forbidden</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n", ""},

	{"a quota used up", 403, ociError("DENIED", "no space left on device: the quota of project team is used up"), "quota"},
	{"quarantined", 403, ociError("DENIED", "image is quarantined: context deadline exceeded while scanning"), "quarantine"},
	{"in arrears", 403, ociError("DENIED", "billing is disabled on this project: TLS handshake timeout is unrelated"), "billing"},
	{"country", 451, ociError("DENIED", "unavailable in your country: no such host"), "country"},

	// What is no reason, and what may be one in other words.
	{"nothing", 403, "", "none"},
	{"only a code", 403, `{"errors":[{"code":"DENIED"}]}`, "none"},
	{"an object without an error", 403, `{"state":"quota"}`, ""},
	{"a sentence in a field of its own", 403, `{"errors":[{"code":"DENIED","message":"denied","detail":{"description":"the storage quota of this project is used up"}}]}`, "quota"},
	{"a reason in other words", 403, ociError("DENIED", "access denied: monthly allowance of bandwidth is gone"), ""},
	{"a reason in another language", 403, ociError("DENIED", "denied: das Kontingent ist erschöpft"), ""},
	{"another language altogether", 403, ociError("DENIED", "Zugriff verweigert"), ""},
	{"a repository with a telling name", 403, ociError("DENIED", "denied: team/security-policy/quota-exceeded:export-control"), "none"},
	{"a phrase within a word", 403, ociError("DENIED", "permission denied: membership is not allowed, IP is not allowed"), "network"},
	{"only within a word", 403, ociError("DENIED", "permission denied: membership is not allowed"), "none"},
	{"the end cut off", 403, `{"errors":[{"code":"DENIED","message":"requested access to the resource is den`, ""},
	{"the end cut off after the reason", 403, `{"errors":[{"code":"DENIED","message":"Quota has been exceeded on namespace","detail":{"x":"`, "quota"},
	{"not text", 403, "\x1f\x8b\x08\x00denied", ""},
	{"a request for a login", 401, ociError("UNAUTHORIZED", "Quota has been exceeded on namespace"), ""},
	{"not there", 404, ociError("DENIED", "Quota has been exceeded on namespace"), ""},
	{"out of order", 503, "Quota has been exceeded on namespace", ""},
}

func TestRefusedFor(t *testing.T) {
	for _, tt := range refusals {
		if got := refusedFor(tt.status, storeCode([]byte(tt.body)), tt.body); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.product, got, tt.want)
		}
	}
}

// No name of a repository, project or tag is a phrase: it has no space.
func TestPhrasesHaveSpaces(t *testing.T) {
	for _, r := range refusalReasons() {
		for _, p := range r.phrases {
			if !strings.Contains(p, " ") || strings.ToLower(p) != p || strings.TrimSpace(p) != p {
				t.Errorf("%s: %q", r.reason, p)
			}
		}
	}
}

// refusing is a registry that refuses paths with a part of this name. Its answer to
// HEAD has no body.
func refusing(reg http.Handler, part string, status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if !strings.Contains(q.URL.Path, part) {
			reg.ServeHTTP(w, q)
			return
		}
		if strings.HasPrefix(body, "{") {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		w.Write([]byte(body))
	})
}

// The reason of a refused manifest comes from a GET beside the HEAD, with the same login.
func TestRefusedManifest(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	reg := probetest.NewRegistry(t)
	tests := []struct {
		name   string
		status int
		body   string
		cause  report.Cause
		want   string // empty: absent
	}{
		{"a plain refusal", 403, ociError("DENIED", "requested access to the resource is denied"), report.AccessDeniedOrMissing, "none"},
		{"quota", 403, ociError("DENIED", "Quota has been exceeded on namespace"), report.AccessDeniedOrMissing, "quota"},
		{"policy", 412, ociError("PROJECTPOLICYVIOLATION", "The image is not signed by cosign."), report.AccessForbidden, "policy"},
		{"billing", 402, "", report.Undetermined, "billing"},
		{"country", 451, "", report.Undetermined, "country"},
		{"a full registry", 507, "", report.RegistryUnavailable, "quota"},
		{"a page without a reason", 403, "<html><body>403 Forbidden</body></html>", report.AccessDeniedOrMissing, ""},
		{"longer than what is read", 403, strings.Repeat("denied ", 1000), report.AccessDeniedOrMissing, ""},
		{"a missing tag", 404, ociError("MANIFEST_UNKNOWN", "Quota has been exceeded on namespace"), report.TagNotFound, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var rec recorder
			host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, rec.wrap(refusing(reg, "/manifests/", tt.status, tt.body))))
			c := probetest.Want(t, probe(t, n, host+"/app:1"), "manifest/"+host, report.Fail, tt.cause)
			if got := c.Evidence[report.KeyRefusedFor]; got != tt.want {
				t.Errorf("refused for %q, want %q", got, tt.want)
			}
			gets := 0
			for _, line := range rec.all() {
				if strings.HasPrefix(line, "GET ") && strings.Contains(line, "/manifests/") {
					gets++
				}
			}
			if gets > 1 {
				t.Errorf("%d GETs: %q", gets, rec.all())
			}
			for _, text := range []string{"cosign", "Quota has"} {
				if strings.Contains(fmt.Sprint(c.Summary, c.Evidence), text) {
					t.Errorf("the registry's text is in the check: %+v", c)
				}
			}
		})
	}
	t.Run("GET is refused otherwise", func(t *testing.T) {
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodHead {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			w.WriteHeader(http.StatusPaymentRequired)
		})))
		c := probetest.Want(t, probe(t, n, host+"/app:1"), "manifest/"+host, report.Fail, report.AccessDeniedOrMissing, "getStatus=402")
		if c.Evidence[report.KeyRefusedFor] != "" {
			t.Errorf("%+v", c.Evidence)
		}
	})
	t.Run("only HEAD is refused", func(t *testing.T) {
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodHead {
				w.WriteHeader(http.StatusPreconditionFailed)
				return
			}
			reg.ServeHTTP(w, q)
		})))
		c := probetest.Want(t, probe(t, n, host+"/app:1"), "manifest/"+host, report.Fail, report.Undetermined, "getStatus=200")
		if c.Evidence[report.KeyRefusedFor] != "" {
			t.Errorf("%+v", c.Evidence)
		}
	})
}

// The reason of a refused layer, and of a refused token, is in the answer itself.
func TestRefusedLayerAndToken(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab", "auth.lab")
	n := newProber(t, ca, nil)
	reg := probetest.NewRegistry(t)
	t.Run("layer", func(t *testing.T) {
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, refusing(reg, "/blobs/", 403, ociError("DENIED", "Quota has been exceeded on namespace"))))
		probetest.Want(t, probe(t, n, host+"/app:1"), "blob/"+host, report.Fail, report.AccessForbidden, "refusedFor=quota", "code=DENIED")
	})
	t.Run("layer at another host, with a login", func(t *testing.T) {
		store := probetest.Serve(t, &cert, refusing(nil, "", 403, "<HTML>The distribution is configured to block access from your country."))
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			switch {
			case q.Header.Get("Authorization") == "":
				w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
				w.WriteHeader(http.StatusUnauthorized)
			case strings.Contains(q.URL.Path, "/blobs/"):
				http.Redirect(w, q, fmt.Sprintf("https://auth.lab:%d/layer", store), http.StatusTemporaryRedirect)
			default:
				reg.ServeHTTP(w, q)
			}
		})))
		c := probe(t, n, host+"/app:1", credentials.Credential{Source: "pod secret ns/s", Username: "u", Password: "correct horse"})
		probetest.Want(t, c, "blob/"+host, report.Fail, report.BlobHostUnreachable, "refusedFor=country")
	})
	t.Run("layer, unpaid", func(t *testing.T) {
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, refusing(reg, "/blobs/", 402, "")))
		probetest.Want(t, probe(t, n, host+"/app:1"), "blob/"+host, report.Fail, report.Undetermined, "refusedFor=billing", "status=402")
	})
	for _, tt := range []struct {
		status     int
		body, want string
	}{
		{403, ociError("DENIED", "access forbidden"), "none"},
		{403, "<html><body>Since Docker is a US company, we must comply with US export control regulations.", "country"},
		{401, ociError("UNAUTHORIZED", "HTTP Basic: Access denied"), ""},
	} {
		t.Run(fmt.Sprintf("token, %d %s", tt.status, tt.want), func(t *testing.T) {
			service := probetest.Serve(t, &cert, refusing(nil, "", tt.status, tt.body))
			host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://auth.lab:%d/token",service="r"`, service))
				w.WriteHeader(http.StatusUnauthorized)
			})))
			c := probe(t, n, host+"/app:1", credentials.Credential{Source: "pod secret ns/s", Username: "u", Password: "correct horse"})["token/"+host]
			if c.Outcome != report.Fail || c.Evidence[report.KeyRefusedFor] != tt.want {
				t.Errorf("%s %s: refused for %q, want %q", c.Outcome, c.Cause, c.Evidence[report.KeyRefusedFor], tt.want)
			}
		})
	}
}

// Only a text that was read as it is, and that answers the runtime's own request, gives
// no reason.
func TestRefusedForOf(t *testing.T) {
	denied, quota := []byte(ociError("DENIED", "denied")), []byte(ociError("DENIED", "Quota has been exceeded on namespace"))
	for _, tt := range []struct {
		name string
		rep  reply
		want string
	}{
		{"read", reply{status: 403, body: denied}, "none"},
		{"cut off", reply{status: 403, body: denied, cut: true}, ""},
		{"cut off, with a reason", reply{status: 403, body: quota, cut: true}, "quota"},
		{"without the login", reply{status: 403, body: denied, dropped: true}, ""},
		{"without the login, with a reason", reply{status: 403, body: quota, dropped: true}, "quota"},
		{"in an encoding", reply{status: 403, encoded: "br"}, ""},
	} {
		if got := refusedForOf(&tt.rep); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// FuzzRefusedFor reads any text: the answer is one of the reasons, and the name of a
// repository in a plain refusal is never one.
func FuzzRefusedFor(f *testing.F) {
	for _, r := range refusals {
		f.Add(r.status, r.body)
	}
	f.Add(403, "<script><style>a</b>&#39;</")
	f.Add(403, `{"errors":[[[[{"error":{"error":"x y"}}]]]]}`)
	f.Fuzz(func(t *testing.T, status int, text string) {
		known := []string{"", forPolicy, forQuota, forBilling, forQuarantine, forCountry, forNetwork, forNone}
		got := refusedFor(status, storeCode([]byte(text)), text)
		if !slices.Contains(known, got) {
			t.Errorf("%q", got)
		}
		if again := refusedFor(status, storeCode([]byte(text)), text); again != got {
			t.Errorf("%q, then %q", got, again)
		}
		if got != "" && !refuses(status) {
			t.Errorf("%d is refused for %q", status, got)
		}
		if !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			body := `{"errors":[{"code":"DENIED","message":"requested access to ` + text + ` is denied"}]}`
			if got := refusedFor(403, "DENIED", body); got != "" && got != forNone {
				t.Errorf("%s: %q", body, got)
			}
		}
	})
}
