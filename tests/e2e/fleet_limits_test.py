"""Limits that cost money hold across replicas: a caller's creates a day, and the account's calls a minute, whoever dies."""

import os
import pathlib
import random
import tempfile
import threading
import time
import unittest
import uuid

import grpc

import credentials
import fleet_world
from fleet_world import FleetWorld
from harness import Emulator, EndToEnd, job, svc
from quota_test import TOKEN, bearer

NIGHTLY = bool(os.environ.get("FINETUNE_NIGHTLY"))
# More than a minute, so that the window slides.
SECONDS = 600 if NIGHTLY else 75
BUDGET = 20
CALLS_A_MINUTE = 60


@unittest.skipIf(fleet_world.missing(), fleet_world.missing())
class Limits(EndToEnd):
    def test_a_budget_and_the_accounts_limit_hold_over_three_replicas(self):
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        emulator = Emulator(folder, "--check_datasets=false", time_scale=0)
        self.processes.append(emulator)
        policy = credentials.write_policy(folder / "policy.json", [
            credentials.caller("spender", "SUBMITTER", TOKEN, limits={"creates_per_day": BUDGET})])
        world = FleetWorld(folder, emulator, "--policy_file", policy, "--upstream_calls_per_minute", CALLS_A_MINUTE)
        self.addCleanup(world.end)
        world.start_all()
        allowed = CALLS_A_MINUTE * (1 if world.has_leader() else 3)
        stop = threading.Event()
        refused, made = [0], [0]

        def hammer(number):
            chance = random.Random(number)
            while not stop.is_set():
                request_id = str(uuid.uuid4())
                try:
                    chance.choice(world.replicas).stub.CreateFineTune(svc.CreateFineTuneRequest(
                        request_id=request_id, fine_tune=job(name=f"job-{request_id[:8]}")), timeout=20, metadata=bearer(TOKEN))
                    made[0] += 1
                except grpc.RpcError as error:
                    refused[0] += error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
                    stop.wait(chance.uniform(0.05, 0.3))

        def read(number):
            """Asks for the freshest there is: as many calls to Segmind as it may."""
            chance = random.Random(number)
            while not stop.is_set():
                try:
                    chance.choice(world.replicas).stub.ListFineTunes(svc.ListFineTunesRequest(
                        freshness=svc.Freshness(max_staleness={"seconds": 0})), timeout=10, metadata=bearer(TOKEN))
                except grpc.RpcError:
                    stop.wait(0.1)

        threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(6) for work in (hammer, read)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(SECONDS / 5)
            replica = random.choice(world.replicas)
            replica.end()
            replica.start()
        stop.set()
        for thread in threads:
            thread.join(30)
        stats = emulator.call("GET", "/emulator/stats")
        busiest = stats["most_api_calls_in_a_minute"]
        print(f"\n{len(emulator.submits())} jobs of a budget of {BUDGET}, {refused[0]} creates refused; Segmind's busiest minute had {busiest} calls of "
              f"{allowed}", flush=True)
        self.assertLessEqual(len(emulator.submits()), BUDGET)
        self.assertGreaterEqual(len(emulator.submits()), BUDGET // 2)
        self.assertGreater(refused[0], 0)
        self.assertLessEqual(busiest, allowed)
        self.assertGreater(busiest, allowed // 2, "it was not tried hard enough")
        self.assertEqual(emulator.call("GET", "/emulator/duplicates"), [])
        self.assertEqual(world.wrong, [])


if __name__ == "__main__":
    unittest.main()
