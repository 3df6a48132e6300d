"""Answers to submissions are lost at a Segmind that renames jobs, pages its lists, has a clock of its own, says its states in other
words, and shows copies of jobs: no submission is made twice, and what cannot be told is said."""

import json
import time
import unittest
import uuid

from harness import EndToEnd, State, ft, job, svc, wait_until

SETTLE = ("--settle_lists", "3", "--settle_time", "1s", "--submit_timeout", "2s", "--active_poll_interval", "100ms",
          "--idle_poll_interval", "300ms")
MANGLINGS = ("upper", "title", "lower", "cut:20", "underscore", "space", "plain", "suffix:-v1", "prefix:user7/", "upper,cut:20",
             "cut:6", "title,space,suffix:_v1")


class LostSubmission(EndToEnd):
    def setUp(self):
        super().setUp()
        self.emulator = self.start_emulator("--check_datasets=false", time_scale=0)

    def settings(self, **settings):
        self.emulator.call("POST", "/emulator/settings", settings)

    def start(self, *flags):
        self.gateway = self.start_gateway(self.emulator, *SETTLE, *flags).ready()
        return self.gateway

    def create(self, request_id=None, seconds=15, name="a name that is rather long"):
        return self.gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(
            request_id=request_id or str(uuid.uuid4()), fine_tune=job(f"{self.emulator.url}/cats.zip", name=name)), timeout=seconds)

    def now(self, name):
        return self.gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=name), timeout=5)

    def metric(self, name):
        text = self.gateway.admin("/metrics")[1]
        return float(next(line.split()[-1] for line in text.splitlines() if line.startswith(name + " ")))

    def check_found(self, found):
        self.assertEqual(found.state, State.QUEUED, State.Name(found.state))
        self.assertEqual(found.upstream_id, self.emulator.submits()[-1]["id"])
        self.assertEqual(found.display_name, "a name that is rather long")

    def test_names_are_changed(self):
        for flags in ((), ("--markers=false",)):
            self.start(*flags)
            for mangling in MANGLINGS:
                with self.subTest(flags=flags, mangling=mangling):
                    self.settings(name_mangling=mangling)
                    before = len(self.emulator.submits())
                    self.emulator.fault("submit", "lost_answer")
                    self.check_found(self.create())
                    self.assertEqual(len(self.emulator.submits()), before + 1)
            self.assertEqual(self.gateway.terminate(), 0)

    def test_clocks_differ(self):
        for flags in ((), ("--markers=false",)):
            for created, date in ((-45, -45), (45, 45), (-7200, -7200), (19800, 0)):
                with self.subTest(flags=flags, created=created, date=date):
                    self.settings(clock_offset_seconds=created, date_offset_seconds=date)
                    self.start(*flags)
                    # One that is answered says what created_ts is like.
                    answered = self.create(name="answered")
                    wait_until("its details", lambda n=answered.name: self.emulator.calls("details") > 0)
                    self.emulator.fault("submit", "lost_answer")
                    self.check_found(self.create())
                    self.assertEqual(self.gateway.terminate(), 0)

    def test_lists_are_pages(self):
        for paging in ("silent", "has_more", "total", "cursor", "next_url", "link"):
            for order in ("newest", "oldest"):
                with self.subTest(paging=paging, order=order):
                    self.emulator.call("POST", "/emulator/reset")
                    self.start("--store", f"sqlite:{self.folder}/{paging}-{order}.db")
                    known = [self.create() for _ in range(3)]
                    wait_until("all to be listed", lambda: self.metric("finetune_gateway_fine_tunes") == 3)
                    self.settings(list_page_size=2, list_paging=paging, list_order=order)
                    self.emulator.fault("submit", "lost_answer")
                    request_id = str(uuid.uuid4())
                    shown = self.create(request_id, seconds=4)
                    self.assertIn(shown.state, (State.SUBMIT_UNKNOWN, State.QUEUED))
                    # Long enough for it to be given up.
                    time.sleep(2)
                    self.assertNotEqual(self.now(shown.name).state, State.FAILED)
                    self.create(request_id, seconds=3)
                    self.assertEqual(len(self.emulator.submits()), 4, "it was submitted twice")
                    # Jobs that lists do not show go on, as fresh as their own reads.
                    self.emulator.call("POST", f"/emulator/jobs/{known[0].upstream_id}", {"status": "AVAILABLE"})
                    wait_until("a job off the page to end", lambda n=known[0].name: self.now(n).state == State.AVAILABLE)
                    self.settings(list_page_size=0)
                    wait_until("it to be found", lambda n=shown.name: self.now(n).state == State.QUEUED)
                    self.assertEqual(self.gateway.terminate(), 0)

    def test_a_copy_does_not_take_the_submission(self):
        self.start()
        self.create(name="another")
        self.emulator.fault("submit", "lost_answer")
        self.emulator.fault("submit", "list_delay", seconds=0.6)  # Shorter than --settle_time.
        request_id = str(uuid.uuid4())
        shown = self.create(request_id, seconds=1)
        original = self.emulator.submits()[-1]["id"]
        for changed in ({"instance_prompt": "a drawing of XYZ dog"}, {"data_source_path": "https://data.test/dogs.zip"},
                        {"base_model": "QWEN"}):
            self.emulator.call("POST", "/emulator/jobs", {"clone_of": original, **changed})
        self.emulator.clear_faults()
        wait_until("it to be found", lambda: self.now(shown.name).state == State.QUEUED)
        self.assertEqual(self.now(shown.name).upstream_id, original)

    def test_what_cannot_be_told_stays_unknown_and_is_said(self):
        self.start()
        self.create(name="another")
        self.emulator.fault("submit", "lost_answer")
        self.emulator.fault("list", "status", code=503, count=-1)
        shown = self.create(seconds=2)
        original = self.emulator.submits()[-1]["id"]
        self.emulator.call("POST", "/emulator/jobs", {"clone_of": original, "instance_prompt": "a drawing of XYZ dog"})
        self.emulator.call("DELETE", f"/emulator/jobs/{original}")
        self.emulator.clear_faults()
        wait_until("it to be counted", lambda: self.metric("finetune_gateway_submissions_undecided") == 1)
        time.sleep(2)
        self.assertEqual(self.now(shown.name).state, State.SUBMIT_UNKNOWN)
        audit = [json.loads(line) for line in self.gateway.log.splitlines() if "cannot be told" in line]
        self.assertEqual([line["audit"] for line in audit], [True])
        self.assertEqual(audit[0]["fine_tune"], shown.name.split("/")[1])

    def test_an_answer_names_another_job(self):
        self.start()
        first = self.create(name="first")
        self.emulator.fault("submit", "other_id")
        second = self.create()
        self.assertNotEqual(second.name, first.name)
        self.assertEqual(self.now(first.name).display_name, "first")
        wait_until("it to be found", lambda: self.now(second.name).state == State.QUEUED)
        self.assertEqual(self.now(second.name).upstream_id, self.emulator.submits()[-1]["id"])

    def test_jobs_end_in_other_words(self):
        self.start("--unknown_state_timeout", "1s")
        for word, state in (("CANCELLED", State.CANCELLED), ("canceled", State.CANCELLED), ("Aborted", State.CANCELLED),
                            ("ERROR", State.FAILED), ("training_failed", State.FAILED), ("Timed Out", State.FAILED),
                            ("EXPIRED", State.FAILED), ("COMPLETED", State.AVAILABLE), ("modelReady", State.AVAILABLE)):
            with self.subTest(word=word):
                made = self.create()
                self.emulator.call("POST", f"/emulator/jobs/{made.upstream_id}", {"status": word, "error_message": "its reason"})
                done = self.gateway.stub.WaitFineTune(svc.WaitFineTuneRequest(name=made.name), timeout=20)
                self.assertTrue(done.done)
                self.assertEqual((done.fine_tune.state, done.fine_tune.upstream_status), (state, word))
                self.assertTrue(done.fine_tune.HasField("end_time"))
                if state != State.AVAILABLE:
                    self.assertEqual(done.fine_tune.failure.message, "its reason")
        self.assertEqual(self.metric("finetune_gateway_active_fine_tunes"), 0)
        listed = self.gateway.stub.ListFineTunes(svc.ListFineTunesRequest(filter="state=CANCELLED"), timeout=5)
        self.assertEqual(len(listed.fine_tunes), 3)
        made = self.create()
        self.emulator.call("POST", f"/emulator/jobs/{made.upstream_id}", {"status": "PERCOLATING", "error_message": "it drips"})
        wait_until("the word", lambda: self.now(made.name).upstream_status == "PERCOLATING")
        shown = self.now(made.name)
        self.assertEqual((shown.state, shown.failure.message), (State.QUEUED, "it drips"))
        self.assertEqual(self.metric("finetune_gateway_unknown_states_total"), 1)
        wait_until("it to stop counting", lambda: self.metric("finetune_gateway_active_fine_tunes") == 0, seconds=10)

    def test_what_is_told_as_available_can_be_downloaded(self):
        self.settings(list_cloud_storage_url=False)
        self.start()
        made = [self.create() for _ in range(5)]
        waits = [self.gateway.stub.WaitFineTune.future(svc.WaitFineTuneRequest(name=one.name), timeout=20) for one in made]
        for one in made:
            self.emulator.call("POST", f"/emulator/jobs/{one.upstream_id}", {"status": "AVAILABLE"})
        for wait in waits:
            done = wait.result().fine_tune
            self.assertTrue(done.weights_uri and done.slug and done.inference_uri, ft.FineTune.State.Name(done.state))
            self.assertFalse(done.details_pending)


if __name__ == "__main__":
    unittest.main()
