"""The machine's clock is set, forward and back, before a start and under a running gateway: nothing that is an interval, an order or
an age may notice."""

import struct
import time
import unittest
import uuid

from google.protobuf import duration_pb2

from harness import BIN, EndToEnd, State, ft, job, svc, wait_until

HOUR = 3600


@unittest.skipUnless((BIN / "wall_clock.so").exists(), "needs the library that sets the clock")
class WallClock(EndToEnd):
    def setUp(self):
        super().setUp()
        self.clock = self.folder / "clock"
        self.ahead = 0
        self.set_clock(0)
        self.emulator = self.start_emulator("--check_datasets=false", time_scale=0)

    def set_clock(self, ahead):
        self.ahead = ahead
        with open(self.clock, "r+b" if self.clock.exists() else "wb") as file:
            file.write(struct.pack("q", ahead))

    def start(self, *flags):
        return self.start_gateway(self.emulator, "--settle_time", "1s", "--submit_timeout", "2s", *flags, env={
            "LD_PRELOAD": str(BIN / "wall_clock.so"), "WALL_CLOCK_FILE": str(self.clock)}).ready()

    def create(self, gateway, seconds=20):
        return gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(
            request_id=str(uuid.uuid4()), fine_tune=job(f"{self.emulator.url}/cats.zip", name=f"job-{uuid.uuid4().hex[:6]}")),
            timeout=seconds)

    def now(self, gateway, name):
        return gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=name), timeout=5)

    def check_all_goes_on(self, gateway):
        """A state arrives with the next poll, ages are those of the polls, and lost answers are found."""
        made = self.create(gateway)
        began = time.monotonic()
        self.emulator.call("POST", f"/emulator/jobs/{made.upstream_id}", {"status": "TRAINING_INITIATED"})
        wait_until("the state", lambda: self.now(gateway, made.name).state == State.TRAINING, seconds=10)
        self.assertLess(time.monotonic() - began, 8)
        fresh = gateway.stub.GetFineTune(svc.GetFineTuneRequest(
            name=made.name, freshness=svc.Freshness(max_staleness=duration_pb2.Duration())), timeout=10)
        age = time.time() + self.ahead - fresh.observe_time.ToMicroseconds() / 1e6
        self.assertLess(abs(age), 5)
        text = gateway.admin("/metrics")[1]
        view_age = float(next(line.split()[-1] for line in text.splitlines() if line.startswith("finetune_gateway_view_age_seconds ")))
        self.assertTrue(0 <= view_age < 10, view_age)
        before = len(self.emulator.submits())
        self.emulator.fault("submit", "lost_answer")
        found = self.create(gateway)
        self.assertEqual(found.state, State.QUEUED, ft.FineTune.State.Name(found.state))
        self.assertEqual(len(self.emulator.submits()), before + 1)
        self.emulator.call("POST", f"/emulator/jobs/{made.upstream_id}", {"status": "AVAILABLE"})
        wait_until("the end", lambda: self.now(gateway, made.name).state == State.AVAILABLE, seconds=10)

    def test_the_clock_is_set_under_a_running_gateway(self):
        for flags in ((), ("--markers=false",)):
            self.set_clock(0)
            gateway = self.start(*flags)
            for ahead in (HOUR, -HOUR, 0):
                with self.subTest(flags=flags, ahead=ahead):
                    self.set_clock(ahead)
                    self.check_all_goes_on(gateway)
            self.assertEqual(gateway.terminate(), 0)

    def test_the_clock_was_ahead_or_behind_at_the_last_run(self):
        for before in (HOUR, -HOUR):
            with self.subTest(before=before):
                self.set_clock(before)
                gateway = self.start()
                made = self.create(gateway)
                self.assertEqual(gateway.terminate(), 0)
                self.set_clock(0)
                gateway = self.start()
                self.emulator.call("POST", f"/emulator/jobs/{made.upstream_id}", {"status": "TRAINING_INITIATED"})
                wait_until("the state", lambda g=gateway, n=made.name: self.now(g, n).state == State.TRAINING, seconds=10)
                self.check_all_goes_on(gateway)
                self.assertEqual(gateway.terminate(), 0)

    def test_a_submission_that_was_lost_before_the_clock_was_set_is_found(self):
        gateway = self.start("--markers=false", "--active_poll_interval", "1h", "--idle_poll_interval", "1h")
        self.emulator.fault("submit", "lost_answer")
        self.emulator.fault("list", "status", code=503, count=-1)
        shown = self.create(gateway, seconds=3)
        self.assertEqual(shown.state, State.SUBMIT_UNKNOWN)
        gateway.kill()
        self.set_clock(-HOUR)
        self.emulator.clear_faults()
        gateway = self.start("--markers=false")
        wait_until("it to be found", lambda: self.now(gateway, shown.name).state == State.QUEUED, seconds=10)


if __name__ == "__main__":
    unittest.main()
