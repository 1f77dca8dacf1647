#!/bin/bash
# plugin-screens.sh drives `kubectl pullprobe` on the lab as a person does, in a terminal of 80 by
# 24 characters (tmux), and keeps what the terminal shows in bin/screens, from where it is copied
# into docs/kubectl.md. Run it with `make plugin-screens`: that starts the lab.
set -euo pipefail
cd "$(dirname "$0")/.."
lab=$PWD/bin/lab
dir=${PULLPROBE_LAB_DIR:-/var/tmp/pullprobe-lab}
image=mirror.lab/pullprobe/pullprobe:${VERSION:-v0.1.0}
screens=$PWD/bin/screens
work=$(mktemp -d)
mkdir -p "$screens"
k() { "$lab" kubectl "$@"; }
t() { tmux -L plugin-screens -f /dev/null "$@"; }
trap 't kill-server 2>/dev/null || true; rm -rf "$work"' EXIT

# The person's kubeconfig: the context prod, and staging with another namespace.
cp "$dir/run/pki/admin.kubeconfig" "$work/kubeconfig" 2>/dev/null || cp "$(find "$dir" -name admin.kubeconfig | head -1)" "$work/kubeconfig"
export KUBECONFIG=$work/kubeconfig
current=$("$dir/bin/kubectl" config current-context)
"$dir/bin/kubectl" config rename-context "$current" prod >/dev/null
cluster=$("$dir/bin/kubectl" config view -o 'jsonpath={.contexts[0].context.cluster}')
user=$("$dir/bin/kubectl" config view -o 'jsonpath={.contexts[0].context.user}')
"$dir/bin/kubectl" config set-context staging --cluster="$cluster" --user="$user" --namespace=staging >/dev/null
cat >"$work/rc" <<END
PS1='$ '
PATH=$PWD/bin:$dir/bin:\$PATH
cd $work
KUBECONFIG=$KUBECONFIG
KUBECACHEDIR=$work/cache
PROMPT_COMMAND='echo \$? >$work/exit; tmux -L plugin-screens wait-for -S done'
END
ip netns exec "$(basename "$(ls -d /run/netns/*infra)")" \
  tmux -L plugin-screens -f /dev/null new-session -d -x 80 -y 24 -e LANG=C.UTF-8 "bash --rcfile $work/rc -i"
t set-option -g history-limit 5000
t wait-for done

# screen NAME COMMAND types a command and keeps what the terminal shows, and the exit code.
screen() {
  t send-keys -R
  t clear-history
  t send-keys Enter # the prompt, at the top of the empty screen
  t wait-for done
  t send-keys -l "$2"
  t send-keys Enter
  t wait-for done
  { t capture-pane -p -J -S - | sed -e 's/ *$//' -e '/^\$ *$/d' -e '/^\$ ./,$!d' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'; echo "(exit code $(cat "$work/exit"))"; } >"$screens/plugin-$1.txt"
  echo "==> $1"
  cat "$screens/plugin-$1.txt"
}
# pod NAME NODE IMAGE makes a pod in namespace shop.
pod() {
  k apply -f - >/dev/null <<END
{apiVersion: v1, kind: Pod, metadata: {name: $1, namespace: shop}, spec: {nodeName: $2, hostNetwork: true, terminationGracePeriodSeconds: 0,
  automountServiceAccountToken: false, containers: [{name: app, image: "$3"}]}}
END
}
# until_true WHAT COMMAND… waits until a command succeeds.
until_true() {
  for _ in $(seq 240); do "${@:2}" >/dev/null 2>&1 && return; sleep 0.5; done
  echo "plugin-screens: not within two minutes: $1" >&2
  exit 1
}
reason() { [[ $(k get pod -n shop "$1" -o 'jsonpath={.status.containerStatuses[0].state.waiting.reason}') =~ ErrImagePull|ImagePullBackOff ]]; }
diagnosed() { k get events -n shop --field-selector "reason=ImagePullDiagnosed,involvedObject.name=$1" -o name | grep -q .; }
verdict() { k get cm -n pullprobe "pullprobe-$1" -o 'jsonpath={.data.report\.json}' | grep -q "\"cause\":\"$2\""; }

k create namespace shop >/dev/null
k create namespace staging >/dev/null
for user in nobody tenant; do k create serviceaccount -n shop $user >/dev/null; done
k create role -n shop tenant --verb=get,list,watch --resource=pods,events >/dev/null
k create rolebinding -n shop tenant --role=tenant --user=tenant >/dev/null
"$lab" push registry.lab/web:1.4.2 >/dev/null

# Before pullprobe is installed.
pod web node-a registry.lab/web:v1.4.2
until_true "the pod web fails" reason web
screen not-installed 'kubectl pullprobe web -n shop'
screen doctor-not-installed 'kubectl pullprobe doctor'

"$lab" load bin/pullprobe-image.tar "$image"
k apply -k "$PWD/lab/manifests/default" >/dev/null
k -n pullprobe rollout status daemonset/pullprobe --timeout=120s >/dev/null
k -n pullprobe rollout status deployment/pullprobe-fleet --timeout=120s >/dev/null
pod healthy node-a registry.lab/app:1
"$lab" inject node-b registry-dropped
trap '"$lab" lift node-b registry-dropped; t kill-server 2>/dev/null || true; rm -rf "$work"' EXIT
pod cut-off node-b registry.lab/app:1
until_true "the verdict on web" diagnosed web
until_true "the verdict on cut-off" diagnosed cut-off

screen overview 'kubectl pullprobe -n shop'
screen pods 'kubectl pullprobe -A --pods'
screen pod 'kubectl pullprobe web -n shop'
screen ask 'kubectl pullprobe ask cut-off -n shop'
screen nodes 'kubectl pullprobe nodes'
screen registry 'kubectl pullprobe registry registry.lab'
# One image is there, one is not, and node-b does not reach the registry.
k create deployment -n shop web --image=registry.lab/web:1.4.2 --image=registry.lab/app:v9 --dry-run=client -o yaml >"$work/deploy.yaml"
k label node node-b topology.kubernetes.io/zone=zone-2 --overwrite >/dev/null
screen preflight 'kubectl pullprobe preflight -n shop -f deploy.yaml'
k label node node-b topology.kubernetes.io/zone=zone-1 --overwrite >/dev/null
screen doctor 'kubectl pullprobe doctor'
screen healthy 'kubectl pullprobe healthy -n shop'
screen wrong-namespace 'kubectl pullprobe web'
screen contexts 'kubectl pullprobe web --context staging'
screen no-rights 'kubectl pullprobe web -n shop --as nobody'
screen tenant 'kubectl pullprobe web -n shop --as tenant'
screen pipe 'kubectl pullprobe -n shop --pods | cut -c1-60'

# A rollout whose tag is missing, and a good one. Both on node-a.
for name in bad:registry.lab/web:v9 good:registry.lab/app:1; do
  k create deployment -n shop "${name%%:*}" --image="${name#*:}" --dry-run=client -o yaml | k patch -f - --local --dry-run=client -o yaml --type=merge \
    -p '{"spec":{"template":{"spec":{"hostNetwork":true,"nodeName":"node-a","automountServiceAccountToken":false}}}}' >"$work/${name%%:*}.yaml"
done
k apply -f "$work/bad.yaml" >/dev/null
start=$(date +%s%N)
screen wait 'kubectl pullprobe wait deployment/bad -n shop --timeout 5m'
echo "==> wait took $((($(date +%s%N) - start) / 1000000)) ms from the apply"
k apply -f "$work/good.yaml" >/dev/null
screen wait-good 'kubectl pullprobe wait deployment/good -n shop --timeout 5m'
k delete -f "$work/bad.yaml" >/dev/null

# Forty pods of one Deployment.
{ sleep 2; k delete pod -n shop cut-off --force --grace-period=0 >/dev/null 2>&1; } &
screen deleted 'kubectl pullprobe wait pod/cut-off -n shop'
wait $!
k delete pod -n shop web --force --grace-period=0 >/dev/null 2>&1
"$lab" lift node-b registry-dropped
sed -e 's/name: bad/name: web/; s/replicas: 1/replicas: 40/' "$work/bad.yaml" | k apply -f - >/dev/null
until_true "40 pods wait" bash -c "[ \$($lab kubectl get pods -n shop --no-headers | grep -c 'ImagePullBackOff\|ErrImagePull') -ge 40 ]"
until_true "the verdict on web" verdict node-a TagNotFound
screen forty 'kubectl pullprobe -n shop'
screen forty-deployment 'kubectl pullprobe deployment/web -n shop'
k delete deployment -n shop --all >/dev/null

# No agent on node-b, and then the report of an older one there.
pod lonely node-b registry.lab/web:v9
k patch daemonset -n pullprobe pullprobe --type=merge -p '{"spec":{"template":{"spec":{"nodeSelector":{"kubernetes.io/hostname":"node-a"}}}}}' >/dev/null
until_true "node-b has no agent" bash -c "! $lab kubectl get pods -n pullprobe -l app.kubernetes.io/name=pullprobe -o wide | grep -q node-b"
k delete cm -n pullprobe pullprobe-node-b >/dev/null
until_true "the pod lonely fails" reason lonely
screen no-agent 'kubectl pullprobe lonely -n shop'
screen ask-no-agent 'kubectl pullprobe ask lonely -n shop --timeout 3s'
# other VERSION SCHEMA writes the report of node-b as an agent of another version would.
other() {
  k get cm -n pullprobe pullprobe-node-a -o 'jsonpath={.data.report\.json}' |
    sed -E -e "s|\"schema\":\"[^\"]*\"|\"schema\":\"$2\"|; s|\"agent\":\"[^\"]*\"|\"agent\":\"$1\"|; s|\"node\":\"node-a\"|\"node\":\"node-b\"|" >"$work/report.json"
  k create cm -n pullprobe pullprobe-node-b --from-literal=summary= --from-file=report.json="$work/report.json" --dry-run=client -o yaml |
    k label -f - --local --dry-run=client -o yaml pullprobe.dev/report= pullprobe.dev/stuck=0 | k apply --server-side --force-conflicts --field-manager=pullprobe -f - >/dev/null
}
other v0.0.9 pullprobe.dev/v1
screen older-agent 'kubectl pullprobe nodes'
screen doctor-older-agent 'kubectl pullprobe doctor'
other v9.0.0 pullprobe.dev/v9
screen newer-agent 'kubectl pullprobe lonely -n shop'
hack/fill-screens.sh "$screens"
