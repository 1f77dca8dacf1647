#!/bin/bash
# publish.sh VERSION REGISTRY... pushes the image and the chart of dist/ to each
# registry, such as ghcr.io/pullprobe, and prints the references to sign. Log in
# first. A registry on localhost is contacted over plain HTTP.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1
crane="go tool -modfile=hack/release/go.mod crane"
digest=$(cat dist/pullprobe-image.digest)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -C "$work" -xf dist/pullprobe-image.tar
for registry in "${@:2}"; do
  plain=()
  case $registry in localhost*) plain=(--plain-http) ;; esac
  ref=$registry/pullprobe:$version
  pushed=$($crane push "$work" "$ref")
  case $pushed in
    *"@$digest") echo "$registry/pullprobe@$digest" ;;
    *) echo "publish: $ref has another digest than dist: $pushed, not $digest" >&2; exit 1 ;;
  esac
  (cd lab/tools/helm && go tool helm push "${plain[@]}" "../../../dist/pullprobe-${version#v}.tgz" "oci://$registry/charts" >&2)
done
