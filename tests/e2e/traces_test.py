"""What a collector gets to see of real processes, what the log says of traces, and that no collector can do harm."""

import hashlib
import json
import socket
import time
import unittest
import urllib.request

import grpc
import uuid

from collector import Collector
from harness import API_KEY, WEBHOOK_TOKEN, EndToEnd, State, dataset, job, svc, wait_until

Code = grpc.StatusCode
SERVICE = "segmind.finetune.v1.FineTuneService"
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = (("traceparent", f"00-{TRACE}-{CALLER}-01"),)
UNSAMPLED = (("traceparent", f"00-{TRACE}-{CALLER}-00"),)
HEADER = "otlp-header-secret-41f0"


def is_rpc(method):
    return lambda span: span.name == f"{SERVICE}/{method}"


class Traces(EndToEnd):
    def start_collector(self, **more):
        collector = Collector(**more)
        self.addCleanup(collector.close)
        return collector

    def start(self, url, *args, **environment):
        self.emulator = self.start_emulator("--check_datasets", "false", time_scale=0)
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "50",
               "OTEL_EXPORTER_OTLP_HEADERS": f"x-collector-key={HEADER}", **environment}
        # Lists would only be in the way.
        self.gateway = self.start_gateway(self.emulator, "--active_poll_interval", "1h", "--idle_poll_interval", "1h",
                                          *args, env=env).ready()
        self.stub = self.gateway.stub

    def create(self, **more):
        return self.stub.CreateFineTune(svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=job()), timeout=30, **more)

    def lines(self, **fields):
        """The log's lines that have these fields."""
        found = []
        for line in self.gateway.log.splitlines():
            try:
                line = json.loads(line)
            except ValueError:
                continue
            if all(line.get(key) == value for key, value in fields.items()):
                found.append(line)
        return found

    def line(self, **fields):
        return wait_until(f"a line with {fields}", lambda: self.lines(**fields))[0]

    def metric(self, name):
        text = self.gateway.admin("/metrics")[1]
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))

    def children_of(self, root, trace):
        self.assertEqual({s.parent_id for s in trace if s is not root}, {root.span_id}, trace)
        return [s for s in trace if s is not root]


