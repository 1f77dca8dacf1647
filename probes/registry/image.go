package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/answers"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/imagemanifest"
	"github.com/pullprobe/pullprobe/probes/requests"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// noSchema1Since is the version since which containerd does not pull Docker's manifest
// schema 1, by default or at all.
const noSchema1Since = "2.0.0"

// onePlatformSince is the version since which containerd's CRI plugin pulls by the transfer
// service, which takes exactly the node's platform from an index (core/transfer/image,
// Store.ImageFilter with platforms.Ordered). Before, and with use_local_image_pull, it
// takes what platforms.Default matches.
const onePlatformSince = "2.1.0"

// imageCheck is "image/<host>" while it runs: whether the image has a manifest for
// this platform, and how large it is. It costs one GET of a manifest, another one
// for an index, and one of the config blob.
type imageCheck struct {
	session *session
	next    *session // the host after it that has the manifest, which the runtime asks if this one fails; nil: there is none
	check   report.Check
	facts   evidence.Facts
	start   time.Time

	matcher    platforms.MatchComparer
	inIndex    platforms.MatchComparer // what the runtime takes from an index
	platform   *ocispec.Platform       // by the index; nil: there is no index, or it has none
	config     *ocispec.Descriptor     // nil: the manifest is not that of a container image
	unpacked   int                     // layers that the runtime unpacks; -1: not known
	layers     []ocispec.Descriptor    // the largest first; none: there is nothing to pull
	configIn   *httpclient.Reply       // the answer to the request for the config; nil: there is none
	configRead bool                    // the config was requested
	noConfig   bool                    // the request for the config failed
	atURLs     []ocispec.Descriptor    // layers for which the manifest has other addresses
}

// openImage checks the image as far as its manifests tell.
func (s *session) openImage(ctx context.Context, next *session) *imageCheck {
	i := &imageCheck{session: s, next: next, start: time.Now()}
	i.facts = evidence.Facts{report.KeyMediaType: s.manifest.mediaType, report.KeyDigest: s.manifest.digest}
	i.check = report.Check{ID: report.ImageID(s.host.Name()), Kind: report.KindImage, Target: s.ref.String()}
	i.findManifest(ctx)
	return i
}

// done returns the finished check.
func (i *imageCheck) done() report.Check {
	i.check.Evidence = i.facts.Checked()
	i.check.Duration = report.Millis(time.Since(i.start))
	return i.check
}

func (i *imageCheck) fail(cause report.Cause, summary string) {
	i.check.Outcome, i.check.Cause, i.check.Summary = report.Fail, cause, summary
}

// findManifest follows the image from its name to the manifest for this platform.
func (i *imageCheck) findManifest(ctx context.Context) {
	wanted, err := wantedPlatform(i.session.target.Platform)
	if err != nil {
		i.check.Outcome = report.Error
		i.check.Summary = "not a platform: " + readable.Clean(i.session.target.Platform, 60)
		return
	}
	i.facts[report.KeyWanted] = platforms.Format(wanted)
	// As containerd's platforms.Default: what this machine runs, older variants
	// and on amd64 also 386.
	i.matcher = platforms.Only(wanted)
	i.inIndex = i.matcher
	if !i.pulledLocally() {
		i.inIndex = platforms.Ordered(platforms.Normalize(wanted))
	}

	kind := i.session.manifest.mediaType
	if !imagemanifest.IsIndex(kind) && !imagemanifest.IsManifest(kind) {
		i.unsupported(kind)
		return
	}
	// Like the runtime, by the digest that the name was resolved to.
	object := i.session.ref.TagOrDigest()
	if imagemanifest.IsSHA256(i.session.manifest.digest) {
		object = i.session.manifest.digest
	}
	body, ok := i.getManifest(ctx, object, kind, max(i.session.manifest.size, 0))
	for depth := 0; ok && imagemanifest.IsIndex(kind); depth++ {
		var chosen *ocispec.Descriptor
		if chosen, ok = i.choose(body, depth); ok {
			kind = chosen.MediaType
			body, ok = i.getManifest(ctx, chosen.Digest.String(), kind, chosen.Size)
		}
	}
	if ok {
		i.readManifest(body)
	}
}

