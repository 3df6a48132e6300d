#!/bin/bash
# Prints a manual page made from what a program says of itself.
#   manual.sh PROGRAM SECTION DESCRIPTION VERSION      on a path that ends in the program's name
set -euo pipefail
program=$1 section=$2 description=$3 version=$4
name=$(basename "$program")
date=$(date --utc --date="@${SOURCE_DATE_EPOCH:-0}" +%F)

# Text as it is: no line of it is a request, and a - is the character that shells know.
verbatim() { sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e "s/^\([.']\)/\\\\\&\1/"; }
# Unfilled, for what is laid out by hand.
laid_out() { printf '.nf\n'; verbatim; printf '.fi\n'; }

printf '.TH %s %s %s "%s %s"\n.SH NAME\n' "${name^^}" "$section" "$date" "$name" "$version"
printf '%s \\- %s\n.SH SYNOPSIS\n' "$(verbatim <<<"$name")" "$(verbatim <<<"$description")"
if [[ $name == finetune ]]; then
  printf '.B %s\n[OPTIONS] COMMAND ...\n' "$name"
  help=$("$program" --help)
  printf '.SH DESCRIPTION\n'
  head -1 <<<"$help" | verbatim
  printf '.SH OPTIONS AND COMMANDS\n'
  tail -n +3 <<<"$help" | laid_out
  printf '.SH COMMANDS\n'
  awk '/^Subcommands:/ { on = 1; next } on && NF == 0 { exit } on && /^  [a-z]/ { print $1 }' <<<"$help" | while read -r command; do
    [[ $command != help ]] || continue
    printf '.SS %s %s\n' "$name" "$(verbatim <<<"$command")"
    "$program" help "$command" | laid_out
  done
else
  printf '.B %s\n[\\-\\-FLAG=VALUE ...]\n' "$(verbatim <<<"$name")"
  help=$("$program" --help)
  printf '.SH DESCRIPTION\n'
  sed '/^  --/,$d' <<<"$help" | verbatim
  printf '.SH FLAGS\n'
  sed -n '/^  --/,$p' <<<"$help" | sed 's/^      //' | verbatim |
    sed -E 's/^  (\\-\\-[^ ]+) \((.*)\)$/.TP\n.B \1\nDefault: \2/' | sed '/^Default: $/d; /^$/d'
fi
printf '.SH SEE ALSO\nThe project'"'"'s README.md, client/README.md and deploy/README.md.\n'
