"""Every error path runs with canaries for secrets, and none of them is found afterwards where anybody could read it."""

import base64
import concurrent.futures
import contextlib
import hashlib
import itertools
import json
import os
import pathlib
import resource
import signal
import subprocess
import unittest
import urllib.error
import urllib.parse
import urllib.request
import uuid

import canaries
import credentials
from collector import Collector
from harness import BIN, EndToEnd, dataset, ft, grpc, job, rpc, svc, wait_until
from issuer import Issuer

SUBJECT = "system:serviceaccount:search:indexer"
TRACED = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
# With characters that encodings change, where they may have them.
KEY = "canary-api-key+6f1d/0c=~9a2b"
WEBHOOKS = {"the webhook token": "canary-webhook-token-0123456789~a", "the next webhook token": "canary-webhook-token-next_9876543210"}
TOKENS = {name: f"canary-token-of-{name}+0123/456789abcdef=" for name in ("admin", "submitter", "viewer", "limited")}
WRONG = "canary-wrong-token+0123/456789abcdef="
WRONG_WEBHOOK = "canary-wrong-webhook-token-0123456789"
ISSUER_TOKEN = "canary-issuers-token+0123/456789abcdef="
HEADER = "canary-otlp-header+0123/456789abcdef="
UPLOAD_SIGNATURE, DOWNLOAD_SIGNATURE, ELSEWHERE = "canaryuploadsignature0123456789ab", "canarydownloadsignature0123456789", "canaryredirect0123456789abcdef012"
FORGED_UPLOAD = f"/storage/finetune-pipeline/uploads/u/x.zip?X-Amz-Credential=AKIA&X-Amz-SignedHeaders=host&X-Amz-Signature={UPLOAD_SIGNATURE}"
PLANTED = "planted-and-to-be-found-0123456789"


def bearer(token):
    return ("authorization", f"Bearer {token}")


def body_of(pem):
    """A line of a key's base64."""
    return max(pathlib.Path(pem).read_text().splitlines(), key=lambda line: 0 if "-" in line else len(line))


class TheSearch(unittest.TestCase):
    """It finds a planted canary, whatever was done to it."""

    def disguises(self, secret):
        yield secret
        yield json.dumps(secret)
        yield secret.encode().hex()
        yield urllib.parse.quote(secret, safe="")
        yield urllib.parse.quote_plus(f"a b {secret}")
        yield "".join(f"%{byte:02x}" for byte in secret.encode())
        for before, after in itertools.product(range(4), repeat=2):
            text = f"{'?' * before}{secret}{'>' * after}".encode()
            yield base64.b64encode(text).decode()
            yield base64.urlsafe_b64encode(text).decode().rstrip("=")

    def test_it_finds_every_form_in_its_place(self):
        secrets = {"key": KEY, "token": TOKENS["admin"], "webhook": WEBHOOKS["the webhook token"]}
        clean = {"here": b"x" * 1000, "there": json.dumps(list(WEBHOOKS)).encode()}
        self.assertEqual(canaries.search(secrets, clean), [])
        for name, secret in secrets.items():
            for disguise in self.disguises(secret):
                dirty = {**clean, "there": f"a line {disguise} of text".encode()}
                found = canaries.search(secrets, dirty)
                self.assertTrue(found, disguise)
                self.assertTrue(all(f.startswith(name) and "in there" in f for f in found), found)


