#!/bin/sh
# reproducible.sh BINARY NAME=VALUE... go build FLAGS... copies this directory to
# another one and builds it there, with an empty build cache and another home. It
# fails if the result differs from BINARY. Downloaded modules are shared: go.sum
# verifies them.
set -eu
binary=$1
shift
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/some/where/else" "$dir/cache" "$dir/home"
tar --exclude=./.git --exclude=./bin -cf - . | tar -C "$dir/some/where/else" -xf -
modules=$(go env GOMODCACHE)
(cd "$dir/some/where/else" && env GOCACHE="$dir/cache" GOMODCACHE="$modules" HOME="$dir/home" TMPDIR="$dir" TZ=Pacific/Chatham "$@" -o "$dir/again" .)
one=$(sha256sum <"$binary" | cut -d ' ' -f 1)
two=$(sha256sum <"$dir/again" | cut -d ' ' -f 1)
echo "$one  $binary"
echo "$two  built again in $dir/some/where/else"
[ "$one" = "$two" ] || { echo "the two differ" >&2; exit 1; }
