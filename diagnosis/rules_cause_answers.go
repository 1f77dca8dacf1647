package diagnosis

import (
	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// causesInLostLogins are what an answer means whose request lost its login on the way.
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
