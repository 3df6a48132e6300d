"""Every scenario that a client must master, against the client that FINETUNE_CLIENT names: see README.md."""

import concurrent.futures
import contextlib
import hashlib
import itertools
import json
import os
import pathlib
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import grpc  # noqa: E402

import credentials  # noqa: E402
from harness import SOURCE, EndToEnd, State, dataset, error_details_pb2, ft, rpc, svc, wait_until  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
CLIENT = os.environ.get("FINETUNE_CLIENT", "python")
# How to start each language's driver; {bin} is where programs are built.
DRIVERS = {
    "cpp": ["{bin}/client-driver"],
    "python": [sys.executable, HERE / "python/driver.py"],
    "python-aio": [sys.executable, HERE / "python/driver.py", "--aio"],
    "typescript": ["node", HERE / "typescript/driver.mjs"],
    "go": ["{bin}/clients/go-driver"],
    "java": ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", "{bin}/clients/java/driver:{bin}/clients/java/client/target/finetune-gateway-client-0.1.0.jar:"
             "{bin}/clients/java/client/target/lib/*", "Driver"],
}


class CallFailed(AssertionError):
    def __init__(self, error):
        super().__init__(str(error))
        self.error = error


class Pending:
    """A command under way."""

    def __init__(self, number):
        self.id = number
        self.events = []
        self._arrived = threading.Condition()
        self._answer = None

    def take(self, message):
        with self._arrived:
            if "event" in message:
                self.events.append(message["event"])
            else:
                self._answer = message
            self._arrived.notify_all()

    def result(self, seconds=60):
        """What it returned; CallFailed if it failed."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: self._answer is not None, seconds):
                raise AssertionError(f"command {self.id} had no answer within {seconds} s")
        if "error" in self._answer:
            raise CallFailed(self._answer["error"])
        return self._answer["ok"]

    def error(self, seconds=60):
        with contextlib.suppress(CallFailed):
            raise AssertionError(f"command {self.id} should have failed and returned {self.result(seconds)}")
        return self._answer["error"]

    def await_event(self, what, condition, seconds=60):
        """The first event for which the condition is true."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: any(map(condition, self.events)) or self._answer, seconds) or not any(
                    map(condition, self.events)):
                raise AssertionError(f"waited in vain for {what}; {len(self.events)} events, the last {self.events[-5:]}, "
                                     f"answer {self._answer}")
            return next(event for event in self.events if condition(event))


class Driver:
    """A client in its own process."""

    def __init__(self, client):
        command = [str(part).format(bin=os.environ.get("FINETUNE_BIN", "")) for part in DRIVERS[client]]
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            # A proxy that must never be asked for what is on this machine.
            env={**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "no_proxy": "",
                 "FINETUNE_TYPESCRIPT_CLIENT": os.environ.get("FINETUNE_BIN", "") + "/clients/typescript",
                 "PYTHONPATH": str(SOURCE / "client/python/src")})
        self._ids = itertools.count(1)
        self._pending = {}
        self._writing = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            message = json.loads(line)
            self._pending[message["id"]].take(message)
        for pending in self._pending.values():
            pending.take({"error": {"code": "DRIVER_GONE", "message": self.errors()}})

    def errors(self):
        self._errors.seek(0)
        return self._errors.read()[-3000:]

    def start(self, op, **fields):
        with self._writing:
            pending = Pending(next(self._ids))
            self._pending[pending.id] = pending
            self._process.stdin.write(json.dumps({"id": pending.id, "op": op, **fields}) + "\n")
            self._process.stdin.flush()
        return pending

    def call(self, op, seconds=60, **fields):
        return self.start(op, **fields).result(seconds)

    def fails(self, op, seconds=60, **fields):
        return self.start(op, **fields).error(seconds)

    def close(self):
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError("the driver did not end when its input did") from None
        finally:
            self._reader.join(20)
            self._process.stdout.close()
            self._errors.close()


def job(uri="https://datasets.example/cats.zip", name="cats", **more):
    return {"displayName": name, "dataSourceUri": uri, "instancePrompt": "a photo of TOK cat", "triggerWord": "TOK",
            "baseModel": "FAST_FLUX", "theme": "subject", **more}


