#!/bin/bash
# Makes certificates for trying out mutual TLS: a CA, the gateway's, and one for each caller named.
#   deploy/dev-certs.sh [--force] [DIRECTORY [CALLER...]]      default: .run/certs and the caller "dev"
# Writes ca.crt, tls.crt and tls.key (the gateway's), and CALLER.crt, CALLER.key. What is there is kept,
# so a later run adds callers; --force makes everything anew. A caller is known by its SPIFFE URI,
# spiffe://finetune.dev/CALLER, and by its DNS name, CALLER.
# FINETUNE_DEV_HOSTS names more hosts (DNS or IP, separated by spaces) for the gateway's certificate.
# For development only: the CA's key lies beside the rest, and all end after 30 days.
set -euo pipefail
umask 077

force=
case ${1:-} in
  --help | -h) sed -n '2,8p' "$0"; exit 0 ;;
  --force) force=1; shift ;;
  -*) echo "dev-certs.sh: unknown option $1" >&2; exit 2 ;;
esac
command -v openssl >/dev/null || { echo "dev-certs.sh: needs openssl" >&2; exit 1; }
directory=${1:-$(dirname "$0")/../.run/certs}
[[ $# -eq 0 ]] || shift
callers=("$@")
[[ ${#callers[@]} -gt 0 ]] || callers=(dev)
for caller in "${callers[@]}"; do
  [[ $caller =~ ^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$ && $caller != ca && $caller != tls ]] ||
    { echo "dev-certs.sh: a caller's name is lower-case letters, digits and dashes, not: $caller" >&2; exit 2; }
done
mkdir -p "$directory"
cd "$directory"
days=30
[[ -z $force ]] || rm -f ./*.crt ./*.key

# PKCS#8, which every library reads.
new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

# issue NAME USAGE ALTERNATIVE-NAMES: NAME.key and NAME.crt, signed by the CA. The certificate comes
# last and at once, so that a gateway that rereads its files never meets half a pair for long.
issue() {
  local name=$1 usage=$2 alternative_names=$3
  [[ ! -s $name.crt || ! -s $name.key ]] || return 0
  new_key "$name.key.new"
  openssl req -new -key "$name.key.new" -subj "/O=finetune dev/CN=$name" |
    openssl x509 -req -CA ca.crt -CAkey ca.key -days "$days" -set_serial "0x$(openssl rand -hex 16)" \
      -out "$name.crt.new" -extfile <(
        echo "basicConstraints=critical,CA:FALSE"
        echo "keyUsage=critical,digitalSignature"
        echo "extendedKeyUsage=$usage"
        echo "subjectKeyIdentifier=hash"
        echo "authorityKeyIdentifier=keyid"
        echo "subjectAltName=$alternative_names"
      ) 2>/dev/null
  mv "$name.key.new" "$name.key"
  mv "$name.crt.new" "$name.crt"
}

if [[ ! -s ca.crt || ! -s ca.key ]]; then
  rm -f ./*.crt
  new_key ca.key
  openssl req -new -x509 -key ca.key -days "$days" -subj "/O=finetune dev/CN=finetune dev CA" \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign" -out ca.crt
fi

names="DNS:localhost,IP:127.0.0.1,IP:::1"
for service in finetune-gateway finetune-gateway-headless; do
  names+=",DNS:$service,DNS:$service.finetune-gateway,DNS:$service.finetune-gateway.svc"
  names+=",DNS:$service.finetune-gateway.svc.cluster.local"
done
for host in ${FINETUNE_DEV_HOSTS:-}; do
  if [[ $host =~ ^[0-9.]+$ || $host == *:* ]]; then names+=",IP:$host"; else names+=",DNS:$host"; fi
done
issue tls serverAuth "$names"
for caller in "${callers[@]}"; do
  issue "$caller" clientAuth "URI:spiffe://finetune.dev/$caller,DNS:$caller"
done

echo "Certificates for ${days} days in $PWD:"
echo "  gateway   --tls_cert_file=$PWD/tls.crt --tls_key_file=$PWD/tls.key --tls_client_ca_file=$PWD/ca.crt"
for caller in "${callers[@]}"; do
  echo "  $caller   --tls-ca $PWD/ca.crt --tls-cert $PWD/$caller.crt --tls-key $PWD/$caller.key"
done
