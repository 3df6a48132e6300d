#!/bin/bash
# Prints rules.yaml as a PrometheusRule: operator-rule.sh > prometheus-rule.yaml
set -euo pipefail
cd "$(dirname "$0")"
cat <<'END'
# Made from rules.yaml by operator-rule.sh.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: finetune-gateway
  labels:
    app.kubernetes.io/name: finetune-gateway
spec:
END
sed -n '/^groups:/,$ s/^\(.\)/  \1/p; /^groups:/,$ s/^$//p' rules.yaml
