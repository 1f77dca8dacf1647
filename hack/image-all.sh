#!/bin/bash
# image-all.sh VERSION DIR builds the image for amd64 and arm64, with what the Dockerfile
# says, and writes it into DIR: the binaries, their SBOMs, pullprobe-image.tar (an OCI
# layout with one index) and pullprobe-image.digest (of the index). It needs no network
# once its tools are in Go's module cache, and the same commit gives the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1 dir=$2
# The commit, and its time; both are empty or 0 outside a git checkout.
revision=$(git rev-parse HEAD 2>/dev/null || true)
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$dir"

binaries=()
for arch in amd64 arm64; do
  make --no-print-directory sbom "VERSION=$version" GOARCH=$arch "BINARY=$dir/pullprobe-linux-$arch" "FLEET=$dir/pullprobe-fleet-linux-$arch" >&2
  binaries+=("$dir/pullprobe-linux-$arch" "$dir/pullprobe-fleet-linux-$arch")
done
(cd hack/release && go build -o "$work/release" .)
"$work/release" -version "$version" -revision "$revision" -epoch "$epoch" -out "$work/layout" "${binaries[@]}" >"$dir/pullprobe-image.digest"
hack/archive.sh "$work/layout" . "$epoch" >"$dir/pullprobe-image.tar"
ls -l "$dir/pullprobe-image.tar" >&2
