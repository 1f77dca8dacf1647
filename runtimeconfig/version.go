package runtimeconfig

import (
	"slices"
	"strconv"
	"strings"
)

// AtLeast reports whether a version of containerd is another one or later. An empty
// version is the newest; a suffix such as "-k3s1" or "~ds1" does not count.
func AtLeast(version, since string) bool {
	if version == "" || since == "" {
		return true
	}
	return slices.Compare(versionNumbers(version), versionNumbers(since)) >= 0
}

// backported reports whether a version has a change that came to 1.6 and to 1.7 with these
// patch releases, and is in all later versions.
func backported(version, of16, of17 string) bool {
	return AtLeast(version, of17) || AtLeast(version, of16) && !AtLeast(version, "1.7.0")
}

// Modelled reports whether the rules of a version are known, those of hosts.toml and
// those of its requests: 1.6 to 2.4. An empty version is the newest.
func Modelled(version string) bool {
	n := versionNumbers(version)
	return version == "" || n[0] == 1 && (n[1] == 6 || n[1] == 7) || n[0] == 2 && n[1] <= 4
}

// versionNumbers returns major, minor and patch of "v2.1.0-rc.0"; 0 for what is no
// number.
func versionNumbers(version string) []int {
	out := make([]int, 3)
	for i, part := range strings.SplitN(strings.TrimPrefix(strings.TrimSpace(version), "v"), ".", 3) {
		if end := strings.IndexFunc(part, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
			part = part[:end]
		}
		out[i], _ = strconv.Atoi(part)
	}
	return out
}
