"""Segmind does what its documents do not say, as the emulator plays it; here to reads: lists, details, and what stands in them."""

import concurrent.futures
import datetime
import pathlib
import tempfile
import time
import unittest
import uuid

import grpc
from google.protobuf import duration_pb2, json_format

import canaries
from harness import API_KEY, EndToEnd, State, ft, job, svc, wait_until
from transfers_test import PeakMemory

FRESH = svc.Freshness(max_staleness=duration_pb2.Duration())


class ReadTricks(EndToEnd):
    def start(self, *flags, settings=None):
        self.emulator = self.start_emulator("--check_datasets=false", time_scale=0)
        if settings:
            self.set(**settings)
        self.gateway = self.start_gateway(self.emulator, *flags).ready()
        self.stub = self.gateway.stub

    def set(self, **settings):
        self.emulator.call("POST", "/emulator/settings", settings)

    def make(self, **fields):
        return self.emulator.call("POST", "/emulator/jobs", fields)

    def change(self, made, **fields):
        return self.emulator.call("POST", f"/emulator/jobs/{made['id']}", fields)

    def listed(self, fresh=True, **more):
        request = svc.ListFineTunesRequest(page_size=1000, **({"freshness": FRESH} if fresh else {}), **more)
        return self.stub.ListFineTunes(request, timeout=20).fine_tunes

    def find(self, made):
        return next((j for j in self.listed(fresh=False) if j.upstream_id == made["finetune_id"]), None)

    def when(self, made, what, condition):
        """The job, once it is so."""
        def look():
            seen = self.find(made)
            return seen if seen is not None and condition(seen) else None
        return wait_until(f"{what} of {made['name']}", look)

    def until(self, made, state):
        return self.when(made, state, lambda seen: State.Name(seen.state) == state)

    def lists(self, more):
        """Waits for so many further lists."""
        before = self.emulator.calls("list")
        wait_until(f"{more} lists", lambda: self.emulator.calls("list") >= before + more)

    def status(self):
        return self.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=10)

    def metric(self, name):
        return sum(float(line.rsplit(" ", 1)[1]) for line in self.gateway.admin("/metrics")[1].splitlines()
                   if line.split("{")[0].split(" ")[0] == name)

    def test_words_of_an_end_end_a_job(self):
        self.start()
        for word, state in (("CANCELLED", "CANCELLED"), ("canceled", "CANCELLED"), ("Cancelled By User", "CANCELLED"), ("STOPPED", "CANCELLED"),
                            ("ERROR", "FAILED"), ("TRAINING_FAILED", "FAILED"), ("EXPIRED", "FAILED"), ("TIMEOUT", "FAILED")):
            with self.subTest(word):
                made = self.make(name=word, status="TRAINING_INITIATED")
                self.until(made, "TRAINING")
                self.emulator.call("POST", f"/emulator/jobs/{made['id']}/cancel", {"status": word, "error_message": "it was not to be"})
                seen = self.until(made, state)
                self.assertEqual(seen.upstream_status, word)
                if state == "FAILED":
                    self.assertIn("it was not to be", seen.failure.message)
        wait_until("no job to count as active", lambda: self.status().active_fine_tune_count == 0)

    def test_a_word_that_nobody_knows_is_told_and_ends_no_job(self):
        self.start()
        made = self.make(name="odd", status="TRAINING_INITIATED")
        self.until(made, "TRAINING")
        self.change(made, status="POLISHING", error_message="the third time")
        seen = self.when(made, "the word", lambda seen: seen.upstream_status == "POLISHING")
        self.assertEqual(State.Name(seen.state), "TRAINING")
        self.assertIn("POLISHING", self.gateway.log)
        self.change(made, status="AVAILABLE")
        self.until(made, "AVAILABLE")

    def test_signatures_that_change_change_no_job_and_are_shown_to_nobody(self):
        for style in ("s3", "gcs", "azure", "cloudfront"):
            with self.subTest(style), tempfile.TemporaryDirectory() as folder:
                self.folder = pathlib.Path(folder)
                self.start(settings={"sign_urls": style, "private_weights": "all"})
                self.make(name="public", status="AVAILABLE", weights_bytes=1000)
                self.make(name="private", base_model="QWEN", theme="QWEN", status="AVAILABLE", weights_bytes=1000,
                          data_source_path=f"{self.emulator.url}/storage/x.zip")
                wait_until("both jobs with their weights", lambda: [bool(j.weights_uri) for j in self.listed()] == [True, True])
                self.lists(3)
                revision = self.status().revision
                self.lists(5)
                self.assertEqual(self.status().revision, revision, "a signature made a revision")
                shown = json_format.MessageToJson(self.stub.ListFineTunes(svc.ListFineTunesRequest(view=svc.FINE_TUNE_VIEW_FULL), timeout=10))
                stored = b"".join(path.read_bytes() for path in self.folder.glob("store.db*")).decode(errors="replace")
                for place in (shown, stored, self.gateway.log):
                    for part in ("X-Amz-", "X-Goog-", "sig=", "Signature="):
                        self.assertNotIn(part, place)
                for one in self.listed():
                    parts = self.stub.DownloadWeights(svc.DownloadWeightsRequest(name=one.name), timeout=20)
                    self.assertEqual(sum(len(part.chunk) for part in parts), 1000)
                self.gateway.terminate()

    def test_a_list_of_jobs_made_elsewhere_is_newest_first_in_either_order(self):
        for order in ("newest", "oldest"):
            with self.subTest(order), tempfile.TemporaryDirectory() as folder:
                self.folder = pathlib.Path(folder)
                self.start(settings={"list_order": order})
                self.emulator.call("POST", "/emulator/prefill", {"count": 60})
                wait_until("all jobs", lambda: len(self.listed()) == 60)
                wait_until("their times", lambda: not any(j.create_time_estimated for j in self.listed()), 60)
                names = [j.display_name for j in self.listed()]
                self.assertEqual(names, [f"prefilled-{i:06}" for i in reversed(range(60))])
                self.gateway.terminate()

    def test_times_are_read_in_every_usual_form_and_never_made_up(self):
        self.start()
        for form in ("rfc3339", "millis", "micros", "nanos", "offset", "no_zone", "no_seconds", "space", "rfc1123", "rfc2822", "rfc850", "asctime",
                     "epoch", "epoch_fraction", "epoch_ms", "epoch_text", "date_object", "date_number", "words", "null"):
            with self.subTest(form):
                self.set(timestamp_format=form)
                made = self.make(name=form, status="QUEUED", created_ts="2025-03-04T05:06:00Z")
                known = form not in ("words", "null")
                seen = self.when(made, "its time", lambda seen, known=known: seen.create_time_estimated != known)
                if known:
                    self.assertEqual(seen.create_time.ToDatetime(), datetime.datetime(2025, 3, 4, 5, 6))

    def test_a_page_on_details_is_no_word_on_the_key(self):
        self.start()
        self.make(name="cats", status="QUEUED")
        self.emulator.fault("details", "html", code=403, count=-1)
        states = set()
        for i in range(5):
            self.make(name=f"cats-{i}", status="QUEUED")
            self.lists(2)
            states.add(svc.GatewayStatus.UpstreamState.Name(self.status().upstream_state))
            self.assertEqual(self.gateway.admin("/readyz")[0], 200)
        self.assertNotIn("CREDENTIAL_REJECTED", states)

    def test_floods_cost_no_memory(self):
        self.start()
        self.make(name="cats", status="QUEUED")
        wait_until("the job", self.listed)
        for kind, more in (("endless_trailers", {}), ("endless_headers", {}), ("interim", {"times": 20_000_000}), ("gzip_bomb", {"bytes": 4 << 30}),
                           ("endless_headers", {"repeat": "x-a: b\r\n"}), ("raw", {"body": "HTTP/1.1 200 OK\r\n\r\n[", "repeat": " " * 1000})):
            with self.subTest(kind):
                self.emulator.fault("list", kind, **more)
                with PeakMemory(self.gateway) as memory:
                    wait_until("the flood to be over", lambda: not self.emulator.call("GET", "/emulator/faults"))
                    self.lists(2)
                self.assertLess(memory.growth, 96 << 20)
                self.assertEqual(len(self.listed()), 1)

    def test_the_key_is_shown_to_nobody_however_segmind_repeats_it(self):
        self.start()
        made = self.make(name="cats", status="TRAINING_INITIATED")
        wait_until("the job", lambda: self.find(made))
        told = []
        for form in ("", ":base64", ":percent", ":hex"):
            echo = f"{{api_key{form}}}"
            self.emulator.fault("any", "headers", headers={"x-request-id": echo}, count=-1)
            self.change(made, name=f"cats {echo}", error_message="x")
            for field in ("error_message", "name", "slug"):
                self.emulator.fault("reads", "set_field", field=field, value=f"see {echo}.", count=-1)
            self.emulator.fault("list", "set_field", field="model_information", value={"log": f"key={echo}", "more": [echo]}, count=-1)
            self.emulator.fault("list", "set_field", field="advance_parameters", value={"note": echo}, count=-1)
            self.lists(3)
            told.append(json_format.MessageToJson(self.stub.ListFineTunes(svc.ListFineTunesRequest(view=svc.FINE_TUNE_VIEW_FULL), timeout=10)))
            for body in (f'{{"error":"bad key {echo}"}}', f'{{"detail":[{{"msg":"{echo}"}}]}}', f'{{"error":"x","{echo}":1}}'):
                self.emulator.fault("submit", "status", code=400, body=body)
                with self.assertRaises(grpc.RpcError) as caught:
                    self.stub.CreateFineTune(svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=job(f"{self.emulator.url}/a.zip")),
                                             timeout=10)
                told.append(str(caught.exception) + repr(caught.exception.trailing_metadata()))
            self.emulator.clear_faults()
        self.emulator.fault("submit", "status", code=400, body='{"error":"bad key {api_key:escaped}"}')
        self.emulator.fault("submit", "status", code=400, after=1, body='{"errors":["{api_key:head}","{api_key:tail}"]}')
        for _ in range(2):
            with self.assertRaises(grpc.RpcError) as caught:
                self.stub.CreateFineTune(svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=job(f"{self.emulator.url}/a.zip")), timeout=10)
            told.append(str(caught.exception))
        places = {"answers": "\n".join(told).encode(), "the log": self.gateway.log.encode(), "metrics": self.gateway.admin("/metrics")[1].encode()}
        places.update({path.name: path.read_bytes() for path in pathlib.Path(self.folder).glob("store.db*")})
        self.assertEqual(canaries.search({"the API key": API_KEY}, places), [])

    def test_odd_ids_are_names_that_one_can_use(self):
        self.start()
        for odd in (".", "..", "a/b", "a b", "%2e%2e", "x" * 300, "\u202eabc"):
            self.make(name="odd", id=odd, finetune_id=odd, status="QUEUED")
        self.lists(3)
        for one in self.listed(fresh=False):
            self.assertNotIn(one.name, ("fineTunes/.", "fineTunes/.."))
            self.assertEqual(self.stub.GetFineTune(svc.GetFineTuneRequest(name=one.name), timeout=10).name, one.name)

    def test_what_is_told_as_available_can_be_downloaded(self):
        self.start("--upstream_calls_per_minute", "60", settings={"list_cloud_storage_url": False})
        made = [self.make(name=f"cats-{i}", base_model="QWEN", theme="QWEN", status="TRAINING_INITIATED", weights_bytes=1000) for i in range(4)]
        wait_until("all jobs", lambda: len(self.listed(fresh=False)) == 4)
        names = [self.find(one).name for one in made]

        def wait(name):
            return self.stub.WaitFineTune(svc.WaitFineTuneRequest(name=name, until=State.Value("AVAILABLE")), timeout=60).fine_tune

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            waits = [pool.submit(wait, name) for name in names]
            for one in made:
                self.change(one, status="AVAILABLE")
            for one in waits:
                seen = one.result()
                if not seen.details_pending:
                    self.assertTrue(seen.weights_uri and seen.slug, seen)

    def test_a_list_in_the_dark_is_said_to_be_so(self):
        self.start()
        self.emulator.fault("list", "raw", count=-1, body="HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Encoding: br\r\n\r\n[]")
        began = time.time()
        self.lists(2)
        with self.assertRaises(grpc.RpcError):
            self.listed()
        self.assertLess(self.status().observe_time.seconds, began + 1)


if __name__ == "__main__":
    unittest.main()