class WhatIsTraced(Traces):
    def setUp(self):
        super().setUp()
        self.collector = self.start_collector()
        self.start(self.collector.url, OTEL_SERVICE_NAME="tuning", OTEL_RESOURCE_ATTRIBUTES="k8s.pod.name=pod-0")

    def test_a_create_is_one_tree(self):
        made = self.create(metadata=SAMPLED)
        trace = self.collector.trace("the create's trace", is_rpc("CreateFineTune"), 4)
        root = trace[0]
        self.assertEqual((root.trace_id, root.parent_id, root.kind), (TRACE, CALLER, "server"))
        self.assertEqual(root.attributes["rpc.system"], "grpc")
        self.assertEqual(root.attributes["rpc.service"], SERVICE)
        self.assertEqual(root.attributes["rpc.method"], "CreateFineTune")
        self.assertEqual(root.attributes["rpc.grpc.status_code"], 0)
        self.assertEqual(root.attributes["network.peer.address"], "127.0.0.1")
        self.assertEqual(root.attributes["finetune.name"], made.name)
        self.assertEqual(root.resource["service.name"], "tuning")
        self.assertEqual(root.resource["k8s.pod.name"], "pod-0")

        intent, post, outcome = self.children_of(root, trace)
        self.assertEqual([s.name for s in (intent, post, outcome)],
                         ["store commit", "POST /finetune/request/submit", "store commit"])
        for before, after in ((intent, post), (post, outcome)):
            self.assertLessEqual(before.end, after.start)
        self.assertEqual(intent.attributes["db.system"], "sqlite")
        self.assertEqual(post.kind, "client")
        self.assertEqual(post.attributes["http.request.method"], "POST")
        self.assertEqual(post.attributes["http.response.status_code"], 200)
        self.assertEqual(post.attributes["server.address"], "127.0.0.1")
        self.assertEqual(post.attributes["url.full"], self.emulator.url + "/finetune/request/submit")
        self.assertFalse(any(s.failed for s in trace))

        self.assertEqual(set(self.collector.paths), {"/v1/traces"})
        self.assertEqual(self.collector.headers[0]["Content-Type"], "application/json")
        self.assertEqual(self.collector.headers[0]["x-collector-key"], HEADER)
        for text in ("call", "submission accepted"):
            line = self.line(msg=text, trace_id=TRACE)
            self.assertEqual(line["span_id"], root.span_id)
        self.assertEqual(self.line(msg="call", trace_id=TRACE)["grpc_method"], "CreateFineTune")
        wait_until("the count", lambda: self.metric("finetune_gateway_spans_exported_total") >= 4)

    def test_a_get_is_one_span_and_an_error_says_which(self):
        name = self.create().name
        self.stub.GetFineTune(svc.GetFineTuneRequest(name=name), timeout=10, metadata=SAMPLED)
        get, = self.collector.trace("the get", is_rpc("GetFineTune"), 1)
        self.assertEqual((get.trace_id, get.parent_id), (TRACE, CALLER))
        self.assertEqual(get.attributes["finetune.name"], name)

        self.refused(Code.NOT_FOUND, "FINE_TUNE_NOT_FOUND", self.stub.GetFineTune, svc.GetFineTuneRequest(name="fineTunes/none"))
        missing, = self.collector.trace("the miss", lambda s: s.attributes.get("rpc.grpc.status_code") == 5, 1)
        self.assertEqual(missing.attributes["finetune.reason"], "FINE_TUNE_NOT_FOUND")
        self.assertFalse(missing.failed, "what a client asks in vain is not the server's failure")
        self.assertEqual(missing.parent_id, "")
        self.assertEqual(self.line(grpc_code="NOT_FOUND")["trace_id"], missing.trace_id)

    def test_a_failure_at_segmind_shows_in_the_tree(self):
        self.emulator.fault("upload_url", "status", code=401)
        self.refused(Code.INTERNAL, "UPSTREAM_CREDENTIAL_REJECTED", self.stub.CreateUploadUrl,
                     svc.CreateUploadUrlRequest(file_name="cats.zip"))
        root, call = self.collector.trace("the failure", is_rpc("CreateUploadUrl"), 2)
        self.assertTrue(root.failed)
        self.assertEqual(root.attributes["error.type"], "INTERNAL")
        self.assertEqual(root.attributes["finetune.reason"], "UPSTREAM_CREDENTIAL_REJECTED")
        self.assertTrue(call.failed)
        self.assertEqual((call.parent_id, call.attributes["error.type"]), (root.span_id, "401"))

    def test_a_webhook_its_read_and_its_commit_are_one_tree(self):
        made = self.create()
        upstream_id = self.emulator.jobs()[0]["id"]
        # So that no list shows it before the webhook is posted.
        self.emulator.fault("list", "status", code=503, count=-1)
        self.emulator.call("POST", f"/emulator/jobs/{upstream_id}", {"status": "TRAINING_INITIATED"})
        body = json.dumps({"finetune_id": upstream_id, "status": "TRAINING_INITIATED"}).encode()
        request = urllib.request.Request(self.gateway.webhook_url, method="POST", data=body,
                                         headers={"traceparent": SAMPLED[0][1]})
        self.assertEqual(urllib.request.urlopen(request, timeout=10).status, 200)
        trace = self.collector.trace("the webhook's trace", lambda s: s.name.startswith("POST /webhooks"), 3)
        root = trace[0]
        self.assertEqual((root.name, root.kind, root.parent_id), ("POST /webhooks/segmind/{token}", "server", ""))
        self.assertNotEqual(root.trace_id, TRACE, "the internet chooses no trace")
        self.assertEqual(root.attributes["http.route"], "/webhooks/segmind/{token}")
        self.assertEqual(root.attributes["http.response.status_code"], 200)
        self.assertEqual([s.name for s in self.children_of(root, trace)], ["GET /finetune/request/details", "store commit"])
        self.assertEqual(self.stub.GetFineTune(svc.GetFineTuneRequest(name=made.name), timeout=10).state, State.TRAINING)
        self.assertEqual(self.line(msg="webhook")["trace_id"], root.trace_id)

    def test_streams_and_transfers_are_traced_and_no_span_shows_a_secret(self):
        data = dataset(self.folder / "d.zip").read_bytes()

        def messages():
            yield svc.UploadDatasetRequest(spec=svc.DatasetSpec(
                file_name="cats.zip", size_bytes=len(data), public_read=True, sha256=hashlib.sha256(data).digest()))
            yield svc.UploadDatasetRequest(chunk=data)

        self.stub.UploadDataset(messages(), timeout=30)
        root, url, put = self.collector.trace("the upload", is_rpc("UploadDataset"), 3)
        self.assertEqual((url.name, url.parent_id), ("GET /finetune/request/upload/pre-signed-url", root.span_id))
        self.assertEqual((put.name, put.parent_id), ("PUT", root.span_id))
        self.assertEqual(put.attributes["server.address"], "127.0.0.1")
        self.assertEqual(put.attributes["http.response.status_code"], 200)

        self.emulator.call("POST", "/emulator/jobs", {"name": "w", "base_model": "FAST_FLUX", "status": "AVAILABLE"})
        listed = self.stub.ListFineTunes(svc.ListFineTunesRequest(freshness={"max_staleness": {}}), timeout=20)
        list(self.stub.DownloadWeights(svc.DownloadWeightsRequest(name=listed.fine_tunes[0].name), timeout=30))
        root, get = self.collector.trace("the download", is_rpc("DownloadWeights"), 2)
        self.assertEqual((get.name, get.parent_id), ("GET", root.span_id))

        watch = self.stub.WatchFineTunes(svc.WatchFineTunesRequest(), timeout=20)
        next(watch)
        watch.cancel()
        stream, = self.collector.trace("the watch", is_rpc("WatchFineTunes"), 1)
        self.assertEqual(stream.attributes["rpc.grpc.status_code"], 1)

        polls = self.collector.trace("a poll", lambda s: s.name == "poll", 3)
        self.assertEqual([s.name for s in polls], ["poll", "GET /finetune/request/list", "store commit"])

        for secret in (API_KEY, WEBHOOK_TOKEN, HEADER, "X-Amz-Signature", "X-Amz-Credential"):
            self.assertNotIn(secret, self.collector.text())
            self.assertNotIn(secret, self.gateway.log)

    def test_what_the_caller_does_not_record_is_not_recorded_here(self):
        self.create(metadata=UNSAMPLED)
        self.assertEqual(self.line(msg="call", grpc_method="CreateFineTune")["trace_id"], TRACE)
        self.create()
        self.collector.trace("the other create", is_rpc("CreateFineTune"), 4)
        self.assertNotIn(TRACE, {s.trace_id for s in self.collector.spans()})

    def test_the_last_spans_are_exported_before_the_end(self):
        self.create(metadata=SAMPLED)
        self.assertEqual(self.gateway.terminate(), 0)
        self.assertEqual(len([s for s in self.collector.spans() if s.trace_id == TRACE]), 4)


