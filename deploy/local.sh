#!/bin/bash
# Installs what is missing, builds, starts the gateway, and plays a whole fine-tune where you can see it.
#   deploy/local.sh [--play] [--no-stay] [--time-scale N] [--keep]
#   deploy/local.sh --fleet [--no-stay] [--time-scale N]
# Without SEGMIND_API_KEY it starts the Segmind emulator and plays the main job against it. With SEGMIND_API_KEY it talks to the real
# Segmind and plays only with --play: a job there costs money.
#   --play          play the main job also against the real Segmind
#   --no-stay       stop everything once the job is played
#   --time-scale N  how many times faster than Segmind the emulator is (default 40)
#   --keep          keep the gateway's record of earlier runs; with the real Segmind it is always kept
#   --fleet         three gateways on PostgreSQL, and the emulator; one gateway is killed on the way
# The state lies in .run/; Ctrl-C stops everything.
set -euo pipefail
cd "$(dirname "$0")/.."

play='' stay=1 time_scale=40 keep='' fleet=''
while [[ $# -gt 0 ]]; do
  case $1 in
    --play) play=1 ;;
    --no-stay) stay='' ;;
    --time-scale)
      [[ ${2:-} =~ ^[0-9]+(\.[0-9]+)?$ ]] || { echo "local.sh: --time-scale needs a number, such as 40" >&2; exit 2; }
      time_scale=$2
      shift
      ;;
    --keep) keep=1 ;;
    --fleet) fleet=1 ;;
    -h | --help) sed -n '2,12p' "$0"; exit 0 ;;
    *) echo "local.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
  esac
  shift
done
[[ -n ${SEGMIND_API_KEY:-} ]] || play=1

bin=$PWD/.build/dev/bin run=$PWD/.run
pids=()
# shellcheck source=deploy/local-parts.sh
. deploy/local-parts.sh

step 'Setting up'
[[ -e .build/dev/bin/finetune-gateway ]] || echo 'The first time it all has to be compiled: about ten minutes on two cores. Later it takes seconds.'
deploy/packages.sh "$([[ -n $fleet ]] && echo fleet || echo local)"
cmake --preset dev >/dev/null
cmake --build --preset dev --parallel "$(nproc)" --target finetune-gateway finetune segmind-emulator
if [[ -n $fleet ]]; then
  [[ -z ${SEGMIND_API_KEY:-} ]] || die '--fleet plays against the emulator: unset SEGMIND_API_KEY'
  options=(--time-scale "$time_scale")
  [[ -n $stay ]] || options+=(--no-stay)
  exec deploy/local-fleet.sh "${options[@]}"
fi
# What was submitted to the real Segmind was paid for: its record stays.
claim_run "$keep${SEGMIND_API_KEY:-}"
chmod 700 "$run"

field() { sed -nE "s/.*\"$1\": *([0-9]+).*/\1/p" "$run/gateway.ports"; }

if [[ -z ${SEGMIND_API_KEY:-} ]]; then
  start_emulator
  key_flags=(--api_key_file "$run/api-key" --active_poll_interval 1s)
else
  upstream=https://api.segmind.com
  key_flags=()
fi

step 'Starting the gateway'
webhook_token
rm -f "$run/gateway.ports"
"$bin/finetune-gateway" --listen "127.0.0.1:$(port 50051)" --webhook_listen "127.0.0.1:$(port 8080)" \
  --admin_listen "127.0.0.1:$(port 9090)" --port_file "$run/gateway.ports" --upstream_url "$upstream" \
  --webhook_token_file "$run/webhook-token" --store "sqlite:$run/store.db" --drain_delay 0s \
  "${key_flags[@]}" >"$run/gateway.log" 2>&1 &
pids+=($!)
await "$run/gateway.ports" $! "$run/gateway.log"
address=127.0.0.1:$(field grpc)
webhook=http://127.0.0.1:$(field webhook)/webhooks/segmind/$(cat "$run/webhook-token")
admin=http://127.0.0.1:$(field admin)
for _ in $(seq 100); do
  curl -fsS -o "$run/readyz" "$admin/readyz" 2>/dev/null && break
  sleep 0.1
