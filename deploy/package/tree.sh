#!/bin/bash
# Lays out what goes into the package of each program, in OUT/finetune and OUT/finetune-gateway. CPack makes packages of it.
#   tree.sh OUT FINETUNE FINETUNE_GATEWAY VERSION
# Every file is as old as SOURCE_DATE_EPOCH says, or the latest commit.
set -euo pipefail
out=$1 version=$4
declare -A program=([finetune]=$2 [finetune-gateway]=$3)
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
# Whose code is in the programs themselves.
linked=(libgrpc-dev libprotobuf-dev libabsl-dev libre2-dev libc-ares-dev)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 0)}

rm -rf "$out"
for package in finetune finetune-gateway; do
  to=$out/$package
  mkdir -p "$to"/usr/{bin,share/doc/"$package"}
  strip --strip-all --remove-section=.comment --remove-section=.note -o "$to/usr/bin/$package" "${program[$package]}"
  {
    echo "This is the Segmind fine-tune gateway's program $package, under this licence:"
    echo
    cat "$root/LICENSE"
    for library in "${linked[@]}"; do
      printf '\n\n==== Code of Debian'"'"'s %s is linked into the program ====\n\n' "$library"
      cat "/usr/share/doc/$library/copyright"
    done
  } >"$to/usr/share/doc/$package/copyright"
  printf '%s (%s) stable; urgency=medium\n\n  * See the history of the sources.\n\n -- The Segmind fine-tune gateway authors <finetune-gateway@segmind.com>  %s\n' \
    "$package" "$version" "$(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")" | gzip -9n >"$to/usr/share/doc/$package/changelog.gz"
done

to=$out/finetune/usr/share
mkdir -p "$to"/{man/man1,bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
"$here/manual.sh" "$2" 1 "Segmind fine-tuning through the gateway" "$version" | gzip -9n >"$to/man/man1/finetune.1.gz"
"$2" completion bash >"$to/bash-completion/completions/finetune"
"$2" completion zsh >"$to/zsh/vendor-completions/_finetune"
"$2" completion fish >"$to/fish/vendor_completions.d/finetune.fish"

to=$out/finetune-gateway
mkdir -p "$to"/usr/share/{man/man8,doc/finetune-gateway/examples} "$to"/lib/systemd/system "$to"/etc/default
mkdir "$to/etc/finetune-gateway"
# As an administrator's program it has its page in section 8.
"$here/manual.sh" "$3" 8 "one gRPC service between a company's services and Segmind's fine-tuning API" "$version" |
  gzip -9n >"$to/usr/share/man/man8/finetune-gateway.8.gz"
cp "$here/finetune-gateway.service" "$to/lib/systemd/system/"
cp "$here/finetune-gateway.default" "$to/etc/default/finetune-gateway"
cp "$root"/deploy/monitoring/{rules.yaml,dashboard.json} "$to/usr/share/doc/finetune-gateway/examples/"

chmod -R u=rwX,go=rX "$out"
find "$out" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
