//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "lab: only Linux is supported (network, mount and pid namespaces)")
	os.Exit(1)
}
