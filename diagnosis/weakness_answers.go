package diagnosis

import (
	"cmp"

	"github.com/pullprobe/pullprobe/report"
)

// weaknessesOfAnswers are those of answers that may mean something else.
func weaknessesOfAnswers() []weakness {
	return []weakness{
		{"rejected-for-another-reason", "the token service's text gives another reason than a wrong login", func(
			_ finding, c report.Check,
		) (string, bool) {
			reason := c.Evidence[report.KeyRefusedFor]
			return "read the text of the token service's 401: it gives another reason than a wrong user name or password",
				c.Kind == report.KindToken && (c.Cause == report.CredentialsRejected || c.Cause == report.CredentialsExpired) &&
					reason != "" && reason != "none"
		}},
		{"layer-404-without-a-code", "the 404 for a layer has no error code of a registry", func(_ finding, c report.Check) (string, bool) {
			from := cmp.Or(c.Evidence[report.KeyBlobHost], c.Host)
			missing := c.Kind == report.KindBlob && c.Cause == report.LayerCorrupt && c.Evidence[report.KeyStatus] == "404"
			return "request the layer from another network: the 404 of " + from + " has no error code of a registry",
				missing && c.Evidence[report.KeyCode] == ""
		}},
	}
}
