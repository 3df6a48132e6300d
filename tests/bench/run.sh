#!/bin/bash
# Measures the gateway beside what people would use instead, in one run on one machine, and writes tests/bench/RESULTS.md.
#   tests/bench/run.sh [--quick] [--only NAME[,NAME...]] [--out FILE]
#   --quick  the subset that the checks run (under 3 minutes): fails on ratios beyond their limits, writes no file
#   --only   sections: the modules of tests/bench/sections; writes a file only with --out
set -euo pipefail
cd "$(dirname "$0")/../.."
case ${1:-} in -h | --help) sed -n '2,5p' "$0"; exit 0 ;; esac
deploy/packages.sh bench
cmake --preset bench >/dev/null
cmake --build --preset bench --parallel "$(nproc)" --target finetune-gateway segmind-emulator bench-bare-server bench-load bench-ingest bench-relay finetune python_stubs
FINETUNE_BIN=$PWD/.build/bench/bin FINETUNE_STUBS=$PWD/.build/bench/tests/e2e/stubs exec /usr/bin/python3 tests/bench/run.py "$@"