class Conformance(EndToEnd):
    def setUp(self):
        super().setUp()
        self.driver = Driver(CLIENT)
        self.addCleanup(self.driver.close)

    def world(self, *flags, time_scale=2000, connect=True, emulator_flags=(), **settings):
        self.emulator = self.start_emulator("--check_datasets=false", *emulator_flags, time_scale=time_scale)
        # One port for the whole test: the gateway comes back where it was.
        self.gateway_flags = flags
        self.gateway = self.start_gateway(self.emulator, *flags).ready()
        self.gateway_flags = (*flags, "--listen", self.gateway.address)
        if connect:
            self.driver.call("connect", target=self.gateway.address, **settings)

    def restart(self):
        self.gateway = self.start_gateway(self.emulator, *self.gateway_flags).ready()

    def submit(self, **more):
        return self.driver.call("submit", fine_tune=job(name=f"job-{uuid.uuid4().hex[:6]}", **more))

    def set_status(self, name, status):
        """Moves a job at Segmind, and tells the gateway."""
        made = wait_until("the job", lambda: self.seen(name))
        self.emulator.call("POST", f"/emulator/jobs/{made.upstream_id}", {"status": status})

    def seen(self, name):
        """The job as the gateway shows it to somebody else; None while that one's connection is still broken by a restart."""
        with contextlib.suppress(grpc.RpcError):
            return self.gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=name), timeout=20, wait_for_ready=True)
        return None

    def assert_told_once(self, events):
        """No job is told twice of one revision, and none goes back."""
        last = {}
        for event in events:
            if "name" in event and event["kind"] != "left":
                revision = int(event["revision"])
                self.assertGreater(revision, last.get(event["name"], 0), event)
                last[event["name"]] = revision

    # The scenarios.

    def test_the_whole_job(self):
        self.world(time_scale=400)
        self.emulator.call("POST", "/emulator/settings", {"check_datasets": True, "webhook_url": self.gateway.webhook_url})
        archive = dataset(self.folder / "cats.zip")
        sent = self.driver.call("upload", path=str(archive), public_read=True)
        self.assertEqual(sent["sha256"], hashlib.sha256(archive.read_bytes()).hexdigest())
        self.assertEqual(int(sent["size_bytes"]), archive.stat().st_size)
        self.assertGreater(sent["progress"], 0)
        made = self.driver.call("submit", fine_tune=job(
            sent["data_source_uri"], labels={"team": "search"}, parameters={"steps": 500, "integers": {"seed": "9007199254740993"}}))
        self.assertFalse(made["unknown"])
        name = made["fine_tune"]["name"]
        uuid.UUID(made["request_id"])
        watch = self.driver.start("watch", names=[name])
        watch.await_event("AVAILABLE", lambda event: event.get("state") == "AVAILABLE")
        done = self.driver.call("wait", name=name, until="AVAILABLE", timeout=60)
        self.assertEqual(done["fine_tune"]["state"], "AVAILABLE")
        self.assertEqual(self.driver.call("list", filter='labels.team = "search"')["names"], [name])
        changed = self.driver.call("update", name=name, visibility="PUBLIC", labels={"owner": "cats-team"})
        self.assertEqual(changed["fine_tune"]["visibility"], "PUBLIC")
        self.assertEqual(changed["fine_tune"]["labels"], {"team": "search", "owner": "cats-team"})
        changed = self.driver.call("update", name=name, remove_labels=["owner"])
        self.assertEqual(changed["fine_tune"]["labels"], {"team": "search"})
        path = self.folder / "cats.safetensors"
        fetched = self.driver.call("download", name=name, path=str(path))
        weights = self.emulator.call("GET", f"/emulator/weights/{changed['fine_tune']['upstreamId']}")
        self.assertEqual(fetched["sha256"], weights["sha256"])
        self.assertEqual(hashlib.sha256(path.read_bytes()).hexdigest(), weights["sha256"])
        self.assertGreater(fetched["progress"], 0)
        self.assertEqual(list(self.folder.glob("cats.safetensors.*")), [])
        status = self.driver.call("status")["status"]
        self.assertEqual(status["fineTuneCount"], "1")
        seeds = [s["body"]["advance_parameters"]["seed"] for s in self.emulator.submits()]
        self.assertEqual(seeds, [9007199254740993])

    def test_lists_page_by_page(self):
        self.world()
        made = {self.submit(labels={"n": str(n % 2)})["fine_tune"]["name"] for n in range(23)}
        listed = self.driver.call("list", page_size=5)["names"]
        self.assertEqual((set(listed), len(listed)), (made, 23))
        self.assertEqual(len(self.driver.call("list", page_size=5, filter='labels.n = "1"')["names"]), 11)

    def test_a_request_id_makes_one_job_whatever_happens_to_the_gateway(self):
        self.world("--drain_time", "1s")
        submits = []
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for n in range(24):
                submits.append(pool.submit(self.submit_until_answered, f"once-{n}"))
                if n % 6 == 3:
                    self.gateway.kill()
                    self.restart()
            jobs = [submit.result(120) for submit in submits]
        self.assertEqual(len({made["fine_tune"]["name"] for made in jobs}), 24)
        again = self.driver.call("submit", fine_tune=job(name="once-0"), request_id=jobs[0]["request_id"])
        self.assertEqual(again["fine_tune"]["name"], jobs[0]["fine_tune"]["name"])
        names = [job["display_name"] for job in map(self.shown, jobs)]
        self.assertEqual(sorted(names), sorted(f"once-{n}" for n in range(24)))
        self.assertEqual(self.emulator.call("GET", "/emulator/duplicates"), [])

    def shown(self, made):
        return {"display_name": made["fine_tune"]["displayName"]}

    def submit_until_answered(self, name):
        request_id = str(uuid.uuid4())
        for _ in range(20):
            pending = self.driver.start("submit", fine_tune=job(name=name), request_id=request_id, timeout=30)
            with contextlib.suppress(CallFailed):
                return pending.result(60)
        raise AssertionError(f"{name} was never answered")

    def test_an_unknown_outcome_is_told_apart(self):
        self.world()
        self.emulator.fault("submit", "lost_answer")
        self.emulator.fault("list", "status", code=503, count=-1)
        made = self.driver.call("submit", fine_tune=job(), timeout=8)
        self.assertTrue(made["unknown"])
        self.assertEqual(made["fine_tune"]["state"], "SUBMIT_UNKNOWN")
        self.emulator.clear_faults()
        done = self.driver.call("wait", name=made["fine_tune"]["name"], until="QUEUED", timeout=60)
        self.assertNotEqual(done["fine_tune"]["state"], "SUBMIT_UNKNOWN")
        self.assertEqual(len(self.emulator.submits()), 1)

    def test_a_watch_goes_on_over_kill_drain_and_age(self):
        self.world("--max_stream_age", "2s", "--drain_time", "2s", time_scale=0)
        names = [self.submit()["fine_tune"]["name"] for _ in range(5)]
        watch = self.driver.start("watch")
        watch.await_event("SYNCED", lambda event: event["kind"] == "synced")
        for status, end in (("QUEUED", "kill"), ("DATA_PROCESSING", "terminate"), ("TRAINING_INITIATED", "age"),
                            ("TRAINING_COMPLETED", "kill"), ("AVAILABLE", None)):
            for name in names:
                self.set_status(name, status)
            expected = {"QUEUED": "QUEUED", "DATA_PROCESSING": "PREPARING", "TRAINING_INITIATED": "TRAINING",
                        "TRAINING_COMPLETED": "TRAINED", "AVAILABLE": "AVAILABLE"}[status]
            for name in names:
                watch.await_event(f"{name} to be {expected}", lambda event, name=name: event.get("name") == name and
                                  event["state"] == expected, seconds=90)
            if end == "kill":
                self.gateway.kill()
                self.restart()
            elif end == "terminate":
                self.assertEqual(self.gateway.terminate(), 0)
                self.restart()
            elif end == "age":
                time.sleep(3)
        self.assert_told_once(watch.events)
        self.assertEqual([event["kind"] for event in watch.events].count("synced"), 1)
        self.assertEqual([event["kind"] for event in watch.events].count("snapshot"), 5)

    def test_a_watch_whose_token_has_expired_starts_over_and_tells_nothing_twice(self):
        self.world("--watch_window_changes", "3", time_scale=0)
        names = [self.submit()["fine_tune"]["name"] for _ in range(6)]
        watch = self.driver.start("watch")
        watch.await_event("SYNCED", lambda event: event["kind"] == "synced")
        self.gateway.kill()
        # More changes than the window keeps, seen by a gateway that the client cannot reach.
        elsewhere = self.start_gateway(self.emulator, *self.gateway_flags[:-2]).ready()
        for name in names[:4]:
            made = elsewhere.stub.GetFineTune(svc.GetFineTuneRequest(name=name), timeout=20)
            self.emulator.call("POST", f"/emulator/jobs/{made.upstream_id}", {"status": "TRAINING_INITIATED"})
            wait_until("the change", lambda made=made: elsewhere.stub.GetFineTune(
                svc.GetFineTuneRequest(name=made.name), timeout=20).state == State.Value("TRAINING"))
        elsewhere.kill()
        self.restart()
        for name in names[:4]:
            watch.await_event(f"{name} in training", lambda event, name=name: event.get("name") == name and
                              event["state"] == "TRAINING", seconds=90)
        new = self.submit()["fine_tune"]["name"]
        watch.await_event("the new job", lambda event: event.get("name") == new)
        self.assert_told_once(watch.events)
        for name in names:
            kinds = [event["kind"] for event in watch.events if event.get("name") == name]
            self.assertEqual((kinds[0], set(kinds[1:]) - {"updated"}), ("snapshot", set()))

    def test_a_slow_consumer_sees_the_latest_state_of_all(self):
        self.world(time_scale=0)
        names = [self.submit()["fine_tune"]["name"] for _ in range(20)]
        slow = self.driver.start("watch", slow_ms=100)
        quick = self.driver.start("watch")
        for watch in (slow, quick):
            watch.await_event("an event", lambda event: True)
        for status in ("DATA_PROCESSING", "TRAINING_INITIATED", "FAILED"):
            for name in names:
                self.set_status(name, status)
        for watch in (quick, slow):
            for name in names:
                watch.await_event(f"{name} FAILED", lambda event, name=name: event.get("name") == name and
                                  event["state"] == "FAILED", seconds=90)
            self.assert_told_once(watch.events)

    def test_local_filters_say_when_a_job_leaves(self):
        self.world(time_scale=0)
        name = self.submit()["fine_tune"]["name"]
        watch = self.driver.start("watch", state="QUEUED")
        watch.await_event("the job", lambda event: event.get("name") == name)
        self.set_status(name, "TRAINING_INITIATED")
        left = watch.await_event("its leaving", lambda event: event["kind"] == "left")
        self.assertEqual(left["name"], name)
        self.driver.call("cancel", target=watch.id)
        self.assertEqual(watch.result(), {})

    def test_a_download_that_breaks_twenty_times_is_whole(self):
        self.world(emulator_flags=("--weights_bytes", "4000000"))
        made = self.submit()["fine_tune"]
        done = self.driver.call("wait", name=made["name"], until="AVAILABLE", timeout=60)["fine_tune"]
        self.emulator.fault("weights_get", "short_body", fraction=0.1, count=20)
        path = self.folder / "weights.safetensors"
        path.write_bytes(b"the old file")
        fetched = self.driver.call("download", seconds=240, name=made["name"], path=str(path))
        expected = self.emulator.call("GET", f"/emulator/weights/{done['upstreamId']}")
        self.assertEqual(hashlib.sha256(path.read_bytes()).hexdigest(), expected["sha256"])
        self.assertEqual((int(fetched["size_bytes"]), fetched["sha256"]), (path.stat().st_size, expected["sha256"]))

    def test_a_download_takes_the_place_of_nothing_but_a_file(self):
        self.world()
        made = self.submit()["fine_tune"]
        self.driver.call("wait", name=made["name"], until="AVAILABLE", timeout=60)
        os.mkfifo(self.folder / "pipe")
        with self.assertRaises(CallFailed):
            self.driver.call("download", name=made["name"], path=str(self.folder / "pipe"))
        self.assertTrue(stat.S_ISFIFO(os.stat(self.folder / "pipe").st_mode))
        self.assertFalse((self.folder / "pipe.part").exists())

    def test_a_download_goes_on_in_another_process(self):
        self.world(emulator_flags=("--weights_bytes", "4000000"))
        made = self.submit()["fine_tune"]
        self.driver.call("wait", name=made["name"], until="AVAILABLE", timeout=60)
        self.emulator.fault("weights_get", "slow_storage", bytes_per_second=1_500_000, count=-1)
        path = self.folder / "weights.safetensors"
        path.write_bytes(b"the old file")
        first = Driver(CLIENT)
        try:
            first.call("connect", target=self.gateway.address)
            first.start("download", name=made["name"], path=str(path))
            part = self.folder / "weights.safetensors.part"
            wait_until("some bytes", lambda: part.exists() and part.stat().st_size > 500_000)
        finally:
            first._process.kill()
            first._process.wait(20)
            first.close()
        self.assertEqual(path.read_bytes(), b"the old file")
        self.emulator.clear_faults()
        fetched = self.driver.call("download", name=made["name"], path=str(path))
        self.assertGreater(int(fetched["resumed_bytes"]), 0)
        self.assertEqual(hashlib.sha256(path.read_bytes()).hexdigest(), fetched["sha256"])

    def test_weights_that_are_not_there_yet_are_a_typed_error_and_leave_the_old_file(self):
        self.world(time_scale=0)
        made = self.submit()["fine_tune"]
        path = self.folder / "weights.safetensors"
        path.write_bytes(b"the old file")
        error = self.driver.fails("download", name=made["name"], path=str(path))
        self.assertEqual((error["code"], error["reason"]), ("FAILED_PRECONDITION", "WEIGHTS_NOT_READY"))
        self.assertEqual(path.read_bytes(), b"the old file")

    def test_every_reason_comes_as_a_typed_error(self):
        with FakeGateway() as fake:
            self.driver.call("connect", target=fake.address)
            for reason, (code, retry) in FakeGateway.REASONS.items():
                error = self.driver.fails("get", name=f"fineTunes/{reason}", timeout=10)
                self.assertEqual((error["code"], error["reason"]), (code.name, reason))
                self.assertIn(reason.lower(), error["message"])
                self.assertEqual(error.get("violations") or [], [{"field": "name", "description": "is bad"}] if reason == "INVALID_FIELD" else [])
                self.assertEqual(error.get("quota") or [], [{"subject": "me", "description": "spent"}] if reason == "CLIENT_QUOTA_EXCEEDED" else [])
                if retry:
                    self.assertAlmostEqual(error["retry_delay"], 0.25)
            error = self.driver.fails("get", name="fineTunes/plain", timeout=10)
            self.assertEqual((error["code"], error.get("reason") or ""), ("UNKNOWN", ""))

    def test_a_submit_is_repeated_as_the_gateway_asks(self):
        with FakeGateway() as fake:
            self.driver.call("connect", target=fake.address)
            fake.refuse_creates = 3
            began = time.monotonic()
            made = self.driver.call("submit", fine_tune=job(), timeout=30)
            self.assertGreaterEqual(time.monotonic() - began, 0.7)
            self.assertEqual(len(fake.creates), 4)
            self.assertEqual(set(fake.creates), {made["request_id"]})
            fake.refuse_creates = 10**6
            error = self.driver.fails("submit", fine_tune=job(), timeout=1.5)
            self.assertEqual(error["code"], "RESOURCE_EXHAUSTED")
            self.assertEqual(error["request_id"], fake.creates[-1])

    def test_invalid_input_says_where(self):
        self.world()
        error = self.driver.fails("submit", fine_tune=job(labels={"bad key!": "v"}))
        self.assertEqual((error["code"], error["reason"]), ("INVALID_ARGUMENT", "INVALID_FIELD"))
        self.assertTrue(any(v["field"].startswith("fine_tune.labels") for v in error["violations"]), error)
        self.assertEqual(self.driver.fails("get", name="fineTunes/none")["reason"], "FINE_TUNE_NOT_FOUND")
        made = self.submit()["fine_tune"]
        error = self.driver.fails("update", name=made["name"], labels={"a": "1"}, etag="0")
        self.assertEqual((error["code"], error["reason"]), ("ABORTED", "ETAG_MISMATCH"))

    def test_a_gateway_that_is_away_at_the_start_is_waited_for(self):
        self.world(connect=False)
        self.gateway.kill()
        self.driver.call("connect", target=self.gateway.address)
        get = self.driver.start("status")
        submit = self.driver.start("submit", fine_tune=job(), timeout=60)
        watch = self.driver.start("watch")
        time.sleep(1.5)
        self.restart()
        made = submit.result()
        self.assertEqual(get.result()["status"]["version"][:1].isdigit(), True)
        watch.await_event("the job", lambda event: event.get("name") == made["fine_tune"]["name"])
        self.assertEqual(len(self.emulator.submits()), 1)

    def test_a_transfer_does_not_wait_for_ever_for_a_connection(self):
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            target = "127.0.0.1:%d" % nobody.getsockname()[1]
            self.driver.call("connect", target=target, connect_timeout=1)
            for op, fields in (("upload", {"path": str(dataset(self.folder / "cats.zip"))}),
                               ("download", {"name": "fineTunes/x", "path": str(self.folder / "weights")})):
                error = self.driver.fails(op, seconds=20, **fields)
                self.assertEqual(error["code"], "UNAVAILABLE")
                self.assertRegex(error["message"], f"could not connect to {target} in 1[0-9.]* s")

    @unittest.skipIf(CLIENT == "cpp", "its library does not look for the reason; the command line does")
    def test_a_gateway_that_cannot_be_reached_is_given_up_with_the_reason(self):
        certificates = credentials.Certificates(self.folder / "tls", "art")
        credentials.Certificates(self.folder / "other")
        ca = str(certificates.folder / "ca.crt")
        self.world(connect=False)
        plain = self.gateway.address
        encrypted, mutual = (
            self.start_gateway(self.emulator, *certificates.flags(mutual=mutual), "--store", f"sqlite:{self.folder}/{mutual}.db").address
            for mutual in (False, True))
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            refusing = "127.0.0.1:%d" % nobody.getsockname()[1]
            for target, settings, words in (
                    (refusing, {}, "connection refused"),
                    (refusing, {"tls_ca": ca}, "connection refused"),
                    ("nowhere.invalid:50051", {}, "no host|proxy"),
                    (plain, {"tls_ca": ca}, "does not speak TLS"),
                    (encrypted, {}, "it speaks TLS"),
                    (encrypted, {"tls_ca": str(self.folder / "other/ca.crt")}, "is not signed by an authority"),
                    (encrypted, {"tls_ca": ca, "tls_server_name": "other.example"}, "is not for other.example"),
                    (mutual, {"tls_ca": ca}, "asks for a client certificate")):
                with self.subTest(words=words, target=target):
                    self.assert_given_up(target, settings, words)
        # And with what was missing it works, without a word of warning.
        self.driver.call("connect", target=encrypted, tls_ca=ca)
        self.assertTrue(self.driver.call("status")["status"]["version"])
        self.assertNotIn("Warning", self.driver.errors())

    def assert_given_up(self, target, settings, words):
        """By transfers and waits, which have no time of their own, as by calls whose time is up."""
        self.driver.call("connect", target=target, connect_timeout=1, **settings)
        begun = time.monotonic()
        calls = {
            "upload": self.driver.start("upload", path=str(dataset(self.folder / "cats.zip"))),
            "download": self.driver.start("download", name="fineTunes/x", path=str(self.folder / "weights")),
            "wait": self.driver.start("wait", name="fineTunes/x", until="AVAILABLE"),
            "submit": self.driver.start("submit", fine_tune=job(), timeout=1),
        }
        for op, call in calls.items():
            error = call.error(20)
            self.assertIn(error["code"], ("UNAVAILABLE", "DEADLINE_EXCEEDED") if op == "submit" else ("UNAVAILABLE",), op)
            self.assertRegex(error["message"], f"could not connect to {target} in [0-9.]+ s: .*({words})", op)
        self.assertLess(time.monotonic() - begun, 15)

    def test_a_wait_outlasts_restarts_and_ends_in_time(self):
        self.world(time_scale=0)
        made = self.submit()["fine_tune"]
        error = self.driver.fails("wait", name=made["name"], until="AVAILABLE", timeout=1)
        self.assertEqual(error["code"], "WAIT_TIMEOUT")
        wait = self.driver.start("wait", name=made["name"], until="TRAINED", timeout=90)
        time.sleep(0.5)
        self.gateway.kill()
        self.restart()
        self.set_status(made["name"], "AVAILABLE")
        self.assertEqual(wait.result(90)["fine_tune"]["state"], "AVAILABLE")

    def test_cancelled_and_closed_calls_end_at_once(self):
        self.world(time_scale=0)
        made = self.submit()["fine_tune"]
        watch = self.driver.start("watch")
        watch.await_event("SYNCED", lambda event: event["kind"] == "synced")
        self.driver.call("cancel", seconds=10, target=watch.id)
        self.assertEqual(watch.result(10), {})
        wait_until("the stream to end", lambda: self.watchers() == 0)
        wait = self.driver.start("wait", name=made["name"], until="AVAILABLE", timeout=300)
        other = self.driver.start("watch")
        other.await_event("SYNCED", lambda event: event["kind"] == "synced")
        self.driver.call("close", seconds=15)
        self.assertEqual(wait.error(15)["code"], "CANCELLED")
        wait_until("the streams to end", lambda: self.watchers() == 0)

    def watchers(self):
        return self.gateway.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=10).watcher_count

    def test_a_thousand_watches_share_one_stream_and_leave_none(self):
        self.world(time_scale=0)
        names = [self.submit()["fine_tune"]["name"] for _ in range(4)]
        kept = self.driver.start("watch")
        kept.await_event("SYNCED", lambda event: event["kind"] == "synced")
        for _ in range(50):
            watches = [self.driver.start("watch", names=[names[n % 4]]) for n in range(20)]
            for watch in watches:
                watch.await_event("SYNCED", lambda event: event["kind"] == "synced")
            self.assertEqual(self.watchers(), 1)
            for cancel in [self.driver.start("cancel", target=watch.id) for watch in watches]:
                cancel.result()
            for watch in watches:
                kinds = [event["kind"] for event in watch.events]
                self.assertEqual((kinds[:2], set(kinds[2:]) - {"updated"}), (["snapshot", "synced"], set()))
        self.driver.call("cancel", target=kept.id)
        wait_until("the stream to end", lambda: self.watchers() == 0)
        # And it can begin anew.
        again = self.driver.start("watch")
        again.await_event("SYNCED", lambda event: event["kind"] == "synced")

    def policy_of(self, *callers):
        return credentials.write_policy(self.folder / "policy.json", callers)

    def test_tls_with_a_client_certificate_that_is_replaced_under_a_watch(self):
        made = credentials.Certificates(self.folder / "tls", "art", "search")
        caller = lambda name: credentials.caller(name, "SUBMITTER", dns_names=[name], sees_all_jobs=True)  # noqa: E731
        policy = self.policy_of(caller("art"))
        mine = self.folder / "mine"
        mine.mkdir()

        def become(name):
            for kind in ("key", "crt"):
                draft = mine / f"new.{kind}"
                draft.write_bytes((made.folder / f"{name}.{kind}").read_bytes())
                draft.rename(mine / f"me.{kind}")

        become("art")
        self.world(*made.flags(mutual=True), "--policy_file", policy, time_scale=0, connect=False)
        # Its own stub speaks no TLS.
        self.driver.call("connect", target=self.gateway.address, tls_ca=str(made.folder / "ca.crt"), tls_cert=str(mine / "me.crt"),
                         tls_key=str(mine / "me.key"), tls_server_name="localhost")
        watch = self.driver.start("watch")
        watch.await_event("SYNCED", lambda event: event["kind"] == "synced")
        first = self.submit()["fine_tune"]
        self.assertEqual(first["creator"], "art")
        watch.await_event("the first job", lambda event: event.get("name") == first["name"])
        # Half a pair must not spoil anything.
        (mine / "me.crt").write_bytes(b"")
        self.assertEqual(self.driver.call("get", name=first["name"])["fine_tune"]["name"], first["name"])
        become("search")
        self.policy_of(caller("search"))
        second = self.submit_as_soon_as_let_in("search")
        watch.await_event("the second job", lambda event: event.get("name") == second["name"], seconds=90)
        self.assert_told_once(watch.events)

    def submit_as_soon_as_let_in(self, name):
        """A job that was made as this caller: files and access are judged anew within seconds of a change."""
        for _ in range(60):
            pending = self.driver.start("submit", fine_tune=job(name="later"), timeout=20)
            with contextlib.suppress(CallFailed):
                if pending.result()["fine_tune"]["creator"] == name:
                    return pending.result()["fine_tune"]
            time.sleep(0.5)
        raise AssertionError(f"never let in as {name}: {pending._answer}")

    def test_a_token_that_is_replaced_under_a_watch(self):
        old, new = "old-token-0123456789abcdef", "new-token-0123456789abcdef"
        policy = self.policy_of(credentials.caller("art", "SUBMITTER", old))
        token_file = self.folder / "token"
        token_file.write_text(old + "\n")
        self.world("--policy_file", policy, time_scale=0, connect=False)
        self.driver.call("connect", target=self.gateway.address, token_file=str(token_file))
        watch = self.driver.start("watch")
        watch.await_event("SYNCED", lambda event: event["kind"] == "synced")
        draft = self.folder / "token.new"
        draft.write_text("\ufeff" + new + "\n", encoding="utf-8")
        draft.rename(token_file)
        self.policy_of(credentials.caller("art", "SUBMITTER", new))
        made = self.submit_as_soon_as_let_in("art")
        watch.await_event("the job", lambda event: event.get("name") == made["name"], seconds=90)
        token_file.write_text("wrong-token-0123456789abcdef")
        wait_until("a refusal", lambda: self.refusal() == ("UNAUTHENTICATED", "CREDENTIALS_INVALID"))

    def refusal(self):
        with contextlib.suppress(CallFailed):
            pending = self.driver.start("status")
            return pending.result() and None
        return pending.error()["code"], pending.error()["reason"]

    @unittest.skipIf(CLIENT in ("cpp", "python-aio"), "its first program is a test of its own, or another client's")
    def test_the_first_program_of_the_readme_does_the_whole_job(self):
        certificates = credentials.Certificates(self.folder / "tls", "art")
        here = self.folder / "here"
        (here / "cats").mkdir(parents=True)
        with zipfile.ZipFile(dataset(self.folder / "cats.zip")) as archive:
            archive.extractall(here / "cats")
        (here / "ca.crt").write_bytes((certificates.folder / "ca.crt").read_bytes())
        (here / "token").write_text("some-token-0123456789abcdef")
        policy = self.policy_of(credentials.caller("art", "SUBMITTER", "some-token-0123456789abcdef"))
        self.world(*certificates.flags(mutual=False), "--policy_file", policy, time_scale=400, connect=False)
        snippet = first_snippet(CLIENT).replace("finetune-gateway:50051", f"localhost:{self.gateway.address.rsplit(':', 1)[1]}")
        command = first_program(CLIENT, here, snippet)
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=180, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("Warning", done.stderr)
        weights = self.emulator.call("GET", f"/emulator/weights/{self.emulator.jobs()[0]['id']}")
        self.assertEqual(hashlib.sha256((here / "cats.safetensors").read_bytes()).hexdigest(), weights["sha256"])

    def test_settings_that_cannot_work_are_refused_with_a_reason(self):
        token = self.folder / "token"
        token.write_text("some-token-0123456789abcdef")
        for settings, words in (
                ({"target": ""}, "empty"), ({"target": "https://gateway:443"}, "https://"),
                ({"target": "127.0.0.1"}, "HOST:PORT"), ({"target": "gateway"}, "HOST:PORT"), ({"target": "[::1]"}, "HOST:PORT"),
                ({"target": "dns:///gateway"}, "HOST:PORT"),
                ({"target": "127.0.0.1:1", "tls_cert": "/nowhere"}, "key"),
                ({"target": "127.0.0.1:1", "tls_ca": "/nowhere"}, "/nowhere"),
                ({"target": "gateway.example:1", "token_file": str(token)}, "encryption")):
            error = self.driver.fails("connect", **settings)
            self.assertEqual(error["code"], "LOCAL")
            self.assertIn(words, error["message"])


