# shellcheck shell=bash disable=SC2034,SC2154
# What local.sh and local-fleet.sh share: `bin` and `run` are folders, `pids` what is to be stopped at the end.
bold='' plain=''
if [[ -t 1 ]]; then bold=$'\e[1m' plain=$'\e[0m'; fi
step() { printf '\n%s── %s%s\n' "$bold" "$1" "$plain"; }
die() { echo "local.sh: $1" >&2; exit 1; }
# A command as one would type it.
typed() {
  local word
  for word in "$@"; do
    if [[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]]; then printf ' %s' "$word"; else printf ' %s' "${word@Q}"; fi
  done
}
show() { printf '%s$ finetune%s%s\n' "$bold" "$(typed "$@")" "$plain" >&2; "$bin/finetune" --server "$address" "$@"; }
# Makes `run` this process's own until it ends, and empty but for certificates: claim_run [KEEP].
claim_run() {
  mkdir -p "$run"
  exec {lock}>>"$run/lock"
  flock -n "$lock" || die "it already runs in this clone (process $(cat "$run/lock")): stop it there with Ctrl-C, or use another clone"
  echo $$ >"$run/lock"
  [[ -n ${1:-} ]] || find "$run" -mindepth 1 -maxdepth 1 ! -name lock ! -name certs -exec rm -rf {} +
}

# shellcheck disable=SC2317 # The trap calls it.
stop() {
  # The last one first: a gateway drains its streams before its database goes.
  for ((i = ${#pids[@]} - 1; i >= 0; --i)); do
    kill "${pids[i]}" 2>/dev/null || true
    wait "${pids[i]}" 2>/dev/null || true
  done
}
trap stop EXIT
trap 'exit 130' INT TERM

# The usual port where it is free, else any; for a test, any.
port() { if [[ -n ${FINETUNE_RUN:-} ]] || (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then echo 0; else echo "$1"; fi; }
# Waits until a process has written a file; shows its log if it ends instead.
await() {
  for _ in $(seq 300); do
    [[ ! -s $1 ]] || return 0
    kill -0 "$2" 2>/dev/null || { cat "$3" >&2; die "a process ended at its start; its output is above"; }
    sleep 0.1
  done
  die "waited in vain for $1"
}

# Sets `upstream`.
start_emulator() {
  step 'Starting the Segmind emulator'
  (umask 077; head -c 24 /dev/urandom | base64 | tr -d '/+=' >"$run/api-key")
  rm -f "$run/emulator.port"
  "$bin/segmind-emulator" --listen "127.0.0.1:$(port 8090)" --port_file "$run/emulator.port" \
    --api_key "$(cat "$run/api-key")" --time_scale "$time_scale" >"$run/emulator.log" 2>&1 &
  pids+=($!)
  await "$run/emulator.port" $! "$run/emulator.log"
  upstream=http://127.0.0.1:$(cat "$run/emulator.port")
  echo "$upstream, $time_scale times faster than Segmind"
}

webhook_token() {
  [[ -s $run/webhook-token ]] || (umask 077; head -c 32 /dev/urandom | base64 | tr -d '/+=' >"$run/webhook-token")
}
