#!/bin/bash
# Generates the messages and stubs under src/finetune_gateway/_proto from the contract.
#   generate.sh [FOLDER]      FOLDER: where to put them instead, as the test does that compares them
# Needs protoc and Debian's protobuf-compiler-grpc.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
proto=$here/../../proto
out=${1:-$here/src/finetune_gateway/_proto}
package=finetune_gateway._proto

rm -rf "$out" && mkdir -p "$out"
(cd "$proto" && protoc -I . --python_out="$out" --pyi_out="$out" --grpc_python_out="$out" \
  --plugin=protoc-gen-grpc_python="$(command -v grpc_python_plugin)" segmind/finetune/v1/*.proto)
(cd "$here/../.." && protoc -I . --python_out="$out" --pyi_out="$out" server/base/error_details.proto)
mkdir -p "$out/finetune/rpc" && mv "$out"/server/base/error_details_pb2.py* "$out/finetune/rpc/" && rm -r "$out/server"
# The package has a root of its own, so that it cannot meet another one called `segmind`.
find "$out" -name '*.py' -o -name '*.pyi' | while read -r file; do
  sed -i -E "s/^from segmind\.finetune\.v1 import/from $package.segmind.finetune.v1 import/" "$file"
done
find "$out" -type d -exec touch {}/__init__.py \;