def first_snippet(client):
    """The first program of a client's README, whole."""
    readme = (SOURCE / "client" / client / "README.md").read_text()
    return re.search(r"```(?:cpp|go|java|python|ts)\n(.*?)```", readme, re.S).group(1)


def first_program(client, folder, snippet):
    """Makes a program of a README's first snippet; the command that runs it."""
    built = pathlib.Path(os.environ["FINETUNE_BIN"]) / "clients"
    if client == "python":
        (folder / "first.py").write_text(snippet)
        return ["env", f"PYTHONPATH={SOURCE}/client/python/src", sys.executable, "first.py"]
    if client == "typescript":
        install_as_the_readme_says(folder)
        (folder / "first.mjs").write_text(snippet)
        return ["node", "first.mjs"]
    if client == "go":
        program = folder / "program"
        program.mkdir()
        (program / "main.go").write_text(snippet)
        module = (HERE / "go/go.mod").read_text().replace("../../../client/go", str(SOURCE / "client/go"))
        (program / "go.mod").write_text(module)
        (program / "go.sum").write_text((HERE / "go/go.sum").read_text())
        return ["sh", "-c", "cd program && go build -o ../first . && cd .. && ./first"]
    (folder / "First.java").write_text(snippet)
    jars = f"{built}/java/client/target/finetune-gateway-client-0.1.0.jar:{built}/java/client/target/lib/*"
    return ["java", "-cp", jars, "First.java"]


