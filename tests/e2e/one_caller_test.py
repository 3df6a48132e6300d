"""What one admitted caller can do to the others: nothing that they notice."""

import os
import pathlib
import socket
import threading
import time
import unittest
import uuid

import credentials
from deaf_client import DeafClient
from harness import EndToEnd, dataset, details_of, grpc, job, reason_of, rpc, svc, wait_until

ALICE = "token-of-alice-0123456789abcdef"
MALLORY = "token-of-mallory-0123456789abcd"


def bearer(token):
    return (("authorization", f"Bearer {token}"),)


class OneCaller(EndToEnd):
    def start(self, *args):
        self.emulator = self.start_emulator("--check_datasets=false", time_scale=0)
        policy = credentials.write_policy(self.folder / "policy.json", [
            credentials.caller("alice", "ADMIN", ALICE, sees_all_jobs=True),
            credentials.caller("mallory", "SUBMITTER", MALLORY, sees_all_jobs=True)])
        self.gateway = self.start_gateway(self.emulator, "--policy_file", policy, *args).ready()
        self.mallory = rpc.FineTuneServiceStub(self.channel())

    def channel(self):
        channel = grpc.insecure_channel(self.gateway.address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.addCleanup(channel.close)
        return channel

    def alice_is_served(self):
        stub, me = self.gateway.stub, {"timeout": 10, "metadata": bearer(ALICE)}
        request_id = str(uuid.uuid4())
        made = stub.CreateFineTune(svc.CreateFineTuneRequest(request_id=request_id, fine_tune=job(name=request_id[:8])), **me)
        stub.GetFineTune(svc.GetFineTuneRequest(name=made.name), **me)
        stub.ListFineTunes(svc.ListFineTunesRequest(filter="state = QUEUED"), **me)
        stub.WaitFineTune(svc.WaitFineTuneRequest(name=made.name, until="QUEUED"), **me)
        watch = stub.WatchFineTunes(svc.WatchFineTunesRequest(), **me)
        next(watch)
        watch.cancel()
        self.assertEqual(self.gateway.admin("/livez")[0], 200)
        self.assertEqual(self.gateway.admin("/readyz")[0], 200)
        return made

    def refusals(self, share, caller="mallory"):
        line = f'finetune_gateway_share_refusals_total{{caller="{caller}",share="{share}"}} '
        found = [text for text in self.gateway.admin("/metrics")[1].splitlines() if text.startswith(line)]
        return float(found[0].split()[-1]) if found else 0

    def worst(self, call, request, count, **more):
        """What became of so many of mallory's calls at once, by code or reason; those that last are open."""
        calls = [call.future(request(i), metadata=bearer(MALLORY), **more) for i in range(count)]
        self.addCleanup(lambda: [one.cancel() for one in calls])
        return calls

    def reasons(self, calls):
        reasons = {}
        for one in calls:
            if not one.done():
                reason = "open"
            else:
                reason = reason_of(one) if one.code() != grpc.StatusCode.OK else "OK"
            reasons[reason] = reasons.get(reason, 0) + 1
        return reasons

    def test_thousands_of_waits(self):
        self.start()
        name = self.alice_is_served().name
        calls = self.worst(self.mallory.WaitFineTune, lambda i: svc.WaitFineTuneRequest(name=name, until="AVAILABLE"), 5600)
        wait_until("some to be refused", lambda: self.reasons(calls).get("CLIENT_QUOTA_EXCEEDED", 0) >= 600, 120)
        self.assertIn("RetryInfo", details_of(next(one for one in calls if one.done())))
        self.alice_is_served()
        self.assertEqual(self.reasons(calls), {"open": 5000, "CLIENT_QUOTA_EXCEEDED": 600})
        self.assertEqual(self.refusals("waits"), 600)
        self.assertEqual(self.refusals("waits", "alice"), 0)

    def test_all_calls_to_segmind(self):
        self.start("--upstream_calls_per_minute", "50", "--active_poll_interval", "20s", "--idle_poll_interval", "20s")
        calls = self.worst(self.mallory.CreateUploadUrl, lambda i: svc.CreateUploadUrlRequest(file_name="a.zip"), 60, timeout=5)
        wait_until("all to be answered", lambda: all(one.done() for one in calls))
        self.assertEqual(set(self.reasons(calls)), {"OK", "UPSTREAM_RATE_LIMITED"})
        for _ in range(4):
            self.alice_is_served()
        self.assertGreater(self.refusals("upstream_calls"), 0)

    def test_datasets_that_never_answer(self):
        silent = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.addCleanup(silent.close)
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        self.start("--transfer_hosts", host)
        check = lambda i: svc.CreateFineTuneRequest(fine_tune=job(uri=f"https://{host}/{i}.zip"), validate_only=True)
        calls = self.worst(self.mallory.CreateFineTune, check, 300, timeout=60)
        wait_until("most to be refused", lambda: self.reasons(calls).get("CLIENT_QUOTA_EXCEEDED", 0) >= 292)
        self.assertEqual(self.reasons(calls), {"open": 8, "CLIENT_QUOTA_EXCEEDED": 292})
        self.assertLess(len(os.listdir(f"/proc/{self.gateway.popen.pid}/task")), 60)
        self.assertLess(len(os.listdir(f"/proc/{self.gateway.popen.pid}/fd")), 100)
        self.alice_is_served()
        for one in calls:
            one.cancel()
        # What was cancelled is over, and its place free.
        again = lambda: self.worst(self.mallory.CreateFineTune, check, 1, timeout=60)[0]
        wait_until("the places to be free", lambda: self.still_open(again()))

    @staticmethod
    def still_open(call):
        try:
            call.result(timeout=0.5)
        except grpc.FutureTimeoutError:
            call.cancel()
            return True
        except grpc.RpcError:
            return False

    def test_uploads_that_drip(self):
        self.start("--transfer_idle_timeout", "2s")

        def drip():
            yield svc.UploadDatasetRequest(spec=svc.DatasetSpec(file_name="a.zip", size_bytes=1 << 20))
            while not self.over.wait(0.2):
                yield svc.UploadDatasetRequest(chunk=b"x")

        self.over = threading.Event()
        self.addCleanup(self.over.set)
        calls = [self.mallory.UploadDataset.future(drip(), metadata=bearer(MALLORY)) for _ in range(64)]
        wait_until("some to be refused", lambda: self.reasons(calls).get("CLIENT_QUOTA_EXCEEDED", 0) >= 16)
        path = self.folder / "cats.zip"
        dataset(path)
        data = path.read_bytes()
        parts = [svc.UploadDatasetRequest(spec=svc.DatasetSpec(file_name="cats.zip", size_bytes=len(data), public_read=True)),
                 svc.UploadDatasetRequest(chunk=data)]
        self.assertEqual(self.gateway.stub.UploadDataset(iter(parts), timeout=20, metadata=bearer(ALICE)).size_bytes, len(data))
        # They move a byte now and then, and are ended all the same.
        wait_until("all to end", lambda: all(one.done() for one in calls))
        self.assertEqual(self.reasons(calls)["CLIENT_QUOTA_EXCEEDED"], 16)

    def test_silent_name_servers(self):
        """Names that nobody resolves: as many threads as there may be looks, whatever is asked."""
        self.start()
        check = lambda i: svc.CreateFineTuneRequest(fine_tune=job(uri=f"https://n{i}.invalid/{i}.zip"), validate_only=True)
        calls = self.worst(self.mallory.CreateFineTune, check, 1000, timeout=30)
        most = 0
        end = time.monotonic() + 60
        while not all(one.done() for one in calls) and time.monotonic() < end:
            most = max(most, len(os.listdir(f"/proc/{self.gateway.popen.pid}/task")))
            time.sleep(0.01)
        self.assertLess(most, 80)
        self.alice_is_served()

    def test_answers_that_nobody_reads(self):
        """One connection that opens no window, and lists of all jobs with ever other filters."""
        self.start()
        self.alice_is_served()
        before = self.memory()
        for _ in range(300):
            self.emulator_job()
        wait_until("all jobs", lambda: self.gateway.stub.ListFineTunes(
            svc.ListFineTunesRequest(), timeout=10, metadata=bearer(ALICE)).total_size > 300)
        ours = self.lists("OK") + 1  # alice's, below.
        deaf = DeafClient(self.gateway.address, authorization=f"Bearer {MALLORY}")
        self.addCleanup(deaf.close)
        for i in range(1000):
            deaf.call("ListFineTunes", svc.ListFineTunesRequest(
                page_size=1000, view="FINE_TUNE_VIEW_FULL", filter=f"display_name != x{i}"), timeout=10)
        wait_until("its share to be used up", lambda: deaf.drain() and self.refusals("answer_bytes") > 0)
        self.assertLess(self.memory() - before, 250 << 20)
        self.alice_is_served()
        self.assertEqual(self.lists("OK"), ours)
        # What is not taken ends at its deadline.
        wait_until("its calls to end", lambda: deaf.drain() and self.lists("Canceled") > 10)
        self.assertEqual(self.refusals("answer_bytes", "alice"), 0)

    def lists(self, code):
        line = f'grpc_server_handled_total{{grpc_code="{code}",grpc_method="ListFineTunes"'
        return float(next(text for text in self.gateway.admin("/metrics")[1].splitlines() if text.startswith(line)).split()[-1])

    def emulator_job(self):
        self.gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=job(
            name="x" * 60, labels={f"label-{i}": "v" * 60 for i in range(30)})), timeout=10, metadata=bearer(ALICE))

    def memory(self):
        pages = pathlib.Path(f"/proc/{self.gateway.popen.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    unittest.main()
