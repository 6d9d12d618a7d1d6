{{/* What all objects of a component are named and labelled by. */}}
{{- define "mcp-orch.name" -}}
{{ .Release.Name }}-{{ .component }}
{{- end }}

{{- define "mcp-orch.selector" -}}
app.kubernetes.io/name: mcp-orch
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "mcp-orch.labels" -}}
{{ include "mcp-orch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "mcp-orch.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "mcp-orch.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- define "mcp-orch.image" -}}
{{ .repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* How a service reaches the bus and the secrets. */}}
{{- define "mcp-orch.environment" -}}
- { name: MCP_LOG_LEVEL, value: {{ .Values.logLevel | quote }} }
- { name: MCP_ORCH_ADMIN_LISTEN, value: "0.0.0.0:9464" }
- { name: MCP_ORCH_NATS__URLS, value: {{ .Values.nats.urls | toJson | quote }} }
- { name: MCP_ORCH_NATS__NAMESPACE, value: {{ .Values.nats.namespace | quote }} }
- { name: MCP_ORCH_NATS__REPLICAS, value: {{ .Values.nats.replicas | quote }} }
- { name: MCP_ORCH_NATS__CA, value: /keys/nats/ca.pem }
- { name: MCP_ORCH_NATS__NKEY_SEED_FILE, value: /keys/nats/seed }
- { name: MCP_ORCH_VAULT__ADDRESS, value: {{ .Values.vault.address | quote }} }
- { name: MCP_ORCH_VAULT__MOUNT, value: {{ .Values.vault.mount | quote }} }
- { name: MCP_ORCH_VAULT__LOGIN, value: kubernetes }
- { name: MCP_ORCH_VAULT__LOGIN_MOUNT, value: {{ .Values.vault.loginMount | quote }} }
- { name: MCP_ORCH_VAULT__ROLE, value: {{ printf "mcp-orch-%s" .component | quote }} }
{{- if .Values.vault.transitMount }}
- { name: MCP_ORCH_VAULT__TRANSIT_MOUNT, value: {{ .Values.vault.transitMount | quote }} }
{{- end }}
{{- if .Values.vault.caConfigMap }}
- { name: MCP_ORCH_VAULT__CA, value: /keys/vault/ca.pem }
{{- end }}
{{- end }}

{{/* Where a service that clients reach listens; TLS ends before it. */}}
{{- define "mcp-orch.public" -}}
- { name: MCP_ORCH_LISTEN, value: "0.0.0.0:8080" }
- { name: MCP_ORCH_PUBLIC_URL, value: {{ .Values.publicUrl | quote }} }
{{- end }}

{{- define "mcp-orch.keyMounts" -}}
- { name: nats, mountPath: /keys/nats, readOnly: true }
{{- if .Values.vault.caConfigMap }}
- { name: vault-ca, mountPath: /keys/vault, readOnly: true }
{{- end }}
{{- end }}

{{- define "mcp-orch.keyVolumes" -}}
- { name: nats, secret: { secretName: {{ .natsSecret | quote }}, defaultMode: 0440 } }
{{- if .Values.vault.caConfigMap }}
- { name: vault-ca, configMap: { name: {{ .Values.vault.caConfigMap | quote }} } }
{{- end }}
{{- end }}

{{- define "mcp-orch.probes" -}}
startupProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 2
  failureThreshold: 30
livenessProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 10
  failureThreshold: 3
readinessProbe:
  httpGet: { path: /readyz, port: admin }
  periodSeconds: 2
  failureThreshold: 2
{{- end }}

{{/* Replicas on different machines, where there are several. */}}
{{- define "mcp-orch.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "mcp-orch.selector" . | nindent 8 }}
{{- end }}
