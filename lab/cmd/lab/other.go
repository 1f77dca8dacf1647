//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "lab: needs Linux: it is made of network, mount and pid namespaces")
	os.Exit(1)
}
