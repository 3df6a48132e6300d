#!/bin/bash
# Builds the TypeScript client in a folder of its own: build.sh FOLDER
set -euo pipefail
source=$(cd "$(dirname "$0")/../../../client/typescript" && pwd)
mkdir -p "$1" && cd "$1"
for part in package.json tsconfig.json README.md generate.sh; do cp "$source/$part" .; done
rm -rf src dist && cp -r "$source/src" src
npm install --no-package-lock --no-audit --no-fund --ignore-scripts --silent
npx tsc -p .