// choose returns the manifest for this platform from an index; depth is 0 for the
// index of the name. If there is none, the check says why and false is returned.
func (i *imageCheck) choose(body []byte, depth int) (*ocispec.Descriptor, bool) {
	var index ocispec.Index
	if err := json.Unmarshal(body, &index); err != nil {
		i.fail(report.UnsupportedManifest, "the image index of "+i.session.ref.Path+" is not valid JSON")
		return nil, false
	}
	chosen, offered := imagemanifest.Choose(index.Manifests, i.inIndex)
	i.facts[report.KeyPlatforms], i.facts[report.KeyIndex] = strings.Join(offered, ", "), report.True
	if chosen == nil {
		if older, _ := imagemanifest.Choose(index.Manifests, i.matcher); older != nil {
			i.facts[report.KeyNote] = "this node runs " + evidence.Word(platforms.Format(*older.Platform), 40) +
				" too, but containerd takes that from an index before " + onePlatformSince + " only, or with use_local_image_pull"
		}
		i.fail(report.PlatformMismatch, fmt.Sprintf("%s has no image for %s; it has %s",
			i.session.ref, i.facts[report.KeyWanted], cmp.Or(readable.Clean(strings.Join(offered, ", "), 160), "none at all")))
		return nil, false
	}
	kind := chosen.MediaType
	if !imagemanifest.IsManifest(kind) && (!imagemanifest.IsIndex(kind) || depth > 0) {
		i.check.Outcome = report.Unknown
		i.check.Summary = "unsupported media type " + strconv.Quote(readable.Clean(kind, 80)) + " for this platform; not inspected"
		i.facts[report.KeyNotSeen] = "the manifest: of another media type"
		return nil, false
	}
	if chosen.Platform != nil && imagemanifest.IsManifest(kind) {
		i.platform = chosen.Platform
		i.facts[report.KeyPlatform] = evidence.Word(platforms.Format(*chosen.Platform), 60)
	}
	if !imagemanifest.IsDigest(chosen.Digest) {
		i.fail(report.UnsupportedManifest, "the image index of "+i.session.ref.Path+" has an invalid digest for this platform")
		return nil, false
	}
	return chosen, true
}

func wantedPlatform(specifier string) (ocispec.Platform, error) {
	if specifier == "" {
		return platforms.DefaultSpec(), nil
	}
	return platforms.Parse(specifier)
}

// getManifest gets a manifest within the budget. If there is none, the check says
// why and false is returned. A size of 0 is unknown.
func (i *imageCheck) getManifest(ctx context.Context, object, kind string, size int64) ([]byte, bool) {
	s := i.session
	if size > httpclient.MaxBytes || object == s.manifest.digest && s.manifest.size > httpclient.MaxBytes {
		i.tooLarge()
		return nil, false
	}
	if full := s.manifest.full; full != nil && (object == s.ref.TagOrDigest() || object == s.manifest.digest) {
		return full.Body, i.acceptManifest(full, object, size)
	}
	if !s.budget.TakeManifest() {
		i.check.Outcome = report.Skipped
		i.check.Summary = "skipped: this diagnosis has sent its two manifest requests"
		if i.platform != nil {
			i.check.Outcome = report.Unknown
			i.check.Summary = fmt.Sprintf("%s has an image for %s, whose manifest was not read", s.ref, i.facts[report.KeyWanted])
		}
		i.facts[report.KeyNotSeen] = "the manifest: this diagnosis has sent its two manifest requests"
		return nil, false
	}
	start := time.Now()
	r := s.planned(requests.FetchManifest, "", object, kind)
	r.By, r.Limit = s.manifest.login, httpclient.MaxBytes
	rep, answers, err := s.sendAsRuntime(ctx, r, s.lastOfAll)
	i.facts[report.KeyRetried] = retriedFact(answers)
	if i.failed(rep, err) && s.budget.TakeManifest() {
		if other := i.askNext(ctx, requests.FetchManifest, object, kind); other != nil {
			i.facts[report.KeyNote] = s.host.Name() + " has the manifest by HEAD, and does not give it: the runtime gets it from " +
				i.next.host.Name()
			rep, err = other, nil
		}
	}
	if err != nil {
		i.facts[report.KeyNotSeen] = "the manifest"
		requestFailed(s.host.Name(), &i.check, err, time.Since(start))
		for k, x := range i.check.Evidence {
			i.facts[k] = x
		}
		return nil, false
	}
	return rep.Body, i.acceptManifest(rep, object, size)
}

// failed reports whether an answer to a GET makes the runtime ask the next host
// (containerd's dockerFetcher.Fetch), and there is one.
func (i *imageCheck) failed(rep *httpclient.Reply, err error) bool {
	return i.next != nil && (err != nil || rep.Status >= http.StatusMultipleChoices)
}

