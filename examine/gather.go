package examine

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes"
	"github.com/pullprobe/pullprobe/report"
)

// gathered is what this node knows before a registry is contacted.
type gathered struct {
	ref         probes.Ref
	reference   report.Check
	runtime     report.Check
	local       report.Check // images of the same registry that are on the node
	node        vantage
	disk        report.Check // without regard to the size of the image
	credentials credentials.Walked
}

// gather asks the runtime, reads the node's files and resolves the credentials,
// side by side. It takes no longer than ctx lasts. The caller closes the node.
func (e *Examiner) gather(ctx context.Context, s Subject, reference report.Check, ref probes.Ref) gathered {
	g := gathered{ref: ref, reference: reference}
	var wg sync.WaitGroup
	wg.Go(func() {
		// One deadline for both: a runtime that hangs must leave time for the probes.
		asking, stop := context.WithTimeout(ctx, runtimeIn)
		defer stop()
		g.runtime = e.runtimeCheck(asking)
		g.local = e.localImages(asking, ref, g.runtime)
	})
	wg.Go(func() {
		g.node = e.look(ctx)
		g.disk = e.diskCheck(g.node, 0)
	})
	wg.Go(func() {
		reading, stop := context.WithTimeout(ctx, ProvidersTimeout)
		defer stop()
		g.credentials = e.Credentials(reading, ref.Domain+"/"+ref.Path, s)
	})
	wg.Wait()
	return g
}

// runtimeCheck asks the runtime how it is.
func (e *Examiner) runtimeCheck(ctx context.Context) report.Check {
	ctx, cancel := context.WithTimeout(ctx, runtimeIn)
	defer cancel()
	if e.Runtime == nil {
		return report.Check{ID: "runtime", Kind: report.KindRuntime, Outcome: report.Skipped, Summary: "no runtime endpoint is known: name one with --runtime-endpoint"}
	}
	return e.Runtime.Status(ctx)
}

// localImages says which images of the same registry are already here: a node
// that pulled from a registry before could reach it.
func (e *Examiner) localImages(ctx context.Context, ref probes.Ref, runtime report.Check) report.Check {
	c := report.Check{ID: "local/" + ref.Domain, Kind: report.KindImage, Host: ref.Domain, Outcome: report.Skipped}
	if runtime.Outcome != report.Pass {
		c.Summary, c.BlockedBy = "the runtime could not be asked", "runtime"
		return c
	}
	start := time.Now()
	images, err := e.Runtime.Images(ctx)
	if err != nil {
		c.Outcome, c.Summary = report.Error, "the runtime did not list its images"
		return c
	}
	count, example := imagesFrom(images, ref.Domain)
	_, present, err := e.Runtime.ImageStatus(ctx, ref.String())
	c.Outcome = report.Pass
	c.Evidence = map[string]string{"count": strconv.Itoa(count), "present": strconv.FormatBool(err == nil && present)}
	c.Summary = localSummary(count, ref.Domain, example)
	if example != "" {
		c.Evidence["example"] = example
	}
	c.Duration = report.Millis(time.Since(start))
	return c
}
