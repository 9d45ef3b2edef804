{{- define "zen-lead.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What the Deployment selects, and so must never change. One release a namespace: the Lease has one name. */}}
{{- define "zen-lead.selector" -}}
app.kubernetes.io/name: zen-lead
app.kubernetes.io/component: controller
{{- end -}}

{{- define "zen-lead.labels" -}}
app.kubernetes.io/name: zen-lead
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "zen-lead.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* What the Pod Security Standard `restricted` demands of every pod here. */}}
{{- define "zen-lead.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65534
runAsGroup: 65534
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "zen-lead.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: ["ALL"]
{{- end -}}

{{/* The pod of `zen-lead cleanup`, with these flags besides. */}}
{{- define "zen-lead.cleanupPod" -}}
{{- $root := index . 0 -}}
{{- with $root -}}
restartPolicy: Never
serviceAccountName: {{ include "zen-lead.fullname" . }}
automountServiceAccountToken: true
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "zen-lead.podSecurity" . | nindent 2 }}
containers:
  - name: cleanup
    image: {{ include "zen-lead.image" . | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    args:
      - cleanup
      {{- range .Values.namespaces }}
      - --namespace={{ . }}
      {{- end }}
      {{- with .Values.instance }}
      - --instance={{ . }}
      {{- end }}
{{- end }}
      {{- toYaml (index . 1) | nindent 6 }}
{{- with $root }}
    env:
      - name: POD_NAMESPACE
        valueFrom:
          fieldRef:
            fieldPath: metadata.namespace
    {{- with .Values.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    securityContext:
      {{- include "zen-lead.containerSecurity" . | nindent 6 }}
{{- end }}
{{- end -}}
