#!/bin/bash
# Tests what is deployed: manifests, rules, dashboard, certificates, packages. Needs no cluster, and a build for the packages alone.
#   tests/deploy/run.sh [TEST...]      tests: manifests monitoring dev_certs packages (default: all)
# Exits with 77 if everything else passed and the manifests could not be rendered: there is no kubectl 1.27 or later here, and none
# to be had (tools.sh).
set -euo pipefail
cd "$(dirname "$0")"
tests=("$@")
[[ ${#tests[@]} -gt 0 ]] || tests=(manifests monitoring dev_certs packages)
# Debian's, which has its packages' modules.
python=/usr/bin/python3

log=$(mktemp)
trap 'rm -f "$log"' EXIT
left_out=
for test in "${tests[@]}"; do
  echo "== $test"
  case $test in
    manifests)
      tools=$(./tools.sh kubectl)
      npm install --no-package-lock --no-audit --no-fund --silent
      PATH=$tools:$PATH $python -B manifests_test.py 2>&1 | tee "$log"
      ! grep -q 'skipped=' "$log" || left_out=1
      ;;
    monitoring)
      tools=$(./tools.sh promtool)
      PATH=$tools:$PATH $python -B monitoring_test.py
      ;;
    dev_certs) ./dev_certs_test.sh ;;
    packages) $python -B package_test.py ;;
    *) echo "tests/deploy: no test named $test" >&2; exit 2 ;;
  esac
done
if [[ -n $left_out ]]; then
  echo "tests/deploy: kubectl 1.27 or later was not found: the manifests were not rendered" >&2
  exit 77
fi