def install_as_the_readme_says(folder):
    """The npm package, from a copy of the client as a clone has it."""
    shutil.copytree(SOURCE / "client/typescript", folder / "client/typescript", ignore=shutil.ignore_patterns("node_modules", "dist", "*.tgz"))
    readme = (folder / "client/typescript/README.md").read_text()
    for line in re.findall(r"^    (.*npm .*)$", readme, re.M):
        subprocess.run(["bash", "-c", line], cwd=folder, check=True, capture_output=True, text=True, timeout=300)


class FakeGateway(rpc.FineTuneServiceServicer):
    """Fails calls in every way that there is."""

    REASONS = {
        "INVALID_FIELD": (grpc.StatusCode.INVALID_ARGUMENT, False), "REQUEST_ID_REUSED": (grpc.StatusCode.INVALID_ARGUMENT, False),
        "PAGE_TOKEN_INVALID": (grpc.StatusCode.INVALID_ARGUMENT, False), "RESUME_TOKEN_INVALID": (grpc.StatusCode.INVALID_ARGUMENT, False),
        "RESUME_TOKEN_EXPIRED": (grpc.StatusCode.OUT_OF_RANGE, False), "FINE_TUNE_NOT_FOUND": (grpc.StatusCode.NOT_FOUND, False),
        "ETAG_MISMATCH": (grpc.StatusCode.ABORTED, False), "WEIGHTS_NOT_READY": (grpc.StatusCode.FAILED_PRECONDITION, False),
        "UPSTREAM_REJECTED": (grpc.StatusCode.INVALID_ARGUMENT, False),
        "UPSTREAM_CREDITS_EXHAUSTED": (grpc.StatusCode.RESOURCE_EXHAUSTED, False),
        "UPSTREAM_RATE_LIMITED": (grpc.StatusCode.RESOURCE_EXHAUSTED, True),
        "UPSTREAM_CREDENTIAL_REJECTED": (grpc.StatusCode.INTERNAL, False), "UPSTREAM_RETIRED": (grpc.StatusCode.FAILED_PRECONDITION, False),
        "UPSTREAM_UNAVAILABLE": (grpc.StatusCode.UNAVAILABLE, True), "UPSTREAM_MALFORMED": (grpc.StatusCode.INTERNAL, False),
        "CLIENT_QUOTA_EXCEEDED": (grpc.StatusCode.RESOURCE_EXHAUSTED, True), "CREDENTIALS_MISSING": (grpc.StatusCode.UNAUTHENTICATED, False),
        "CREDENTIALS_INVALID": (grpc.StatusCode.UNAUTHENTICATED, False), "ROLE_NOT_ALLOWED": (grpc.StatusCode.PERMISSION_DENIED, False),
        "SERVER_DRAINING": (grpc.StatusCode.UNAVAILABLE, True), "CHECKSUM_MISMATCH": (grpc.StatusCode.DATA_LOSS, False),
        "STORE_UNAVAILABLE": (grpc.StatusCode.UNAVAILABLE, True), "OVERLOADED": (grpc.StatusCode.RESOURCE_EXHAUSTED, True),
        "ACCESS_CHANGED": (grpc.StatusCode.UNAVAILABLE, True), "ISSUER_KEYS_UNAVAILABLE": (grpc.StatusCode.UNAVAILABLE, True),
        "WEIGHTS_CHANGED": (grpc.StatusCode.ABORTED, False),
    }

    def __init__(self):
        self.creates = []
        self.refuse_creates = 0

    def __enter__(self):
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        rpc.add_FineTuneServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(None).wait(10)

    def fail(self, context, reason, message):
        code, retry = self.REASONS[reason]
        status = error_details_pb2.Status(code=code.value[0], message=message)

        def add(kind, detail):
            status.details.add(type_url=f"type.googleapis.com/google.rpc.{kind}", value=detail.SerializeToString())

        add("ErrorInfo", error_details_pb2.ErrorInfo(reason=reason, domain="segmind-finetune-gateway"))
        if retry:
            info = error_details_pb2.RetryInfo()
            info.retry_delay.FromMilliseconds(250)
            add("RetryInfo", info)
        if reason == "INVALID_FIELD":
            bad = error_details_pb2.BadRequest()
            bad.field_violations.add(field="name", description="is bad")
            add("BadRequest", bad)
        if reason == "CLIENT_QUOTA_EXCEEDED":
            quota = error_details_pb2.QuotaFailure()
            quota.violations.add(subject="me", description="spent")
            add("QuotaFailure", quota)
        # One that no client knows.
        add("LocalizedMessage", error_details_pb2.ErrorInfo(reason="?"))
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, message)

    def GetFineTune(self, request, context):
        reason = request.name.removeprefix("fineTunes/")
        if reason == "plain":
            context.abort(grpc.StatusCode.UNKNOWN, "something went wrong")
        self.fail(context, reason, f"this is {reason.lower()}")

    def CreateFineTune(self, request, context):
        self.creates.append(request.request_id)
        if self.refuse_creates > 0:
            self.refuse_creates -= 1
            self.fail(context, "OVERLOADED", "too much")
        return ft.FineTune(name="fineTunes/x", state=State.Value("QUEUED"))


class Contract(unittest.TestCase):
    def test_every_first_program_has_at_most_15_lines_from_import_to_weights(self):
        for client in ("cpp", "go", "java", "python", "typescript"):
            program = first_snippet(client)
            self.assertRegex(program, r"(?m)^(#include|import|from)\b", client)
            self.assertRegex(program, r"(?i)download\(", client)
            lines = [line for line in program.splitlines() if line.strip() and not line.startswith("package ")]
            self.assertLessEqual(len(lines), 15, client)

    def test_the_fake_gateway_knows_every_reason(self):
        self.assertEqual(set(FakeGateway.REASONS), set(svc.ErrorReason.Reason.keys()) - {"REASON_UNSPECIFIED"})


if __name__ == "__main__":
    unittest.main()
