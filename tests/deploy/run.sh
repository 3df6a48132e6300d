#!/bin/bash
# Tests what is deployed: manifests, rules, dashboard, certificates. Needs no build and no cluster.
#   tests/deploy/run.sh [TEST...]      tests: manifests monitoring dev_certs (default: all)
# Needs python3-yaml, prometheus (for promtool), openssl, node with npm, and kubectl 1.27 or later (or
# kustomize): Debian 12 packages all but the last, without which the rendered objects are not looked at.
# Exits with 77 if everything else passed and that was left out.
set -euo pipefail
cd "$(dirname "$0")"
tests=("$@")
[[ ${#tests[@]} -gt 0 ]] || tests=(manifests monitoring dev_certs)

for needed in python3 promtool openssl node npm; do
  command -v $needed >/dev/null || { echo "tests/deploy: needs $needed" >&2; exit 1; }
done
python3 -c 'import yaml' || exit 1

log=$(mktemp)
trap 'rm -f "$log"' EXIT
left_out=
for test in "${tests[@]}"; do
  echo "== $test"
  case $test in
    manifests)
      npm install --no-package-lock --no-audit --no-fund --silent
      python3 -B manifests_test.py 2>&1 | tee "$log"
      ! grep -q 'skipped=' "$log" || left_out=1
      ;;
    monitoring) python3 -B monitoring_test.py ;;
    dev_certs) ./dev_certs_test.sh ;;
    *) echo "tests/deploy: no test named $test" >&2; exit 2 ;;
  esac
done
if [[ -n $left_out ]]; then
  echo "tests/deploy: kubectl 1.27 or later was not found: the manifests were not rendered" >&2
  exit 77
fi
