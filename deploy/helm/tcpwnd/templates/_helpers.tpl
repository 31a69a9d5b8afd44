{{- define "tcpwnd.selector" -}}
app.kubernetes.io/name: tcpwnd
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tcpwnd.labels" -}}
{{ include "tcpwnd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
