#!/bin/bash
# The demo: real pods in ImagePullBackOff on the lab, and what pullprobe says
# of each. Run it with `make demo`.
set -euo pipefail
cd "$(dirname "$0")/.."
lab=bin/lab
image=ghcr.io/pullprobe/pullprobe:${VERSION:-v0.1.0}
t0=$SECONDS

step() { printf '\n==> %s  (%d s)\n' "$*" $((SECONDS - t0)); }
# A line that a person would type, then what they would see.
show() { printf '\n$ %s\n' "$*"; eval "$lab $*"; }

step "put the agent's image onto both nodes, apply the manifests"
$lab load bin/pullprobe-image.tar "$image"
$lab kubectl apply -k "$PWD/manifests" >/dev/null
# The tag is the same each time, so a DaemonSet that runs already must be told.
$lab kubectl -n pullprobe rollout restart daemonset/pullprobe >/dev/null
$lab kubectl -n pullprobe rollout status daemonset/pullprobe --timeout=120s

step "create pods: one healthy, six that will get stuck; node-b loses its way to registry.lab"
$lab kubectl create namespace shop --dry-run=client -o yaml | $lab kubectl apply -f - >/dev/null
$lab kubectl -n shop delete pod --all --force --grace-period=0 >/dev/null 2>&1 || true
$lab kubectl -n shop delete events --all >/dev/null 2>&1 || true
$lab kubectl apply -f hack/demo-healthy.yaml >/dev/null
$lab kubectl -n shop wait --for=condition=Ready pod -l demo=healthy --timeout=60s >/dev/null
$lab inject node-b registry-dropped
trap '$lab lift node-b registry-dropped' EXIT
# An image that no earlier demo left on the node.
fresh=registry.lab/checkout:$(date +%s)
$lab push "$fresh" >/dev/null
sed "s#registry.lab/checkout:FRESH#$fresh#" hack/demo-stuck.yaml | $lab kubectl apply -f - >/dev/null

step "ask about one of them, as anybody who may annotate the pod can"
printf '\n$ kubectl annotate pod -n shop web probe=now\n'
$lab kubectl annotate pod -n shop web probe=now --overwrite

step "wait until every stuck pod has its verdict; packets to registry.lab are dropped on node-b, where containerd would need 30 s and more"
asked=$SECONDS
want=6
for _ in $(seq 120); do
  got=$($lab kubectl get events -n shop --field-selector reason=ImagePullDiagnosed -o 'jsonpath={range .items[*]}{.involvedObject.name}{"\n"}{end}' | sort -u | wc -l)
  [ "$got" = "${said:-}" ] || echo "    $got of $want pods explained after $((SECONDS - asked)) s"
  said=$got
  [ "$got" -ge "$want" ] && break
  sleep 0.5
done

show kubectl get pods -n shop -o wide --sort-by=.metadata.name
show kubectl get cm -n pullprobe -l pullprobe.dev/report -L pullprobe.dev/fault,pullprobe.dev/cause,pullprobe.dev/stuck,pullprobe.dev/checked
printf '\n$ kubectl describe pod -n shop web   # its Events\n'
$lab kubectl describe pod -n shop web | sed -n '/^Events:/,$p' | fold -s -w 120
show "kubectl get cm -n pullprobe pullprobe-node-b -o jsonpath='{.data.summary}'"
show "kubectl get cm -n pullprobe pullprobe-node-a -o jsonpath='{.data.summary}'"

cat <<END

The demo took $((SECONDS - t0)) s. The lab stays up; the fault on node-b is lifted now. Look further with

  $lab kubectl describe cm -n pullprobe pullprobe-node-a
  $lab kubectl get cm -n pullprobe pullprobe-node-a -o jsonpath='{.data.report\.json}'
  $lab kubectl logs -n pullprobe -l app.kubernetes.io/name=pullprobe
  $lab faults                         # what else can be broken
  $lab inject node-a resolver-dead    # breaks a node; lab lift mends it

and take it down with

  make lab-down
END
