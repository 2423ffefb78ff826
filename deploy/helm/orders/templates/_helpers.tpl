{{- define "orders.selectorLabels" -}}
app.kubernetes.io/name: orders
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "orders.commonLabels" -}}
{{ include "orders.selectorLabels" . }}
app.kubernetes.io/part-of: outbox-relay
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "orders.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "orders.commonLabels" . }}
{{- end }}
