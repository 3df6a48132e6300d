"""What it costs to know who calls: a cached get by token, JWT and client certificate, against the same call to an open gateway."""

import pathlib

import credentials
from harness import Gateway
from report import median, spread
from servers import Ours, QUIET, load

TITLE = "Knowing who calls"
TOKEN = "token-of-the-bench-0123456789abcdef"
SUBJECT = "system:serviceaccount:bench:load"
# What --quick can tell from noise.
LIMIT, QUICK_LIMIT = 1.1, 1.3


class World:
    """Certificates, tokens and a policy that knows them, in the folder of a gateway."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.certificates = credentials.Certificates(self.folder / "certs", "bench")
        signer = credentials.Signer(self.folder, "issuer")
        credentials.write_key_set(self.folder / "jwks.json", signer)
        self.policy = credentials.write_policy(self.folder / "policy.json", [
            credentials.caller("by-token", "VIEWER", TOKEN, sees_all_jobs=True),
            credentials.caller("by-jwt", "VIEWER", jwts=[{"issuer": credentials.ISSUER, "subject": SUBJECT}], sees_all_jobs=True),
            credentials.caller("by-certificate", "VIEWER", spiffe_ids=["spiffe://finetune.dev/bench"], sees_all_jobs=True),
        ], jwt_issuers=[{"issuer": credentials.ISSUER, "audiences": [credentials.AUDIENCE], "jwks_file": "jwks.json"}])
        self.token = self.write("token", TOKEN)
        self.jwt = self.write("jwt", signer.sign(SUBJECT, expires_in=3600))

    def write(self, name, text):
        (self.folder / name).write_text(text)
        return self.folder / name

    def client(self, certificate):
        files = ["--tls-ca", self.certificates.folder / "ca.crt"]
        if certificate:
            files += ["--tls-cert", self.certificates.folder / "bench.crt", "--tls-key", self.certificates.folder / "bench.key"]
        return files


def again(ours, *flags):
    """The same gateway with other flags: its job is known, and nobody need ask for it."""
    ours.gateway.close()
    ours.gateway.terminate(60)
    ours.gateway = Gateway(ours.folder, ours.emulator.url, *QUIET, *flags).ready()
    ours.address, ours.pid = ours.gateway.address, ours.gateway.popen.pid
    return ours


def measure(report, options):
    report.say("Closed loop, 64 cached gets outstanding on 4 connections; repeats interleaved; CPU is the server's. The signature of a JWT is "
               "verified once, and handshakes are made before. What TLS itself costs is a row of its own: who calls by certificate is compared with it.")
    report.say()
    servers = {name: Ours(100) for name in ("open", "policy", "open, TLS", "policy, mTLS")}
    worlds = {name: World(server.folder) for name, server in servers.items()}
    again(servers["policy"], "--policy_file", worlds["policy"].policy)
    again(servers["open, TLS"], *worlds["open, TLS"].certificates.flags(mutual=False))
    again(servers["policy, mTLS"], "--policy_file", worlds["policy, mTLS"].policy, *worlds["policy, mTLS"].certificates.flags(mutual=True))
    callers = {
        "anybody": ("open", []),
        "bearer token": ("policy", ["--token-file", worlds["policy"].token]),
        "JWT (RS256)": ("policy", ["--token-file", worlds["policy"].jwt]),
        "anybody, over TLS": ("open, TLS", worlds["open, TLS"].client(certificate=False)),
        "client certificate": ("policy, mTLS", worlds["policy, mTLS"].client(certificate=True)),
    }
    seen = {caller: [] for caller in callers}
    for _ in range(3 if options.quick else 7):
        for caller, (name, flags) in callers.items():
            server = servers[name]
            seen[caller].append(load("calls", "--target", server.address, "--pid", server.pid, "--call", "get", "--job", server.job,
                                     "--seconds", 1 if options.quick else 3, *flags))
    for server in servers.values():
        server.close()
    report.keep("get", seen)
    report.table(["caller", "calls/s", "CPU µs/call", "p50 ms", "p99 ms"],
                 [[caller, *(spread([run[column] for run in runs]) for column in ("calls_per_s", "cpu_us_per_call", "p50_ms", "p99_ms"))]
                  for caller, runs in seen.items()])
    # Pairs of one repeat: what the machine does meanwhile hits both.
    for caller, against in (("bearer token", "anybody"), ("JWT (RS256)", "anybody"), ("client certificate", "anybody, over TLS")):
        ratios = [mine["cpu_us_per_call"] / other["cpu_us_per_call"] for mine, other in zip(seen[caller], seen[against])]
        report.limit(f"{caller}: CPU a call against {against}", median(ratios), QUICK_LIMIT if options.quick else LIMIT)
    report.say()