class WithoutTracing(Traces):
    def test_a_trace_is_logged_and_passed_on_all_the_same(self):
        self.start("")
        self.create(metadata=SAMPLED)
        line = self.line(msg="call", grpc_method="CreateFineTune")
        self.assertEqual((line["trace_id"], line["span_id"]), (TRACE, CALLER))
        self.assertNotIn("finetune_gateway_spans", self.gateway.admin("/metrics")[1])

    def test_the_access_log_has_a_sample_of_cheap_calls_and_all_others(self):
        self.start("")
        name = self.create().name
        for _ in range(250):
            self.stub.GetFineTune(svc.GetFineTuneRequest(name=name), timeout=10)
        for _ in range(3):
            self.refused(Code.NOT_FOUND, "FINE_TUNE_NOT_FOUND", self.stub.GetFineTune, svc.GetFineTuneRequest(name="fineTunes/none"))
            self.create()
        wait_until("the creates", lambda: len(self.lines(msg="call", grpc_method="CreateFineTune")) == 4)
        self.assertEqual(len(self.lines(grpc_method="GetFineTune", grpc_code="NOT_FOUND")), 3)
        self.assertEqual(len(self.lines(grpc_method="GetFineTune", grpc_code="OK")), 3)
        for line in self.lines(msg="call"):
            self.assertLessEqual({"ts", "level", "trace_id", "span_id", "grpc_method", "grpc_code", "duration_s", "peer",
                                  "client", "fine_tune"}, set(line))


class BadCollectors(Traces):
    """Each serves calls at once, is counted, and ends in time."""

    def check(self, url):
        self.start(url)
        name = self.create().name
        start = time.monotonic()
        for _ in range(3000):
            self.stub.GetFineTune(svc.GetFineTuneRequest(name=name), timeout=10)
        self.assertLess(time.monotonic() - start, 30)
        wait_until("spans to be dropped", lambda: self.metric("finetune_gateway_spans_dropped_total") > 0)
        self.line(level="warning", msg="traces cannot be exported")
        self.assertEqual(self.metric("finetune_gateway_spans_exported_total"), 0)
        start = time.monotonic()
        self.assertEqual(self.gateway.terminate(), 0)
        self.assertLess(time.monotonic() - start, 15)

    def test_a_dead_one(self):
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            self.check(f"http://127.0.0.1:{nobody.getsockname()[1]}")

    def test_one_that_hangs(self):
        collector = self.start_collector(hang=True)
        self.start(collector.url, OTEL_EXPORTER_OTLP_TIMEOUT="500")
        name = self.create().name
        for _ in range(3000):
            self.stub.GetFineTune(svc.GetFineTuneRequest(name=name), timeout=10)
        wait_until("spans to be dropped", lambda: self.metric('finetune_gateway_spans_dropped_total{reason="queue_full"}') > 0)
        start = time.monotonic()
        self.assertEqual(self.gateway.terminate(), 0)
        self.assertLess(time.monotonic() - start, 15)

    def test_one_that_refuses_everything(self):
        self.check(self.start_collector(code=400).url)

    def test_one_that_always_says_later(self):
        self.check(self.start_collector(code=503).url)


if __name__ == "__main__":
    unittest.main()
