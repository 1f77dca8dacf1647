//go:build e2e

package e2e

import (
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// reportSchema returns the schema that every report must match.
var reportSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	return c.Compile("../../docs/report.schema.json")
})

// validateReport fails the test if a report does not match the schema.
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
		t.Errorf("report.json does not match docs/report.schema.json: %v\n%s", err, reportJSON)
	}
	return err == nil
}