done
echo "gRPC $address, webhooks on port $(field webhook), metrics and health on $admin"
echo "${bold}The jobs, in a browser: $admin${plain}"
if [[ -z ${SEGMIND_API_KEY:-} ]]; then
  # What a person does once in Segmind's console.
  curl -fsS -o /dev/null -X POST -H 'Content-Type: application/json' -d "{\"webhook_url\": \"$webhook\"}" "$upstream/emulator/settings"
fi
show status

if [[ -n $play ]]; then
  step 'A zip of images'
  python3 deploy/sample_images.py "$run/cats.zip"
  unzip -l "$run/cats.zip"

  step 'An upload URL, and the PUT to it'
  show upload-url cats.zip --public --output json >"$run/upload.json"
  read_json() { python3 -c 'import json, sys; v = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$run/$1" "$2"; }
  headers=()
  while IFS= read -r line; do headers+=(-H "$line"); done < <(read_json upload.json '"\n".join(f"{k}: {w}" for k, w in v["requiredHeaders"].items())')
  curl -fsS -o /dev/null -T "$run/cats.zip" "${headers[@]}" "$(read_json upload.json 'v["uploadUri"]')" -w 'HTTP %{http_code}, %{size_upload} bytes sent\n'
  data=$(read_json upload.json 'v["dataSourceUri"]')
  echo "$data"

  step 'Submitting a FAST_FLUX fine-tune'
  show create --name cats --data "$data" --prompt 'a photo of TOK cat' --trigger TOK --base-model FAST_FLUX \
    --theme subject --steps 500 --label team=demo --output json >"$run/job.json"
  name=$(read_json job.json 'v["name"]')
  echo "$name"

  step 'Watching every state arrive (webhooks push; polling fills in what they do not announce)'
  show watch "$name" --every --until AVAILABLE

  step 'Listing'
  show list --filter 'labels.team = "demo"'

  step 'Making the model public'
  show update "$name" --public

  step 'Downloading the weights and checking their digest'
  show download "$name" "$run/cats.safetensors"
  mine=$(sha256sum <"$run/cats.safetensors")
  direct=$(curl -fsSL "$("$bin/finetune" --server "$address" get "$name" --output json >"$run/job.json" && read_json job.json 'v["weightsUri"]')" | sha256sum)
  [[ $mine == "$direct" ]] || die "the digest of the download is not that of the file at its storage"
  echo "sha256 ${mine%% *}: the same as at the storage"

  step 'The job as it is now'
  show get "$name"
  echo
  echo "${bold}Played the whole job: zip, upload, submit, watch, list, update, download.${plain}"
fi

[[ -n $stay ]] || exit 0
step 'Up. In a browser:'
echo "  $admin/    all jobs, live"
[[ -n ${SEGMIND_API_KEY:-} ]] || echo "  $upstream/    the emulator: set jobs and faults by clicks"
step 'From another terminal:'
cat <<TEXT
  export PATH=$bin:\$PATH FINETUNE_SERVER=$address
  finetune status
  finetune list
  finetune watch
  finetune --help
  grpcurl -plaintext $address list                          # by reflection, if you have grpcurl
  grpcurl -plaintext $address segmind.finetune.v1.FineTuneService/GetGatewayStatus
  curl $admin/metrics
Logs: $run/gateway.log${SEGMIND_API_KEY:+ }$( [[ -n ${SEGMIND_API_KEY:-} ]] || echo " and $run/emulator.log")
TEXT
[[ -z ${SEGMIND_API_KEY:-} ]] || echo "To have Segmind push changes, register a public URL that leads to port $(field webhook), path /webhooks/segmind/ and the token in $run/webhook-token."
echo 'Ctrl-C stops everything.'
wait -n "${pids[@]}" || true
die "a process ended; see its log in $run"
