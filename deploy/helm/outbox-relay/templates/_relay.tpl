{{/* What a chart with the relay as a dependency puts into its own Pod: labels, annotations, one of
     initContainers, volumes. Each is included with the dependency's scope, (index .Subcharts "outbox-relay"). */}}
{{- define "outbox-relay.podLabels" -}}
outbox-relay/mode: {{ .Values.mode }}
{{- end }}

{{/* Pods are made anew when a setting changes. */}}
{{- define "outbox-relay.podAnnotations" -}}
checksum/settings: {{ include "outbox-relay.settings" . | sha256sum }}
{{- end }}

{{/* A native sidecar: it starts before the service, lives as long, and gets its SIGTERM after it. No
     readinessProbe: it would count as the Pod's, and a Kafka that is away would take the service away too. */}}
{{- define "outbox-relay.sidecar" -}}
- {{- include "outbox-relay.container" . | nindent 2 }}
  restartPolicy: Always
  {{- include "outbox-relay.probes" . | nindent 2 }}
{{- end }}

{{- define "outbox-relay.volumes" -}}
- name: outbox-relay
  secret:
    secretName: {{ .Values.secret.name | default (include "outbox-relay.fullname" .) | quote }}
    defaultMode: 0440 # root's, for the fsGroup to read
{{- if .Values.tls.enabled }}
- name: outbox-relay-tls
  secret:
    secretName: {{ .Values.tls.secretName | default (printf "%s-tls" (include "outbox-relay.fullname" .)) | quote }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{- define "outbox-relay.container" -}}
name: outbox-relay
image: {{ include "outbox-relay.image" . | quote }}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
envFrom:
  - configMapRef:
      name: {{ include "outbox-relay.fullname" . | quote }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: outbox-relay
    mountPath: /run/secrets/outbox-relay
    readOnly: true
  {{- if .Values.tls.enabled }}
  - name: outbox-relay-tls
    mountPath: /run/secrets/outbox-relay-tls
    readOnly: true
  {{- end }}
{{- end }}

{{/* Whether the loop turns: a restart mends nothing that is wrong with a server. */}}
{{- define "outbox-relay.probes" -}}
ports:
  - name: http-relay
    containerPort: 9478
    protocol: TCP
startupProbe:
  httpGet:
    path: /livez
    port: http-relay
  periodSeconds: 1
  timeoutSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /livez
    port: http-relay
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}

{{- define "outbox-relay.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}
