package registry

import (
	"strconv"
	"strings"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// hostsCheck is "hosts/<domain>": which hosts the runtime contacts for ref.
func hostsCheck(p *connect.Prober, ref reference.Ref) (report.Check, []runtimeconfig.Host) {
	check := report.Check{ID: "hosts/" + ref.Domain, Kind: report.KindRuntime, Host: ref.Domain}
	config, problem := p.Config.Hosts(p.Files, ref.Domain)
	var hosts []runtimeconfig.Host
	var order, bad, blobsOnly []string
	for _, h := range config.List {
		// For content the runtime asks all of them, whatever they are said to be
		// capable of (containerd's dockerFetcher.Fetch).
		h.BlobsOnly = !h.Serves(ref.Digest == "")
		if h.Scheme != "https" && h.Scheme != "http" || h.Host == "" {
			bad = append(bad, report.Clean(h.Scheme+"://"+h.Host, 80))
			continue
		}
		if h.BlobsOnly {
			blobsOnly = append(blobsOnly, h.Name())
		} else {
			order = append(order, h.Name())
		}
		if len(hosts) < maxHosts {
			hosts = append(hosts, h)
		}
	}
	e := evidence.Facts{
		"order": strings.Join(order, ","), "file": config.File,
		"unknownKeys": strings.Join(config.Unknown, ", "), "unusable": strings.Join(bad, ", "),
		"unused":    strings.Join(config.Unused, ", "),
		"blobsOnly": strings.Join(blobsOnly, ","),
	}
	if len(order)+len(blobsOnly) > len(hosts) {
		e["visited"] = strconv.Itoa(len(hosts))
	}
	check.Outcome = report.Pass
	check.Summary = "the runtime asks " + strings.Join(order, ", then ")
	switch {
	case problem != nil && problem.Unread:
		check.Outcome = report.Skipped
		check.Summary = "the registry configuration " + problem.File + ": " + problem.Reason + "; taken as none"
	case problem != nil && problem.Ignored:
		check.Outcome, check.Cause = report.Fail, report.RuntimeConfigInvalid
		check.Summary = "the runtime ignores " + problem.File + " without a word: " + problem.Reason
		e["ignored"] = "true"
		if problem.Stale {
			check.Cause = report.RuntimeConfigStale
			check.Summary = "the runtime does not read " + problem.File + " before it is restarted: " + problem.Reason
		}
	case problem != nil:
		check.Outcome, check.Cause = report.Fail, report.RuntimeConfigInvalid
		check.Summary = "the runtime refuses every pull from " + ref.Domain + ": " + problem.Error()
	case len(order) == 0:
		check.Outcome, check.Cause = report.Fail, report.RuntimeConfigInvalid
		check.Summary = config.File + " leaves no host to ask for " + ref.Domain
	case len(config.Unknown) > 0:
		check.Summary += "; " + config.File + " has keys that mean nothing: " + strings.Join(config.Unknown, ", ")
	case len(config.Unused) > 0:
		check.Summary += "; it does not read " + strings.Join(config.Unused, ", ")
	}
	if problem != nil {
		e["file"] = problem.File
		e["reason"] = problem.Reason
	}
	check.Summary = report.Clean(check.Summary, 500) // names in it are somebody's configuration
	check.Evidence = e.Checked()
	return check, hosts
}

// maxHosts bounds the hosts of one image that are contacted.
const maxHosts = 8
