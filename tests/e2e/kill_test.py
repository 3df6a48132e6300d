"""SIGKILL at any moment loses nothing that a client had seen."""

import os
import random
import threading
import time
import unittest
import uuid

import grpc

from harness import EndToEnd, ft, job, svc, wait_until


class Kill(EndToEnd):
    def test_no_job_label_transition_or_revision_that_was_seen_is_lost(self):
        seed = int(os.environ.get("FINETUNE_SEED", random.randrange(1 << 30)))
        print("FINETUNE_SEED =", seed)
        rounds = 40 if os.environ.get("FINETUNE_NIGHTLY") else 8
        chance = random.Random(seed)
        emulator = self.start_emulator(time_scale=300)
        seen = {}  # name → the newest FineTune that any client saw

        def note(fine_tune):
            old = seen.get(fine_tune.name)
            if old is None or old.revision < fine_tune.revision:
                seen[fine_tune.name] = fine_tune

        for _ in range(rounds):
            gateway = self.start_gateway(emulator)
            stop = threading.Event()

            def watch(stub=gateway.stub):
                try:
                    for response in stub.WatchFineTunes(svc.WatchFineTunesRequest(view=svc.FINE_TUNE_VIEW_FULL), timeout=60):
                        if response.WhichOneof("event") == "change":
                            note(response.change.fine_tune)
                except grpc.RpcError:
                    pass

            def create(stub=gateway.stub, stop=stop):
                while not stop.is_set():
                    try:
                        note(stub.CreateFineTune(svc.CreateFineTuneRequest(
                            fine_tune=job(f"{emulator.url}/no-such.zip", name=f"job-{uuid.uuid4().hex[:6]}", labels={"k": uuid.uuid4().hex[:8]}),
                            request_id=str(uuid.uuid4())), timeout=10))
                    except grpc.RpcError:
                        return

            wait_until("the gateway to answer", gateway.answers)
            # What was seen before the kill is there after it.
            for name, old in list(seen.items()):
                new = gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=name), timeout=10)
                self.assertGreaterEqual(new.revision, old.revision)
                self.assertEqual(dict(new.labels), dict(old.labels))
                self.assertEqual(new.display_name, old.display_name)
                self.assertEqual(list(new.transitions)[:len(old.transitions)], list(old.transitions))
                if new.revision == old.revision:
                    # A get says how fresh the whole view is: that moves on.
                    new.ClearField("observe_time")
                    known = ft.FineTune.FromString(old.SerializeToString())
                    known.ClearField("observe_time")
                    self.assertEqual(new, known)
            threads = [threading.Thread(target=watch, daemon=True)] + [threading.Thread(target=create, daemon=True) for _ in range(3)]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0.05, 1.2))  # The moment of the kill is the point of this test.
            gateway.kill()
            stop.set()
            for thread in threads:
                thread.join(30)
        self.assertGreater(len(seen), rounds)
        self.assertEqual(emulator.call("GET", "/emulator/duplicates"), [])


if __name__ == "__main__":
    unittest.main()
