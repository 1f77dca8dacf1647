#!/bin/bash
# demo.sh shows real pods in ImagePullBackOff on the lab, and pullprobe's diagnosis
# of each. Run it with `make demo`. It keeps the output in bin/screens, from where
# `make screens` copies it into the documentation.
set -euo pipefail
cd "$(dirname "$0")/.."
lab=bin/lab
image=mirror.lab/pullprobe/pullprobe:${VERSION:-v0.1.0}
screens=bin/screens
mkdir -p $screens
t0=$SECONDS

step() { printf '\n==> %s  (%d s)\n' "$*" $((SECONDS - t0)); }
# show SCREEN COMMAND…: prints the command, then its output, and keeps both.
show() {
  local screen=$screens/$1.txt
  shift
  echo
  { printf '$ %s\n' "$*"; eval "$lab $*"; } | tee "$screen"
}

step "load the agent's image on both nodes, apply the manifests"
$lab load bin/pullprobe-image.tar "$image"
$lab kubectl apply -k "$PWD/lab/manifests/default" >/dev/null
# The tag is always the same, so a running DaemonSet must be restarted.
$lab kubectl -n pullprobe rollout restart daemonset/pullprobe >/dev/null
$lab kubectl -n pullprobe rollout status daemonset/pullprobe --timeout=120s

step "create pods: two healthy, six that will get stuck; node-b can no longer reach registry.lab"
$lab kubectl create namespace shop --dry-run=client -o yaml | $lab kubectl apply -f - >/dev/null
$lab kubectl -n shop delete pod --all --force --grace-period=0 >/dev/null 2>&1 || true
$lab kubectl -n shop delete events --all >/dev/null 2>&1 || true
$lab kubectl apply -f hack/demo-healthy.yaml >/dev/null
$lab kubectl -n shop wait --for=condition=Ready pod -l demo=healthy --timeout=60s >/dev/null
$lab inject node-b registry-dropped
trap '$lab lift node-b registry-dropped' EXIT
# An image that is not on the node from an earlier demo.
fresh=registry.lab/checkout:$(date +%s)
$lab push "$fresh" >/dev/null
$lab push registry.lab/web:1.4.2 >/dev/null # the tag that the pod web misses by a letter
sed "s#registry.lab/checkout:FRESH#$fresh#" hack/demo-stuck.yaml | $lab kubectl apply -f - >/dev/null

step "wait until the kubelet has failed on one of them"
for _ in $(seq 60); do
  reason=$($lab kubectl get pod -n shop web -o 'jsonpath={.status.containerStatuses[0].state.waiting.reason}')
  case $reason in ErrImagePull | ImagePullBackOff) break ;; esac
  sleep 0.5
done
printf '\n$ kubectl get pod -n shop web\n'
$lab kubectl get pod -n shop web

step "request a diagnosis, as every user who may annotate the pod can"
printf '\n$ kubectl -n shop annotate pod web probe=now\n'
$lab kubectl -n shop annotate pod web probe=now --overwrite

step "wait for the verdict on every stuck pod; on node-b containerd itself would need 30 s or more"
start=$SECONDS
want=6
for _ in $(seq 120); do
  got=$($lab kubectl get events -n shop --field-selector reason=ImagePullDiagnosed -o 'jsonpath={range .items[*]}{.involvedObject.name}{"\n"}{end}' | sort -u | wc -l)
  [ "$got" = "${last:-}" ] || echo "    $got of $want pods diagnosed after $((SECONDS - start)) s"
  last=$got
  [ "$got" -ge "$want" ] && break
  sleep 0.5
done

step "request a sweep: the agent of node-b checks all registries of its node now"
agent=$($lab kubectl get pod -n pullprobe -l app.kubernetes.io/name=pullprobe --field-selector spec.nodeName=node-b -o name)
checked() { $lab kubectl get cm -n pullprobe pullprobe-node-b -o 'jsonpath={.data.report\.json}' | sed -n 's/.*"sweep":{"time":"\([^"]*\)".*/\1/p'; }
before=$(checked)
printf '\n$ kubectl annotate -n pullprobe %s probe=now\n' "$agent"
$lab kubectl annotate -n pullprobe "$agent" probe="$(date +%s)" --overwrite
for _ in $(seq 60); do
  [ "$(checked)" != "$before" ] && break
  sleep 0.5
done

show pods kubectl get pods -n shop -o wide --sort-by=.metadata.name
show reports kubectl get cm -n pullprobe -l pullprobe.dev/report -L pullprobe.dev/fault,pullprobe.dev/cause,pullprobe.dev/stuck,pullprobe.dev/checked
printf '\n$ kubectl describe pod -n shop web   # its Events\n'
$lab kubectl describe pod -n shop web | sed -n '/^Events:/,$p' | fold -s -w 120 | tee $screens/describe-pod.txt
show node-b "kubectl get cm -n pullprobe pullprobe-node-b -o jsonpath='{.data.summary}'"
show node-a "kubectl get cm -n pullprobe pullprobe-node-a -o jsonpath='{.data.summary}'"
printf '\n$ kubectl describe node node-b   # its Events\n'
$lab kubectl get events -n default --field-selector involvedObject.kind=Node,involvedObject.name=node-b,source=pullprobe | tail -3 | cut -c1-200 | fold -s -w 120 | tee $screens/describe-node.txt

cat <<END

The demo took $((SECONDS - t0)) s. The lab stays up; the fault on node-b is removed now. To see more:

  $lab kubectl describe cm -n pullprobe pullprobe-node-a
  $lab kubectl get cm -n pullprobe pullprobe-node-a -o jsonpath='{.data.report\.json}'
  $lab kubectl logs -n pullprobe -l app.kubernetes.io/name=pullprobe
  $lab faults                         # other faults to inject
  $lab inject node-a resolver-dead    # breaks a node; lab lift repairs it

To remove the lab:

  make lab-down
END
