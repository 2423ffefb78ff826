{{- define "orders.selectorLabels" -}}
app.kubernetes.io/name: orders
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "orders.commonLabels" -}}
{{ include "orders.selectorLabels" . }}
app.kubernetes.io/part-of: outbox-relay
app.kubernetes.io/version: {{ .Chart.AppVersion }}
{{- end }}

{{- define "orders.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "orders.commonLabels" . }}
{{- end }}
