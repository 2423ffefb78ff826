{{- define "outbox-relay.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "outbox-relay.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: relay
{{- end }}

{{- define "outbox-relay.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "outbox-relay.commonLabels" . }}
{{- end }}

{{/* Of Pods too, which need not be made anew for another version of the chart alone. */}}
{{- define "outbox-relay.commonLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/part-of: outbox-relay
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{/* Each Pod of the release with a relay in it, the service's own with a sidecar too. */}}
{{- define "outbox-relay.podSelector" -}}
matchLabels:
  app.kubernetes.io/instance: {{ .Release.Name | quote }}
matchExpressions:
  - key: outbox-relay/mode
    operator: Exists
{{- end }}

{{- define "outbox-relay.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "outbox-relay.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end }}

{{- define "outbox-relay.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end }}

{{/* The ConfigMap's data: what tls and sasl stand for, and over it what `settings` says. */}}
{{- define "outbox-relay.settings" -}}
{{- $all := dict "OUTBOX_POSTGRES_URI_FILE" "/run/secrets/outbox-relay/postgres-uri" -}}
{{- with .Values.tls -}}
{{- if .enabled -}}
{{- $_ := set $all "OUTBOX_KAFKA_SECURITY_PROTOCOL" "SSL" -}}
{{- $_ := set $all "OUTBOX_KAFKA_SSL_CA_LOCATION" "/run/secrets/outbox-relay-tls/ca.crt" -}}
{{- $_ := set $all "OUTBOX_KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM" "https" -}}
{{- $_ := set $all "PGSSLMODE" "verify-full" -}}
{{- $_ := set $all "PGSSLROOTCERT" "/run/secrets/outbox-relay-tls/ca.crt" -}}
{{- if .clientCertificate -}}
{{- $_ := set $all "OUTBOX_KAFKA_SSL_CERTIFICATE_LOCATION" "/run/secrets/outbox-relay-tls/tls.crt" -}}
{{- $_ := set $all "OUTBOX_KAFKA_SSL_KEY_LOCATION" "/run/secrets/outbox-relay-tls/tls.key" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.sasl.enabled -}}
{{- $_ := set $all "OUTBOX_KAFKA_SECURITY_PROTOCOL" (ternary "SASL_SSL" "SASL_PLAINTEXT" .Values.tls.enabled) -}}
{{- $_ := set $all "OUTBOX_KAFKA_SASL_MECHANISM" .Values.sasl.mechanism -}}
{{- $_ := set $all "OUTBOX_KAFKA_SASL_USERNAME_FILE" "/run/secrets/outbox-relay/sasl-username" -}}
{{- $_ := set $all "OUTBOX_KAFKA_SASL_PASSWORD_FILE" "/run/secrets/outbox-relay/sasl-password" -}}
{{- end -}}
{{- if and .Values.tls.clientCertificate (not .Values.tls.enabled) -}}
{{- fail "tls.clientCertificate: needs tls.enabled" -}}
{{- end -}}
{{- range $name, $value := .Values.settings -}}
{{- if and (regexMatch "_URI$|PASSWORD$|SECRET|_PEM$|JAAS" $name) (not (hasSuffix "_FILE" $name)) -}}
{{- fail (printf "settings.%s: a secret has no place in a ConfigMap: put it into the Secret, and its path into %s_FILE" $name $name) -}}
{{- end -}}
{{- $_ := set $all $name (toString $value) -}}
{{- end -}}
{{- toYaml $all -}}
{{- end }}

{{- define "outbox-relay.grace" -}}
{{- $ms := get (include "outbox-relay.settings" . | fromYaml) "OUTBOX_SHUTDOWN_TIMEOUT_MS" | default "10000" -}}
{{- add (div (add (int64 $ms) 999) 1000) 5 -}}
{{- end }}
