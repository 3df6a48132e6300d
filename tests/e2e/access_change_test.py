"""What becomes of calls under way, and of tokens, when policies and issuers' keys change."""

import threading
import time
import unittest
import uuid

import credentials
from harness import EndToEnd, ft, grpc, job, reason_of, rpc, svc, wait_until
from issuer import Issuer

TOKENS = {name: f"token-of-{name}-0123456789abcdef" for name in ("alice", "bob")}
SUBJECT = "system:serviceaccount:search:indexer"
Code = grpc.StatusCode


def bearer(token):
    return (("authorization", f"Bearer {token}"),)


class Ending:
    """Reads a stream, or awaits a call, on a thread of its own; keeps how it ended and when."""

    def __init__(self, call, streams=False):
        self.call, self.streams, self.first, self.error, self.ended = call, streams, threading.Event(), None, None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            if self.streams:
                for _ in self.call:
                    self.first.set()
            else:
                self.call.result()
        except grpc.RpcError as error:
            self.error = error
        except grpc.FutureCancelledError:
            pass
        self.ended = time.monotonic()

    def result(self, seconds=20):
        self.thread.join(seconds)
        if self.thread.is_alive():
            raise AssertionError("the call goes on")
        return (self.error.code(), reason_of(self.error)) if self.error else None


class World(EndToEnd):
    def setUp(self):
        super().setUp()
        self.emulator = self.start_emulator("--check_datasets=false", time_scale=0)
        self.policy = self.folder / "policy.json"

    def write(self, *callers, **more):
        return credentials.write_policy(self.policy, callers, **more)

    def start(self):
        self.gateway = self.start_gateway(self.emulator, "--policy_file", self.policy).ready()
        self.stub = self.gateway.stub

    def create(self, token):
        return self.stub.CreateFineTune(svc.CreateFineTuneRequest(
            request_id=str(uuid.uuid4()), fine_tune=job(name=f"job-{uuid.uuid4().hex[:8]}")), timeout=20, metadata=bearer(token))

    def watch(self, token):
        ending = Ending(self.stub.WatchFineTunes(svc.WatchFineTunesRequest(), metadata=bearer(token), timeout=60), streams=True)
        self.assertTrue(ending.first.wait(20), "the watch does not begin")
        return ending

    def status(self, token):
        try:
            self.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=20, metadata=bearer(token))
        except grpc.RpcError as error:
            return error.code(), reason_of(error)
        return Code.OK, None


