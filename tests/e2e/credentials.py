"""Certificates, tokens and policies for the tests of access, good and bad, made with openssl."""

import base64
import hashlib
import hmac
import json
import pathlib
import subprocess
import time

from harness import SOURCE, grpc

ISSUER = "https://issuer.test"
AUDIENCE = "finetune-gateway"


def openssl(*args, data=None):
    return subprocess.run(["openssl", *map(str, args)], input=data, check=True, capture_output=True).stdout


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sha256(token):
    return hashlib.sha256(token.encode()).hexdigest()


class Signer:
    """A JWT issuer's key pair."""

    def __init__(self, folder, name, algorithm="RS256"):
        self.algorithm, self.name, self.key = algorithm, name, pathlib.Path(folder) / f"{name}.pem"
        kind = ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"] if algorithm == "RS256" else ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        openssl("genpkey", "-algorithm", *kind, "-out", self.key)
        self.public_pem = openssl("pkey", "-in", self.key, "-pubout")

    def jwk(self):
        if self.algorithm == "RS256":
            modulus = openssl("rsa", "-pubin", "-noout", "-modulus", data=self.public_pem).decode().strip().split("=")[1]
            return {"kty": "RSA", "kid": self.name, "use": "sig", "n": base64url(bytes.fromhex(modulus)), "e": "AQAB"}
        point = openssl("pkey", "-pubin", "-outform", "DER", data=self.public_pem)[-64:]
        return {"kty": "EC", "crv": "P-256", "kid": self.name, "x": base64url(point[:32]), "y": base64url(point[32:])}

    def sign(self, subject, audience=AUDIENCE, expires_in=600, algorithm=None, issuer=ISSUER, header=None, claims=None):
        """A token; `header` and `claims` are laid over what it says otherwise."""
        algorithm = algorithm or self.algorithm
        header = {"alg": algorithm, "kid": self.name, "typ": "JWT", **(header or {})}
        claims = {"iss": issuer, "aud": [audience], "sub": subject, "exp": int(time.time()) + expires_in, **(claims or {})}
        text = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        return f"{text}.{base64url(self._signature(text.encode(), algorithm))}"

    def _signature(self, text, algorithm):
        if algorithm == "none":
            return b""
        if algorithm == "HS256":
            return hmac.new(self.public_pem, text, hashlib.sha256).digest()
        der = openssl("dgst", "-sha256", "-sign", self.key, data=text)
        return der if self.algorithm == "RS256" else self._raw(der)

    @staticmethod
    def _raw(der):
        """r and s side by side, of the DER sequence of both."""
        at, numbers = 2, []
        for _ in range(2):
            size = der[at + 1]
            numbers.append(int.from_bytes(der[at + 2:at + 2 + size], "big").to_bytes(32, "big"))
            at += 2 + size
        return b"".join(numbers)


def write_key_set(path, *signers):
    pathlib.Path(path).write_text(json.dumps({"keys": [signer.jwk() for signer in signers]}))


class Certificates:
    """deploy/dev-certs.sh's, and beside them client certificates that must not do."""

    def __init__(self, folder, *callers):
        self.folder = pathlib.Path(folder)
        subprocess.run([SOURCE / "deploy/dev-certs.sh", self.folder, *callers], check=True, capture_output=True)

    def flags(self, mutual):
        flags = ["--tls_cert_file", self.folder / "tls.crt", "--tls_key_file", self.folder / "tls.key"]
        return flags + (["--tls_client_ca_file", self.folder / "ca.crt"] if mutual else [])

    def channel_credentials(self, client=None):
        read = lambda name: (self.folder / name).read_bytes()
        if client is None:
            return grpc.ssl_channel_credentials(read("ca.crt"))
        return grpc.ssl_channel_credentials(read("ca.crt"), read(f"{client}.key"), read(f"{client}.crt"))

    def make(self, name, *alternative_names, subject=None):
        """A client certificate of the CA with these names: `DNS:a`, `URI:spiffe://x/a`."""
        names = self.folder / f"{name}.cnf"
        names.write_text("extendedKeyUsage=clientAuth\n" + (f"subjectAltName={','.join(alternative_names)}\n" if alternative_names else ""))
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", self.folder / f"{name}.key")
        request = openssl("req", "-new", "-key", self.folder / f"{name}.key", "-subj", f"/CN={subject or name}")
        (self.folder / f"{name}.crt").write_bytes(openssl(
            "x509", "-req", "-CA", self.folder / "ca.crt", "-CAkey", self.folder / "ca.key", "-extfile", names, "-set_serial", "8",
            "-days", "1", data=request))

    def make_bad_ones(self, name):
        """expired, self-signed and wrong-ca: certificates that claim to be `name`."""
        names = self.folder / "names.cnf"
        names.write_text(f"subjectAltName=URI:spiffe://finetune.dev/{name},DNS:{name}\nextendedKeyUsage=clientAuth\n")
        for bad in ("expired", "self-signed", "wrong-ca"):
            openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", self.folder / f"{bad}.key")
        key = lambda bad: self.folder / f"{bad}.key"
        other = self.folder / "other"
        subprocess.run([SOURCE / "deploy/dev-certs.sh", other, name], check=True, capture_output=True)
        for bad, ca in (("expired", self.folder), ("wrong-ca", other)):
            request = openssl("req", "-new", "-key", key(bad), "-subj", f"/CN={name}")
            period = ["-days", "-1"] if bad == "expired" else ["-days", "1"]
            certificate = openssl("x509", "-req", "-CA", ca / "ca.crt", "-CAkey", ca / "ca.key", "-extfile", names,
                                  "-set_serial", "7", *period, data=request)
            (self.folder / f"{bad}.crt").write_bytes(certificate)
        openssl("req", "-new", "-x509", "-key", key("self-signed"), "-subj", f"/CN={name}", "-days", "1",
                "-addext", f"subjectAltName=URI:spiffe://finetune.dev/{name}", "-out", self.folder / "self-signed.crt")


def caller(name, role, *tokens, **more):
    entry = {"name": name, "role": role, **more}
    if tokens:
        entry["bearer_token_sha256"] = [sha256(token) for token in tokens]
    return entry


def write_policy(path, callers, **more):
    """Whole or not at all, as an operator should."""
    path = pathlib.Path(path)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps({"callers": callers, **more}))
    draft.rename(path)
    return path


def search_and_operators(folder, token):
    """Certificates of the caller "search", and a policy that knows it and, by the token, "operators"."""
    return Certificates(folder, "search"), write_policy(folder / "policy.json", [
        caller("search", "SUBMITTER", spiffe_ids=["spiffe://finetune.dev/search"]),
        caller("operators", "ADMIN", token, sees_all_jobs=True)])
