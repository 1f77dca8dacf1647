#!/bin/bash
# sign.sh VERSION REGISTRY... signs what publish.sh pushed with cosign, keyless: the
# identity is that of the workflow that runs this.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1
crane="go tool -modfile=hack/release/go.mod crane"
for registry in "${@:2}"; do
  cosign sign --yes --recursive "$registry/pullprobe@$(cat dist/pullprobe-image.digest)"
  cosign sign --yes "$registry/charts/pullprobe@$($crane digest "$registry/charts/pullprobe:${version#v}")"
done
