// Krew writes the manifest of the plugin for krew, the plugin manager of kubectl, from the
// archives of a release. They are named kubectl-pullprobe-OS-ARCH.tar.gz.
// https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/
package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const head = `# The manifest of the plugin "kubectl pullprobe" for krew. It is not for kubectl apply:
# kubectl krew install --manifest=pullprobe.yaml
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: pullprobe
spec:
  version: %s
  homepage: https://github.com/pullprobe/pullprobe
  shortDescription: Explain why image pulls fail, and who must act
  description: |
    Shows which pods wait for an image, who must act, and what fixes it: from the
    very node where the pull fails. It reads the reports of pullprobe, a DaemonSet,
    with your own rights.
  caveats: |
    The cluster must run pullprobe:
    https://github.com/pullprobe/pullprobe/blob/%[1]s/docs/install.md
    For completion, put the program kubectl_complete-pullprobe on PATH:
    https://github.com/pullprobe/pullprobe/blob/%[1]s/docs/kubectl.md
  platforms:
`

const platform = `  - selector:
      matchLabels: {os: %s, arch: %s}
    uri: https://github.com/pullprobe/pullprobe/releases/download/%s/%s
    sha256: %x
    bin: %s
`

func main() {
	version := flag.String("version", "", "version, such as v0.2.0")
	flag.Parse()
	if err := write(os.Stdout, *version, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "krew:", err)
		os.Exit(1)
	}
}

// write writes the manifest.
func write(w io.Writer, version string, archives []string) error {
	if _, err := fmt.Fprintf(w, head, version); err != nil {
		return err
	}
	for _, file := range archives {
		name := filepath.Base(file)
		parts := strings.Split(strings.TrimSuffix(name, ".tar.gz"), "-")
		if len(parts) != 4 || !strings.HasPrefix(name, "kubectl-pullprobe-") {
			return fmt.Errorf("%s is not named kubectl-pullprobe-OS-ARCH.tar.gz", name)
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		bin := "kubectl-pullprobe"
		if parts[2] == "windows" {
			bin += ".exe"
		}
		if _, err := fmt.Fprintf(w, platform, parts[2], parts[3], version, name, sha256.Sum256(content), bin); err != nil {
			return err
		}
	}
	return nil
}
