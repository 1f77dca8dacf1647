//go:build matrix

package matrix

import (
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/pullprobe/pullprobe/lab"
)

// older is what containerd does differently before a version.
type older struct {
	before string // the first version with it
	first  string // what that is the first with: "containerd 2.1 is the first …"
	rows   []string
	change func(*row) // to what is expected before; nil: the row means nothing there
}

// olderContainerds lists all differences. docs/compatibility.md prints them.
func olderContainerds() []older {
	message := func(m runtimeResult) func(*row) { return func(r *row) { r.runtime = m } }
	both := func(m runtimeResult, w want) func(*row) {
		return func(r *row) { r.runtime, r.want, r.never = m, w, nil }
	}
	any := bounds("*", "*", "*")
	// Debian's 1.6.20 is the only 1.6 here.
	return []older{
		{
			"1.7", "whose message for a pull without a login is another than for a refused one (and so is 1.6.25's)",
			[]string{
				"credentials-missing", "hosts-toml-adds-a-wrong-login", "secret-for-another-path", "secret-for-another-registry",
				"secret-for-the-mirror", "secret-for-the-registry-without-its-port", "first-resolver-leads-to-an-old-machine-nologin",
				"mistyped-host-at-a-site-with-a-login", "mistyped-host-at-a-site-with-a-login-and-a-secret-for-the-right-name",
				"ecr-without-a-login", "ecr-china-without-a-login", "ecr-dual-stack-without-a-login", "ecr-fips-without-a-login",
				"ecr-iso-without-a-login",
			},
			message(fails(`401 Unauthorized`)),
		},
		{
			"1.7", "that reads a hosts.toml without a [host] table (1.7.32)",
			[]string{
				"hosts-toml-leads-to-another-registry-login", "hosts-toml-leads-to-another-registry-nologin",
				"hosts-toml-leads-to-another-registry-repository", "hosts-toml-leads-to-another-registry-tag",
				"hosts-toml-of-a-name-in-other-letters", "hosts-toml-with-a-path-and-no-override", "hosts-toml-with-a-wrong-path",
				"hosts-toml-with-a-wrong-path-and-a-login", "login-over-plain-http-of-hosts-toml", "typo-project-taken-for-a-host",
			}, nil,
		},
		{
			"1.7", "that pulls an artifact whose layers are none of an image (1.7.11)",
			[]string{"helm-chart", "helm-chart-unpulled"}, both(fails(`mismatched image rootfs`), bounds("registry", "UnsupportedManifest", "*")),
		},
		{
			"1.7", "built with a Go that refuses a certificate with a negative serial number",
			[]string{"negative-serial-number"}, func(r *row) { r.want.Fault = "registry|undetermined|node-infrastructure" },
		},
		{
			"1.7", "built with a Go that sends a login along to a subdomain",
			[]string{"layers-on-a-subdomain-that-wants-one-login-only"}, message(runtimeResult{any: true}),
		},
		{
			"1.7", "built without glibc's resolver, which Debian's 1.6.20 uses",
			[]string{"nsswitch-without-dns"}, message(fails(`no such host|no suitable address`)),
		},
		{
			"1.7", "whose first write to a disk with errors is another one",
			[]string{"disk-gives-errors"}, func(r *row) { r.want.Confidence = "confirmed|likely" },
		},
		{
			"2.0", "that reads format 3 of config.toml",
			[]string{"config-path-of-an-older-and-of-this-containerd"}, nil,
		},
		{
			"2.0", "that names the layer's format when it cannot be unpacked",
			[]string{"layer-not-an-archive", "layer-not-compressed"}, message(fails(`unexpected EOF|corrupt input`)),
		},
		{
			"2.0", "that does not convert Docker's manifest schema 1",
			[]string{"manifest-schema-1"}, both(fails(`no signatures`), bounds("undetermined", "Undetermined", "undetermined")),
		},
		{
			"2.0", "that reports not found where one host lacks the image and another is not reached",
			[]string{
				"mirror-lacks-it-and-upstream-refuses", "mirror-refuses-and-upstream-lacks-it", "air-gap-tag-missing-and-blocked-by-name",
				"air-gap-tag-missing-and-no-name", "air-gap-tag-missing-and-no-route",
			},
			func(r *row) {
				r.runtime = failsWithAny(`.`)
				r.want.Confidence = strings.Replace(r.want.Confidence, "confirmed", "confirmed|likely", 1)
			},
		},
		{
			"2.1", "whose image verifiers check what the CRI pulls",
			[]string{"verifier-rejects", "verifier-rejects-in-words-of-a-network", "verifier-does-not-run"}, nil,
		},
		{
			"2.1", "that says how many bytes of a layer came",
			[]string{"blob-host-portal"}, message(fails(`expected number of bytes`)),
		},
		{
			"2.1", "that takes from an index only the platform of the node, not 386 on amd64",
			[]string{"index-of-386-only", "index-of-386-only-unpulled"}, both(passes(), bounds("none", "Healthy", "confirmed|likely")),
		},
		{
			"2.1", "that pulls an artifact whose manifest has no layers of an image",
			[]string{"signature"}, both(fails(`mismatched image rootfs|no processor for media-type`), bounds("registry", "LayerCorrupt|UnsupportedManifest", "*")),
		},
		{
			"2.1", "that repeats a request after 500, 503 and 504",
			[]string{"unavailable-once", "unavailable-once-without-a-test-pull"}, both(fails(`503`), any),
		},
		{
			"2.3", "that stops reading where more comes than was announced (and so does 2.0.14)",
			[]string{"manifest-reformatted-by-a-gateway", "manifest-reformatted-by-a-gateway-without-a-test-pull"},
			message(failsWith(codes.FailedPrecondition, `failed size validation|read past expected size`)),
		},
		{
			"2.3", "that does not read an endless manifest to its end (and so does 2.0.14)",
			[]string{"manifest-endless"}, both(runtimeResult{any: true}, bounds("registry|undetermined", "LayerCorrupt|Undetermined", "likely|undetermined")),
		},
		{
			"2.4", "that tells its config_path (and so do 1.6 and 1.7)",
			[]string{"config-toml-newer-than-the-runtime"}, func(r *row) { r.want.Cause = "RuntimeConfigStale|CertificateUntrusted" },
		},
		{
			"2.3", "that repeats a request whose connection broke (2.3.2)",
			[]string{"connection-broken-twice", "connection-broken-twice-without-a-test-pull"},
			both(fails(`EOF|reset`), bounds("node-infrastructure|registry|undetermined", "*", "likely|undetermined")),
		},
	}
}

// beside returns the row as it is beside a containerd of this minor version, and which
// later version is the first that does otherwise.
func (r row) beside(version string) (changed row, reasons []string, skip bool) {
	v := lab.Versions{Containerd: version}
	for _, o := range olderContainerds() {
		if v.ContainerdSince(o.before) || !slices.Contains(o.rows, r.name) {
			continue
		}
		reasons = append(reasons, "containerd "+o.before+" is the first "+o.first)
		if o.change == nil {
			return r, reasons, true
		}
		o.change(&r)
	}
	return r, reasons, false
}
