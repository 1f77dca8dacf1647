package redact_test

import (
	"fmt"

	"github.com/pullprobe/pullprobe/report/redact"
)

// A redactor removes secrets in every form in which they travel.
func ExampleRedactor() {
	r := redact.New().WithLogin("robot", "s3cr+t/x")
	fmt.Println(r.Text("token for robot:s3cr+t/x refused", 0))
	fmt.Println(r.Text("GET /token?password=s3cr%2Bt%2Fx", 0))
	fmt.Println(r.Text("header cm9ib3Q6czNjcit0L3g= refused", 0))
	// Output:
	// token for [redacted] refused
	// GET /token?password=[redacted]
	// header [redacted] refused
}
