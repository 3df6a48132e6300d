#!/bin/bash
# Fails if a file includes something from a room that does not lie below its own (or beside it, where the list allows none).
set -euo pipefail
cd "$(dirname "$0")/.."
declare -A below=(
  [base]="base"
  [segmind]="base segmind"
  [otlp]="base segmind otlp"
  [store]="base store"
  [jobs]="base segmind store jobs"
  [access]="base access"
  [service]="base segmind store jobs access service"
  [web]="base segmind store jobs web"
)
failed=0
complain() { echo "layering: $1 includes $2" >&2; failed=1; }
for room in "${!below[@]}"; do
  while IFS=: read -r file include; do
    target=${include#*\"server/}; target=${target%%/*}
    [[ " ${below[$room]} " == *" $target "* ]] || complain "$file" "$include"
  done < <(grep -rHoE '#include "server/[^"]+"' --include='*.h' --include='*.cc' "server/$room" || true)
done
# Callers and the emulator know the contract only.
while IFS=: read -r file include; do complain "$file" "$include"; done \
  < <(grep -rHoE '#include "(server|tests)/[^"]+"' --include='*.h' --include='*.cc' client || true)
while IFS=: read -r file include; do complain "$file" "$include"; done \
  < <(grep -rHoE '#include "(server|client)/[^"]+"' --include='*.h' --include='*.cc' tests/emulator 2>/dev/null || true)
# Only segmind/ speaks HTTP to Segmind and only store/ speaks SQL.
while IFS=: read -r file include; do complain "$file" "$include"; done \
  < <(grep -rHoE '#include <(curl/|rapidjson/)[^>]*>' --include='*.h' --include='*.cc' server | grep -v '^server/segmind/' || true)
while IFS=: read -r file include; do complain "$file" "$include"; done \
  < <(grep -rHoE '#include <(sqlite3|libpq)[^>]*>' --include='*.h' --include='*.cc' server | grep -v '^server/store/' || true)
exit $failed
