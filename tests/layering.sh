#!/bin/bash
# Fails if a file includes something from a room that does not lie below its own (or beside it, where the list allows none), and if
# a unit of the service has no test of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
# Each room, and the rooms that it may use beside itself. What a room may not use by name it may not use at all.
jobs_record="base segmind store spending jobs/record"
calls="base access jobs/record"
declare -A below=(
  [base]=""
  [json]="base"
  [http]="base"
  [otlp]="base json http"
  [dataset]="base"
  [segmind]="base json http"
  [store]="base"
  [spending]="base"
  [jobs/record]="base segmind store"
  [jobs/filter]="base jobs/record"
  [jobs/tracking]="$jobs_record"
  [jobs/submission]="$jobs_record jobs/tracking"
  [jobs/watching]="base jobs/record jobs/filter"
  [access]="base json http spending"
  [service/calls]="$calls"
  [service/connections]="base json service/calls"
  [service/requests]="$calls http dataset segmind jobs/filter jobs/tracking jobs/submission service/calls"
  [service/transfers]="$calls http dataset segmind service/calls service/requests"
  [service/watches]="base jobs/watching service/calls"
  [service]="$jobs_record access jobs/tracking jobs/submission jobs/watching service/calls service/requests service/transfers service/watches"
  [web]="base segmind"
  # A watcher of the hub, as gRPC's are, that speaks HTTP.
  [page]="base json jobs/record jobs/filter jobs/watching web"
)
failed=0
complain() { echo "layering: $1 includes $2" >&2; failed=1; }
while IFS=: read -r file include; do
  from=${file#server/}; from=${from%/*}
  to=${include#*\"server/}; to=${to%/*}
  [[ -n ${below[$from]+listed} ]] || { echo "layering: no rule for the room of $file" >&2; failed=1; continue; }
  [[ $from == "$to" || " ${below[$from]} " == *" $to "* ]] || complain "$file" "$include"
done < <(grep -rHoE '#include "server/[^"]+"' --include='*.h' --include='*.cc' server | grep -E '^server/[^:]+/')
# Callers and the emulator know the contract only; the C++ library also knows how errors carry their details, what a dataset is
# like, and the pure functions of the target of that name.
pure='server/base/(absl_view|error_details|check|crc32c|micros|pem|read_file|url|url_signature|uuid|utf8|sha256|backoff|weights_head)\.h|server/dataset/[a-z_]+\.h'
while IFS=: read -r file include; do complain "$file" "$include"; done \
  < <(grep -rHoE '#include "(server|tests)/[^"]+"' --include='*.h' --include='*.cc' client | grep -vE "\"($pure)\"\$" || true)
while IFS=: read -r file include; do complain "$file" "$include"; done \
  < <(grep -rHoE '#include "(server|client)/[^"]+"' --include='*.h' --include='*.cc' tests/emulator 2>/dev/null || true)
# Only http/ knows curl, only json/ knows RapidJSON, and only store/ speaks SQL.
while IFS=: read -r file include; do complain "$file" "$include"; done \
  < <(grep -rHoE '#include <curl/[^>]*>' --include='*.h' --include='*.cc' server | grep -v '^server/http/' || true)
while IFS=: read -r file include; do complain "$file" "$include"; done \
  < <(grep -rHoE '#include [<"]rapidjson/[^>"]*[>"]' --include='*.h' --include='*.cc' server | grep -v '^server/json/' || true)
while IFS=: read -r file include; do complain "$file" "$include"; done \
  < <(grep -rHoE '#include <(sqlite3|libpq)[^>]*>' --include='*.h' --include='*.cc' server | grep -v '^server/store/' || true)
# Tests mirror the service: each unit has a file of its own that states what it promises; those at the root have theirs in gateway/.
while IFS= read -r unit; do
  test=tests/${unit#server/}_test.cc
  [[ $unit == server/*/* ]] || test=tests/gateway/${unit#server/}_test.cc
  [[ -f $test || $unit == server/main ]] || { echo "layering: $unit.cc has no $test" >&2; failed=1; }
done < <(find server -name '*.cc' | sed 's/\.cc$//' | LC_ALL=C sort)
exit $failed