class Secrets(EndToEnd):
    def setUp(self):
        super().setUp()
        self.answers, self.outputs = [], []
        self.job, self.next_visibility = "fineTunes/" + PLANTED, ft.FineTune.PUBLIC
        self.emulator = self.start_emulator("--check_datasets=false", time_scale=0)
        self.emulator.call("POST", "/emulator/settings", {"api_key": KEY, "weights_bytes": 300_000})
        self.collector = Collector()
        self.addCleanup(self.collector.close)
        self.data = dataset(self.folder / "d.zip").read_bytes()
        self.write_files()
        self.gateway = self.start_gateway(
            self.emulator, "--policy_file", self.policy, "--log_level", "debug", "--upstream_timeout", "1s", "--submit_timeout", "1s",
            "--transfer_idle_timeout", "1s", "--webhook_token_file", self.write("tokens", "\n".join(WEBHOOKS.values())),
            *self.certificates.flags(mutual=True), api_key=KEY,
            env={"OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50",
                 "OTEL_EXPORTER_OTLP_HEADERS": f"x-collector-key={urllib.parse.quote(HEADER)}"})
        self.channel = self.channel_as("nobody")

    def write(self, name, text):
        (self.folder / name).write_text(text + "\n")
        return self.folder / name

    def write_files(self):
        self.certificates = credentials.Certificates(self.folder / "certs", "dev", "nobody")
        self.certificates.make_bad_ones("dev")
        self.signer, self.stranger = credentials.Signer(self.folder, "first"), credentials.Signer(self.folder, "stranger")
        self.issuer = Issuer(self.certificates.folder / "tls.crt", self.certificates.folder / "tls.key")
        self.addCleanup(self.issuer.close)
        self.write("issuer-token", ISSUER_TOKEN)
        self.policy = self.folder / "policy.json"
        self.write_policy()
        self.jwts = {
            "a JWT": self.signer.sign(SUBJECT),
            "an expired JWT": self.signer.sign(SUBJECT, expires_in=-5),
            "a JWT for another": self.signer.sign(SUBJECT, audience="another"),
            "an unsigned JWT": self.signer.sign(SUBJECT, algorithm="none"),
            "a JWT by HMAC": self.signer.sign(SUBJECT, algorithm="HS256"),
            "a stranger's JWT": self.stranger.sign(SUBJECT),
        }

    def write_policy(self):
        role = {"admin": "ADMIN", "submitter": "SUBMITTER", "viewer": "VIEWER", "limited": "SUBMITTER"}
        limits = {"limited": {"limits": {"creates_per_day": 1}}}
        callers = [credentials.caller(name, role[name], token, sees_all_jobs=name == "admin", **limits.get(name, {}))
                   for name, token in TOKENS.items()]
        credentials.write_policy(
            self.policy, [*callers, credentials.caller("indexer", "SUBMITTER", jwts=[{"issuer": credentials.ISSUER, "subject": SUBJECT}])],
            jwt_issuers=[{"issuer": credentials.ISSUER, "audiences": [credentials.AUDIENCE], "jwks_url": self.issuer.url,
                          "jwks_ca_file": "certs/ca.crt", "jwks_token_file": "issuer-token"}])

    def channel_as(self, client):
        channel = grpc.secure_channel(self.gateway.address, self.certificates.channel_credentials(client))
        self.addCleanup(channel.close)
        return channel

    # Calls: whatever they end with is kept.

    def keep(self, method, call):
        """Waits for the end, and keeps all that was said, but for the URLs and weights that were asked for."""
        said = []
        with contextlib.suppress(grpc.RpcError):
            for answer in call if method == "download" else (call.result(),):
                if method in ("create", "get", "list", "update", "status"):
                    said.append(answer.SerializeToString())
        said.append((call.details() or "").encode())
        for key, value in itertools.chain(call.initial_metadata() or (), call.trailing_metadata() or ()):
            said += [key.encode(), value if isinstance(value, bytes) else value.encode()]
        self.answers.append(b"\n".join(said))
        return call.code()

    def messages(self, data):
        yield svc.UploadDatasetRequest(spec=svc.DatasetSpec(
            file_name="cats.zip", size_bytes=len(data), public_read=True, sha256=hashlib.sha256(data).digest()))
        yield svc.UploadDatasetRequest(chunk=data)

    def every_call(self, *metadata, channel=None, timeout=1.5):
        """All methods at once, each of which asks Segmind for something if it may. Their codes, by method."""
        stub = rpc.FineTuneServiceStub(channel or self.channel)
        more = {"timeout": timeout, "metadata": (*metadata, TRACED)}
        fresh = svc.Freshness(max_staleness={})
        name = self.job
        self.next_visibility = ft.FineTune.PRIVATE if self.next_visibility == ft.FineTune.PUBLIC else ft.FineTune.PUBLIC
        calls = {
            "create": stub.CreateFineTune.future(svc.CreateFineTuneRequest(
                request_id=str(uuid.uuid4()), fine_tune=job(name=f"job-{uuid.uuid4().hex[:8]}")), **more),
            "get": stub.GetFineTune.future(svc.GetFineTuneRequest(name=name, freshness=fresh), **more),
            "list": stub.ListFineTunes.future(svc.ListFineTunesRequest(freshness=fresh), **more),
            "update": stub.UpdateFineTune.future(svc.UpdateFineTuneRequest(
                fine_tune=ft.FineTune(name=name, visibility=self.next_visibility), update_mask={"paths": ["visibility"]}), **more),
            "upload url": stub.CreateUploadUrl.future(svc.CreateUploadUrlRequest(file_name="a.zip"), **more),
            "upload": stub.UploadDataset.future(self.messages(self.data), **more),
            "download": stub.DownloadWeights(svc.DownloadWeightsRequest(name=name), **more),
            "status": stub.GetGatewayStatus.future(svc.GetGatewayStatusRequest(), **more),
            "wait": stub.WaitFineTune.future(svc.WaitFineTuneRequest(name="fineTunes/" + PLANTED), **more),
        }
        with concurrent.futures.ThreadPoolExecutor(len(calls)) as threads:
            return dict(zip(calls, threads.map(self.keep, *zip(*calls.items()))))

    # The error paths.

    def refused_credentials(self):
        self.issuer.answer = (500, {}, f"no keys for {ISSUER_TOKEN}".encode())
        refused = [(), (bearer(WRONG),), (("authorization", f"Basic {WRONG}"),), (("authorization", WRONG),), (bearer(WRONG), bearer(WRONG)),
                   *((bearer(jwt),) for jwt in self.jwts.values())]
        for metadata in refused:
            codes = self.every_call(*metadata)
            self.assertLessEqual(set(codes.values()), {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE})
        wait_until("the keys to fail", lambda: "could not be fetched" in self.gateway.log)
        self.issuer.serve(self.signer)
        self.gateway.ready()
        for metadata in refused:
            self.every_call(*metadata)
        for client in (None, "expired", "self-signed", "wrong-ca"):
            self.every_call(bearer(TOKENS["admin"]), channel=self.channel_as(client))
        self.assertEqual(self.every_call(bearer(self.jwts["a JWT"]))["status"], grpc.StatusCode.OK)
        self.assertEqual(self.every_call(bearer(TOKENS["viewer"]))["create"], grpc.StatusCode.PERMISSION_DENIED)
        self.every_call(bearer(TOKENS["limited"]))
        self.assertEqual(self.every_call(bearer(TOKENS["limited"]))["create"], grpc.StatusCode.RESOURCE_EXHAUSTED)

    def make_jobs(self):
        self.emulator.call("POST", "/emulator/jobs", {"name": PLANTED, "base_model": "QWEN", "status": "AVAILABLE"})

        def known():
            found = rpc.FineTuneServiceStub(self.channel).ListFineTunes(
                svc.ListFineTunesRequest(freshness={"max_staleness": {}}), timeout=20, metadata=(bearer(TOKENS["admin"]),)).fine_tunes
            return next((j.name for j in found if j.display_name == PLANTED and j.weights_uri), None)

        self.job = wait_until("the job", known)
        codes = self.every_call(bearer(TOKENS["admin"]), timeout=20)
        self.assertEqual({method for method, code in codes.items() if code != grpc.StatusCode.OK}, {"wait"}, codes)

    def signed_urls(self):
        """Those that Segmind really makes, as callers get them."""
        target = rpc.FineTuneServiceStub(self.channel).CreateUploadUrl(
            svc.CreateUploadUrlRequest(file_name="a.zip"), timeout=20, metadata=(bearer(TOKENS["admin"]),))
        query = target.upload_uri.split("?", 1)[1]
        return {"a presigned URL's query": query, "its signature": query.rsplit("X-Amz-Signature=", 1)[1],
                # Of those that only the gateway sees, what all have.
                "upload URLs' signatures": "X-Amz-Signature", "download URLs' signatures": "X-Goog-Signature"}

    def every_fault(self):
        kinds = [line.split()[0] for line in urllib.request.urlopen(
            self.emulator.url + "/emulator/faults/kinds", timeout=10).read().decode().split("\n\n")[0].splitlines()]
        told = f"not {KEY} at {self.emulator.url}{FORGED_UPLOAD} nor /w?X-Goog-Signature={DOWNLOAD_SIGNATURE}"
        faults = [(kind, {}) for kind in kinds if kind not in ("status", "key_revoked", "rate_limited")]
        faults += [("status", {"code": code, "body": {"error": told}}) for code in (400, 401, 403, 404, 406, 410, 418, 500, 503)]
        faults += [("status", {"code": code, "body": told, "content_type": "text/html"}) for code in (200, 302, 502)]
        faults += [("key_revoked", {}), ("rate_limited", {"seconds": 1})]
        common = {"ms": 1200, "bytes_per_second": 1000, "url": f"{self.emulator.url}/w?X-Goog-Signature={ELSEWHERE}", "field": "status",
                  "value": "NEW_WORD", "bytes": 10}
        wanted = {"latency": ("ms",), "stall": ("ms",), "slow_storage": ("bytes_per_second",), "redirect_to": ("url",),
                  "set_field": ("field", "value"), "remove_field": ("field",), "short_body": ("bytes",), "partial": ("bytes",)}
        spoilt = 0
        for kind, more in faults:
            for call in ("submit", "details", "list", "upload_url", "access_update", "file_download", "storage_put", "weights_get"):
                try:
                    self.emulator.fault(call, kind, count=-1, **more, **{key: common[key] for key in wanted.get(kind, ())})
                    spoilt += 1
                except urllib.error.HTTPError:
                    pass  # Not of this call.
            self.every_call(bearer(TOKENS["admin"]))
            self.emulator.clear_faults()
        self.assertGreater(spoilt, 150)

    def forged_urls(self):
        """Presigned URLs whose every byte is known, which storage refuses."""
        upload = {"presigned_url": self.emulator.url + FORGED_UPLOAD, "s3_url": self.emulator.url + "/storage/finetune-pipeline/x.zip"}
        download = f"{self.emulator.url}/gcs-content/x.safetensors?X-Goog-Signature={DOWNLOAD_SIGNATURE}"
        self.emulator.fault("upload_url", "status", code=200, body=upload, act=False, count=-1)
        self.emulator.fault("file_download", "status", code=200, body=download, content_type="text/plain", act=False, count=-1)
        for kind in (None, "storage_500", "close_before", "partial", "stall"):
            for call in ("storage_put", "weights_get") if kind else ():
                self.emulator.fault(call, kind, count=-1, **({"ms": 1200} if kind == "stall" else {}))
            codes = self.every_call(bearer(TOKENS["admin"]))
            self.assertNotEqual(codes["upload"], grpc.StatusCode.OK)
            self.assertNotEqual(codes["download"], grpc.StatusCode.OK)
        self.emulator.clear_faults()

    def cancelled_transfers(self):
        self.emulator.fault("weights_get", "slow_storage", bytes_per_second=20_000, count=-1)
        self.emulator.fault("storage_put", "latency", ms=5000, count=-1)
        stub = rpc.FineTuneServiceStub(self.channel)
        more = {"timeout": 20, "metadata": (bearer(TOKENS["admin"]), TRACED)}
        download = stub.DownloadWeights(svc.DownloadWeightsRequest(name=self.job), **more)
        next(download)
        upload = stub.UploadDataset.future(self.messages(self.data), **more)
        wait_until("the upload to reach storage", lambda: self.gateway.admin("/metrics")[1].count("finetune_gateway_transfers 2\n"))
        for call in (download, upload):
            call.cancel()
        wait_until("the transfers to end", lambda: "finetune_gateway_transfers 0\n" in self.gateway.admin("/metrics")[1])
        self.emulator.clear_faults()

    def webhooks(self):
        door = self.gateway.webhook_url.rsplit("/", 1)[0]
        good = json.dumps({"finetune_id": "x", "status": "AVAILABLE", "token": WRONG_WEBHOOK}).encode()
        for token in (*WEBHOOKS.values(), WRONG_WEBHOOK, KEY, WEBHOOKS["the webhook token"] + "/x", WEBHOOKS["the webhook token"][:-1]):
            for method, body in (("POST", good), ("POST", b"{"), ("POST", b"x" * 300_000), ("GET", None), ("PUT", good)):
                request = urllib.request.Request(f"{door}/{urllib.parse.quote(token)}", method=method, data=body)
                with contextlib.suppress(urllib.error.HTTPError, urllib.error.URLError):
                    answer = urllib.request.urlopen(request, timeout=10)
                    self.outputs.append(answer.read())

    def bad_policies(self):
        refused = lambda: int(next(line.rsplit(" ", 1)[1] for line in self.gateway.admin("/metrics")[1].splitlines()
                                   if line.startswith('finetune_gateway_file_rereads_total{files="policy",outcome="refused"}')))
        plain = {"name": "a", "role": "VIEWER", "bearer_token_sha256": [TOKENS["admin"]]}
        for i, text in enumerate((json.dumps({"callers": [plain]}), json.dumps({"callers": [{"name": "a", "role": WRONG}]}),
                                  f'{{"callers": [{{"name": "{TOKENS["admin"]}" oops', TOKENS["admin"])):
            self.write("policy.new", text)
            (self.folder / "policy.new").rename(self.policy)
            wait_until("the policy to be refused", lambda i=i: refused() > i)
        self.write_policy()
        wait_until("the policy to be good", lambda: 'finetune_gateway_files_refused{files="policy"} 0' in self.gateway.admin("/metrics")[1])

    def bad_collectors(self):
        for code in (400, 503):
            self.collector.code = code
            self.every_call(bearer(TOKENS["admin"]))
        self.collector.code = 200

    def bad_starts(self):
        """Flags that name a file with a secret, but not the right one."""
        key, tls_key, issuer_token = self.folder / "api-key", self.certificates.folder / "tls.key", self.folder / "issuer-token"
        tls_cert, tokens = self.certificates.folder / "tls.crt", self.folder / "tokens"
        bad_keys = {"issuer": "a", "audiences": ["a"]}
        policy = lambda name, **keys: credentials.write_policy(self.folder / name, [], jwt_issuers=[{**bad_keys, **keys}])
        flags = [
            *(["--policy_file", secret] for secret in (key, tls_key, tokens, issuer_token)),
            ["--policy_file", policy("jwks.json", jwks_file="issuer-token")], ["--policy_file", policy("jwks2.json", jwks_file="certs/tls.key")],
            ["--policy_file", policy("ca.json", jwks_url="https://127.0.0.1:9/x", jwks_ca_file="issuer-token", jwks_token_file="certs/tls.key")],
            ["--tls_cert_file", tls_key, "--tls_key_file", tls_cert], ["--tls_cert_file", tls_cert, "--tls_key_file", key],
            [*self.certificates.flags(mutual=False), "--tls_client_ca_file", tls_key],
            ["--webhook_token_file", key], ["--webhook_token_file", tls_key], ["--api_key_file", tls_key], ["--api_key_file", tokens],
            ["--store", f"sqlite:{key}"], ["--store", f"postgresql://gateway:{WRONG}@127.0.0.1:9/x"], ["--flagfile", key], ["--api_key", KEY],
            ["--upstream_url", f"http://gateway:{WRONG}@127.0.0.1:9"],
        ]
        runs = [(flag, {}) for flag in flags]
        runs += [([], {"OTEL_EXPORTER_OTLP_HEADERS": headers, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}) for headers, endpoint in
                 ((HEADER, self.collector.url), (f"x={HEADER}\r\ny", self.collector.url), (f"x y={HEADER}", self.collector.url),
                  (f"x={HEADER}", f"http://gateway:{WRONG}@127.0.0.1:9"), (f"x={HEADER}", f"nowhere {WRONG}"))]

        def run(number, flags, env):
            command = [BIN / "finetune-gateway", "--listen", "127.0.0.1:0", "--webhook_listen", "127.0.0.1:0", "--admin_listen", "127.0.0.1:0",
                       "--store", f"sqlite:{self.folder}/start-{number}.db", "--upstream_url", "http://127.0.0.1:9", "--api_key_file", key,
                       "--log_level", "debug", "--drain_delay", "0s", *flags]
            started = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       env={**os.environ, **env})
            try:
                output, _ = started.communicate(timeout=3)
            except subprocess.TimeoutExpired:  # It could be started with these.
                started.terminate()
                output, _ = started.communicate(timeout=30)
            self.assertTrue(output, flags)
            # The flag itself is the operator's, who sees it anyway; the value of a flag that is none is not repeated.
            self.outputs.append(output)

        with concurrent.futures.ThreadPoolExecutor(6) as threads:
            list(threads.map(run, itertools.count(), *zip(*runs)))

    def places(self):
        files = {path.name: path.read_bytes() for path in self.folder.glob("*.db*")}
        self.assertIn("store.db", files)
        return {"the log": self.gateway.log.encode(), "what calls end with": b"\n".join(self.answers), "spans": self.collector.text().encode(),
                "other output": b"\n".join(self.outputs), **files}

    def ask_admin(self):
        self.outputs += [self.gateway.admin(path)[1].encode() for path in ("/metrics", "/readyz", "/livez", f"/{WRONG}")]

    def test_no_secret_is_found_after_every_error_path_ran(self):
        steps = (self.refused_credentials, self.make_jobs, self.every_fault, self.forged_urls, self.cancelled_transfers, self.webhooks,
                 self.bad_policies, self.bad_collectors, self.bad_starts)
        for step in steps:
            step()
            self.ask_admin()
        jwts = {f"{name}'s {part}": text for name, jwt in self.jwts.items()
                for part, text in zip(("claims", "signature"), jwt.split(".")[1:]) if text}
        secrets = {"the API key": KEY, **WEBHOOKS, **{f"{name}'s token": token for name, token in TOKENS.items()}, "a wrong token": WRONG,
                   "a wrong webhook token": WRONG_WEBHOOK, "the issuer's token": ISSUER_TOKEN, "the collector's header": HEADER,
                   "an upload's signature": UPLOAD_SIGNATURE, "a download's signature": DOWNLOAD_SIGNATURE, "a redirection's signature": ELSEWHERE,
                   "the TLS key": body_of(self.certificates.folder / "tls.key"), **jwts, **self.signed_urls()}
        self.assertEqual(self.gateway.terminate(), 0)
        places = self.places()
        found = canaries.search(secrets, places)
        self.assertEqual(found, [], "\n".join(found))
        # What is no secret is found where it belongs, so these places were really read.
        found = canaries.search({"what is planted": PLANTED, "the job": self.job, "a metric": "finetune_gateway_"}, places)
        for place in ("the log", "what calls end with", "spans", "store.db", "other output"):
            self.assertTrue(any(f" in {place}: " in f for f in found), (place, found))


