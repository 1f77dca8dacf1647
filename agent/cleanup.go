package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/pullprobe/pullprobe/cri"
)

// cleanUpTestPulls cleans up after test pulls that a crash interrupted, and after those
// that containerd finished late. It calls heartbeat after every round.
func cleanUpTestPulls(ctx context.Context, puller *cri.Puller, log *slog.Logger, heartbeat func()) {
	for {
		round, cancel := context.WithTimeout(ctx, time.Minute)
		settled := puller.Recover(round)
		cancel()
		for _, s := range settled {
			if s.Pending && s.Err == nil {
				continue
			}
			log.Info("test pull settled", "image", s.Image, "removed", s.Removed, "left", s.Left, "pending", s.Pending, "error", s.Err)
		}
		heartbeat()
		select {
		case <-ctx.Done():
			return
		case <-time.After(15 * time.Second):
		}
	}
}
