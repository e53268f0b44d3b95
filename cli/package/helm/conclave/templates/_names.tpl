{{/* Name of all objects, and with a number behind it of each node. */}}
{{- define "conclave.name" -}}
{{- if contains "conclave" .Release.Name -}}{{ .Release.Name | trunc 50 }}{{- else -}}{{ printf "%s-conclave" .Release.Name | trunc 50 }}{{- end -}}
{{- end }}

{{/* Labels by which Services and the budget find the pods. They never change. */}}
{{- define "conclave.selector" -}}
app.kubernetes.io/name: conclave
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "conclave.labels" -}}
{{ include "conclave.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