class Cores(EndToEnd):
    """A core would hold every secret there is."""

    def start(self, *command):
        """As a user whom the kernel would let dump cores of any size into the folder."""
        self.folder.chmod(0o777)
        user = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        started = subprocess.Popen([str(word) for word in command], cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (hard, hard)), **user)
        self.addCleanup(started.wait)
        self.addCleanup(started.kill)
        return started

    def core_size(self, process):
        return next(line.split()[4] for line in pathlib.Path(f"/proc/{process.pid}/limits").read_text().splitlines()
                    if line.startswith("Max core file size"))

    def abort(self, process):
        """Whether the kernel says that it dumped a core."""
        process.send_signal(signal.SIGABRT)
        _, status = os.waitpid(process.pid, 0)
        process.returncode = -os.WTERMSIG(status)
        self.assertEqual(os.WTERMSIG(status), signal.SIGABRT)
        return os.WCOREDUMP(status)

    def test_none_can_be_dumped(self):
        other = self.start("sleep", "60")
        wait_until("sleep to run", lambda: pathlib.Path(f"/proc/{other.pid}/comm").read_text() == "sleep\n")
        (self.folder / "key").write_text(KEY)
        ports = self.folder / "ports"
        gateway = self.start(BIN / "finetune-gateway", "--listen", "127.0.0.1:0", "--webhook_listen", "127.0.0.1:0", "--admin_listen",
                             "127.0.0.1:0", "--port_file", ports, "--store", f"sqlite:{self.folder}/store.db", "--upstream_url",
                             "http://127.0.0.1:9", "--api_key_file", self.folder / "key")
        wait_until("the gateway to listen", ports.exists)
        # The files under /proc of a process that is not dumpable are root's; nor may others of its user attach to it.
        owner = lambda process: os.stat(f"/proc/{process.pid}/environ").st_uid
        self.assertEqual((self.core_size(gateway), owner(gateway)), ("0", 0))
        self.assertNotEqual((self.core_size(other), owner(other)), ("0", 0))
        self.assertFalse(self.abort(gateway))
        cores = lambda: [path.name for path in self.folder.iterdir() if path.name.startswith("core")]
        self.assertEqual(cores(), [])
        # Where this machine dumps cores into folders at all, another process leaves one.
        self.assertEqual(self.abort(other), bool(cores()) or pathlib.Path("/proc/sys/kernel/core_pattern").read_text()[0] in "|/")


if __name__ == "__main__":
    unittest.main()