// askNext requests a manifest or a config from the next host; nil if it does not give it.
func (i *imageCheck) askNext(ctx context.Context, st requests.Step, object, kind string) *httpclient.Reply {
	r := i.next.planned(st, "", object, kind)
	r.By, r.Limit = i.next.manifest.login, httpclient.MaxBytes
	rep, _, err := i.next.sendAsRuntime(ctx, r, i.next.lastOfAll)
	if err != nil || rep.Status != http.StatusOK {
		return nil
	}
	return rep
}

// acceptManifest reports whether the answer is the manifest; if not, the check
// says why.
func (i *imageCheck) acceptManifest(rep *httpclient.Reply, object string, size int64) bool {
	s := i.session
	answered := s.host.Name() + " has " + s.ref.Path + " by HEAD, but answers GET of the manifest " + readable.Clean(object, 80) + " with "
	same := !imagemanifest.IsSHA256(object) || object == imagemanifest.SHA256(rep.Body)
	switch {
	case rep.Status != http.StatusOK:
		a := s.judge(rep, s.manifest.login)
		i.facts[report.KeyStatus], i.facts[report.KeyCode] = strconv.Itoa(rep.Status), answers.ErrorCode(rep.Body)
		i.facts[report.KeyPolicy], i.facts[report.KeyRetryAfter] = a.check.Evidence[report.KeyPolicy], a.check.Evidence[report.KeyRetryAfter]
		i.fail(a.check.Cause, answered+answers.StatusText(rep.Status))
		if rep.Status == http.StatusNotFound {
			// The index, or the name, exists, and the manifest that it refers to does not.
			i.check.Cause = report.LayerCorrupt
			i.facts[report.KeyPublisher] = report.True
		}
	case answers.IsWebPage(rep.Header):
		i.facts[report.KeyContentType] = rep.Header.Get("Content-Type")
		i.fail(report.Undetermined, answered+"a web page: a login portal or a proxy in between?")
	case rep.Encoded != "":
		i.check.Outcome = report.Unknown
		i.check.Summary = "the manifest is compressed (" + evidence.Word(rep.Encoded, 20) + "): platform and size unknown"
		i.facts[report.KeyNotSeen] = "the manifest: compressed as " + evidence.Word(rep.Encoded, 20)
	case rep.Cut:
		i.tooLarge()
	case i.facts[report.KeyIndex] == "" && size > 0 && int64(len(rep.Body)) != size && same:
		// The manifest is the right one: what is wrong is the answer to HEAD.
		i.facts[report.KeyManifestSize] = strconv.Itoa(len(rep.Body))
		i.fail(report.RegistryUnavailable, fmt.Sprintf("%s answers HEAD of the manifest with a length of %d bytes, and GET with %d: "+
			"the runtime rejects it", s.host.Name(), size, len(rep.Body)))
	case size > 0 && int64(len(rep.Body)) != size, !same:
		i.facts[report.KeyManifest], i.facts[report.KeyManifestSize] = imagemanifest.SHA256(rep.Body), strconv.Itoa(len(rep.Body))
		i.facts[report.KeyPublisher] = report.True
		i.fail(report.LayerCorrupt, s.host.Name()+" returns another manifest than "+readable.Clean(object, 80)+
			"; the runtime rejects this manifest")
	default:
		return true
	}
	return false
}

// tooLarge ends the check at a manifest beyond the budget.
func (i *imageCheck) tooLarge() {
	i.check.Outcome = report.Unknown
	i.check.Summary = "the manifest is larger than what pullprobe reads: platform and size unknown"
	i.facts[report.KeyNotSeen] = "the manifest: larger than what pullprobe reads"
}

