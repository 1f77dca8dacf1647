package report

import (
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/report/redact"
)

// Limits of the texts of a published check, in bytes.
const (
	maxEvidence = 512
	maxSummary  = 400
)

// Redacted returns a check whose texts are all redacted.
func (c Check) Redacted(r redact.Redactor) Check {
	c.ID, c.Host, c.Target = r.Text(c.ID, maxSummary), r.Text(c.Host, maxSummary), r.Text(c.Target, maxSummary)
	c.Summary, c.BlockedBy = r.Text(c.Summary, maxSummary), r.Text(c.BlockedBy, maxSummary)
	if c.Evidence != nil {
		e := make(map[string]string, len(c.Evidence))
		for k, v := range c.Evidence {
			e[r.Text(k, 64)] = r.Text(v, maxEvidence)
		}
		c.Evidence = e
	}
	return c
}

// RedactedChecks returns a list of checks that are redacted. Draw the verdict from the
// result: then the verdict contains nothing that the checks may not contain.
func RedactedChecks(r redact.Redactor, in []Check) []Check {
	out := make([]Check, len(in))
	for i, c := range in {
		out[i] = c.Redacted(r)
	}
	return out
}

// Redacted returns a diagnosis whose checks are redacted, and with them its verdict, for
// publication. Text of the pod's specification is not secret, even where it equals a
// secret, but it is a tenant's: it loses unprintable characters and is truncated, and
// else stays as it is, to be compared with the specification.
func (d Diagnosis) Redacted() Diagnosis {
	spec := func(s string, limit int) string { return readable.Truncate(readable.Printable(s), limit) }
	d.Image, d.Asked = spec(d.Image, maxEvidence), spec(d.Asked, 128)
	return d
}
