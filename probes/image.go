package probes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/pullprobe/pullprobe/report"
)

// imageCheck is "image/<host>": whether the image has something for this
// platform, and how large it is. It costs one GET of a manifest, one more for
// an index, and one of the config blob, by which it learns whether blobs can
// be had at all.
func (v *visit) imageCheck(ctx context.Context) report.Check {
	start := time.Now()
	check := report.Check{ID: "image/" + v.host.name(), Kind: report.KindImage, Target: v.ref.String()}
	i := image{visit: v, facts: evidence{"mediaType": v.manifest.mediaType, "digest": v.manifest.digest}}
	i.look(ctx, &check)
	check.Evidence = i.facts.checked()
	check.Duration = report.Millis(time.Since(start))
	return check
}

type image struct {
	*visit
	facts evidence
}

func isIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == dockerIndex
}

func isManifest(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == dockerManifest
}

// look follows the image from its name to its config.
func (i image) look(ctx context.Context, check *report.Check) {
	wanted, err := wantedPlatform(i.target.Platform)
	if err != nil {
		check.Outcome = report.Error
		check.Summary = "not a platform: " + clean(i.target.Platform, 60)
		return
	}
	i.facts["wanted"] = platforms.Format(wanted)
	// As containerd's platforms.Default: what this machine runs, older variants
	// and on amd64 also 386.
	matcher := platforms.Only(wanted)

	kind := i.manifest.mediaType
	if !isIndex(kind) && !isManifest(kind) {
		unsupported(check, kind)
		return
	}
	body, ok := i.manifestBody(ctx, check, i.ref.object())
	if !ok {
		return
	}
	if !isIndex(kind) {
		i.readManifest(ctx, check, body, matcher, nil)
		return
	}

	var index ocispec.Index
	if err := json.Unmarshal(body, &index); err != nil {
		check.Outcome, check.Cause = report.Fail, report.UnsupportedManifest
		check.Summary = "the image index of " + i.ref.Path + " is not JSON that can be read"
		return
	}
	chosen, offered := choose(index.Manifests, matcher)
	i.facts["platforms"] = strings.Join(offered, ", ")
	if chosen == nil {
		check.Outcome, check.Cause = report.Fail, report.PlatformMismatch
		check.Summary = fmt.Sprintf("%s has no image for %s; it has %s", i.ref, i.facts["wanted"], orDefault(clean(strings.Join(offered, ", "), 160), "none at all"))
		return
	}
	if !isManifest(chosen.MediaType) {
		check.Outcome = report.Unknown
		check.Summary = "the image for this platform is of the kind " + clean(chosen.MediaType, 80) + ", which is not looked into"
		return
	}
	if body, ok = i.manifestBody(ctx, check, chosen.Digest.String()); ok {
		i.readManifest(ctx, check, body, matcher, chosen.Platform)
	}
}

func wantedPlatform(specifier string) (ocispec.Platform, error) {
	if specifier == "" {
		return platforms.DefaultSpec(), nil
	}
	return platforms.Parse(specifier)
}

// choose picks the manifest of an index as containerd does (images.Manifest):
// the best match, or one that does not say what it is for. It also lists the
// platforms that the index names.
func choose(all []ocispec.Descriptor, matcher platforms.MatchComparer) (chosen *ocispec.Descriptor, offered []string) {
	var fit []ocispec.Descriptor
	for _, d := range all {
		if d.Platform == nil || matcher.Match(*d.Platform) {
			fit = append(fit, d)
		}
		if p := d.Platform; p != nil && p.OS != "unknown" && p.Architecture != "unknown" && len(offered) < 16 {
			offered = append(offered, clean(platforms.Format(*p), 40))
		}
	}
	slices.Sort(offered)
	offered = slices.Compact(offered)
	if len(fit) == 0 {
		return nil, offered
	}
	sort.SliceStable(fit, func(a, b int) bool {
		switch {
		case fit[a].Platform == nil:
			return false
		case fit[b].Platform == nil:
			return true
		}
		return matcher.Less(*fit[a].Platform, *fit[b].Platform)
	})
	return &fit[0], offered
}

// manifestBody gets a manifest within the budget; if it cannot, the check says
// why and false comes back.
func (i image) manifestBody(ctx context.Context, check *report.Check, object string) ([]byte, bool) {
	if !i.budget.takeManifest() {
		check.Outcome = report.Skipped
		check.Summary = "not looked at: the two manifest requests of this diagnosis are spent"
		return nil, false
	}
	start := time.Now()
	rep, err := i.client.send(ctx, request{
		method: http.MethodGet, url: i.apiURL(nil, "manifests", object),
		header: http.Header{"Accept": {accept}}, authorization: i.manifest.authorization, limit: maxBodyBytes,
	})
	switch {
	case err != nil:
		i.requestFailed(check, err, time.Since(start))
		i.merge(check)
		return nil, false
	case rep.status != http.StatusOK:
		a := i.judge(rep, login{anonymous: i.manifest.anonymous})
		check.Outcome, check.Cause = report.Fail, a.check.Cause
		check.Summary = "has " + i.ref.Path + " by HEAD, but GET of the manifest " + clean(object, 80) + " is answered " + statusText(rep.status)
		i.facts["status"] = strconv.Itoa(rep.status)
		i.facts["code"] = errorCode(rep.body)
		return nil, false
	case rep.cut:
		check.Outcome = report.Unknown
		check.Summary = "the manifest is larger than what pullprobe reads: platform and size are not known"
		return nil, false
	}
	return rep.body, true
}

