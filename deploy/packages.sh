#!/bin/bash
# Installs the Debian packages that a purpose needs and that are missing.
#   packages.sh build|local|fleet|test|bench|lint|browser
# Purposes add up: bench includes test, test and fleet include local, local includes build; lint and browser stand alone. Needs root
# (or sudo) only when something is missing.
set -euo pipefail

build=(ca-certificates ccache clang cmake libabsl-dev libcli11-dev libcurl4-openssl-dev libgrpc++-dev
  libprotobuf-dev libre2-dev libc-ares-dev libpq-dev libsqlite3-dev libssl-dev libxxhash-dev lld make ninja-build pkg-config
  prometheus-cpp-dev protobuf-compiler protobuf-compiler-grpc rapidjson-dev tzdata zlib1g-dev)
emulator=(libmicrohttpd-dev libzip-dev libgtest-dev libgmock-dev libbenchmark-dev curl python3 zip unzip)
test=(dpkg-dev file git iproute2 libclang-rt-14-dev pgbouncer python3-grpcio openssl postgresql python3-protobuf python3-yaml sqlite3 strace)
# Where systemd runs, these also start as services; the measurements start their own.
bench=(etcd-server nats-server nginx-light)
lint=(clang-format clang-tidy git shellcheck)
# For the tests of the pages. Large, so that only who asks for it gets it.
browser=(chromium fonts-dejavu-core)

case ${1:-} in
  build) wanted=("${build[@]}") ;;
  local) wanted=("${build[@]}" "${emulator[@]}") ;;
  fleet) wanted=("${build[@]}" "${emulator[@]}" postgresql) ;;
  test) wanted=("${build[@]}" "${emulator[@]}" "${test[@]}") ;;
  bench) wanted=("${build[@]}" "${emulator[@]}" "${test[@]}" "${bench[@]}") ;;
  lint) wanted=("${lint[@]}") ;;
  browser) wanted=("${browser[@]}") ;;
  *) sed -n '2,5p' "$0" >&2; exit 2 ;;
esac
# Node.js may come from elsewhere, with its own npm.
if [[ $1 == test || $1 == bench || $1 == lint ]] && ! command -v npm >/dev/null; then wanted+=(nodejs npm); fi

missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

run=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null || { echo "packages.sh: needs root to install: ${missing[*]}" >&2; exit 1; }
  run=(sudo)
fi
echo "Installing ${#missing[@]} Debian packages: ${missing[*]}"
"${run[@]}" apt-get update -qq
"${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
