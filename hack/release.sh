#!/bin/bash
# release.sh VERSION makes dist/: everything that a release consists of. Run it with
# `make release VERSION=v0.2.0`. It needs no network once its tools are in Go's module
# cache, and the same commit gives the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1
[[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || { echo "release: VERSION must be like v0.2.0, not $version" >&2; exit 1; }
kustomize="go tool -modfile=hack/release/go.mod kustomize" # with a go.sum, so that it works offline
image=ghcr.io/pullprobe/pullprobe
# The time of the commit; 0 outside a git checkout.
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
work=$(mktemp -d ./release.XXXXXX) # in this directory: kustomize takes relative paths
trap 'rm -rf "$work"' EXIT
rm -rf dist
mkdir dist

# The notes first: a release without them fails at once.
awk -v heading="## $version" '$0 == heading { on = 1; next } /^## / { on = 0 } on' CHANGELOG.md >dist/release-notes.md
grep -q . dist/release-notes.md || { echo "release: CHANGELOG.md has no section \"## $version\"" >&2; exit 1; }

hack/image-all.sh "$version" dist
digest=$(cat dist/pullprobe-image.digest)

# manifest NAME RESOURCE COMPONENT... renders manifests/RESOURCE with components.
manifest() {
  local dir=$work/$1
  mkdir "$dir"
  {
    printf 'apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- ../../manifests/%s\n' "$2"
    [ $# -lt 3 ] || printf 'components:\n'
    [ $# -lt 3 ] || printf -- '- ../../manifests/components/%s\n' "${@:3}"
    printf 'images:\n- {name: %s, newTag: %s, digest: "%s"}\n' $image "$version" "$digest"
  } >"$dir/kustomization.yaml"
  { echo "# pullprobe $version. https://github.com/pullprobe/pullprobe/blob/$version/docs/install.md"; $kustomize build "$dir"; } >"dist/$1.yaml"
  grep -q "image: $image:$version@$digest\$" "dist/$1.yaml" || { echo "release: dist/$1.yaml has not the image $version@$digest" >&2; exit 1; }
}
manifest install .
manifest install-hardened . hardened
manifest install-metrics . metrics
manifest install-no-secrets base admission-policy
manifest install-before-1.30 base secrets

# The plugin for each platform, and its manifest for krew.
for platform in linux-amd64 linux-arm64 darwin-amd64 darwin-arm64 windows-amd64 windows-arm64; do
  dir=$work/$platform
  bin=kubectl-pullprobe
  [[ $platform != windows-* ]] || bin=$bin.exe
  make --no-print-directory plugin "VERSION=$version" GOOS="${platform%-*}" GOARCH="${platform#*-}" PLUGIN="$dir/$bin"
  cp LICENSE kubectl-pullprobe/kubectl_complete-pullprobe "$dir"
  archive "$dir" . | gzip -n -9 >"dist/kubectl-pullprobe-$platform.tar.gz"
done
(cd hack/krew && go run . -version "$version" ../../dist/kubectl-pullprobe-*.tar.gz) >dist/pullprobe.yaml

# The chart, with the digest of the image.
cp -r charts/pullprobe "$work/pullprobe"
sed -i -e "s|^version: .*|version: ${version#v}|" -e "s|^appVersion: .*|appVersion: $version|" \
  -e "s|image: $image:.*|image: $image:$version@$digest|" -e "s|^annotations:|&\n  pullprobe.dev/image-digest: $digest|" "$work/pullprobe/Chart.yaml"
hack/archive.sh "$work" pullprobe "$epoch" | gzip -n -9 >"dist/pullprobe-${version#v}.tgz"

(cd dist && sha256sum -- * >SHA256SUMS)
ls -l dist
