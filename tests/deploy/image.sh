#!/bin/bash
# Builds both images with buildah and holds them to what they promise: small, nothing in them but what
# runs, hardened, and the gateway plays the main job as 65532 on a read-only root without capabilities.
#   tests/deploy/image.sh [--no-build]
# Needs root, buildah, binutils, curl, python3, zip, and the base image debian:12-slim (pulled if it is
# not there). Takes as long as the release build does.
set -euo pipefail
cd "$(dirname "$0")/../.."
export BUILDAH_ISOLATION=chroot
limit_mb=20
fail() { echo "image: $1" >&2; exit 1; }

if [[ ${1:-} != --no-build ]]; then
  epoch=$(git log -1 --format=%ct)
  buildah build --pull-never --layers --timestamp "$epoch" --build-arg SOURCE_DATE_EPOCH="$epoch" -q -t finetune-gateway . >/dev/null
  buildah build --pull-never --layers --timestamp "$epoch" --build-arg SOURCE_DATE_EPOCH="$epoch" -q --target emulator \
    -t segmind-emulator . >/dev/null
fi

work=$(mktemp -d)
containers=()
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  for container in "${containers[@]}"; do buildah rm "$container" >/dev/null 2>&1 || true; done
  rm -rf --one-file-system "$work"
}
trap cleanup EXIT

