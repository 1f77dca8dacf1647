package requests

import (
	"net/http"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/pullprobe/pullprobe/probes/imagemanifest"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Step is one thing that the runtime does with a registry.
type Step uint8

const (
	ResolveTag       Step = iota // a tag to a digest, at the hosts with the capabilities pull and resolve
	ResolveDigest                // a digest, at the hosts with the capability pull
	FetchManifest                // a manifest by the digest that was found, at all hosts
	FetchBlob                    // a layer or the config, at all hosts
	tokenForLogin                // from the realm of a Bearer challenge, with a user name or an identity token
	tokenAnonymously             // the same without a login
)

// plannedRequest is one request of a step. Within a step they follow in order.
type plannedRequest struct {
	step   Step
	method string
	path   string // below the repository; empty: the realm
	accept string
	after  string // the answer that it follows; empty: it is the first
	since  string // the first version that sends it; empty: all
	probed bool   // the probes send it too
	source string
}

// plan returns the requests of all steps.
func plan() []plannedRequest {
	const resolve, fetch, authorize = "resolver.go Resolve", "fetcher.go Fetch", "authorizer.go doBearerAuth"
	const head, get, post = http.MethodHead, http.MethodGet, http.MethodPost
	manifest, blob := "manifests/OBJECT", "blobs/DIGEST"
	return []plannedRequest{
		{ResolveTag, head, manifest, AcceptManifests, "", "", true, resolve},
		{ResolveTag, get, manifest, AcceptManifests, "405", "", true, "resolver.go retryRequest"},
		{ResolveTag, get, manifest, AcceptManifests, "200 without Docker-Content-Digest or Content-Length", "", true, resolve},
		{ResolveTag, get, manifest, AcceptManifests, "403", "2.3.3", false, "resolver.go withGETErrorBody"}, // for the text only
		{ResolveDigest, head, manifest, AcceptManifests, "", "", true, resolve},
		{ResolveDigest, get, manifest, AcceptManifests, "405", "", true, "resolver.go retryRequest"},
		{ResolveDigest, get, manifest, AcceptManifests, "200 without Content-Length", "", true, resolve},
		// What only the blobs have is no manifest, and fails later.
		{ResolveDigest, head, blob, AcceptManifests, "404 from the last host", "", false, resolve},
		{FetchManifest, get, manifest, "MEDIATYPE, */*", "", "", true, fetch},
		{FetchBlob, get, blob, "MEDIATYPE, */*", "", "", true, fetch},
		{tokenForLogin, post, "", "", "", "", true, authorize},
		{tokenForLogin, get, "", "", "400, 401, 404 or, with a user name, 405", "", true, authorize},
		{tokenAnonymously, get, "", "", "", "", true, authorize},
	}
}

// Request is a request of a step for one tag or digest.
type Request struct {
	Method string
	Path   string // below the repository
	Accept string
}

// Find returns the request of a step that follows an answer; empty: the first one.
// object is a tag or a digest, mediaType that of what is wanted; empty: it is not known.
func Find(st Step, after, object, mediaType string) Request {
	all := plan()
	p := all[slices.IndexFunc(all, func(p plannedRequest) bool { return p.step == st && p.after == after && p.probed })]
	return Request{
		Method: p.method,
		Path:   strings.NewReplacer("OBJECT", object, "DIGEST", object).Replace(p.path),
		Accept: strings.TrimPrefix(strings.Replace(p.accept, "MEDIATYPE", mediaType, 1), ", "),
	}
}

// retryRule is an answer after which containerd sends a request again at once.
type retryRule struct {
	answer   string // statuses, or "broken" for a connection that ends without an answer
	since    string // the first version
	lastHost bool   // only at the last host
	once     bool   // not after the same answer
	probed   bool   // the probes repeat the request too
	source   string
}

// retries returns the rules. The probes never repeat a request after 429: they would
// use up the limit that they report. Nor after a deadline, which costs seconds each
// time; it is marked as shorter than the runtime's.
func retries() []retryRule {
	const rule = "resolver.go retryRequest"
	return []retryRule{
		{answer: "408", probed: true, source: rule},
		{answer: "429", source: rule},
		{answer: "500 503 504", since: "2.1.0", lastHost: true, once: true, probed: true, source: rule},
		{answer: "broken", since: "2.3.2", lastHost: true, probed: true, source: "resolver.go doWithTransportRetries"},
		{answer: "timeout", since: "2.3.2", lastHost: true, source: "resolver.go isTransientTransportErr"},
	}
}

// maxResponses returns how many answers to one request containerd reads at most:
// maxAttempts since 2.3.2; before, retryRequest gave up after more than five.
func maxResponses(version string) int {
	if runtimeconfig.AtLeast(version, "2.3.2") {
		return 5
	}
	return 6
}

// RetriesAfter reports whether the probes, like the runtime, send a request again:
// answers has all answers to it, the last one last.
func RetriesAfter(version string, lastHost bool, answers []string) bool {
	n := len(answers)
	if n == 0 || n >= maxResponses(version) {
		return false
	}
	for _, r := range retries() {
		if !slices.Contains(strings.Fields(r.answer), answers[n-1]) {
			continue
		}
		repeated := n > 1 && answers[n-2] == answers[n-1]
		return r.probed && runtimeconfig.AtLeast(version, r.since) && (lastHost || !r.lastHost) && (!repeated || !r.once)
	}
	return false
}

// HeadersForTokens reports whether containerd sends the headers of hosts.toml to the token
// service too (core/remotes/docker/config/hosts.go, WithAuthHeader).
func HeadersForTokens(version string) bool { return runtimeconfig.AtLeast(version, "2.1.0") }

// GetsTokenAfter reports whether containerd, after this status of its POST to a token
// service, sends the GET with the same login.
func GetsTokenAfter(status int, username string) bool {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound:
		return true
	case http.StatusMethodNotAllowed:
		return username != ""
	}
	return false
}

// AcceptManifests is the Accept of containerd when it resolves a name.
var AcceptManifests = strings.Join([]string{
	imagemanifest.DockerManifest,
	imagemanifest.DockerIndex,
	ocispec.MediaTypeImageManifest,
	ocispec.MediaTypeImageIndex,
	"*/*",
}, ", ")