// merge takes the evidence that requestFailed left.
func (i image) merge(check *report.Check) {
	for k, x := range check.Evidence {
		i.facts[k] = x
	}
}

// readManifest judges a single manifest; platform is what the index said of
// it, nil if there is no such word.
func (i image) readManifest(ctx context.Context, check *report.Check, body []byte, matcher platforms.Matcher, platform *ocispec.Platform) {
	var m ocispec.Manifest
	if err := json.Unmarshal(body, &m); err != nil {
		check.Outcome, check.Cause = report.Fail, report.UnsupportedManifest
		check.Summary = "the manifest of " + i.ref.Path + " is not JSON that can be read"
		return
	}
	size := m.Config.Size
	for _, l := range m.Layers {
		if l.Size > 0 {
			size += l.Size
		}
	}
	i.facts["size"], i.facts["layers"] = strconv.FormatInt(size, 10), strconv.Itoa(len(m.Layers))
	i.facts["config"] = m.Config.Digest.String()
	check.Outcome = report.Pass
	check.Summary = fmt.Sprintf("%s: %s, %d layers, %s compressed", i.ref.Path, i.facts["wanted"], len(m.Layers), megabytes(size))

	switch m.Config.MediaType {
	case ocispec.MediaTypeImageConfig, "application/vnd.docker.container.image.v1+json":
	default:
		i.facts["configType"] = m.Config.MediaType
		i.facts["note"] = "not a container image by its config; the runtime pulls it all the same"
		return
	}
	i.readConfig(ctx, check, m.Config, matcher, platform)
}

// readConfig gets the config blob: what the image says it runs on, and whether
// blobs, which are often kept on another host, can be had.
func (i image) readConfig(ctx context.Context, check *report.Check, d ocispec.Descriptor, matcher platforms.Matcher, platform *ocispec.Platform) {
	start := time.Now()
	rep, err := i.client.send(ctx, request{
		method: http.MethodGet, url: i.apiURL(nil, "blobs", d.Digest.String()),
		authorization: i.manifest.authorization, limit: maxBodyBytes,
	})
	var redirect *redirectError
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		i.facts["blob"] = "not asked: " + refused.reason
		return
	case errors.As(err, &redirect):
		f := netFault(err, time.Since(start), report.ConnectionTimeout)
		check.Outcome, check.Cause = report.Fail, report.BlobHostUnreachable
		check.Summary = fmt.Sprintf("%s keeps its layers on %s: %s", i.host.name(), clean(redirect.host, 80), f.words)
		for k, x := range f.facts {
			i.facts[k] = x
		}
		i.facts["blobHost"], i.facts["innerCause"] = redirect.host, string(f.cause)
		return
	case err != nil:
		i.facts["blob"] = "no answer: " + netFault(err, time.Since(start), report.RegistryUnavailable).words
		return
	}
	if rep.hops > 0 {
		i.facts["blobHost"] = rep.host
	}
	if rep.status != http.StatusOK || rep.cut {
		i.facts["blob"] = statusText(rep.status)
		return
	}
	var config ocispec.Image
	if json.Unmarshal(rep.body, &config) != nil || config.Architecture == "" || config.OS == "" {
		return
	}
	has := platforms.Normalize(config.Platform)
	i.facts["platform"] = clean(platforms.Format(has), 60)
	if platform != nil && platform.Architecture == config.Architecture {
		return // the index decided, and the config does not contradict it
	}
	if !matcher.Match(has) {
		check.Outcome, check.Cause = report.Fail, report.PlatformMismatch
		check.Summary = fmt.Sprintf("%s is built for %s, this node is %s", i.ref, i.facts["platform"], i.facts["wanted"])
		i.facts["note"] = "the runtime pulls it, the container dies with exec format error"
		if platform == nil && isIndex(i.manifest.mediaType) {
			i.facts["note"] = "the index does not say its platform: the runtime finds no match and does not pull it"
		}
	}
}

func unsupported(check *report.Check, mediaType string) {
	check.Outcome, check.Cause = report.Fail, report.UnsupportedManifest
	switch mediaType {
	case "application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws", "text/plain":
		check.Summary = "the image is in Docker's schema 1, which containerd does not pull since 2.0: push it again"
	case "":
		check.Outcome, check.Cause = report.Unknown, ""
		check.Summary = "the registry does not say of what kind the manifest is"
	default:
		check.Summary = "not an image: its manifest is of the kind " + clean(mediaType, 80)
	}
}

// megabytes is a size for people.
func megabytes(n int64) string {
	switch {
	case n < 1e6:
		return strconv.FormatFloat(float64(n)/1e3, 'f', 1, 64) + " kB"
	case n < 1e9:
		return strconv.FormatFloat(float64(n)/1e6, 'f', 1, 64) + " MB"
	}
	return strconv.FormatFloat(float64(n)/1e9, 'f', 2, 64) + " GB"
}
