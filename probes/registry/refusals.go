package registry

import (
	"cmp"
	"context"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/report"
)

// tryOnce is try, unless the host is known to refuse this login.
func (s *session) tryUnlessRejected(ctx context.Context, ch challenge, cred credentials.Credential) (attempt, *tokenResult) {
	username, secret := loginOf(cred)
	memory, host := s.target.Refusals, s.host.Name()
	if memory == nil || secret == "" {
		return s.tryLogin(ctx, ch, cred)
	}
	if until, refused := memory.Refused(host, username, secret); refused {
		at := until.UTC().Format("15:04:05")
		return attempt{by: login{cred: cred}, source: cmp.Or(report.Clean(cred.Source, 80), "a credential"), rank: 1, check: report.Check{
			Outcome: report.Fail, Cause: report.CredentialsRejected,
			Summary:  host + " rejected these credentials a short while ago; so as to lock nobody out they are not tried again before " + at + " UTC",
			Evidence: evidence.Facts{"remembered": "true", "notBefore": until.UTC().Format(time.RFC3339)},
		}}, nil
	}
	a, token := s.tryLogin(ctx, ch, cred)
	if a.check.Cause == report.CredentialsRejected || a.check.Cause == report.CredentialsExpired {
		memory.Refuse(host, username, secret)
	}
	return a, token
}