class CallsUnderWay(World):
    def everything_of_alice(self):
        """One of each call that may last."""
        mine = self.create(TOKENS["alice"])
        self.emulator.call("POST", f"/emulator/jobs/{mine.upstream_id}", {"status": "AVAILABLE"})
        self.stub.WaitFineTune(svc.WaitFineTuneRequest(name=mine.name, until=ft.FineTune.AVAILABLE), timeout=20,
                               metadata=bearer(TOKENS["alice"]))
        other = self.create(TOKENS["alice"])
        self.emulator.fault("weights_get", "slow_storage", bytes_per_second=20000, count=-1)
        release = threading.Event()
        self.addCleanup(release.set)

        def chunks():
            yield svc.UploadDatasetRequest(spec=svc.DatasetSpec(file_name="a.zip", size_bytes=1000))
            yield svc.UploadDatasetRequest(chunk=b"x")
            release.wait(60)

        options = {"timeout": 60, "metadata": bearer(TOKENS["alice"])}
        calls = {
            "watch": self.watch(TOKENS["alice"]),
            "download": Ending(self.stub.DownloadWeights(svc.DownloadWeightsRequest(name=mine.name), **options), streams=True),
            "wait": Ending(self.stub.WaitFineTune.future(svc.WaitFineTuneRequest(name=other.name), **options)),
            "upload": Ending(self.stub.UploadDataset.future(chunks(), **options)),
        }
        self.assertTrue(calls["download"].first.wait(20))
        wait_until("all calls to be under way", lambda: all(
            f'grpc_server_started_total{{grpc_method="{method}",' in line and not line.endswith(" 0")
            for method in ("UploadDataset", "WaitFineTune")
            for line in self.gateway.admin("/metrics")[1].splitlines()
            if line.startswith(f'grpc_server_started_total{{grpc_method="{method}"')))
        return calls

    def test_a_caller_that_is_taken_out_is_cut_off_and_others_are_not(self):
        alice = credentials.caller("alice", "SUBMITTER", TOKENS["alice"])
        bob = credentials.caller("bob", "VIEWER", TOKENS["bob"], sees_all_jobs=True)
        self.write(alice, bob)
        self.start()
        calls, others = self.everything_of_alice(), self.watch(TOKENS["bob"])
        changed = time.monotonic()
        self.write(bob)
        for what, call in calls.items():
            with self.subTest(what):
                self.assertEqual(call.result(), (Code.UNAUTHENTICATED, "CREDENTIALS_INVALID"))
                self.assertLess(call.ended - changed, 10)
        self.assertIsNone(others.ended)
        others.call.cancel()

    def test_a_role_that_shrinks_ends_what_it_does_not_allow_any_more(self):
        self.write(credentials.caller("alice", "SUBMITTER", TOKENS["alice"]))
        self.start()
        calls = self.everything_of_alice()
        self.write(credentials.caller("alice", "VIEWER", TOKENS["alice"]))
        self.assertEqual(calls["upload"].result(), (Code.PERMISSION_DENIED, "ROLE_NOT_ALLOWED"))
        for what in ("watch", "download", "wait"):
            self.assertIsNone(calls[what].ended, what)
            calls[what].call.cancel()

    def test_who_sees_less_comes_again_and_sees_it(self):
        self.write(credentials.caller("alice", "SUBMITTER", TOKENS["alice"], sees_all_jobs=True),
                   credentials.caller("bob", "SUBMITTER", TOKENS["bob"]))
        self.start()
        self.create(TOKENS["bob"])
        watch = self.watch(TOKENS["alice"])
        self.write(credentials.caller("alice", "SUBMITTER", TOKENS["alice"]),
                   credentials.caller("bob", "SUBMITTER", TOKENS["bob"]))
        self.assertEqual(watch.result(), (Code.UNAVAILABLE, "ACCESS_CHANGED"))
        again = self.stub.WatchFineTunes(svc.WatchFineTunesRequest(), metadata=bearer(TOKENS["alice"]), timeout=20)
        self.assertEqual(next(again).WhichOneof("event"), "synced")
        again.cancel()