// readManifest reads the manifest of one platform.
func (i *imageCheck) readManifest(body []byte) {
	var m ocispec.Manifest
	if err := json.Unmarshal(body, &m); err != nil {
		i.fail(report.UnsupportedManifest, "the manifest of "+i.session.ref.Path+" is not valid JSON")
		return
	}
	size, unpacked := imagemanifest.Sizes(m)
	i.facts[report.KeySize], i.facts[report.KeyLayers] = strconv.FormatInt(size, 10), strconv.Itoa(len(m.Layers))
	i.facts[report.KeyUnpacked], i.facts[report.KeyNeed] = strconv.FormatInt(unpacked, 10), strconv.FormatInt(size+unpacked, 10)
	i.facts[report.KeyConfig] = m.Config.Digest.String()
	i.check.Outcome = report.Pass
	i.check.Summary = fmt.Sprintf("%s: %s, %d layers, %s compressed, about %s unpacked",
		i.session.ref.Path, i.facts[report.KeyWanted], len(m.Layers), readable.Bytes(size), readable.Bytes(unpacked))
	i.layers, i.unpacked, i.atURLs = imagemanifest.Layers(m), imagemanifest.Unpacked(m), imagemanifest.AtURLs(m)
	invalid := func(d ocispec.Descriptor) bool { return d.Digest != "" && !imagemanifest.IsDigest(d.Digest) }
	if slices.ContainsFunc(append(m.Layers, m.Config), invalid) {
		i.fail(report.UnsupportedManifest, "the manifest of "+i.session.ref.Path+" has an invalid digest")
		return
	}

	if version := i.session.model.version; i.unpacked >= 0 && i.unpacked != len(m.Layers) && unpacksAll(version) {
		i.facts[report.KeyPublisher] = report.True
		i.fail(report.UnsupportedManifest, "the manifest of "+i.session.ref.Path+" has layers that are none of an image, which containerd "+
			readable.Clean(version, 20)+" does not unpack")
		return
	}

	switch m.Config.MediaType {
	case ocispec.MediaTypeImageConfig, "application/vnd.docker.container.image.v1+json":
		i.config = &m.Config
	default:
		i.facts[report.KeyConfigType] = m.Config.MediaType
		i.facts[report.KeyNote] = "not a container image by its config; the runtime pulls it all the same"
	}
}

// readConfig gets the config blob, which names the image's platform. The runtime
// does not compare the platform if there is no index: it pulls any.
func (i *imageCheck) readConfig(ctx context.Context) {
	if i.config == nil || i.configRead {
		return
	}
	i.configRead = true
	r := i.session.planned(requests.FetchBlob, "", i.config.Digest.String(), i.config.MediaType)
	r.By, r.Limit = i.session.manifest.login, httpclient.MaxBytes
	rep, _, err := i.session.sendAsRuntime(ctx, r, i.session.lastOfAll)
	if i.failed(rep, err) {
		if other := i.askNext(ctx, requests.FetchBlob, i.config.Digest.String(), i.config.MediaType); other != nil {
			rep, err = other, nil
		}
	}
	i.configIn = rep
	i.noConfig = err != nil || rep.Status != http.StatusOK || answers.IsWebPage(rep.Header)
	if i.noConfig || rep.Cut || rep.Encoded != "" {
		if i.platform == nil {
			// The check of the blob finds out why.
			i.check.Outcome, i.check.BlockedBy = report.Skipped, report.BlobID(i.session.host.Name())
			i.check.Summary = i.session.ref.Path + ": the image config, which names the platform, is not available"
			i.facts[report.KeyNotSeen] = "the image config"
		}
		return
	}
	wanted := i.config.Digest.String()
	if i.config.Size > 0 && int64(len(rep.Body)) != i.config.Size ||
		imagemanifest.IsSHA256(wanted) && wanted != imagemanifest.SHA256(rep.Body) {
		i.facts[report.KeyPublisher] = report.True
		i.fail(report.LayerCorrupt, i.session.host.Name()+" returns another config than the manifest names; the runtime rejects this config")
		return
	}
	var config ocispec.Image
	if json.Unmarshal(rep.Body, &config) != nil {
		return
	}
	if config.Architecture != "" && config.OS != "" {
		i.comparePlatform(config.Platform)
	}
	// The transfer service unpacks nothing where the manifest has no layers of an image, as
	// that of a signature; before, such an image fails too (client/image.go, getLayers).
	compared := i.unpacked > 0 || i.unpacked == 0 && i.pulledLocally()
	if n := len(config.RootFS.DiffIDs); i.check.Outcome == report.Pass && compared && n != i.unpacked {
		i.facts[report.KeyPublisher] = report.True
		i.fail(report.LayerCorrupt, fmt.Sprintf("the config of %s has %d layers, its manifest %d: the runtime does not unpack the image",
			i.session.ref.Path, n, i.unpacked))
	}
}

// pulledLocally reports whether the CRI plugin pulls by containerd's client, and not by the
// transfer service.
func (i *imageCheck) pulledLocally() bool {
	return !runtimeconfig.AtLeast(i.session.model.version, onePlatformSince) || i.session.prober.Config.ByClient
}

// unpacksAll reports whether a version of containerd unpacks every layer of a manifest,
// whatever its media type (image.go, getLayers): 1.6.20 and 1.7.6 do, 1.6.36 and 1.7.11 do
// not. Those in between are taken for the latter.
func unpacksAll(version string) bool {
	return !runtimeconfig.AtLeast(version, "1.6.21") || runtimeconfig.AtLeast(version, "1.7.0") && !runtimeconfig.AtLeast(version, "1.7.7")
}

