package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/requests"
)

// planned returns the request of a step that follows an answer; empty: the first one.
// object is a tag or a digest, accept the media type of what is wanted, if it is known.
func (s *session) planned(st requests.Step, after, object, accept string) httpclient.Request {
	p := requests.Find(st, after, object, accept)
	return httpclient.Request{
		Method: p.Method,
		URL:    requests.URL(s.host, s.ref.Domain, s.ref.Path, nil, strings.Split(p.Path, "/")...),
		Header: http.Header{"Accept": {p.Accept}},
	}
}

// betweenRetries is containerd's pause after a broken connection.
const betweenRetries = 50 * time.Millisecond

// sendAsRuntime sends a request of the plan, and again where the runtime does. It
// returns the last answer, and all of them in words.
func (s *session) sendAsRuntime(ctx context.Context, r httpclient.Request, lastHost bool) (*httpclient.Reply, []string, error) {
	var answers []string
	for {
		rep, err := s.client.Send(ctx, r)
		answers = append(answers, answerOf(rep, err))
		if !requests.RetriesAfter(s.model.version, lastHost, answers) || ctx.Err() != nil {
			return rep, answers, err
		}
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(betweenRetries):
			}
		}
	}
}

// answerOf names an answer as the rules of retries do.
func answerOf(rep *httpclient.Reply, err error) string {
	switch {
	case err == nil:
		return strconv.Itoa(rep.Status)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "broken"
	}
	return "error"
}

// retriedFact is the evidence of a request that was sent again: all its answers in
// order; empty if it was sent once.
func retriedFact(answers []string) string {
	if len(answers) < 2 {
		return ""
	}
	return strings.Join(answers, " ")
}
