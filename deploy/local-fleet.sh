#!/bin/bash
# Starts PostgreSQL, three gateways on it and the Segmind emulator, plays a whole fine-tune over all three, kills one of them in
# the middle of it, and shows that nothing is lost.
#   deploy/local.sh --fleet [--no-stay] [--time-scale N]
# Called by local.sh, once all is built. The state lies in .run/; Ctrl-C stops everything.
set -euo pipefail
cd "$(dirname "$0")/.."
stay=1 time_scale=40
while [[ $# -gt 0 ]]; do
  case $1 in
    --no-stay) stay='' ;;
    --time-scale) time_scale=$2; shift ;;
    *) echo "local.sh --fleet: unknown option $1" >&2; exit 2 ;;
  esac
  shift
done
# A test has them elsewhere.
bin=${FINETUNE_BIN:-$PWD/.build/dev/bin} run=${FINETUNE_RUN:-$PWD/.run}
pids=()
# shellcheck source=deploy/local-parts.sh
. deploy/local-parts.sh

# PostgreSQL refuses root: it then runs as the user of Debian's package. Its folder must be one that this user reaches, and a
# socket's path has at most 107 bytes.
postgres=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -1)
[[ -x $postgres/initdb ]] || die "there is no PostgreSQL here: deploy/packages.sh fleet installs Debian's"
database=$run/postgres
as_user=()
if [[ $(id -u) -eq 0 ]]; then as_user=(setpriv --reuid=postgres --regid=postgres --clear-groups); fi
claim_run ''
mkdir -p "$database"
if [[ -n ${as_user[*]} ]]; then chown postgres:postgres "$database"; fi
if [[ ${#database} -gt 80 ]] || ! "${as_user[@]}" test -w "$database"; then
  database=$(mktemp -d /tmp/finetune-fleet.XXXXXX)
  if [[ -n ${as_user[*]} ]]; then chown postgres:postgres "$database"; fi
  trap 'stop; rm -rf "$database"' EXIT
fi

step 'Starting PostgreSQL'
(umask 077; head -c 24 /dev/urandom | base64 | tr -d '/+=' >"$run/database-password")
install -m 0644 "$run/database-password" "$database/password"
"${as_user[@]}" "$postgres/initdb" -D "$database/data" -U finetune -A scram-sha-256 --pwfile "$database/password" -E UTF8 --locale=C.UTF-8 \
  >"$run/postgres.log" 2>&1 || { cat "$run/postgres.log" >&2; die 'initdb failed'; }
rm "$database/password"
"${as_user[@]}" "$postgres/postgres" -D "$database/data" -k "$database" -h '' -c max_connections=40 >>"$run/postgres.log" 2>&1 &
pids+=($!)
for _ in $(seq 100); do
  "$postgres/pg_isready" -q -h "$database" && break
  sleep 0.1
done
store=postgresql://finetune@${database//\//%2F}/postgres
echo "$("$postgres/postgres" --version), behind a socket in $database"

start_emulator

step 'Starting three gateways'
webhook_token
gateways=()
start_gateway() {
  rm -f "$run/gateway-$1.ports"
  "$bin/finetune-gateway" --replica_name "gateway-$1" --listen "127.0.0.1:$(port $((50050 + $1)))" --webhook_listen "127.0.0.1:$(port $((8080 + $1)))" \
    --admin_listen "127.0.0.1:$(port $((9090 + $1)))" --port_file "$run/gateway-$1.ports" --upstream_url "$upstream" --api_key_file "$run/api-key" \
    --webhook_token_file "$run/webhook-token" --store "$store" --store_password_file "$run/database-password" --drain_delay 0s \
    --active_poll_interval 1s >>"$run/gateway-$1.log" 2>&1 &
  gateways[$1]=$!
  pids+=($!)
  await "$run/gateway-$1.ports" $! "$run/gateway-$1.log"
}
field() { sed -nE "s/.*\"$2\": *([0-9]+).*/\1/p" "$run/gateway-$1.ports"; }
at() { address=127.0.0.1:$(field "$1" grpc); }
for n in 1 2 3; do
  start_gateway $n
  for _ in $(seq 100); do
    curl -fsS -o "$run/readyz" "http://127.0.0.1:$(field $n admin)/readyz" 2>/dev/null && break
    sleep 0.1
  done
  echo "gateway $n: gRPC 127.0.0.1:$(field $n grpc), metrics and health on http://127.0.0.1:$(field $n admin)"
done
# Segmind knows one URL; in a cluster a Service spreads it.
curl -fsS -o /dev/null -X POST -H 'Content-Type: application/json' "$upstream/emulator/settings" \
  -d "{\"webhook_url\": \"http://127.0.0.1:$(field 3 webhook)/webhooks/segmind/$(cat "$run/webhook-token")\"}"
first=1
others=()
for n in 1 2 3; do [[ $n == "$first" ]] || others+=("$n"); done
at "${others[0]}"
show status

step "A zip of images, uploaded through gateway ${others[0]}"
python3 deploy/sample_images.py "$run/cats.zip"
show upload "$run/cats.zip" --public --output json >"$run/upload.json"
read_json() { python3 -c 'import json, sys; v = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$run/$1" "$2"; }
data=$(read_json upload.json 'v["dataSourceUri"]')
echo "$data"

step "Submitting through gateway $first"
id=$(python3 -c 'import uuid; print(uuid.uuid4())')
create=(create --name cats --data "$data" --prompt 'a photo of TOK cat' --trigger TOK --base-model FAST_FLUX
  --theme subject --steps 500 --label team=demo --request-id "$id" --output json)
at "$first"
show "${create[@]}" >"$run/job.json"
name=$(read_json job.json 'v["name"]')
echo "$name"
for n in "${others[@]}"; do
  at "$n"
  [[ $("$bin/finetune" --server "$address" get "$name" --output name) == "$name" ]] || die "gateway $n does not know it"
  echo "gateway $n knows it"
done

step "Watching every state through gateway ${others[0]}, which is replaced by none; gateway $first is killed on the way"
at "${others[0]}"
watching=$address
"$bin/finetune" --server "$watching" watch "$name" --every --until AVAILABLE >"$run/watch.txt" 2>&1 &
watcher=$!
for _ in $(seq 300); do
  grep -q TRAINING "$run/watch.txt" && break
  sleep 0.1
done
kill -9 "${gateways[$first]}"
wait "${gateways[$first]}" 2>/dev/null || true
echo "kill -9 gateway $first"
at "${others[1]}"
echo "The same submission again, through gateway ${others[1]}, as its caller would that has had no answer:"
show "${create[@]}" >"$run/again.json"
[[ $(read_json again.json 'v["name"]') == "$name" ]] || die "it became another job"
echo "$(read_json again.json 'v["name"]'): the same job"
wait "$watcher" || die "the watch failed: $(cat "$run/watch.txt")"
cat "$run/watch.txt"

step "Gateway $first comes back"
start_gateway "$first"
at "$first"
show get "$name"

step 'What there is now'
for n in 1 2 3; do
  at $n
  "$bin/finetune" --server "$address" list --output json >"$run/list-$n.json"
  python3 - "$run/list-$n.json" "$name" <<'PY' || die "gateway $n shows something else"
import json, sys
jobs = [json.loads(line) for line in open(sys.argv[1]) if line.strip()]
sys.exit(0 if [(j["name"], j["state"]) for j in jobs] == [(sys.argv[2], "AVAILABLE")] else 1)
PY
  echo "gateway $n: one job, AVAILABLE, etag $(python3 -c 'import json, sys; print(json.loads(open(sys.argv[1]).readline())["etag"])' "$run/list-$n.json")"
done
etags=$(for n in 1 2 3; do python3 -c 'import json, sys; print(json.loads(open(sys.argv[1]).readline())["etag"])' "$run/list-$n.json"; done | sort -u | wc -l)
[[ $etags == 1 ]] || die 'the gateways show different versions'
taken=$(curl -fsS "$upstream/emulator/submits" | python3 -c 'import json, sys; print(sum(1 for s in json.load(sys.stdin) if s["taken"]))')
[[ $taken == 1 ]] || die "Segmind has taken $taken jobs for one submission"
show download "$name" "$run/cats.safetensors"
cat <<TEXT

${bold}Nothing is lost: one submission, one job at Segmind, the same job in the same version at all three gateways, every state told to
the watcher, and one gateway killed on the way.${plain}
TEXT

[[ -n $stay ]] || exit 0
step 'Up. From another terminal:'
cat <<TEXT
  export PATH=$bin:\$PATH
  finetune --server 127.0.0.1:$(field 1 grpc) status     # and :$(field 2 grpc), :$(field 3 grpc)
  finetune --server 127.0.0.1:$(field 2 grpc) watch
Logs: $run/gateway-*.log, $run/postgres.log and $run/emulator.log
TEXT
echo 'Ctrl-C stops everything.'
wait -n "${pids[@]}" || true
die "a process ended; see its log in $run"
