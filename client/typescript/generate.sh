#!/bin/bash
# Generates src/proto from the contract.
#   generate.sh [FOLDER]      FOLDER: where to put it instead, as the test does that compares it
# Needs protoc, and `npm install` to have been run.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tree=${FINETUNE_SOURCE:-$here/../..}
out=${1:-$here/src/proto}
rm -rf "$out" && mkdir -p "$out"
options=outputServices=grpc-js,esModuleInterop=true,importSuffix=.js,forceLong=bigint,useDate=true,env=node,exportCommonSymbols=false,useOptionals=none
protoc --plugin="$here/node_modules/.bin/protoc-gen-ts_proto" --ts_proto_out="$out" --ts_proto_opt="$options" \
  -I "$tree/proto" "$tree"/proto/segmind/finetune/v1/*.proto
protoc --plugin="$here/node_modules/.bin/protoc-gen-ts_proto" --ts_proto_out="$out" --ts_proto_opt="${options/outputServices=grpc-js/outputServices=none}" \
  -I "$tree" "$tree/server/base/error_details.proto"
mkdir -p "$out/finetune/rpc" && mv "$out/server/base/error_details.ts" "$out/finetune/rpc/" && rm -r "$out/server"
