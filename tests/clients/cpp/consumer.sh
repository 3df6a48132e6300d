#!/bin/bash
# Configures a project that uses the C++ client as its README says, and looks at how its program would be compiled: consumer.sh FOLDER
set -euo pipefail
root=$(cd "$(dirname "$0")/../../.." && pwd)
mkdir -p "$1" && cd "$1"
rm -rf build && ln -sfn "$root" finetune-gateway
fenced() { awk -v fence="\`\`\`$1" '$0 == "```" { inside = 0 } inside { print } $0 == fence { inside = 1 }' "$root/client/cpp/README.md"; }
fenced cmake > CMakeLists.txt
fenced cpp > cats.cc
cmake -S . -B build -G Ninja -DCMAKE_EXPORT_COMPILE_COMMANDS=ON > configure.txt 2>&1 || { cat configure.txt; exit 1; }
grep -q 'std=\(gnu\|c\)++20.*cats\.cc' build/compile_commands.json || { echo "cats.cc is not compiled as C++20"; exit 1; }
# The tests of the gateway, its programs and its packages are none of the project's.
ninja -C build -t targets all | grep -q '^client_test' && { echo "the gateway's tests are there"; exit 1; }
ninja -C build -t commands cats > commands.txt
grep -q 'libclient\.a' commands.txt || { echo "cats does not use the client"; exit 1; }