# ---- What is in them ----
for image in finetune-gateway segmind-emulator; do
  config=$(buildah inspect --type image "$image" | python3 -c '
import json, sys
c = json.load(sys.stdin)["OCIv1"]["config"]
print(c["User"], " ".join(c["Entrypoint"]), c.get("Cmd"), c.get("StopSignal"), "org.opencontainers.image.version" in c["Labels"])')
  [[ $config == "65532:65532 /usr/bin/$image None SIGTERM True" ]] || fail "$image is configured as: $config"

  buildah push -q --format oci "$image" "oci:$work/$image" >/dev/null
  bytes=$(find "$work/$image/blobs" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }')
  echo "$image: $((bytes / 1000)) kB compressed"
  [[ $bytes -lt $((limit_mb * 1000 * 1000)) ]] || fail "$image is larger than $limit_mb MB"

  container=$(buildah from --pull-never "$image")
  containers+=("$container")
  root=$(buildah mount "$container")
  for unwanted in bash sh dash busybox apt dpkg clang gcc ld perl python3 openssl; do
    found=$(find "$root" -type f -name "$unwanted" -print -quit)
    [[ -z $found ]] || fail "$image has $unwanted"
  done
  [[ -z $(find "$root" -xdev -type f -perm /6000 -print -quit) ]] || fail "$image has a set-user-ID file"
  [[ -s $root/etc/ssl/certs/ca-certificates.crt ]] || fail "$image has no CA certificates"
  twice=$(find "$root" -name 'libgrpc*.so*' -o -name 'libprotobuf*.so*' -o -name 'libabsl*.so*')
  [[ -z $twice ]] || fail "$image has shared libraries of what is linked into its program: $twice"

  for program in "$root"/usr/bin/*; do
    name=$(basename "$program")
    # All at once: readelf into grep -q would be a broken pipe.
    dynamic=$(readelf -dlW "$program")
    symbols=$(readelf --dyn-syms -W "$program")
    readelf -hW "$program" | grep -q 'Type: *DYN' || fail "$name is not position-independent"
    [[ $dynamic == *GNU_RELRO* && $dynamic == *NOW* ]] || fail "$name has no full RELRO"
    [[ $(grep GNU_STACK <<<"$dynamic") != *RWE* ]] || fail "$name has an executable stack"
    [[ $symbols == *__stack_chk_fail* ]] || fail "$name has no stack protector"
    # FORTIFY shows only where the compiler knows a buffer's size: nothing to look for.
    [[ $(readelf -SW "$program") != *.debug_info* ]] || fail "$name is not stripped"
  done
  printf -v "root_${image##*-}" %s "$root"
done
[[ $(cd "${root_gateway:?}/usr/bin" && echo *) == 'finetune finetune-gateway' ]] || fail "more programs than two"
[[ $(readlink "$root_gateway/usr/bin/finetune") == finetune-gateway ]] || fail "gRPC is there twice, in two programs"

# ---- The gateway in it plays the main job ----
# confined ROOT PROGRAM ARGUMENTS...: as a restricted pod would run it, but for the network: on a
# read-only root, as 65532, without capabilities, with only its state and /tmp to write to.
mkdir "$work"/{state,tmp,secrets}
for secret in webhook-token api-key; do head -c 32 /dev/urandom | base64 | tr -d '/+=\n' >"$work/secrets/$secret"; done
chown -R 65532:65532 "$work"/{state,tmp,secrets}
chmod 755 "$work"
confined() {
  local root=$1
  shift
  # What a container runtime makes for its mounts.
  mkdir -p "$root"/{proc,secrets,var/lib/finetune-gateway}
  # shellcheck disable=SC2016 # The inner shell expands them.
  exec unshare --mount bash -c '
    set -e
    work=$1 root=$2
    shift 2
    mount --bind "$root" "$root"
    mount -o remount,ro,bind "$root"
    mount -t proc proc "$root/proc"
    mount --bind "$work/secrets" "$root/secrets"
    mount --bind "$work/state" "$root/var/lib/finetune-gateway"
    mount --bind "$work/tmp" "$root/tmp"
    exec env -i HOME=/tmp PATH=/usr/sbin:/usr/bin setpriv --no-new-privs chroot --userspec=65532:65532 --groups= "$root" "$@"' _ "$work" "$root" "$@"
}
await() {
  for _ in $(seq 600); do
    [[ -s $1 ]] && return
    kill -0 "$2" 2>/dev/null || break
    sleep 0.05
  done
  cat "$3" >&2
  fail "$1 did not come"
}
json() { python3 -c 'import json, sys; v = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"; }

(confined "${root_emulator:?}" /usr/bin/segmind-emulator --listen 127.0.0.1:0 --port_file /tmp/emulator.port \
  --api_key "$(cat "$work/secrets/api-key")" --time_scale 600) >"$work/emulator.log" 2>&1 &
pids+=($!)
await "$work/tmp/emulator.port" $! "$work/emulator.log"
upstream=http://127.0.0.1:$(cat "$work/tmp/emulator.port")

began=$(date +%s%N)
(confined "$root_gateway" /usr/bin/finetune-gateway --listen 127.0.0.1:0 --webhook_listen 127.0.0.1:0 --admin_listen 127.0.0.1:0 \
  --port_file /tmp/gateway.ports --upstream_url "$upstream" --api_key_file /secrets/api-key \
  --webhook_token_file /secrets/webhook-token --store sqlite:/var/lib/finetune-gateway/gateway.db --active_poll_interval 1s \
  --drain_delay 0s) >"$work/gateway.log" 2>&1 &
gateway=$!
pids+=("$gateway")
await "$work/tmp/gateway.ports" "$gateway" "$work/gateway.log"
port() { json "$work/tmp/gateway.ports" "v['$1']"; }
admin=http://127.0.0.1:$(port admin)
until curl -fsS -o /dev/null "$admin/readyz" 2>/dev/null; do
  kill -0 "$gateway" 2>/dev/null || { cat "$work/gateway.log" >&2; fail "the gateway ended"; }
  sleep 0.005
done
echo "finetune-gateway: ready after $((($(date +%s%N) - began) / 1000000)) ms"

process=$(pgrep -P "$gateway" -x finetune-gatewa || echo "$gateway")
status=$(cat "/proc/$process/status")
[[ $(awk '/^Uid:/ { print $2 }' <<<"$status") == 65532 ]] || fail "does not run as 65532"
[[ $(awk '/^CapEff:/ { print $2 }' <<<"$status") == 0000000000000000 ]] || fail "runs with capabilities"
curl -fsS -o /dev/null -X POST -H 'Content-Type: application/json' "$upstream/emulator/settings" \
  -d "{\"webhook_url\": \"http://127.0.0.1:$(port webhook)/webhooks/segmind/$(cat "$work/secrets/webhook-token")\"}"
finetune() { (confined "$root_gateway" /usr/bin/finetune --server "127.0.0.1:$(port grpc)" "$@"); }
python3 deploy/sample_images.py "$work/cats.zip"
finetune upload-url cats.zip --public --output json >"$work/upload.json"
headers=()
while IFS= read -r line; do headers+=(-H "$line"); done < <(json "$work/upload.json" '"\n".join(f"{k}: {w}" for k, w in v["requiredHeaders"].items())')
curl -fsS -o /dev/null -T "$work/cats.zip" "${headers[@]}" "$(json "$work/upload.json" 'v["uploadUri"]')"
finetune create --name cats --data "$(json "$work/upload.json" 'v["dataSourceUri"]')" --prompt 'a photo of TOK cat' --trigger TOK \
  --base-model FAST_FLUX --theme subject --output json >"$work/job.json"
finetune wait "$(json "$work/job.json" 'v["name"]')" --timeout 60s --output json >"$work/done.json" || { cat "$work/gateway.log" >&2; fail "the job did not end well"; }
grep -q AVAILABLE "$work/done.json" || fail "the job did not become AVAILABLE"

finetune download "$(json "$work/job.json" 'v["name"]')" /tmp/cats.safetensors >/dev/null
[[ -s $work/tmp/cats.safetensors ]] || fail "the weights did not come"

curl -fsS "$admin/metrics" >"$work/metrics"
if command -v promtool >/dev/null; then promtool check metrics <"$work/metrics" || fail "promtool does not like the metrics"; fi
kill -TERM "$process"
code=0
wait "$gateway" || code=$?
[[ $code -eq 0 ]] || fail "SIGTERM ends the gateway with $code"
echo "image: passed"
