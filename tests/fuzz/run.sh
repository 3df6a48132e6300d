#!/bin/bash
# Fuzzes: builds the fuzz preset and runs each target for a while, one after the other. What it finds beyond the corpus is kept in
# .build/fuzz/corpus/TARGET for the next run; a failing input stays in .build/fuzz/found and fails the run.
#   tests/fuzz/run.sh [SECONDS [TARGET...]]     default: 600 seconds for each, all targets
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-600}
shift || true
targets=("$@")
[[ ${#targets[@]} -gt 0 ]] || mapfile -t targets < <(sed -n 's/^fuzz_target(\([a-z_]*\).*/\1/p' tests/fuzz/CMakeLists.txt)

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --parallel "$(nproc)" --target "${targets[@]/#/fuzz_}"
failed=()
mkdir -p .build/fuzz/found
for target in "${targets[@]}"; do
  mkdir -p ".build/fuzz/corpus/$target"
  echo "== $target"
  # Inputs of a few KiB reach everything; longer ones only take longer.
  ".build/fuzz/bin/fuzz_$target" -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix=".build/fuzz/found/$target-" ".build/fuzz/corpus/$target" "tests/fuzz/corpus/$target" \
    >".build/fuzz/found/$target.log" 2>&1 || failed+=("$target")
  grep -E 'stat::number_of_executed_units|ERROR|SUMMARY|CHECK|failed' ".build/fuzz/found/$target.log" || true
done
[[ ${#failed[@]} -eq 0 ]] || { echo "fuzz: failed: ${failed[*]} (inputs and logs in .build/fuzz/found)" >&2; exit 1; }
