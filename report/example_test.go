package report_test

import (
	"fmt"

	. "github.com/pullprobe/pullprobe/report"
)

func ExampleBelow() {
	checks := []Check{
		{ID: DialID("registry.example", "192.0.2.1:443"), Outcome: Fail},
		{ID: DialID("registry.example", "192.0.2.2:443"), Outcome: Pass, Evidence: map[string]string{KeyTaken: True}},
		{ID: DialID("mirror.example", "192.0.2.3:443"), Outcome: Pass},
	}
	for _, c := range Below(checks, DialID("registry.example")) {
		fmt.Println(c.ID, c.Outcome, c.Is(KeyTaken))
	}
	// Output:
	// dial/registry.example/192.0.2.1:443 fail false
	// dial/registry.example/192.0.2.2:443 pass true
}
