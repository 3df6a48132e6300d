"""SIGTERM at any moment, with callers of every patience: exit code 0, in time, and no job twice.

FINETUNE_NIGHTLY: a hundred times.
"""

import os
import random
import threading
import time
import unittest
import uuid

import grpc
from google.protobuf import duration_pb2

from harness import EndToEnd, State, job, reason_of, svc, wait_until

TIMES = 100 if os.environ.get("FINETUNE_NIGHTLY") else 5
SEED = int(os.environ.get("FINETUNE_SEED", random.randrange(1 << 30)))
DRAIN_TIME = 2
PATIENCE = (0.5, 2, 10, 600, 3600)


class Sigterm(EndToEnd):
    def setUp(self):
        super().setUp()
        self.emulator = self.start_emulator("--check_datasets=false", time_scale=2000)

    def start(self, *flags):
        return self.start_gateway(self.emulator, "--drain_time", f"{DRAIN_TIME}s", "--submit_timeout", "60s", *flags).ready()

    def end(self, gateway):
        """Ends it, and returns how long that took."""
        began = time.monotonic()
        self.assertEqual(gateway.terminate(60), 0, gateway.log[-3000:])
        took = time.monotonic() - began
        self.assertLess(took, 2 * DRAIN_TIME + 2, gateway.log[-3000:])
        return took

    def create(self, gateway, seconds, answers, request_id=None):
        request = svc.CreateFineTuneRequest(request_id=request_id or str(uuid.uuid4()), fine_tune=job(
            f"{self.emulator.url}/cats.zip", name=f"job-{uuid.uuid4().hex[:8]}"))

        def call():
            try:
                answers.append(gateway.stub.CreateFineTune(request, timeout=seconds))
            except (grpc.RpcError, ValueError) as error:
                answers.append(error)

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        return thread

    def test_a_create_whose_answer_does_not_come_is_told_what_is_known(self):
        gateway = self.start()
        self.emulator.fault("submit", "stall", ms=600000)
        answers = []
        thread = self.create(gateway, 600, answers)
        wait_until("the submit", lambda: self.emulator.calls("submit") == 1)
        self.end(gateway)
        thread.join(5)
        self.assertEqual(answers[0].state, State.SUBMIT_UNKNOWN, answers)

    def test_a_lost_submission_does_not_hold_up_the_end(self):
        gateway = self.start("--settle_time", "10m")
        self.emulator.fault("submit", "close_before")
        answers = []
        thread = self.create(gateway, 600, answers)
        wait_until("the loss", lambda: 'finetune_gateway_unsettled_submissions 1' in gateway.admin("/metrics")[1])
        self.end(gateway)
        thread.join(5)
        self.assertEqual(answers[0].state, State.SUBMIT_UNKNOWN, answers)

    def test_calls_that_wait_for_the_rate_limit_end(self):
        gateway = self.start("--upstream_calls_per_minute", "1", "--idle_poll_interval", "1h", "--active_poll_interval", "1h")
        answers = []
        threads = [self.create(gateway, 600, answers) for _ in range(5)]
        time.sleep(0.5)
        self.end(gateway)
        for thread in threads:
            thread.join(5)
        self.assertEqual(len(answers), 5)
        self.assertLessEqual(self.emulator.calls("submit"), 1)

    def test_at_any_moment(self):
        chance = random.Random(SEED)
        print(f"\nFINETUNE_SEED={SEED}", flush=True)
        longest = 0.0
        for _ in range(TIMES):
            gateway = self.start()
            for kind, more in chance.sample([("lost_answer", {}), ("latency", {"ms": 3000}), ("stall", {"ms": 600000}),
                                             ("close_before", {}), ("status", {"code": 503})], 3):
                self.emulator.fault("submit", kind, **more)
            if chance.random() < 0.3:
                self.emulator.fault("list", "stall", ms=600000, count=-1)
            answers = []
            threads = [self.create(gateway, chance.choice(PATIENCE), answers) for _ in range(8)]
            for _ in range(4):
                threads.append(self.reader(gateway, chance.choice(PATIENCE), chance.random() < 0.5))
            time.sleep(chance.uniform(0, 1.5))
            longest = max(longest, self.end(gateway))
            for thread in threads:
                thread.join(10)
                self.assertFalse(thread.is_alive(), "a caller hears nothing")
            for answer in answers:
                if isinstance(answer, grpc.RpcError):
                    self.assertIn(answer.code(), (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED,
                                                  grpc.StatusCode.CANCELLED), (reason_of(answer), answer.details()))
            self.emulator.clear_faults()
        self.assertFalse(self.emulator.call("GET", "/emulator/duplicates"))
        print(f"{TIMES} ends, the longest after {longest:.1f} s", flush=True)

    def reader(self, gateway, seconds, waits):
        def call():
            try:
                if waits:
                    for listed in gateway.stub.ListFineTunes(svc.ListFineTunesRequest(), timeout=5).fine_tunes[:1]:
                        gateway.stub.WaitFineTune(svc.WaitFineTuneRequest(name=listed.name), timeout=seconds)
                else:
                    gateway.stub.ListFineTunes(svc.ListFineTunesRequest(freshness=svc.Freshness(
                        max_staleness=duration_pb2.Duration())), timeout=seconds)
            except (grpc.RpcError, ValueError):
                pass

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        return thread


if __name__ == "__main__":
    unittest.main()
