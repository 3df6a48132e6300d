"""Every row of the error table in client/README.md, shown with real processes."""

import json
import threading
import unittest
import uuid

import grpc
from google.protobuf import duration_pb2, struct_pb2

from harness import EndToEnd, details_of, ft, job, reason_of, svc, upload, wait_until

Code = grpc.StatusCode


class Errors(EndToEnd):
    def setUp(self):
        super().setUp()
        self.emulator = self.start_emulator(time_scale=1)
        self.gateway = self.start_gateway(self.emulator, "--max_watchers", "3", "--watch_window_changes", "5").ready()
        self.stub = self.gateway.stub

    def create(self, fine_tune=None, request_id=None, **more):
        return self.stub.CreateFineTune(svc.CreateFineTuneRequest(
            fine_tune=fine_tune or job(f"{self.emulator.url}/x.zip"),
            request_id=str(uuid.uuid4()) if request_id is None else request_id, **more), timeout=20)

    def refused_create(self, code, reason, **more):
        before = len(self.listed())
        error = self.refused(code, reason, lambda timeout: self.create(**more))
        self.assertEqual(len(self.listed()), before, "a refused submission left a job")
        return error

    def listed(self):
        return self.stub.ListFineTunes(svc.ListFineTunesRequest(), timeout=10).fine_tunes

    def test_a_create_without_a_request_id_is_refused(self):
        error = self.refused_create(Code.INVALID_ARGUMENT, "INVALID_FIELD", request_id="")
        self.assertIn("request_id", error.details())

    def test_invalid_fields_are_all_named(self):
        extra = struct_pb2.Struct()
        extra["steps"] = 3
        error = self.refused_create(Code.INVALID_ARGUMENT, "INVALID_FIELD", fine_tune=ft.FineTune(
            data_source_uri="ftp://x", labels={"bad key!": "v"}, parameters=ft.TrainingParameters(steps=-1, extra=extra)), request_id="no-uuid")
        fields = {v.field for v in details_of(error)["BadRequest"].field_violations}
        for field in ("fine_tune.display_name", "fine_tune.data_source_uri", "fine_tune.instance_prompt", "fine_tune.trigger_word",
                      "fine_tune.base_model", "fine_tune.parameters.steps", "request_id"):
            self.assertIn(field, fields)
        self.assertTrue(any(f.startswith("fine_tune.labels") for f in fields))
        self.assertTrue(any("extra" in f for f in fields))
        self.assertEqual(self.emulator.calls("submit"), 0)

    def test_what_is_no_message_is_refused_and_leaves_no_line_but_json_in_the_log(self):
        get = self.gateway.channel.unary_unary("/segmind.finetune.v1.FineTuneService/GetFineTune")
        for body in (b"\xff\xff\xff", b"\x0a\x02\xff\xfe"):
            self.refused(Code.INVALID_ARGUMENT, "INVALID_FIELD", lambda timeout, body=body: get(body, timeout=timeout))
        for line in self.gateway.log.splitlines():
            json.loads(line)

    def test_validate_only_submits_nothing(self):
        self.create(fine_tune=job(upload(self.stub, self.folder)), validate_only=True)
        error = self.refused_create(Code.INVALID_ARGUMENT, "INVALID_FIELD", validate_only=True)
        self.assertEqual(details_of(error)["BadRequest"].field_violations[0].field, "fine_tune.data_source_uri")
        self.assertEqual(len(self.listed()), 0)
        self.assertEqual(self.emulator.calls("submit"), 0)

    def test_bad_filters_masks_and_tokens(self):
        self.refused(Code.INVALID_ARGUMENT, "INVALID_FIELD", self.stub.ListFineTunes, svc.ListFineTunesRequest(filter="state = "))
        self.refused(Code.INVALID_ARGUMENT, "INVALID_FIELD", self.stub.ListFineTunes, svc.ListFineTunesRequest(page_size=-1))
        self.refused(Code.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID", self.stub.ListFineTunes, svc.ListFineTunesRequest(page_token="bogus"))
        self.refused(Code.INVALID_ARGUMENT, "RESUME_TOKEN_INVALID", self.stub.WatchFineTunes, svc.WatchFineTunesRequest(resume_token="bogus"))
        made = self.create()
        self.refused(Code.INVALID_ARGUMENT, "INVALID_FIELD", self.stub.UpdateFineTune, svc.UpdateFineTuneRequest(
            fine_tune=ft.FineTune(name=made.name), update_mask={"paths": ["state"]}))
        self.refused(Code.INVALID_ARGUMENT, "INVALID_FIELD", self.stub.CreateUploadUrl, svc.CreateUploadUrlRequest(file_name="../x.zip"))

    def test_a_page_token_of_another_query(self):
        for _ in range(3):
            self.create(request_id=str(uuid.uuid4()))
        token = self.stub.ListFineTunes(svc.ListFineTunesRequest(page_size=1), timeout=10).next_page_token
        self.assertTrue(token)
        self.refused(Code.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID", self.stub.ListFineTunes,
                     svc.ListFineTunesRequest(page_size=1, page_token=token, filter='theme = "x"'))

    def test_request_id_reused(self):
        one = str(uuid.uuid4())
        made = self.create(request_id=one)
        self.assertEqual(self.create(request_id=one).name, made.name)
        self.refused_create(Code.INVALID_ARGUMENT, "REQUEST_ID_REUSED", request_id=one, fine_tune=job(name="dogs"))

    def test_not_found(self):
        name = f"fineTunes/{uuid.uuid4()}"
        error = self.refused(Code.NOT_FOUND, "FINE_TUNE_NOT_FOUND", self.stub.GetFineTune, svc.GetFineTuneRequest(name=name))
        self.assertEqual(details_of(error)["ResourceInfo"].resource_name, name)
        self.refused(Code.NOT_FOUND, "FINE_TUNE_NOT_FOUND", self.stub.WaitFineTune, svc.WaitFineTuneRequest(name=name))
        self.refused(Code.NOT_FOUND, "FINE_TUNE_NOT_FOUND", self.stub.WatchFineTunes, svc.WatchFineTunesRequest(names=[name]))
        self.refused(Code.NOT_FOUND, "FINE_TUNE_NOT_FOUND", self.stub.UpdateFineTune, svc.UpdateFineTuneRequest(
            fine_tune=ft.FineTune(name=name, visibility=ft.FineTune.PUBLIC), update_mask={"paths": ["visibility"]}))

    def test_etag_mismatch(self):
        made = self.create()
        self.refused(Code.ABORTED, "ETAG_MISMATCH", self.stub.UpdateFineTune, svc.UpdateFineTuneRequest(
            fine_tune=ft.FineTune(name=made.name, etag="old", labels={"a": "b"}), update_mask={"paths": ["labels"]}))

    def test_what_segmind_refuses(self):
        for fault, code, reason in (
                ({"kind": "status", "code": 400, "body": '{"error":"steps too large"}'}, Code.INVALID_ARGUMENT, "UPSTREAM_REJECTED"),
                ({"kind": "no_credits"}, Code.RESOURCE_EXHAUSTED, "UPSTREAM_CREDITS_EXHAUSTED"),
                ({"kind": "rate_limited", "seconds": 3}, Code.RESOURCE_EXHAUSTED, "UPSTREAM_RATE_LIMITED"),
                ({"kind": "retired"}, Code.FAILED_PRECONDITION, "UPSTREAM_RETIRED")):
            with self.subTest(reason):
                self.emulator.fault("submit", count=-1, **fault)
                one = str(uuid.uuid4())
                error = self.refused_create(code, reason, request_id=one)
                if reason == "UPSTREAM_RATE_LIMITED":
                    self.assertIn("RetryInfo", details_of(error))
                if reason == "UPSTREAM_REJECTED":
                    self.assertIn("steps too large", error.details())
                self.emulator.clear_faults()
                self.assertTrue(self.create_when_allowed(one).name)

    def create_when_allowed(self, request_id):
        """The same request_id may try again after a refusal."""
        def attempt():
            try:
                return self.create(request_id=request_id)
            except grpc.RpcError as error:
                if reason_of(error) == "UPSTREAM_RATE_LIMITED":
                    return None
                raise
        return wait_until("the submission to be allowed", attempt, 70)

    def test_a_revoked_key_is_internal_and_never_shown(self):
        self.emulator.fault("submit", "key_revoked", count=-1)
        error = self.refused_create(Code.INTERNAL, "UPSTREAM_CREDENTIAL_REJECTED")
        self.assertNotIn("e2e-key", str(error))

    def test_upstream_unavailable_and_malformed(self):
        self.emulator.fault("upload_url", "status", code=502, body="<html>bad gateway</html>", count=-1)
        error = self.refused(Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE", self.stub.CreateUploadUrl,
                             svc.CreateUploadUrlRequest(file_name="a.zip"), timeout=3)
        self.assertIn("RetryInfo", details_of(error))
        self.emulator.clear_faults()
        self.emulator.fault("upload_url", "malformed", count=-1)
        self.refused(Code.INTERNAL, "UPSTREAM_MALFORMED", self.stub.CreateUploadUrl, svc.CreateUploadUrlRequest(file_name="a.zip"), timeout=5)

    def test_watchers_beyond_the_cap(self):
        streams = []
        for _ in range(3):
            stream = self.stub.WatchFineTunes(svc.WatchFineTunesRequest(), timeout=30)
            next(stream)
            streams.append(stream)
        error = self.refused(Code.RESOURCE_EXHAUSTED, "OVERLOADED", self.stub.WatchFineTunes, svc.WatchFineTunesRequest())
        self.assertIn("RetryInfo", details_of(error))
        for stream in streams:
            stream.cancel()

    def test_an_expired_resume_token(self):
        stream = self.stub.WatchFineTunes(svc.WatchFineTunesRequest(), timeout=30)
        token = next(r for r in stream if r.WhichOneof("event") == "synced").resume_token
        stream.cancel()
        made = self.create()
        for i in range(12):
            self.stub.UpdateFineTune(svc.UpdateFineTuneRequest(
                fine_tune=ft.FineTune(name=made.name, labels={"n": str(i)}), update_mask={"paths": ["labels"]}), timeout=10)
        self.refused(Code.OUT_OF_RANGE, "RESUME_TOKEN_EXPIRED", self.stub.WatchFineTunes, svc.WatchFineTunesRequest(
            resume_token=token, gap_policy=svc.WatchFineTunesRequest.FAIL))
        stream = self.stub.WatchFineTunes(svc.WatchFineTunesRequest(resume_token=token), timeout=30)
        self.assertEqual(next(stream).restart.reason, svc.Restart.EXPIRED)
        stream.cancel()

    def test_a_server_that_drains_says_so(self):
        stream = self.stub.WatchFineTunes(svc.WatchFineTunesRequest(), timeout=30)
        next(stream)
        caught = []

        def read():
            try:
                for _ in stream:
                    pass
            except grpc.RpcError as error:
                caught.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        self.assertEqual(self.gateway.terminate(), 0, self.gateway.log)
        reader.join(20)
        self.assertEqual((caught[0].code(), reason_of(caught[0])), (Code.UNAVAILABLE, "SERVER_DRAINING"))
        self.assertIn("RetryInfo", details_of(caught[0]))

    def test_a_fresh_read_that_cannot_be_had_is_an_error(self):
        self.emulator.fault("list", "status", code=503, body="{}", count=-1)
        error = self.refused(Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE", self.stub.ListFineTunes, svc.ListFineTunesRequest(
            freshness=svc.Freshness(max_staleness=duration_pb2.Duration())), timeout=5)
        self.assertIn("RetryInfo", details_of(error))
        # Memory is served all the same.
        self.assertIsNotNone(self.listed())


if __name__ == "__main__":
    unittest.main()
