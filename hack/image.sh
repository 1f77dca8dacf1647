#!/bin/sh
# image.sh REF GOARCH OUT builds the image of the Dockerfile, with buildah and
# without a daemon, and writes it as an OCI archive.
set -eu
ref=$1 arch=$2 out=$3
store=$(mktemp -d)
trap 'rm -rf "$store"' EXIT
b() { buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs "$@"; }
b bud --quiet --isolation chroot --platform "linux/$arch" --build-arg "TARGETARCH=$arch" -t "$ref" . >/dev/null
rm -f "$out"
b push --quiet "$ref" "oci-archive:$out:$ref"
ls -l "$out"
