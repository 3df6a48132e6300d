"""Name servers that never answer: whoever waits for such a name keeps nobody else waiting.

The gateway has a mount namespace of its own, in which /etc/resolv.conf names an address where nobody answers.
"""

import os
import random
import socket
import subprocess
import threading
import time
import unittest
import uuid

import credentials
from harness import EndToEnd, dataset, job, svc, wait_until

ALICE, MALLORY = "token-of-alice-0123456789abcdef", "token-of-mallory-0123456789abcd"
# Far below what a name server is waited for, and far above what a call takes on a busy machine.
KEPT_WAITING = 3


def missing():
    """Why names cannot be made silent here; None if they can."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
        return "mount namespaces are not permitted here"
    try:
        with SilentNameServer():
            return None
    except OSError as error:
        return f"port 53 cannot be had here: {error}"


class SilentNameServer:
    """Counts what it is asked."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.address = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
        self.socket.bind((self.address, 53))
        self.asked = 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        try:
            while self.socket.recv(2000):
                self.asked += 1
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


class NameServer(SilentNameServer):
    """Says of every name that it is 127.0.0.1."""

    def run(self):
        try:
            while True:
                question, sender = self.socket.recvfrom(2000)
                self.asked += 1
                end = question.index(b"\0", 12) + 5
                wants_ipv4 = question[end - 4:end - 2] == b"\0\1"
                answer = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\x7f\0\0\1" if wants_ipv4 else b""
                counts = b"\0\1" + (b"\0\1" if wants_ipv4 else b"\0\0") + bytes(4)
                self.socket.sendto(question[:2] + b"\x81\x80" + counts + question[12:end] + answer, sender)
        except OSError:
            pass


@unittest.skipIf(why := missing(), why)
class SilentNames(EndToEnd):
    def start(self, *args, issuers=(), others=(), upstream=None):
        self.names = SilentNameServer()
        self.addCleanup(self.names.socket.close)
        resolver = self.folder / "resolv.conf"
        resolver.write_text("".join(f"nameserver {one.address}\n" for one in (self.names, *others)) + "options timeout:5 attempts:2\n")
        policy = credentials.write_policy(self.folder / "policy.json", [
            credentials.caller("alice", "ADMIN", ALICE, sees_all_jobs=True),
            credentials.caller("mallory", "SUBMITTER", MALLORY)], jwt_issuers=list(issuers))
        self.emulator = self.start_emulator("--check_datasets=false", time_scale=0)
        self.gateway = self.start_gateway(
            self.emulator.url.replace("127.0.0.1", upstream or "127.0.0.1"), "--policy_file", policy, *args,
            prefix=["unshare", "-m", "sh", "-c", f'mount --bind {resolver} /etc/resolv.conf && exec "$@"', "sh"]).ready()

    def slowest(self, call, until, seconds=60):
        """The longest that one of a row of calls took, which go on until that is so."""
        slowest, end = 0, time.monotonic() + seconds
        while not until():
            self.assertLess(time.monotonic(), end)
            began = time.monotonic()
            call()
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.05)
        return slowest

    def metadata(self, token):
        return {"timeout": 30, "metadata": (("authorization", f"Bearer {token}"),)}

    def create(self):
        self.gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(
            request_id=str(uuid.uuid4()), fine_tune=job(name=uuid.uuid4().hex[:8])), **self.metadata(ALICE))

    def test_an_issuer_whose_name_nobody_resolves_keeps_no_submission_waiting(self):
        self.start(issuers=[{"issuer": credentials.ISSUER, "audiences": [credentials.AUDIENCE],
                             "jwks_url": "https://keys.silent.test/jwks"}])
        failed = lambda: self.gateway.admin("/metrics")[1].count(
            'finetune_gateway_issuer_key_fetches_total{outcome="failed"} 2') > 0
        self.assertLess(self.slowest(self.create, failed), KEPT_WAITING)
        self.assertGreater(self.names.asked, 0)

    def test_a_dataset_whose_name_nobody_resolves_keeps_no_transfer_waiting(self):
        self.start()
        data = dataset(self.folder / "cats.zip").read_bytes()
        looks = [self.gateway.stub.CreateFineTune.future(svc.CreateFineTuneRequest(
            fine_tune=job(uri=f"https://d{i}.silent.test/{i}.zip"), validate_only=True), **self.metadata(MALLORY)) for i in range(8)]
        self.addCleanup(lambda: [look.cancel() for look in looks])
        wait_until("the names to be asked for", lambda: self.names.asked > 0)

        def upload():
            self.gateway.stub.UploadDataset(iter([
                svc.UploadDatasetRequest(spec=svc.DatasetSpec(file_name="cats.zip", size_bytes=len(data))),
                svc.UploadDatasetRequest(chunk=data)]), **self.metadata(ALICE))

        # Some are given up by their callers in the middle, the others end by themselves.
        for look in looks[:4]:
            look.cancel()
        self.assertLess(self.slowest(upload, lambda: all(look.done() for look in looks)), KEPT_WAITING)

    def test_names_that_are_given_up_at_once_cost_few_threads(self):
        self.start()
        threads, most, asked = lambda: len(os.listdir(f"/proc/{self.gateway.popen.pid}/task")), 0, 0
        before = threads()
        end = time.monotonic() + 5
        while time.monotonic() < end:
            looks = [self.gateway.stub.CreateFineTune.future(svc.CreateFineTuneRequest(
                fine_tune=job(uri=f"https://d{asked + i}.silent.test/0.zip"), validate_only=True), **self.metadata(MALLORY))
                for i in range(8)]
            asked += len(looks)
            time.sleep(0.03)
            for look in looks:
                look.cancel()
            most = max(most, threads() - before)
        self.assertGreater(self.names.asked, 10)
        self.assertLess(most, 150)
        self.create()

    def test_where_the_first_name_server_is_silent_the_second_is_asked(self):
        second = NameServer()
        self.addCleanup(second.socket.close)
        self.start(upstream="segmind.test", others=[second])
        self.create()
        self.assertGreater(self.names.asked, 0)
        self.assertGreater(second.asked, 0)

    def test_a_stop_does_not_wait_for_names(self):
        self.start(issuers=[{"issuer": credentials.ISSUER, "audiences": [credentials.AUDIENCE],
                             "jwks_url": "https://keys.silent.test/jwks"}])
        wait_until("the name to be asked for", lambda: self.names.asked > 0)
        began = time.monotonic()
        self.assertEqual(self.gateway.terminate(), 0)
        self.assertLess(time.monotonic() - began, KEPT_WAITING)


if __name__ == "__main__":
    unittest.main()
