#!/bin/bash
# Installs packages on a bare Debian, looks whether they work there, and removes them.
#   install_packages.sh FINETUNE.deb FINETUNE_GATEWAY.deb
# Needs root and debootstrap. The bare Debian is kept in .build/tools for the next time.
set -euo pipefail
tools=$(cd "$(dirname "$0")/../.." && pwd)/.build/tools
suite=$(sed -n "s/^VERSION_CODENAME=//p" /etc/os-release)
mkdir -p "$tools"
fail() { echo "install_packages: $1" >&2; exit 1; }

if [[ ! -s $tools/$suite.tar ]]; then
  mirror=$(sed -nE 's/^(URIs:|deb) *(\[[^]]*\] *)?(http[^ ]+\/debian)\/? *.*/\3/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -1 || true)
  bare=$(mktemp -d "$tools/bare.XXXXXX")
  debootstrap --variant=minbase "$suite" "$bare" "$mirror" >/dev/null
  tar -C "$bare" -cf "$tools/$suite.tar.new" . && mv "$tools/$suite.tar.new" "$tools/$suite.tar"
  rm -rf --one-file-system "$bare"
fi

root=$(mktemp -d)
clean() {
  umount -l "$root/proc" 2>/dev/null || true
  rm -rf --one-file-system "$root"
}
trap clean EXIT
tar -C "$root" -xf "$tools/$suite.tar"
chmod 755 "$root"
mount -t proc proc "$root/proc"
# How this machine reaches its mirror.
cp -L /etc/resolv.conf "$root/etc/" 2>/dev/null || true
for file in /etc/hosts /etc/apt/apt.conf.d/*prox*; do [[ ! -f $file ]] || cp "$file" "$root$file"; done
cp "$@" "$root/tmp/"
in_root() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; }

in_root apt-get update -qq
in_root sh -c 'apt-get install -y -qq --no-install-recommends /tmp/*.deb' >"$root/tmp/log" 2>&1 || { cat "$root/tmp/log"; fail "they do not install"; }

in_root finetune --version | grep -q '^finetune ' || fail "finetune does not run"
[[ $(in_root finetune get x --server 127.0.0.1:1 --timeout 5s 2>&1 || true) == *'cannot reach the gateway'* ]] || fail "finetune does not call"
[[ -f $root/usr/share/bash-completion/completions/finetune ]] || fail "there are no completions"
in_root getent passwd finetune-gateway >/dev/null || fail "there is no user"
[[ $(in_root stat -c '%U:%G %a' /etc/finetune-gateway) == 'root:finetune-gateway 750' ]] || fail "others may read the secrets"
# As the unit runs it: first without a key, and then with one.
check() {
  in_root setpriv --reuid finetune-gateway --regid finetune-gateway --clear-groups env FINETUNE_GATEWAY_STORE=sqlite:/var/tmp/gateway.db \
    FINETUNE_GATEWAY_API_KEY_FILE=/etc/finetune-gateway/api-key finetune-gateway --check
}
! check >/dev/null 2>&1 || fail "--check finds a key where there is none"
in_root sh -c 'umask 027; echo key >/etc/finetune-gateway/api-key; chgrp finetune-gateway /etc/finetune-gateway/api-key'
check || fail "--check complains"

in_root sh -c 'apt-get purge -y -qq finetune finetune-gateway' >"$root/tmp/log" 2>&1 || { cat "$root/tmp/log"; fail "they cannot be purged"; }
[[ ! -e $root/usr/bin/finetune && ! -e $root/etc/default/finetune-gateway ]] || fail "a purge leaves files"
[[ -s $root/etc/finetune-gateway/api-key ]] || fail "a purge takes the administrator's secrets"
echo "install_packages: passed"
