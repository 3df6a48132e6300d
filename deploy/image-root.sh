#!/bin/bash
# Lays out the root file system of an image: the programs (stripped), the shared libraries that they
# load, CA certificates, and the user 65532. Run in the Dockerfile's build stages.
#   image-root.sh ROOT PROGRAM[=NAME[,NAME...]]...
# A program is called as its file is, or has the names given.
# Every file gets the time SOURCE_DATE_EPOCH, so that the same input gives the same layer.
set -euo pipefail
root=$1
shift
programs=("$@")

mkdir -p "$root"/{etc/ssl/certs,usr/bin,usr/lib,usr/lib64,var/lib/finetune-gateway}
mkdir -m 1777 "$root/tmp"
ln -s usr/bin "$root/bin"
ln -s usr/lib "$root/lib"
ln -s usr/lib64 "$root/lib64"

# The loader and the libraries, under the names they are looked up by; the kernel's own have no path.
for program in "${programs[@]}"; do
  file=${program%%=*}
  name=$(basename "$file")
  [[ $program != *=* ]] || name=${program#*=}
  IFS=, read -ra names <<<"$name"
  strip --strip-all -o "$root/usr/bin/${names[0]}" "$file"
  chmod 755 "$root/usr/bin/${names[0]}"
  for other in "${names[@]:1}"; do ln -s "${names[0]}" "$root/usr/bin/$other"; done
  ldd "$file"
done | grep -oE '/[^ ]+' | sort -u | while read -r library; do
  target=$root/usr/${library#/}
  target=${target/#"$root/usr/usr/"/"$root/usr/"}
  mkdir -p "$(dirname "$target")"
  cp -L "$library" "$target"
  chmod 755 "$target"
done

cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
# In which budgets have their days and months.
mkdir -p "$root/usr/share"
cp -r /usr/share/zoneinfo "$root/usr/share/"
mkdir -p "$root/usr/lib/ssl"
ln -s /etc/ssl/certs "$root/usr/lib/ssl/certs"
echo 'finetune:x:65532:65532:finetune:/var/lib/finetune-gateway:/usr/sbin/nologin' >"$root/etc/passwd"
echo 'finetune:x:65532:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
chmod 644 "$root"/etc/{passwd,group,nsswitch.conf}
chown -R 65532:65532 "$root/var/lib/finetune-gateway"
chmod 700 "$root/var/lib/finetune-gateway"

# The licences of what was copied, and of what is linked into the programs where that is so.
for package in libgrpc-dev libprotobuf-dev libabsl-dev libre2-dev libc-ares-dev; do
  mkdir -p "$root/usr/share/doc/$package"
  cp -L "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/copyright"
done
for library in $(cd "$root" && find usr/lib usr/lib64 -type f -name '*.so*'); do
  for path in "/$library" "/${library#usr/}"; do dpkg-query -S "$path" 2>/dev/null || true; done
done | cut -d: -f1 | sort -u | while read -r package; do
  mkdir -p "$root/usr/share/doc/$package"
  cp -L "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/copyright"
done

find "$root" -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH:-0}" {} +
du -sh "$root"
