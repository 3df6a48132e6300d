"""What it costs to know who calls: a cached get by token, JWT and client certificate, against the same call to an open gateway."""

import os
import pathlib

from report import median, spread
from servers import Gateway, Ours, QUIET, end_with_us, load

import credentials

TITLE = "Knowing who calls"
TOKEN = "token-of-the-bench-0123456789abcdef"
SUBJECT = "system:serviceaccount:bench:load"


class Callers:
    """A policy that knows a token, a JWT and a certificate, and the files to call with."""

    def __init__(self, folder, role="VIEWER"):
        self.role = role
        self.folder = pathlib.Path(folder)
        self.certificates = credentials.Certificates(self.folder / "certs", "bench")
        signer = credentials.Signer(self.folder, "issuer")
        credentials.write_key_set(self.folder / "jwks.json", signer)
        self.policy = self.write_policy()
        self.token, self.jwt = self.folder / "token", self.folder / "jwt"
        self.token.write_text(TOKEN)
        self.jwt.write_text(signer.sign(SUBJECT, expires_in=3600))

    def write_policy(self, *more):
        return credentials.write_policy(self.folder / "policy.json", [
            credentials.caller("by-token", self.role, TOKEN, sees_all_jobs=True),
            credentials.caller("by-jwt", self.role, jwts=[{"issuer": credentials.ISSUER, "subject": SUBJECT}], sees_all_jobs=True),
            credentials.caller("by-certificate", self.role, spiffe_ids=["spiffe://finetune.dev/bench"], sees_all_jobs=True), *more,
        ], jwt_issuers=[{"issuer": credentials.ISSUER, "audiences": [credentials.AUDIENCE], "jwks_file": "jwks.json"}])

    def tls(self, certificate=False):
        flags = ["--tls-ca", self.certificates.folder / "ca.crt"]
        if certificate:
            flags += ["--tls-cert", self.certificates.folder / "bench.crt", "--tls-key", self.certificates.folder / "bench.key"]
        return flags


def again(ours, *flags):
    """The same gateway with other flags: it knows its job from its store, and no caller need ask for it."""
    ours.gateway.close()
    ours.gateway.terminate(60)
    os.unlink(ours.gateway.log_path)
    ours.gateway = Gateway(ours.folder, ours.emulator.url, *QUIET, *flags)
    end_with_us(ours.gateway.popen)
    ours.gateway.ready()
    ours.address, ours.pid = ours.gateway.address, ours.gateway.popen.pid


def callers_of(servers):
    """Who calls: the server, and the load generator's flags."""
    files = {name: Callers(server.folder) for name, server in servers.items()}
    policy, tls, mutual = files["policy"], files["open, TLS"], files["policy, mTLS"]
    again(servers["policy"], "--policy_file", policy.policy)
    again(servers["open, TLS"], *tls.certificates.flags(mutual=False))
    again(servers["policy, mTLS"], "--policy_file", mutual.policy, *mutual.certificates.flags(mutual=True))
    return {
        "anybody": (servers["open"], []),
        "anybody, with a token that nobody asks for": (servers["open"], ["--token-file", policy.token]),
        "anybody, with a JWT that nobody asks for": (servers["open"], ["--token-file", policy.jwt]),
        "bearer token": (servers["policy"], ["--token-file", policy.token]),
        "JWT (RS256)": (servers["policy"], ["--token-file", policy.jwt]),
        "anybody, over TLS": (servers["open, TLS"], tls.tls()),
        "client certificate": (servers["policy, mTLS"], mutual.tls(certificate=True)),
    }


def measure(report, options):
    report.say("Closed loop, 64 cached gets outstanding on 4 connections; repeats interleaved; CPU is the server's. The signature of a JWT is "
               "verified once, and handshakes are made before. What TLS itself costs, and what gRPC takes to receive a token, are rows of their own.")
    report.say()
    servers = {name: Ours(100).settle() for name in ("open", "policy", "open, TLS", "policy, mTLS")}
    callers = callers_of(servers)
    seen = {caller: [] for caller in callers}
    for _ in range(3 if options.quick else 7):
        for caller, (server, flags) in callers.items():
            seen[caller].append(load("calls", "--target", server.address, "--pid", server.pid, "--call", "get", "--job", server.job,
                                     "--seconds", 1 if options.quick else 3, *flags))
    for server in servers.values():
        server.close()
    report.keep("get", seen)
    report.table(["caller", "calls/s", "CPU µs/call", "p50 ms", "p99 ms"],
                 [[caller, *(spread([run[column] for run in runs]) for column in ("calls_per_s", "cpu_us_per_call", "p50_ms", "p99_ms"))]
                  for caller, runs in seen.items()])
    # Pairs of one repeat: what the machine does meanwhile hits both.
    ratio = lambda caller, against: median([mine["cpu_us_per_call"] / other["cpu_us_per_call"]
                                            for mine, other in zip(seen[caller], seen[against])])
    for caller in ("bearer token", "JWT (RS256)"):
        report.limit(f"{caller}: CPU a call against an open gateway", ratio(caller, "anybody"), 1.1)
    for caller, ignored in (("bearer token", "token"), ("JWT (RS256)", "JWT")):
        report.say(f"- {caller}: CPU a call against an open gateway that is sent it, too: "
                   f"{ratio(caller, f'anybody, with a {ignored} that nobody asks for'):.2f}")
    report.say(f"- client certificate: CPU a call against TLS without one: {ratio('client certificate', 'anybody, over TLS'):.2f}")
    report.say()
