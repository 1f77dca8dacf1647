package report_test

import (
	"fmt"

	. "github.com/pullprobe/pullprobe/report"
)

// A redactor removes secrets in every form in which they travel.
func ExampleRedactor() {
	r := NewRedactor().WithLogin("robot", "s3cr+t/x")
	fmt.Println(r.Text("token for robot:s3cr+t/x refused", 0))
	fmt.Println(r.Text("GET /token?password=s3cr%2Bt%2Fx", 0))
	fmt.Println(r.Text("header cm9ib3Q6czNjcit0L3g= refused", 0))
	// Output:
	// token for [redacted] refused
	// GET /token?password=[redacted]
	// header [redacted] refused
}

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
