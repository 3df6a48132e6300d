#!/bin/bash
# Installs what the tests need, builds, and runs them all.
#   tests/run.sh [--nightly] [--preset dev|edit|asan|tsan] [CTEST-ARGUMENTS...]
#   --nightly  the long versions of the randomised tests (10,000 watch histories, 5,000 crashes, two hours of a fleet's nemesis), and ten minutes
#              of each fuzz target
# Example: tests/run.sh -R jobs      runs the tests whose names match "jobs".
#          GTEST_FILTER='Catalog.*' tests/run.sh -R jobs/record      some of a room's unit tests
set -euo pipefail
cd "$(dirname "$0")/.."
preset=dev
nightly=
while [[ ${1:-} == --* ]]; do
  case $1 in
    --nightly) nightly=1; export FINETUNE_HISTORIES=10000 FINETUNE_CRASHES=5000 FINETUNE_NIGHTLY=1 FINETUNE_TEST_TIMEOUT=${FINETUNE_TEST_TIMEOUT:-7200} ;;
    --preset) preset=$2; shift ;;
    --help) sed -n '2,7p' "$0"; exit 0 ;;
    *) break ;;
  esac
  shift
done

deploy/packages.sh test
cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset" --parallel "$(nproc)"
# run_tests JOBS CTEST-ARGUMENTS...: those that there are, so many at once.
run_tests() {
  local jobs=$1
  shift
  if ctest --test-dir ".build/$preset" -N "$@" | grep -q '^Total Tests: 0$'; then return; fi
  found=1
  tests/suppressions/apply.sh ctest --test-dir ".build/$preset" --output-on-failure -j "$jobs" --timeout "${FINETUNE_TEST_TIMEOUT:-600}" "$@"
}
# Where processes talk to each other they mostly wait: for polls, deadlines, restarts. A core has time for several of these tests at once;
# those that have not ask for more of the places (PROCESSORS).
waits='^(e2e|clients|deploy)$'
failed=
found=
run_tests "$(nproc)" "$@" -LE "$waits" || failed=1
run_tests "$((3 * $(nproc)))" "$@" -L "$waits" || failed=1
[[ ! $failed ]]
[[ $found ]] || { echo "tests/run.sh: no test is named so; ctest --test-dir .build/$preset -N lists them" >&2; exit 1; }
if [[ $nightly ]]; then tests/fuzz/run.sh 600; fi
if [[ -s .build/$preset/left-out.txt ]]; then
  echo "Left out here:"
  sed 's/^/  /' ".build/$preset/left-out.txt"
fi
