#!/bin/bash
# Measures the gateway beside what people would use instead, in one run on one machine, and writes tests/bench/RESULTS.md.
#   tests/bench/run.sh [--quick] [--only NAME[,NAME...]] [--minutes N] [--out FILE]
#   --quick  the subset that the checks run, with the tests' build, in under 3 minutes: fails on ratios beyond their limits (+25 %), above all
#            of CPU per call to the bare server's against tests/bench/baseline.json; writes no file. What runs beside it makes a ratio worse
#            and never better: a section with a ratio beyond its limit is measured up to two more times, all tries are printed, and the
#            best one counts. Machines differ, too: one that needs four times as long for a call of the bare server puts list 50 at 0.79 to
#            0.87, where another has 0.62; a limit is what holds on both
#   --only   sections: the modules of tests/bench/sections; writes a file only with --out
#   --minutes  how long the mixed load runs (day: a day in an hour is 60)
set -euo pipefail
cd "$(dirname "$0")/../.."
case ${1:-} in -h | --help) sed -n '2,10p' "$0"; exit 0 ;; esac
preset=bench
[[ " $* " != *" --quick "* ]] || preset=dev
deploy/packages.sh "${preset/dev/test}"
cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset" --parallel "$(nproc)" \
  --target finetune-gateway segmind-emulator bench-bare-server bench-bare-queue-server bench-smallest-gateway bench-load bench-ingest bench-budgets bench-relay finetune python_stubs
# The quick subset does without Portkey.
[[ $preset == dev ]] || (cd tests/bench/rivals && npm install --no-package-lock --no-audit --no-fund --silent --omit=dev)
FINETUNE_BIN=$PWD/.build/$preset/bin FINETUNE_STUBS=$PWD/.build/$preset/tests/e2e/stubs \
  PYTHONPATH=$PWD/tests/e2e exec /usr/bin/python3 tests/bench/run.py "$@"
