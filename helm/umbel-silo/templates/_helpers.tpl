{{- define "umbel-silo.name" -}}
{{ .Release.Name | trunc 48 | trimSuffix "-" }}-agent
{{- end }}

{{- define "umbel-silo.labels" -}}
app.kubernetes.io/part-of: umbel
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "umbel-silo.selector" -}}
app.kubernetes.io/name: umbel-agent
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "umbel-silo.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "umbel-silo.name" .) }}
{{- end }}

{{- define "umbel-silo.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* The Secret with the kubeconfig that the silo was given, and the one where the agent keeps the renewed one. */}}
{{- define "umbel-silo.hubSecret" -}}
{{- .Values.hub.existingSecret | default (printf "%s-hub" (include "umbel-silo.name" .)) }}
{{- end }}

{{- define "umbel-silo.renewedSecret" -}}
{{ include "umbel-silo.name" . }}-hub-renewed
{{- end }}

{{/* As the agent reads it: what is empty there is left out. */}}
{{- define "umbel-silo.site" -}}
{{- $site := deepCopy .Values.site }}
{{- if not $site.state.storageClassName }}{{ $_ := unset $site.state "storageClassName" }}{{ end }}
{{- if not $site.pods.runtimeClassName }}{{ $_ := unset $site.pods "runtimeClassName" }}{{ end }}
{{- if not $site.policy.maxSeconds }}{{ $_ := unset $site.policy "maxSeconds" }}{{ end }}
{{- range list "clients" "namespaces" "jobs" }}
{{- if not (get $site.policy .) }}{{ $_ := unset $site.policy . }}{{ end }}
{{- end }}
{{- toYaml $site }}
{{- end }}

{{/* Whatever the agent has read at its start, so that a change starts it again. */}}
{{- define "umbel-silo.checksums" -}}
umbel.dev/site: {{ include "umbel-silo.site" . | sha256sum }}
{{- if .Values.hub.kubeconfig }}
umbel.dev/hub: {{ .Values.hub.kubeconfig | sha256sum }}
{{- end }}
{{- end }}

{{/* Of a pod of the agent's image: what the agent, the test and the hook have in common. */}}
{{- define "umbel-silo.pod" -}}
serviceAccountName: {{ include "umbel-silo.serviceAccount" . }}
automountServiceAccountToken: true
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
volumes:
  - name: site
    configMap: {name: {{ include "umbel-silo.name" . }}}
  - name: hub
    secret: {secretName: {{ include "umbel-silo.hubSecret" . }}, defaultMode: 0440}
  - name: tmp
    emptyDir: {}
{{- end }}

{{- define "umbel-silo.container" -}}
image: {{ include "umbel-silo.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.env }}
env:
  {{- range $name, $value := . }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  - {name: site, mountPath: /etc/umbel, readOnly: true}
  - {name: hub, mountPath: /run/umbel/hub, readOnly: true}
  - {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "umbel-silo.hook" -}}
name: {{ include "umbel-silo.name" .context }}-{{ .name }}
namespace: {{ .context.Release.Namespace }}
labels:
  {{- include "umbel-silo.labels" .context | nindent 2 }}
annotations:
  helm.sh/hook: {{ .hook }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