class IssuersKeys(World):
    def setUp(self):
        super().setUp()
        self.certificates = credentials.Certificates(self.folder / "certs", "dev")
        self.signer = credentials.Signer(self.folder, "first")
        self.next = credentials.Signer(self.folder, "next", "ES256")
        self.issuer = Issuer(self.certificates.folder / "tls.crt", self.certificates.folder / "tls.key")
        self.addCleanup(self.issuer.close)

    def write_policy(self, **keys):
        keys = keys or {"jwks_url": self.issuer.url, "jwks_ca_file": "certs/ca.crt"}
        self.write(credentials.caller("indexer", "SUBMITTER", jwts=[{"issuer": credentials.ISSUER, "subject": SUBJECT}]),
                   jwt_issuers=[{"issuer": credentials.ISSUER, "audiences": [credentials.AUDIENCE], "leeway": "0s", **keys}])

    def test_keys_are_fetched_looked_for_again_and_outlive_their_server(self):
        (self.folder / "issuer-token").write_text("canary-issuer-token\n")
        self.issuer.serve(self.signer)
        self.write_policy(jwks_url=self.issuer.url, jwks_ca_file="certs/ca.crt", jwks_token_file="issuer-token")
        self.start()
        old = self.signer.sign(SUBJECT)
        self.assertEqual(self.status(old), (Code.OK, None))
        self.assertEqual(self.issuer.asked[0][1]["Authorization"], "Bearer canary-issuer-token")
        stream = self.watch(old)
        # A token whose key is not known yet makes the gateway look again, at most once in ten seconds.
        self.issuer.serve(self.next)
        new = self.next.sign(SUBJECT)
        seen = set()
        wait_until("the new key", lambda: seen.add(self.status(new)) or (Code.OK, None) in seen, 30, 0.2)
        self.assertLessEqual(seen, {(Code.OK, None), (Code.UNAUTHENTICATED, "CREDENTIALS_INVALID"),
                                    (Code.UNAVAILABLE, "ISSUER_KEYS_UNAVAILABLE")})
        self.assertEqual(len(self.issuer.asked), 2)
        # What was signed with the key that is gone is over, the calls under way included.
        self.assertEqual(self.status(old), (Code.UNAUTHENTICATED, "CREDENTIALS_INVALID"))
        self.assertEqual(stream.result(), (Code.UNAUTHENTICATED, "CREDENTIALS_INVALID"))
        self.issuer.answer = (500, {}, b"broken")
        wait_until("a fetch to fail", lambda: self.status(old) and "could not be fetched" in self.gateway.log, 30, 0.2)
        self.assertEqual(self.status(new), (Code.OK, None))
        metrics = self.gateway.admin("/metrics")[1]
        self.assertIn("finetune_gateway_issuer_keys_failing 1", metrics)
        self.assertIn('finetune_gateway_issuer_key_fetches_total{outcome="fetched"} 2', metrics)
        self.assertNotIn("canary-issuer-token", self.gateway.log + metrics)

    def test_without_keys_tokens_are_asked_to_come_again(self):
        self.write_policy()
        self.gateway = self.start_gateway(self.emulator, "--policy_file", self.policy)
        self.stub = self.gateway.stub
        token = self.signer.sign(SUBJECT)
        self.assertEqual(self.status(token), (Code.UNAVAILABLE, "ISSUER_KEYS_UNAVAILABLE"))
        self.assertEqual(self.status("no-jwt"), (Code.UNAUTHENTICATED, "CREDENTIALS_INVALID"))
        self.assertEqual(self.gateway.admin("/readyz")[0], 503)
        self.issuer.serve(self.signer)
        wait_until("the keys", lambda: self.status(token) == (Code.OK, None), 20, 0.1)
        self.gateway.ready()

    def test_neither_redirects_nor_strangers_bring_keys(self):
        self.issuer.elsewhere = b'{"keys": []}'
        self.issuer.answer = (302, {"Location": "/elsewhere"}, b"")
        self.write_policy()
        self.gateway = self.start_gateway(self.emulator, "--policy_file", self.policy)
        wait_until("two tries", lambda: len(self.issuer.asked) >= 2, 20)
        self.assertEqual({path for path, _ in self.issuer.asked}, {"/jwks"})
        self.assertIn("the answer was HTTP 302", self.gateway.log)
        # The system's authorities know nothing of this server.
        asked = len(self.issuer.asked)
        self.issuer.serve(self.signer)
        self.write_policy(jwks_url=self.issuer.url)
        wait_until("the new policy", lambda: self.gateway.log.count("could not be fetched") >= 3, 20)
        self.assertIn("certificate", self.gateway.log)
        self.stub = self.gateway.stub
        if len(self.issuer.asked) == asked:  # Else the old location was asked once more before it went.
            self.assertEqual(self.status(self.signer.sign(SUBJECT)), (Code.UNAVAILABLE, "ISSUER_KEYS_UNAVAILABLE"))

    def test_a_stream_ends_with_its_token(self):
        self.issuer.serve(self.signer)
        self.write_policy()
        self.start()
        token = self.signer.sign(SUBJECT, expires_in=4)
        expires = time.time() + 4
        long, short = self.watch(self.signer.sign(SUBJECT)), self.watch(token)
        self.assertEqual(short.result(), (Code.UNAVAILABLE, "ACCESS_CHANGED"))
        self.assertLess(abs(time.time() - expires), 2)
        self.assertIsNone(long.ended)
        long.call.cancel()
        self.assertEqual(self.status(token), (Code.UNAUTHENTICATED, "CREDENTIALS_INVALID"))


if __name__ == "__main__":
    unittest.main()
