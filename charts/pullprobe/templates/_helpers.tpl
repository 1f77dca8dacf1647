{{/*
All objects have the fixed name pullprobe: one installation per cluster, because the
agents use ports of the node.
*/}}
{{- define "pullprobe.labels" -}}
app.kubernetes.io/name: pullprobe
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "pullprobe.fleetLabels" -}}
{{- include "pullprobe.labels" . | replace "app.kubernetes.io/name: pullprobe" "app.kubernetes.io/name: pullprobe-fleet" }}
{{- end }}

{{/* The subject of every binding: the agents' ServiceAccount. */}}
{{- define "pullprobe.subjects" -}}
- kind: ServiceAccount
  name: pullprobe
  namespace: {{ .Release.Namespace }}
{{- end }}

{{/* The chart of a release has the digest of its image; a tag or a digest replaces it. */}}
{{- define "pullprobe.image" -}}
{{- $i := .Values.image -}}
{{- $released := index (.Chart.Annotations | default dict) "pullprobe.dev/image-digest" | default "" -}}
{{ $i.repository }}:{{ $i.tag | default .Chart.AppVersion }}{{ with $i.digest | default (ternary "" $released (ne $i.tag "")) }}@{{ . }}{{ end }}
{{- end }}

{{/* The only place where values become settings of the agent. */}}
{{- define "pullprobe.env" -}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- {name: GOMEMLIMIT, value: {{ .Values.goMemoryLimit }}}
{{- if .Values.metrics.enabled }}
- {name: PULLPROBE_METRICS_ADDR, value: ":9781"}
{{- end }}
{{- if .Values.readAsNode.enabled }}
- {name: PULLPROBE_READ_AS_NODE, value: "true"}
{{- end }}
{{- if .Values.credentialProviders.enabled }}
- {name: PULLPROBE_CREDENTIAL_PROVIDERS, value: "true"}
{{- end }}
{{- if .Values.credentialProviderTokens.enabled }}
- {name: PULLPROBE_CREDENTIAL_PROVIDER_TOKENS, value: "true"}
{{- end }}
{{- if .Values.configuration.enabled }}
- {name: PULLPROBE_CONFIG, value: /etc/pullprobe/config.yaml}
{{- end }}
{{- range $name, $value := .Values.options }}
- name: PULLPROBE_{{ $name | upper | replace "-" "_" }}
  value: {{ include "pullprobe.scalar" $value | quote }}
{{- end }}
{{- end }}

{{/* A number from a values file is a float64, which prints as 2.147483648e+09. */}}
{{- define "pullprobe.scalar" -}}
{{- if kindIs "float64" . }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{- define "pullprobe.securityContext" -}}
{{- if .Values.hardened.enabled -}}
allowPrivilegeEscalation: false
runAsUser: 0
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
  # To read /proc/PID/root and /proc/PID/environ of containerd and the kubelet.
  add: [SYS_PTRACE]
seccompProfile: {type: RuntimeDefault}
# The runtime's profile forbids reading processes outside containers.
appArmorProfile: {type: Unconfined}
{{- with .Values.hardened.seLinuxType }}
seLinuxOptions: {type: {{ . }}}
{{- end }}
{{- else -}}
privileged: true
readOnlyRootFilesystem: true
{{- end }}
{{- end }}

{{/* The directory, not the socket: the file is replaced when containerd restarts. */}}
{{- define "pullprobe.containerdMount" -}}
- name: containerd
  mountPath: /run/containerd
  readOnly: true
  {{- if .Values.hardened.enabled }}
  recursiveReadOnly: IfPossible
  {{- end }}
{{- end }}

{{- define "pullprobe.containerdVolume" -}}
- name: containerd
  hostPath: {path: {{ .Values.containerd.socketDirectory }}, type: DirectoryOrCreate}
{{- end }}
