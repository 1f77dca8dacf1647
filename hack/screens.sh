#!/bin/bash
# Copies the output of the demo (bin/screens), of `pullprobe check` and of `explain`
# into the documentation, between the lines
#   <!-- screen NAME -->  and  <!-- end -->
# Run it with `make screens`, which runs the demo first.
set -euo pipefail
cd "$(dirname "$0")/.."
lab=bin/lab
screens=bin/screens
run() { # run SCREEN LINE COMMAND…: saves LINE as the command, with the output of COMMAND
  local screen=$screens/$1.txt
  { printf '$ %s\n' "$2"; "${@:3}"; } >"$screen" || [ $? -eq 1 ] # 1: a fault was found
}
$lab inject node-b registry-dropped
trap '$lab lift node-b registry-dropped' EXIT
run check 'pullprobe check registry.lab/app:v1.2.3' $lab node node-a "$PWD/bin/pullprobe" check registry.lab/app:v1.2.3
run check-healthy 'pullprobe check mirror.lab/app:1' $lab node node-a "$PWD/bin/pullprobe" check mirror.lab/app:1
run explain "pullprobe explain 'failed to do request: Head \"https://registry.example/v2/shop/web/manifests/1\":
    dial tcp: lookup registry.example on 10.0.0.2:53: read udp 10.0.0.7:51234->10.0.0.2:53: i/o timeout'" \
  bin/pullprobe explain 'failed to do request: Head "https://registry.example/v2/shop/web/manifests/1": dial tcp: lookup registry.example on 10.0.0.2:53: read udp 10.0.0.7:51234->10.0.0.2:53: i/o timeout'
run describe-cm 'kubectl describe cm -n pullprobe pullprobe-node-b' bash -c "$lab kubectl describe cm -n pullprobe pullprobe-node-b | sed 's/^{\"schema\".*/{\"schema\":\"pullprobe.dev\/v1\",\"node\":\"node-b\", ... }/'"
for doc in README.md docs/*.md; do
  awk -v dir="$screens" '
    /^<!-- screen .* -->$/ { print; name = $3; print "```"; file = dir "/" name ".txt"; while ((getline line < file) > 0) print line; close(file); print "```"; skipping = 1; next }
    /^<!-- end -->$/ { skipping = 0 }
    !skipping { print }
  ' "$doc" >"$doc.new"
  if cmp -s "$doc" "$doc.new"; then rm "$doc.new"; else mv "$doc.new" "$doc"; echo "    $doc"; fi
done
