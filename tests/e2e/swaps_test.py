"""Keys and tokens are swapped under load, in the order in which an operator does it (deploy/README.md, Rotate), and no call fails."""

import itertools
import json
import signal
import threading
import unittest
import urllib.error
import urllib.request
import uuid

from harness import API_KEY, EndToEnd, ft, grpc, job, reason_of, svc, wait_until

CLIENTS = 8


class Client:
    """Calls that go on to Segmind, one after another, until it is stopped."""

    def __init__(self, stub):
        self.stub, self.stopping, self.made, self.created, self.failed = stub, threading.Event(), 0, 0, []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        mine = None
        visibilities = itertools.cycle((ft.FineTune.PUBLIC, ft.FineTune.PRIVATE))
        fresh = svc.Freshness(max_staleness={})
        for turn in itertools.count():
            if self.stopping.is_set():
                return
            try:
                if turn % 8 == 0:
                    mine = self.stub.CreateFineTune(svc.CreateFineTuneRequest(
                        request_id=str(uuid.uuid4()), fine_tune=job(name=f"job-{uuid.uuid4().hex[:12]}")), timeout=30)
                    self.created += 1
                elif mine is not None and turn % 4 == 2:
                    self.stub.UpdateFineTune(svc.UpdateFineTuneRequest(
                        fine_tune=ft.FineTune(name=mine.name, visibility=next(visibilities)), update_mask={"paths": ["visibility"]}), timeout=30)
                elif mine is not None:
                    self.stub.GetFineTune(svc.GetFineTuneRequest(name=mine.name, freshness=fresh), timeout=30)
                self.made += 1
            except grpc.RpcError as error:
                self.failed.append((error.code(), reason_of(error), error.details()))

    def stop(self):
        self.stopping.set()
        self.thread.join(60)


class Poster:
    """Webhooks, one after another, with the token that is valid at the moment."""

    def __init__(self, door, token):
        self.door, self.token, self.stopping, self.taken, self.refused = door, token, threading.Event(), 0, []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def post(self, token):
        request = urllib.request.Request(f"{self.door}/{token}", method="POST",
                                         data=json.dumps({"finetune_id": str(uuid.uuid4()), "status": "AVAILABLE"}).encode())
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def run(self):
        while not self.stopping.wait(0.005):
            code = self.post(self.token)
            if code == 200:
                self.taken += 1
            else:
                self.refused.append((code, self.token))

    def stop(self):
        self.stopping.set()
        self.thread.join(60)


class Swaps(EndToEnd):
    def setUp(self):
        super().setUp()
        self.emulator = self.start_emulator("--check_datasets=false", time_scale=0)
        self.tokens = self.folder / "tokens"
        self.token = self.next_token()
        self.replace(self.tokens, self.token)
        self.gateway = self.start_gateway(self.emulator, "--webhook_token_file", self.tokens).ready()
        self.clients = []

    def start_clients(self):
        self.clients = [Client(self.gateway.stub) for _ in range(CLIENTS)]
        for client in self.clients:
            self.addCleanup(client.stop)
        self.all_go_on()

    def next_token(self):
        return f"token-{uuid.uuid4().hex}"

    def replace(self, path, *lines):
        """Whole or not at all, as kubelet does."""
        draft = path.with_suffix(".new")
        draft.write_text("".join(f"{line}\n" for line in lines))
        draft.rename(path)

    def all_go_on(self):
        """Waits until every client has made a call that began after now."""
        before = [client.made + len(client.failed) for client in self.clients]
        wait_until("all clients to go on", lambda: all(
            client.made + len(client.failed) >= count + 2 for client, count in zip(self.clients, before)))

    def keys_refused(self):
        """How often Segmind refused the gateway's key."""
        return sum(int(line.rsplit(" ", 1)[1]) for line in self.gateway.admin("/metrics")[1].splitlines()
                   if line.startswith("finetune_gateway_upstream_requests_total{") and 'code="401"' in line)

    def rotate_key(self, old):
        """The new key is good beside the old one, goes into the file, and the old one is revoked at once, while calls with it are on the way."""
        key = f"key-{uuid.uuid4().hex}"
        settings = lambda **change: self.emulator.call("POST", "/emulator/settings", change)
        settings(api_key=key, old_api_key=old)
        self.emulator.popen.send_signal(signal.SIGSTOP)
        revoking = threading.Thread(target=settings, kwargs={"old_api_key": ""})
        try:
            self.replace(self.folder / "api-key", key)
            revoking.start()
        finally:
            self.emulator.popen.send_signal(signal.SIGCONT)
        revoking.join(30)
        self.all_go_on()
        return key

    def check_clients(self):
        for client in self.clients:
            client.stop()
        self.assertEqual([failure for client in self.clients for failure in client.failed], [])
        self.assertEqual(len(self.emulator.submits()), sum(client.created for client in self.clients))

    def test_the_api_key(self):
        self.start_clients()
        key, rotations = API_KEY, 0
        # A key that was refused must have been read again, or the call would have failed.
        while rotations < 10 or (self.keys_refused() == 0 and rotations < 200):
            key = self.rotate_key(key)
            rotations += 1
        self.check_clients()
        self.assertGreater(self.keys_refused(), 0, f"in {rotations} rotations no call met a key that was revoked")

    def test_a_key_that_is_revoked_too_early_costs_the_calls_until_the_file_has_the_next(self):
        self.start_clients()
        self.emulator.call("POST", "/emulator/settings", {"api_key": "the-next-key"})
        wait_until("calls to fail", lambda: all(client.failed for client in self.clients))
        self.replace(self.folder / "api-key", "the-next-key")
        self.all_go_on()
        failed = [len(client.failed) for client in self.clients]
        self.all_go_on()
        for client, count in zip(self.clients, failed):
            client.stop()
            self.assertEqual(len(client.failed), count)
            self.assertEqual({failure[:2] for failure in client.failed}, {(grpc.StatusCode.INTERNAL, "UPSTREAM_CREDENTIAL_REJECTED")})
        self.assertEqual(len(self.emulator.submits()), sum(client.created for client in self.clients))

    def test_the_webhooks_token(self):
        self.start_clients()
        poster = Poster(self.gateway.webhook_url.rsplit("/", 1)[0], self.token)
        self.addCleanup(poster.stop)
        reread = lambda: self.gateway.log.count('"files":"webhook_tokens"')
        for rotation in range(3):
            old, new = poster.token, self.next_token()
            self.replace(self.tokens, old, new)
            wait_until("both to be valid", lambda: reread() == 2 * rotation + 1)
            poster.token = new
            taken = poster.taken
            wait_until("webhooks with the new one", lambda: poster.taken > taken + 10)
            self.assertEqual(poster.post(old), 200)
            self.replace(self.tokens, new)
            wait_until("the old one to go", lambda: reread() == 2 * rotation + 2)
            self.assertEqual(poster.post(old), 404)
        poster.stop()
        self.assertEqual(poster.refused, [])
        self.assertGreater(poster.taken, 100)
        self.check_clients()


if __name__ == "__main__":
    unittest.main()
