#!/bin/bash
# screens.sh updates the screens in README.md and docs/*.md, between the lines
#   <!-- screen NAME -->  and  <!-- end -->
# It takes the output of the demo from bin/screens and adds that of `pullprobe
# check`, `pullprobe explain` and others. `make screens` runs the demo first.
set -euo pipefail
cd "$(dirname "$0")/.."
lab=bin/lab
screens=bin/screens
run() { # run SCREEN SHOWN COMMAND…: writes the line SHOWN, then the output of COMMAND
  local screen=$screens/$1.txt
  { printf '$ %s\n' "$2"; "${@:3}"; } >"$screen" || case $? in 1 | 3) ;; *) false ;; esac # a fault was found, or none could be told
}
# events prints two Events of the pod web for the README, at most 100 columns
# wide: the kubelet's error and pullprobe's answer.
events() {
  $lab kubectl describe pod -n shop web | sed -E 's/([^ ])  +/\1  /g' >$screens/web.events
  grep -m 1 'Failed to pull image' $screens/web.events | fold -s -w 92 | sed -E '2,$s/^/      /; s/ +$//'
  awk '/^  (Normal|Warning)/ { shown = /ImagePullDiagnosed/ } shown' $screens/web.events | fold -s -w 98 | sed -E 's/ +$//'
}
$lab inject node-b registry-dropped
trap '$lab lift node-b registry-dropped' EXIT
run event 'kubectl describe pod -n shop web   # two of its Events' events
run check 'pullprobe check registry.lab/web:v1.4.2' $lab node node-a "$PWD/bin/pullprobe" check registry.lab/web:v1.4.2
run check-healthy 'pullprobe check mirror.lab/app:1' $lab node node-a "$PWD/bin/pullprobe" check mirror.lab/app:1
run explain "pullprobe explain 'failed to do request: Head \"https://registry.example/v2/shop/web/manifests/1\":
    dial tcp: lookup registry.example on 10.0.0.2:53: read udp 10.0.0.7:51234->10.0.0.2:53: i/o timeout'" \
  bin/pullprobe explain 'failed to do request: Head "https://registry.example/v2/shop/web/manifests/1": dial tcp: lookup registry.example on 10.0.0.2:53: read udp 10.0.0.7:51234->10.0.0.2:53: i/o timeout'
run describe-cm 'kubectl describe cm -n pullprobe pullprobe-node-b' bash -c "$lab kubectl describe cm -n pullprobe pullprobe-node-b | sed 's/^{\"schema\".*/{\"schema\":\"pullprobe.dev\/v1\",\"node\":\"node-b\", ... }/'"
hack/fill-screens.sh $screens
