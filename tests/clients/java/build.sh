#!/bin/bash
# Builds and tests the Java client in a folder of its own, and its driver: build.sh FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
mkdir -p "$1" && cd "$1"
rm -rf client && mkdir client && cp -r "$root/client/java/pom.xml" "$root/client/java/README.md" "$root/client/java/src" client/
mvn -q -B -f client/pom.xml -Dfinetune.proto="$root/proto" -Dfinetune.source="$root" package
rm -rf driver && mkdir driver
javac -d driver -cp "client/target/finetune-gateway-client-0.1.0.jar:client/target/lib/*" "$here/Driver.java"
