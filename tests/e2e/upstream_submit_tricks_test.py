"""Segmind does what its documents do not say, as the emulator plays it; here to submissions. Whatever it does, one request_id is one job."""

import concurrent.futures
import pathlib
import tempfile
import time
import unittest
import uuid

import grpc

from harness import EndToEnd, State, details_of, ft, job, reason_of, svc, wait_until

PAGE = {"body": "<html>x</html>", "content_type": "text/html"}
TEXT = {"body": "upstream request timeout", "content_type": "text/plain"}
EMPTY = {"body": "", "content_type": "text/plain"}
REFUSALS = {"UPSTREAM_REJECTED", "UPSTREAM_CREDITS_EXHAUSTED", "UPSTREAM_RATE_LIMITED", "UPSTREAM_CREDENTIAL_REJECTED", "UPSTREAM_RETIRED",
            "UPSTREAM_MALFORMED"}


class Submitted:
    """One request_id, and what its caller was told."""

    def __init__(self, test, name, **more):
        self.test = test
        self.name = name
        self.request = svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=job(
            f"{test.emulator.url}/{name}.zip", name=name, **more))
        self.request.fine_tune.instance_prompt = f"a photo of TOK, {self.request.request_id}"
        self.made = self.error = None

    def send(self, timeout=30):
        """Its answer: a job or an error."""
        began = time.monotonic()
        self.made = self.error = None
        try:
            self.made = self.test.gateway.stub.CreateFineTune(self.request, timeout=timeout)
        except grpc.RpcError as error:
            self.error = error
        self.seconds = time.monotonic() - began
        return self

    def seen(self):
        return self.test.gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=self.made.name), timeout=10)

    def at_segmind(self):
        """The jobs that were made for it there."""
        return [j for j in self.test.emulator.jobs() if j["instance_prompt"] == self.request.fine_tune.instance_prompt]

    def settled(self, seconds=30):
        return wait_until(f"{self.name} to be settled", lambda: (lambda seen: seen if seen.state != State.Value("SUBMIT_UNKNOWN") else None)(
            self.seen()), seconds)


