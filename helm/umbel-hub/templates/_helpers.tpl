{{/* Cluster-wide names are the same in every release: a cluster has one hub. */}}
{{- define "umbel-hub.name" -}}umbel-operator{{- end }}

{{- define "umbel-hub.labels" -}}
app.kubernetes.io/part-of: umbel
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* By these the operator's policy towards the servers knows its pod. */}}
{{- define "umbel-hub.selector" -}}
app.kubernetes.io/name: umbel-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "umbel-hub.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "umbel-hub.name" .) }}
{{- end }}

{{- define "umbel-hub.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* What every pod of the chart has: the account's token where it is asked for, Pod Security `restricted`. */}}
{{- define "umbel-hub.podSecurity" -}}
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "umbel-hub.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "umbel-hub.placement" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* Egress to the API server and the name service. */}}
{{- define "umbel-hub.egressToApi" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
- ports:
    {{- range .Values.networkPolicy.apiServer.ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with .Values.networkPolicy.apiServer.cidrs }}
  to:
    {{- range . }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  {{- end }}
{{- end }}

{{- define "umbel-hub.hook" -}}
name: umbel-hub-uninstall
labels:
  {{- include "umbel-hub.labels" .context | nindent 2 }}
annotations:
  helm.sh/hook: pre-delete
  helm.sh/hook-weight: {{ .weight | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- define "umbel-hub.test" -}}
name: umbel-hub-test
namespace: {{ .context.Release.Namespace }}
labels:
  {{- include "umbel-hub.labels" .context | nindent 2 }}
  app.kubernetes.io/name: umbel-hub-hook
annotations:
  helm.sh/hook: test
  helm.sh/hook-weight: {{ .weight | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- define "umbel-hub.joinUrl" -}}
{{- .Values.join.url | default (printf "https://umbel-join.%s.svc:%v" .Release.Namespace .Values.join.service.port) }}
{{- end }}
