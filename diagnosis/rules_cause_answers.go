package diagnosis

import (
	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// causesInLostLogins returns the root cause rules for an answer to a request that lost its
// login at a redirect.
func causesInLostLogins() []causeRule {
	return []causeRule{
		{"token-without-login", "the token service gives a token without the login, which a redirect of its own drops", func(
			e *evaluation, o facts.Obstacle,
		) facts.Obstacle {
			token := e.Get(report.TokenID(o.Check.Host))
			if o.RootCause() != report.TokenServiceFailed || token.Outcome != report.Pass || token.Evidence[report.KeyLoginNotSent] == "" {
				return o
			}
			// The runtime's message is about the access that such a token does not give.
			o.AsRuntime = true
			return o.AlsoBecause(token.ID)
		}},
	}
}
