// Package hostlist says which hosts the runtime contacts for an image, and in which order.
// It reads the runtime's configuration and sends nothing.
package hostlist

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Check returns "hosts/<domain>", which hosts the runtime contacts for ref, and those of
// them that the probes can contact. files reads the configuration.
func Check(configured runtimeconfig.RegistryConfig, files runtimeconfig.Files, ref reference.Ref) (report.Check, []runtimeconfig.Host) {
	check := report.Check{ID: report.HostsID(ref.Domain), Kind: report.KindRuntime, Host: ref.Domain}
	config, problem := configured.Hosts(files, ref.Domain)
	hosts, order, e := usableHosts(config, ref)
	check.Outcome = report.Pass
	check.Summary = "the runtime contacts " + strings.Join(order, ", then ")
	switch {
	case problem != nil:
		describeProblem(&check, problem)
		if problem.Ignored && !problem.Unread {
			e[report.KeyIgnored] = report.True
		}
		e[report.KeyFile] = problem.File
		e[report.KeyReason] = problem.Reason
		e[report.KeyRemedy] = problem.Remedy
	case len(order) == 0:
		check.Outcome, check.Cause = report.Fail, report.RuntimeConfigInvalid
		check.Summary = config.File + " leaves no host to contact for " + ref.Domain
	case config.DependsOn != "":
		check.Summary += "; the version of the runtime is unknown: " + config.DependsOn
	case len(config.Unknown) > 0:
		check.Summary += "; " + config.File + " has unknown keys: " + strings.Join(config.Unknown, ", ")
	case len(config.Unused) > 0:
		check.Summary += "; not read: " + strings.Join(config.Unused, ", ")
	}
	if problem == nil {
		e[report.KeyFileDigest] = digestOf(config)
	}
	check.Summary = readable.Clean(check.Summary, 500) // it has names from the configuration
	check.Evidence = e.Checked()
	return check, hosts
}

// digestOf returns a digest of what a file configures, or none if there is no file. It
// leaves out headers, which may be logins: a short password can be found by its digest.
func digestOf(config runtimeconfig.Hosts) string {
	if config.File == "" {
		return report.None
	}
	var b strings.Builder
	for _, h := range config.List {
		fmt.Fprintln(&b, h.Scheme, h.Host, h.Path, h.Capabilities, h.SkipVerify, h.HTTPFallback, h.DialTimeout, h.CAFiles, len(h.Certificates),
			report.Digest(h.ExtraCAs))
	}
	return report.Digest(b.String())
}

// maxHosts bounds the hosts of one image that are contacted.
const maxHosts = 8

// usableHosts returns the hosts that the probes can contact, and the names of those
// that resolve ref, in order.
func usableHosts(config runtimeconfig.Hosts, ref reference.Ref) (hosts []runtimeconfig.Host, order []string, e evidence.Facts) {
	var unusable, blobsOnly, paths []string
	for _, h := range config.List {
		// For blobs the runtime contacts all hosts, whatever their capabilities
		// (containerd's dockerFetcher.Fetch).
		h.BlobsOnly = !h.Serves(ref.Digest == "")
		if h.Scheme != "https" && h.Scheme != "http" || h.Host == "" {
			unusable = append(unusable, readable.Clean(h.Scheme+"://"+h.Host, 80))
			continue
		}
		if h.BlobsOnly {
			blobsOnly = append(blobsOnly, h.Name())
		} else {
			order = append(order, h.Name())
		}
		if path := strings.Trim(h.Path, "/"); path != "v2" && path != "" && config.File != "" {
			paths = append(paths, readable.Clean(h.Name()+"/"+path, 120))
		}
		if len(hosts) < maxHosts {
			hosts = append(hosts, h)
		}
	}
	e = evidence.Facts{
		report.KeyOrder:       strings.Join(order, ","),
		report.KeyFile:        config.File,
		report.KeyUnknownKeys: strings.Join(config.Unknown, ", "),
		report.KeyUnusable:    strings.Join(unusable, ", "),
		report.KeyDependsOn:   config.DependsOn,
		report.KeyUnused:      strings.Join(config.Unused, ", "),
		report.KeyBlobsOnly:   strings.Join(blobsOnly, ","),
		report.KeyPaths:       strings.Join(paths, ","),
	}
	if len(order)+len(blobsOnly) > len(hosts) {
		e[report.KeyVisited] = strconv.Itoa(len(hosts))
	}
	return hosts, order, e
}

// describeProblem fills in the check of an invalid or unknown configuration.
func describeProblem(check *report.Check, problem *runtimeconfig.Problem) {
	switch {
	case problem.Unread:
		check.Outcome = report.Skipped
		check.Summary = "the registry configuration " + problem.File + ": " + problem.Reason + "; assuming none"
	case problem.Ignored && problem.Stale:
		check.Outcome, check.Cause = report.Fail, report.RuntimeConfigStale
		check.Summary = "the runtime does not read " + problem.File + " before a restart: " + problem.Reason
	case problem.Ignored:
		check.Outcome, check.Cause = report.Fail, report.RuntimeConfigInvalid
		check.Summary = "the runtime silently ignores " + problem.File + ": " + problem.Reason
	default:
		check.Outcome, check.Cause = report.Fail, report.RuntimeConfigInvalid
		check.Summary = "the runtime refuses every pull from " + check.Host + ": " + problem.Error()
	}
}
