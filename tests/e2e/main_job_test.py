"""The main job, as a Python client made from the protos does it."""

import hashlib
import threading
import unittest
import urllib.request
import uuid

from harness import EndToEnd, State, ft, job, svc, upload, wait_until


class MainJob(EndToEnd):
    def setUp(self):
        super().setUp()
        self.emulator = self.start_emulator(time_scale=40)
        self.gateway = self.start_gateway(self.emulator).ready()
        self.emulator.call("POST", "/emulator/settings", {"webhook_url": self.gateway.webhook_url})
        self.stub = self.gateway.stub

    def test_a_job_goes_from_a_zip_to_weights_and_every_state_is_streamed(self):
        uri = upload(self.stub, self.folder)
        seen, synced, done = [], threading.Event(), threading.Event()

        def watch():
            for response in self.stub.WatchFineTunes(svc.WatchFineTunesRequest(
                    view=svc.FINE_TUNE_VIEW_FULL, delivery=svc.WatchFineTunesRequest.EVERY), timeout=120):
                kind = response.WhichOneof("event")
                if kind == "synced":
                    synced.set()
                elif kind == "change":
                    seen.append(response.change.fine_tune)
                    if response.change.fine_tune.state in (State.AVAILABLE, State.FAILED):
                        done.set()
                        return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        self.assertTrue(synced.wait(20))
        made = self.stub.CreateFineTune(svc.CreateFineTuneRequest(
            fine_tune=job(uri, labels={"team": "search"}), request_id="3f0e8b1c-6a52-4d7e-9a51-0d6f2f4c1a10"), timeout=30)
        self.assertEqual(made.state, State.QUEUED)
        self.assertTrue(made.name.startswith("fineTunes/"))
        self.assertEqual(made.display_name, "cats")
        self.assertTrue(done.wait(100), [State.Name(j.state) for j in seen])
        states = [j.state for j in seen]
        for state in (State.QUEUED, State.PREPARING, State.TRAINING, State.TRAINED, State.DEPLOYING, State.AVAILABLE):
            self.assertIn(state, states)
        self.assertEqual(states, sorted(states), "states came out of order")
        revisions = [j.revision for j in seen]
        self.assertEqual(revisions, sorted(set(revisions)))
        sources = {t.source for t in seen[-1].transitions}
        self.assertIn(ft.StateTransition.SUBMIT, sources)
        self.assertIn(ft.StateTransition.WEBHOOK, sources)

        listed = self.stub.ListFineTunes(svc.ListFineTunesRequest(filter='labels.team = "search"'), timeout=10)
        self.assertEqual([j.name for j in listed.fine_tunes], [made.name])
        self.assertEqual(listed.total_size, 1)
        public = self.stub.UpdateFineTune(svc.UpdateFineTuneRequest(
            fine_tune=ft.FineTune(name=made.name, visibility=ft.FineTune.PUBLIC), update_mask={"paths": ["visibility"]}), timeout=20)
        self.assertEqual(public.visibility, ft.FineTune.PUBLIC)
        self.assertTrue(self.emulator.jobs()[0]["public"])

        final = self.stub.GetFineTune(svc.GetFineTuneRequest(name=made.name), timeout=10)
        self.assertTrue(final.weights_uri)
        with urllib.request.urlopen(final.weights_uri, timeout=30) as answer:
            weights = answer.read()
        known = self.emulator.call("GET", f"/emulator/weights/{final.upstream_id}")
        self.assertEqual((len(weights), hashlib.sha256(weights).hexdigest()), (known["bytes"], known["sha256"]))

    def test_wait_returns_when_the_job_is_trained(self):
        uri = upload(self.stub, self.folder)
        made = self.stub.CreateFineTune(svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=job(uri)), timeout=30)
        answer = self.stub.WaitFineTune(svc.WaitFineTuneRequest(name=made.name, until=State.TRAINED), timeout=60)
        self.assertTrue(answer.done)
        self.assertGreaterEqual(answer.fine_tune.state, State.TRAINED)

    def test_a_job_made_elsewhere_is_shown_too(self):
        self.emulator.call("POST", "/emulator/jobs", {"id": "0f5c3f8a-1111-4222-8333-444455556666", "name": "elsewhere", "status": "AVAILABLE"})
        found = wait_until("the foreign job", lambda: [
            j for j in self.stub.ListFineTunes(svc.ListFineTunesRequest(), timeout=10).fine_tunes if j.display_name == "elsewhere"])
        self.assertEqual(found[0].state, State.AVAILABLE)
        self.assertEqual(found[0].creator, "")


if __name__ == "__main__":
    unittest.main()
