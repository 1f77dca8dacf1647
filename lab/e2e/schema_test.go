//go:build e2e

package e2e

import (
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// reportSchema is what docs/report.schema.json promises of every report.
var reportSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	return c.Compile("../../docs/report.schema.json")
})

// validate fails the test if a report is not as the schema has it.
func validateReport(t testing.TB, reportJSON string) bool {
	t.Helper()
	schema, err := reportSchema()
	if err != nil {
		t.Fatal(err)
	}
	report, err := jsonschema.UnmarshalJSON(strings.NewReader(reportJSON))
	if err == nil {
		err = schema.Validate(report)
	}
	if err != nil {
		t.Errorf("report.json is not as docs/report.schema.json has it: %v\n%s", err, reportJSON)
	}
	return err == nil
}
