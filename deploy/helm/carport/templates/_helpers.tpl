{{- define "carport.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "carport.selector" -}}
app.kubernetes.io/name: carport
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "carport.labels" -}}
{{ include "carport.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "carport.rpcSecretName" -}}
{{- .Values.rpcSecret.existingSecret | default (printf "%s-rpc" (include "carport.name" .)) -}}
{{- end -}}
