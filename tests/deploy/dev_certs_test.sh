#!/bin/bash
# deploy/dev-certs.sh makes certificates that openssl accepts for what they are for and nothing else.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "dev_certs_test: $1" >&2; exit 1; }
check() { openssl verify -CAfile "$work/ca.crt" -purpose "$1" "$work/$2" >/dev/null 2>&1; }

"$root/deploy/dev-certs.sh" "$work" search billing >/dev/null
check sslserver tls.crt || fail "the gateway's certificate does not serve"
check sslclient search.crt || fail "a caller's certificate does not call"
check sslclient billing.crt || fail "the second caller's certificate does not call"
! check sslserver search.crt || fail "a caller's certificate could pose as the gateway"
! check sslclient tls.crt || fail "the gateway's certificate could pose as a caller"
openssl x509 -in "$work/search.crt" -noout -ext subjectAltName | grep -q 'URI:spiffe://finetune.dev/search' ||
  fail "a caller's certificate has no SPIFFE URI"
openssl verify -CAfile "$work/ca.crt" -verify_hostname localhost "$work/tls.crt" >/dev/null || fail "not good for localhost"
openssl verify -CAfile "$work/ca.crt" -verify_ip 127.0.0.1 "$work/tls.crt" >/dev/null || fail "not good for 127.0.0.1"
for key in "$work"/*.key; do head -1 "$key" | grep -qx -e "-----BEGIN PRIVATE KEY-----" || fail "$key is not PKCS#8"; done
[[ -z $(find "$work" -type f -perm /077) ]] || fail "others may read the keys"

before=$(sha256sum "$work"/{ca,tls,search}.crt)
"$root/deploy/dev-certs.sh" "$work" late >/dev/null
[[ $before == "$(sha256sum "$work"/{ca,tls,search}.crt)" ]] || fail "adding a caller changed what was there"
check sslclient late.crt || fail "a caller added later is not accepted"
"$root/deploy/dev-certs.sh" --force "$work" search >/dev/null
[[ $before != "$(sha256sum "$work"/{ca,tls,search}.crt)" ]] || fail "--force keeps the old ones"
check sslserver tls.crt || fail "after --force the gateway's certificate does not serve"
! "$root/deploy/dev-certs.sh" "$work" '../evil' 2>/dev/null || fail "takes a name that leaves the directory"
