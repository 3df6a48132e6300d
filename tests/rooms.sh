#!/bin/bash
# Runs unit tests that are built, those of a room in one process, because to start one takes longer than most tests do.
#   tests/rooms.sh list                      the rooms that have unit tests
#   tests/rooms.sh PRESET JOBS [ROOM...]     so many rooms at once (default: all rooms)
# Writes a line for each room, and the end of its output if something failed; then the tests of that room run once more one by one, by
# ctest with CTEST_ARGUMENTS, so that one which needs a process or a quiet moment of its own has it. Fails if one of them fails again.
set -euo pipefail
cd "$(dirname "$0")/.."

# As tests/CMakeLists.txt lists them, and the emulator, which is no part of the service. The slowest first.
rooms() { { sed -nE 's/^finetune_test\(([a-z_/]+).*/\1/p' tests/CMakeLists.txt; echo emulator; } | sort -r; }

# one PRESET ROOM: prints the line; leaves ROOM in failed.txt if something failed.
one() {
  local name=${2//\//_} begun=$SECONDS
  local log=.build/$1/${name}_test.log
  if tests/suppressions/apply.sh timeout "${FINETUNE_ROOM_TIMEOUT:-900}" ".build/$1/bin/${name}_test" --gtest_brief=1 >"$log" 2>&1; then
    echo "$2: $(grep -aoE '^\[  PASSED  \] [0-9]+ tests?' "$log" | tail -n 1 | grep -oE '[0-9]+.*') passed in $((SECONDS - begun)) s"
  else
    echo "$2: FAILED after $((SECONDS - begun)) s; the end of $log:"
    tail -n 40 "$log"
    echo "$2" >>".build/$1/failed.txt"
  fi
}

[[ ${1:-} != list ]] || { rooms; exit; }
[[ $# -ge 2 ]] || { sed -n '2,6p' "$0" >&2; exit 2; }
preset=$1 jobs=$2
shift 2
if [[ $# -eq 0 ]]; then
  mapfile -t all < <(rooms)
  set -- "${all[@]}"
fi
rm -f ".build/$preset/failed.txt"
export -f one
# shellcheck disable=SC2016 # The other shell expands it.
printf '%s\n' "$@" | xargs -P "$jobs" -n 1 bash -c 'one "$@"' -- "$preset"
[[ -s .build/$preset/failed.txt ]] || exit 0
# shellcheck disable=SC2086 # Several arguments.
tests/suppressions/apply.sh ctest --test-dir ".build/$preset" --output-on-failure -j "$(nproc)" --timeout "${FINETUNE_TEST_TIMEOUT:-600}" \
  -R "^($(paste -sd'|' ".build/$preset/failed.txt"))\\." ${CTEST_ARGUMENTS:-}
