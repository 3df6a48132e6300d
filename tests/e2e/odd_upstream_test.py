"""A Segmind that is odd wherever its documents leave room: nothing of the emulator's, and none of its habits."""

import gzip
import http.server
import json
import threading
import unittest
import uuid

from google.protobuf import duration_pb2

from harness import EndToEnd, State, grpc, job, svc, wait_until


class OddSegmind:
    """Jobs as their list items; what it answers can be replaced call by call."""

    def __init__(self):
        self.items = []
        self.submits = 0
        self.list_body = lambda items: json.dumps(items).encode()
        self.list_headers = {}
        self.submitted = lambda item: {"finetune_id": item["finetune_id"], "status": item["status"]}
        self.on_submit = lambda asked: None
        self.refuse_submits = None  # Else a code and a body.
        segmind = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path.endswith("/list"):
                    return self.answer(200, segmind.list_body(segmind.items), segmind.list_headers)
                asked = json.loads(body)["request_id"]
                for item in segmind.items:
                    if asked == item["finetune_id"]:
                        return self.answer(200, json.dumps({"finetune": item}).encode())
                return self.answer(404, b'{"error": "no such job"}')

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                segmind.on_submit(asked)
                if segmind.refuse_submits:
                    return self.answer(*segmind.refuse_submits)
                segmind.submits += 1
                item = segmind.add(name=asked["name"], status="requested")
                answer = segmind.submitted(item)
                if answer is None:  # The answer is lost.
                    self.close_connection = True
                    return None
                return self.answer(200, json.dumps(answer).encode())

            def answer(self, code, body, headers=None):
                self.send_response(code)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, **fields):
        item = {"finetune_id": str(uuid.uuid4()), "id": 7, "name": "cats", "status": "Training Initiated", "base_model": None,
                "segmind_public_model": "False", "advance_parameters": None, "model_information": None, **fields}
        self.items.append(item)
        return item


