#!/bin/bash
# Generates finetunev1/ from the contract.
#   generate.sh [FOLDER]      FOLDER: where to put it instead, as the test does that compares it
# Needs protoc and Go; protoc's plugins for Go come as modules.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/finetunev1}
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
(cd "$here" && GOBIN=$tools go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.6 && GOBIN=$tools go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.5.1)
mkdir -p "$out"
prefix=github.com/segmind/finetune-gateway/client/go/finetunev1
protoc -I "$here/../../proto" --plugin="$tools/protoc-gen-go" --plugin="$tools/protoc-gen-go-grpc" --go_out="$out" --go_opt=module=$prefix \
  --go-grpc_out="$out" --go-grpc_opt=module=$prefix "$here"/../../proto/segmind/finetune/v1/*.proto
