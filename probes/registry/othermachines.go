package registry

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/report"
)

// askOtherMachines adds to a manifest that the host refused what the host's other
// addresses answer to the same request: one of several machines may be at fault, or an
// address that only this node uses. A login goes to addresses on the runtime's path only.
func (s *session) askOtherMachines(ctx context.Context) {
	refused := s.manifest.status == http.StatusUnauthorized && !s.manifest.login.Anonymous() // it is not sent again
	if !s.manifest.asked || s.manifest.status < 400 || s.manifest.status == http.StatusTooManyRequests || refused {
		return
	}
	check := &s.checks[s.manifest.at]
	if check.Outcome != report.Fail || check.BlockedBy != "" {
		return
	}
	answers := make([]string, len(s.others))
	var wg sync.WaitGroup
	for i, machine := range s.others {
		if machine.OnPath || s.manifest.login.Anonymous() {
			wg.Go(func() {
				h := s.host
				if !machine.OnPath {
					h.Header = nil // they may be a login
				}
				c := httpclient.New(s.prober, h, machine.Addr, s.budget)
				defer c.Close()
				answers[i] = machine.Addr.Addr().String() + " " + s.answerAt(ctx, c)
			})
		}
	}
	wg.Wait()
	var machines, elsewhere []string
	for i, answer := range answers {
		switch {
		case answer == "":
		case s.others[i].OnPath:
			machines = append(machines, answer)
		default:
			elsewhere = append(elsewhere, answer)
		}
	}
	check.Evidence = evidence.With(check.Evidence, report.KeyOtherMachines, strings.Join(machines, ", "))
	check.Evidence = evidence.With(check.Evidence, report.KeyAnswerElsewhere, strings.Join(elsewhere, ", "))
	check.Evidence = evidence.Facts(check.Evidence).Checked()
}

// answerAt returns the status of the manifest at another address; "none" if there is no
// answer.
func (s *session) answerAt(ctx context.Context, c *httpclient.Client) string {
	r := s.planned(resolveStep(s.ref), "", s.ref.TagOrDigest(), "")
	r.By, r.Question = s.manifest.login, true
	if rep, err := c.Send(ctx, r); err == nil {
		return strconv.Itoa(rep.Status)
	}
	return "none"
}