class SubmitTricks(EndToEnd):
    def start(self, *flags, settings=None, time_scale=0):
        self.emulator = self.start_emulator("--check_datasets=false", time_scale=time_scale)
        if settings:
            self.set(**settings)
        self.gateway = self.start_gateway(
            self.emulator, "--settle_lists", "2", "--settle_time", "500ms", "--submit_timeout", "2s", *flags).ready()

    def set(self, **settings):
        self.emulator.call("POST", "/emulator/settings", settings)

    def send_all(self, submitted):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            return list(pool.map(Submitted.send, submitted))

    def check_one_job(self, submitted):
        """Segmind has taken it once, and that is the job that its caller sees, also when asking again."""
        self.assertIsNotNone(submitted.made, submitted.error)
        seen = submitted.settled()
        made = submitted.at_segmind()
        self.assertEqual(len(made), 1, submitted.name)
        self.assertEqual((State.Name(seen.state), seen.upstream_id), ("QUEUED", made[0]["finetune_id"]), seen.failure.message)
        self.assertEqual(submitted.send().made.name, seen.name)
        self.assertEqual(len(submitted.at_segmind()), 1, "asking again made a second job")

    def test_a_page_a_text_and_nothing_are_nobodys_word(self):
        self.start()
        submitted = []
        for code in (400, 401, 403, 404, 406, 410, 413, 429, 500, 503):
            for word, body in (("page", PAGE), ("text", TEXT), ("empty", EMPTY)):
                name = f"{word}-{code}"
                self.emulator.fault("submit", "status", code=code, act=True, job=f'"{self.emulator.url}/{name}.zip"', **body)
                submitted.append(Submitted(self, name))
        for one in self.send_all(submitted):
            with self.subTest(one.name):
                self.check_one_job(one)

    def test_a_page_before_segmind_ends_in_not_submitted_and_may_be_sent_again(self):
        self.start()
        self.emulator.fault("submit", "status", code=403, **PAGE)
        one = Submitted(self, "cats").send()
        self.assertIsNotNone(one.made, one.error)
        self.assertEqual(one.settled().failure.reason, ft.Failure.NOT_SUBMITTED)
        self.assertEqual(one.at_segmind(), [])
        self.check_one_job(one.send())

    def test_segminds_own_refusals_are_told_at_once(self):
        self.start()
        for code in (400, 402, 405, 409, 411, 413, 414, 415, 417, 421, 422, 423, 428, 431, 451):
            with self.subTest(code):
                self.emulator.fault("submit", "status", code=code, body='{"error":"it is not to be"}')
                one = Submitted(self, f"refused-{code}").send()
                self.assertIsNotNone(one.error, f"{code} was no refusal")
                self.assertIn(reason_of(one.error), REFUSALS)
                self.assertLess(one.seconds, 5)
                self.assertIn("it is not to be", one.error.details())
                if code == 402:
                    self.assertEqual(reason_of(one.error), "UPSTREAM_CREDITS_EXHAUSTED")

    def lose(self, name, **more):
        """A submission that Segmind takes and whose answer is lost."""
        self.emulator.fault("submit", "lost_answer", job=f'"{self.emulator.url}/{name}.zip"')
        return Submitted(self, name, **more).send()

    def test_no_clock_makes_a_lost_answer_a_second_job(self):
        for markers in ("true", "false"):
            for offset in (-30, -3600, 45, 86400):
                with self.subTest(f"markers={markers}, {offset} s"), tempfile.TemporaryDirectory() as folder:
                    self.folder = pathlib.Path(folder)
                    self.start(f"--markers={markers}", settings={
                        "clock_offset_seconds": offset, "date_offset_seconds": offset, "list_timestamps": True})
                    self.check_one_job(self.lose("cats"))
                    self.gateway.terminate()

    def test_no_change_of_names_makes_a_lost_answer_a_second_job(self):
        self.start()
        rules = ("upper", "lower", "title", "cut:20", "underscore", "space", "plain", "suffix:-v1", "prefix:u7_", "upper,underscore,cut:24,suffix:-v1")
        for rule in rules:
            self.set(name_mangling=rule)
            for name in ("cats", "the-cats-of-the-old-town-hall-and-their-friends"):
                with self.subTest(f"{rule}: {name}"):
                    self.check_one_job(self.lose(f"{name}-{rules.index(rule)}"))

    def test_a_list_is_followed_from_page_to_page(self):
        self.start(settings={"list_page_size": 2, "list_order": "oldest"})
        self.emulator.call("POST", "/emulator/prefill", {"count": 5})
        for style in ("next_url", "next_path", "cursor", "page", "link"):
            with self.subTest(style):
                self.set(list_paging=style)
                self.check_one_job(self.lose(f"paged-{style}"))

    def test_a_list_that_is_not_all_of_it_proves_nothing(self):
        self.start()
        before = [Submitted(self, f"before-{i}").send() for i in range(3)]
        for style in ("silent", "has_more", "total"):
            with self.subTest(style):
                # The newest are not in it, and nothing says how to come to them.
                self.set(list_page_size=1, list_paging=style, list_order="oldest")
                one = self.lose(f"hidden-{style}")
                self.assertIsNotNone(one.made, one.error)
                lists = self.emulator.calls("list")
                wait_until("some more lists", lambda lists=lists: self.emulator.calls("list") >= lists + 8)
                self.assertEqual(State.Name(one.seen().state), "SUBMIT_UNKNOWN")
                for other in before:
                    self.assertEqual(State.Name(other.seen().state), "QUEUED")
                self.assertEqual(len(one.at_segmind()), 1)
                self.set(list_page_size=0)
                self.check_one_job(one)

    def test_an_answer_with_another_jobs_id_takes_no_job_away(self):
        self.start()
        first = Submitted(self, "first", labels={"team": "art"}).send()
        self.check_one_job(first)
        self.emulator.fault("submit", "other_id", job=first.seen().upstream_id)
        second = Submitted(self, "second").send()
        self.assertIsNotNone(second.made, second.error)
        self.assertNotEqual(second.made.name, first.made.name)
        self.check_one_job(second)
        seen = first.seen()
        self.assertEqual((seen.display_name, seen.instance_prompt, dict(seen.labels)),
                         ("first", first.request.fine_tune.instance_prompt, {"team": "art"}))

    def test_a_clone_under_the_marked_name_is_not_the_lost_submission(self):
        self.start("--settle_lists", "60", "--settle_time", "30s")
        # The job itself shows only in later lists.
        self.emulator.fault("submit", "list_delay", list_calls=20, count=1)
        one = self.lose("cats")
        real = one.at_segmind()[0]
        clone = self.emulator.call("POST", "/emulator/jobs", {
            "clone_of": real["id"], "instance_prompt": "a photo of TOK dog", "data_source_path": f"{self.emulator.url}/dogs.zip"})
        seen = one.settled(60)
        self.assertEqual(seen.upstream_id, real["finetune_id"])
        wait_until("the clone to be a job of its own", lambda: {
            j.upstream_id for j in self.gateway.stub.ListFineTunes(svc.ListFineTunesRequest(), timeout=10).fine_tunes
        } == {real["finetune_id"], clone["finetune_id"]})

    def test_words_are_found_in_every_shape_of_an_error(self):
        self.start()
        for shape in ("error", "message", "msg", "reason", "detail", "detail_list", "errors_list", "errors_objects", "errors_object", "nested"):
            with self.subTest(shape):
                self.emulator.fault("submit", "status", code=422, shape=shape, message="ensure this value has at least 3 characters",
                                    field="trigger_word")
                one = Submitted(self, f"shape-{shape}").send()
                self.assertIsNotNone(one.error)
                self.assertEqual(reason_of(one.error), "UPSTREAM_REJECTED")
                self.assertIn("at least 3 characters", one.error.details())

    def test_406_is_told_apart_by_whole_phrases(self):
        self.start()
        for words, reason in (("Insufficient credits. Please add credits to your account", "UPSTREAM_CREDITS_EXHAUSTED"),
                              ("Team spend limit reached", "UPSTREAM_CREDITS_EXHAUSTED"),
                              ("Image balance is poor", "UPSTREAM_REJECTED"),
                              ("Insufficient number of images", "UPSTREAM_REJECTED"),
                              ("Invalid train_type: FULL", "UPSTREAM_REJECTED")):
            with self.subTest(words):
                self.emulator.fault("submit", "status", code=406, message=words)
                one = Submitted(self, f"words-{len(words)}").send()
                self.assertIsNotNone(one.error)
                self.assertEqual(reason_of(one.error), reason)
                self.assertIn(words, one.error.details())

    def test_segminds_wish_to_be_left_alone_is_passed_on(self):
        for kind, more in (("status", {"code": 503}), ("rate_limited", {})):
            for form in ("seconds", "date"):
                for seconds in (90, 7200):
                    with self.subTest(f"{kind} {form} {seconds}"), tempfile.TemporaryDirectory() as folder:
                        self.folder = pathlib.Path(folder)
                        self.start()
                        self.emulator.fault("upload_url", kind, retry_after=form, seconds=seconds, count=-1, **more)
                        with self.assertRaises(grpc.RpcError) as caught:
                            self.gateway.stub.CreateUploadUrl(svc.CreateUploadUrlRequest(file_name="a.zip"), timeout=5)
                        delay = details_of(caught.exception)["RetryInfo"].retry_delay
                        self.assertAlmostEqual(delay.seconds, seconds, delta=8)
                        self.gateway.terminate()


if __name__ == "__main__":
    unittest.main()