// configRefused reads the config, and returns "blob/<host>" if it was refused.
func (i *imageCheck) configRefused(ctx context.Context) *report.Check {
	i.readConfig(ctx)
	rep := i.configIn
	if rep == nil || rep.Status != http.StatusUnauthorized && rep.Status != http.StatusForbidden {
		return nil
	}
	b := &layerCheck{session: i.session, layer: *i.config, facts: evidence.Facts{}}
	b.check = report.Check{ID: report.BlobID(i.session.host.Name()), Kind: report.KindBlob, Target: i.config.Digest.String()}
	b.answered(rep)
	return &b.check
}

// comparePlatform judges the platform of the config.
func (i *imageCheck) comparePlatform(has ocispec.Platform) {
	has = platforms.Normalize(has)
	i.facts[report.KeyPlatform] = evidence.Word(platforms.Format(has), 60)
	wanted := i.facts[report.KeyWanted]
	inIndex := i.facts[report.KeyIndex] == report.True
	mismatch := fmt.Sprintf("%s is built for %s, this node is %s", i.session.ref, i.facts[report.KeyPlatform], wanted)
	switch {
	case inIndex && i.platform == nil && !i.matcher.Match(has):
		i.fail(report.PlatformMismatch, mismatch)
		i.facts[report.KeyPublisher] = report.True
		i.facts[report.KeyNote] = "the index does not name its platform: the runtime finds no match and does not pull the image"
	case i.matcher.Match(has):
	case i.matchesBut(has):
		// The runtime compares variants in an index only. Whether this CPU has more
		// than the features of its architecture's name is unknown.
		i.facts[report.KeyNote] = "the variant " + evidence.Word(has.Variant, 20) + " may need more than this CPU has"
	case has.Architecture == "wasm":
		i.facts[report.KeyNote] = "WebAssembly: needs a runtime class for it"
	case i.session.prober.Files != nil && Emulates(i.session.prober.Files, has.Architecture):
		i.facts[report.KeyEmulated] = report.True
		i.facts[report.KeyNote] = "for another architecture, which this node emulates"
	default:
		i.fail(report.PlatformMismatch, mismatch)
		i.facts[report.KeyNote] = "the runtime pulls it, the container dies with exec format error"
		if inIndex {
			i.facts[report.KeyPublisher] = report.True // the index names this platform
		}
	}
}

// matchesBut reports whether has differs from this platform in its variant only.
func (i *imageCheck) matchesBut(has ocispec.Platform) bool {
	wanted, err := wantedPlatform(i.session.target.Platform)
	return err == nil && has.OS == wanted.OS && has.Architecture == wanted.Architecture
}

// Emulates reports whether the kernel runs programs for an architecture in an
// emulator (binfmt_misc), under the names that QEMU's packages give them.
func Emulates(files runtimeconfig.Files, arch string) bool {
	name := map[string]string{
		"amd64": "x86_64", "386": "i386", "arm64": "aarch64", "arm": "arm", "ppc64le": "ppc64le",
		"s390x": "s390x", "riscv64": "riscv64", "mips64le": "mips64el", "loong64": "loongarch64",
	}[arch]
	if name == "" {
		return false
	}
	text, err := files.ReadFile("/proc/sys/fs/binfmt_misc/qemu-" + name)
	return err == nil && strings.HasPrefix(string(text), "enabled")
}

func (i *imageCheck) unsupported(mediaType string) {
	signed := mediaType == "application/vnd.docker.distribution.manifest.v1+prettyjws" || mediaType == "text/plain"
	if signed && !runtimeconfig.AtLeast(i.session.model.version, noSchema1Since) {
		i.check.Outcome, i.check.Summary = report.Unknown, "the image has Docker's manifest schema 1, which this containerd still pulls"
		i.facts[report.KeyNotSeen] = "the manifest: of Docker's schema 1, which pullprobe does not read"
		return
	}
	switch mediaType {
	case "application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws", "text/plain":
		i.fail(report.UnsupportedManifest, "the image has Docker's manifest schema 1, which containerd does not pull since 2.0: push it again")
	case "":
		i.check.Summary = "the registry does not send the manifest's media type"
		i.facts[report.KeyNotSeen] = "the manifest: it has no media type"
	default:
		i.fail(report.UnsupportedManifest, "not an image: its manifest has the media type "+strconv.Quote(readable.Clean(mediaType, 80)))
	}
}
