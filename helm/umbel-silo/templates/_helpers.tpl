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

{{/* The Secret with what the silo was given, bundle or kubeconfig, and the one where the agent keeps its access. */}}
{{- define "umbel-silo.hubSecret" -}}
{{- .Values.join.existingSecret | default .Values.hub.existingSecret | default (printf "%s-hub" (include "umbel-silo.name" .)) }}
{{- end }}

{{- define "umbel-silo.renewedSecret" -}}
{{ include "umbel-silo.name" . }}-hub-renewed
{{- end }}

{{/* What the silo's administrator wrote, and nothing else: the rest is the agent's own defaults. */}}
{{- define "umbel-silo.site" -}}
{{- toYaml (merge (dict "silo" (include "umbel-silo.silo" .)) .Values.site) }}
{{- end }}

{{/* The silo's name, which the bundle says too. */}}
{{- define "umbel-silo.silo" -}}
{{- .Values.site.silo | default ((.Values.join.bundle | fromYaml).silo) }}
{{- end }}

{{- define "umbel-silo.joins" -}}
{{- if or .Values.join.bundle .Values.join.existingSecret }}true{{ end }}
{{- end }}

{{/* Whatever the agent has read at its start, so that a change starts it again. */}}
{{- define "umbel-silo.checksums" -}}
umbel.dev/site: {{ include "umbel-silo.site" . | sha256sum }}
{{- with .Values.hub.kubeconfig | default .Values.join.bundle }}
umbel.dev/hub: {{ . | sha256sum }}
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
  helm.sh/hook-weight: {{ .weight | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