class OddUpstream(EndToEnd):
    def setUp(self):
        super().setUp()
        self.segmind = OddSegmind()
        self.addCleanup(self.segmind.server.shutdown)

    def start(self):
        self.gateway = self.start_gateway(self.segmind.url, "--settle_lists", "2", "--settle_time", "500ms", "--submit_timeout", "2s")
        return self.gateway.ready()

    def listed(self):
        return {j.upstream_id: j for j in self.gateway.stub.ListFineTunes(svc.ListFineTunesRequest(
            freshness=svc.Freshness(max_staleness=duration_pb2.Duration())), timeout=20).fine_tunes}

    def create(self, request_id, timeout=20):
        return self.gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(
            request_id=request_id, fine_tune=job(f"{self.segmind.url}/cats.zip")), timeout=timeout)

    def lose_answers(self):
        self.segmind.submitted = lambda item: None

    def test_a_list_in_any_shape_is_read(self):
        self.segmind.list_body = lambda items: b"null"
        self.start()
        self.assertEqual(self.listed(), {})
        names = [self.segmind.add()["finetune_id"], self.segmind.add(name="a cat \ud83d")["finetune_id"]]
        for body, headers in ((lambda items: json.dumps({"status": "ok", "data": {"finetunes": items + items[:1]}}).encode(), {}),
                              (lambda items: gzip.compress(json.dumps(items[::-1]).encode()), {"Content-Encoding": "gzip"}),
                              (lambda items: b"\xef\xbb\xbf" + json.dumps([None, {}, *items], indent=3).encode(), {})):
            self.segmind.list_body, self.segmind.list_headers = body, headers
            found = self.listed()
            # All have the same `id`, and are different jobs.
            self.assertEqual(set(found), set(names))
            self.assertEqual({j.state for j in found.values()}, {State.Value("TRAINING")})

    def test_an_answer_that_names_the_job_otherwise_than_lists_do_makes_no_second_one(self):
        self.start()
        self.segmind.submitted = lambda item: {"request_id": "queue-9", "status": item["status"]}
        made = self.create(str(uuid.uuid4()))
        self.assertEqual(made.state, State.Value("QUEUED"))
        wait_until("the job under its name in lists", lambda: self.segmind.items[0]["finetune_id"] in self.listed())
        self.segmind.items[0]["status"] = "available"
        wait_until("its end", lambda: [(j.name, j.state) for j in self.listed().values()] == [(made.name, State.Value("AVAILABLE"))])

    def test_an_answer_that_says_success_says_nothing_of_the_job(self):
        self.start()
        self.segmind.submitted = lambda item: {"finetune_id": item["finetune_id"], "status": "success"}
        made = self.create(str(uuid.uuid4()))
        self.assertEqual([t.state for t in made.transitions], [State.Value("QUEUED")])

    def test_an_error_under_code_200_is_no_job(self):
        self.start()

        def refuse(item):
            self.segmind.items.remove(item)
            return {"error": "Insufficient credits", "request_id": "trace-7"}

        self.segmind.submitted = refuse
        one = str(uuid.uuid4())
        refused = self.create(one)
        self.assertEqual((refused.state, refused.upstream_id), (State.Value("FAILED"), ""))
        self.assertIn("Insufficient credits", refused.failure.message)
        self.segmind.submitted = lambda item: {"finetune_id": item["finetune_id"]}
        self.assertEqual(self.create(one).state, State.Value("QUEUED"))

    def test_a_list_out_of_a_cache_is_as_old_as_it_says(self):
        self.start()
        self.lose_answers()
        self.segmind.list_body, self.segmind.list_headers = lambda items: b"[]", {"Age": "600"}
        one = str(uuid.uuid4())
        # Lists enough, and time enough, to give up a submission.
        self.assertEqual(self.create(one, timeout=6).state, State.Value("SUBMIT_UNKNOWN"))
        fresh = svc.ListFineTunesRequest(freshness=svc.Freshness(max_staleness=duration_pb2.Duration()))
        self.refused(grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE", self.gateway.stub.ListFineTunes, fresh, timeout=3)
        self.segmind.list_body, self.segmind.list_headers = lambda items: json.dumps(items).encode(), {"Age": "0"}
        self.assertEqual(self.create(one).state, State.Value("QUEUED"))
        self.assertEqual(self.segmind.submits, 1)

    def test_a_job_under_an_id_that_cannot_be_read_is_there_all_the_same(self):
        self.segmind.add()
        self.start()
        self.lose_answers()
        unreadable = {"id": None, "finetune_id": "x" * 10000}
        self.segmind.list_body = lambda items: json.dumps(items[:1] + [{**item, **unreadable} for item in items[1:]]).encode()
        one = str(uuid.uuid4())
        self.assertEqual(self.create(one, timeout=4).state, State.Value("SUBMIT_UNKNOWN"))
        self.gateway.kill()
        self.start()
        self.assertEqual(self.create(one, timeout=4).state, State.Value("SUBMIT_UNKNOWN"))
        self.segmind.list_body = lambda items: json.dumps(items).encode()
        self.assertEqual(self.create(one).state, State.Value("QUEUED"))
        self.assertEqual(self.segmind.submits, 1)

    def test_a_list_under_code_200_that_says_it_failed_is_none(self):
        self.start()
        self.lose_answers()
        self.segmind.list_body = lambda items: json.dumps({"data": [], "success": False, "message": "timeout"}).encode()
        one = str(uuid.uuid4())
        self.assertEqual(self.create(one, timeout=6).state, State.Value("SUBMIT_UNKNOWN"))
        self.segmind.list_body = lambda items: json.dumps({"data": items, "success": True}).encode()
        self.assertEqual(self.create(one).state, State.Value("QUEUED"))
        self.assertEqual(self.segmind.submits, 1)

    def test_a_submission_that_is_listed_only_after_it_was_given_up_is_not_made_again(self):
        self.start()
        self.segmind.submitted = lambda item: None
        self.segmind.list_body = lambda items: b"[]"
        one = str(uuid.uuid4())
        given_up = self.create(one)
        self.assertEqual(given_up.state, State.Value("FAILED"))
        self.segmind.list_body = lambda items: json.dumps(items).encode()
        wait_until("the job to come to light", lambda: [j.state for j in self.listed().values()] == [State.Value("QUEUED")])
        self.assertEqual(self.create(one).name, given_up.name)
        self.assertEqual(self.segmind.submits, 1)


if __name__ == "__main__":
    unittest.main()
