#!/bin/sh
# module.sh VERSION writes the module file of a version of Kubernetes: `module.sh 1.33.13`
# writes 1.33.mod and 1.33.sum. They require what that version's own go.mod requires.
# Its staging repositories are modules of the same version; where a module proxy lacks
# one, the patch before it is taken.
set -eu
cd "$(dirname "$0")"
version=$1 minor=${1%.*} patch=${1##*.}
source=$(go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')

# staged NAME prints the newest version of a staging repository that can be downloaded.
staged() {
	p=$patch
	while [ "$p" -ge 0 ]; do
		go mod download "$1@v0.${minor#*.}.$p" 2>/dev/null && echo "v0.${minor#*.}.$p" && return
		p=$((p - 1))
	done
	echo "$1: no version of 0.${minor#*.} can be downloaded" >&2
	return 1
}

{
	echo "module github.com/pullprobe/pullprobe/lab/tools/k8s"
	sed -n '/^go /p; /^godebug default/p' "$source"
	echo "require k8s.io/kubernetes v$version"
	for name in $(sed -n 's|^[[:space:]]*\(k8s.io/[a-z-]*\) => ./staging/.*|\1|p' "$source"); do
		echo "replace $name => $name $(staged "$name")"
	done
} >"$minor.mod"
: >"$minor.sum"
go mod tidy -modfile="$minor.mod"
