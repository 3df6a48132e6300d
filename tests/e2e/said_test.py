"""What Segmind says, and what the gateway makes of it: an upstream that answers what a test writes, with real processes."""

import base64
import gzip
import http.server
import json
import ssl
import threading
import unittest
import uuid

import grpc
from google.protobuf import duration_pb2

from credentials import openssl
from harness import EndToEnd, State, details_of, ft, job, reason_of, svc, wait_until

KEY = "SG_4f1e9c7ab2d80356"
PAGE = "<html><head><title>x</title></head><body>x</body></html>"


def said(code, body="", headers=None, raw=False):
    """An answer. `raw`: the body is all that comes behind the request, head included."""
    if not isinstance(body, (bytes, str)):
        body = json.dumps(body)
    return code, body if isinstance(body, bytes) else body.encode(), headers or {}, raw


class Upstream:
    """Takes jobs, lists them, and answers each call as `answers[call]` says, if there is one: it is given the default answer."""

    CALLS = {"/finetune/request/submit": "submit", "/finetune/request/details": "details", "/finetune/request/list": "list",
             "/finetune/request/upload/pre-signed-url": "upload_url", "/finetune/request/access-update": "access",
             "/finetune/request/file/download": "download_url"}

    def __init__(self, context=None):
        self.items = []
        self.submits = []
        self.counts = {}
        self.answers = {}
        self.lock = threading.Lock()
        upstream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                path, _, query = self.path.partition("?")
                call = upstream.CALLS.get(path, path)
                with upstream.lock:
                    upstream.counts[call] = upstream.counts.get(call, 0) + 1
                default = upstream.default(call, body)
                written = upstream.answers.get(call)
                code, body, headers, raw = written(query, default) if written else default
                if raw:
                    try:
                        for piece in body if not isinstance(body, bytes) else [body]:
                            self.wfile.write(piece)
                    except OSError:
                        pass
                    self.close_connection = True
                    return
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def default(self, call, body):
        if call == "submit":
            asked = json.loads(body)
            with self.lock:
                self.submits.append(body.decode())
                item = self.add(name=asked["name"], data_source_path=asked["data_source_path"],
                                instance_prompt=asked["instance_prompt"])
            return said(200, {"finetune_id": item["finetune_id"], "status": item["status"]})
        if call == "list":
            return said(200, self.items)
        if call == "details":
            for item in self.items:
                if json.loads(body)["request_id"] == item["finetune_id"]:
                    return said(200, {"finetune": item})
            return said(404, {"error": "not found"})
        if call == "upload_url":
            return said(200, {"presigned_url": "https://s3.test/f.zip?X-Amz-Signature=a", "s3_url": "https://s3.test/f.zip"})
        return said(200, "200")

    def add(self, **fields):
        item = {"finetune_id": str(uuid.uuid4()), "name": "cats", "status": "TRAINING_INITIATED", "base_model": "FAST_FLUX", **fields}
        self.items.append(item)
        return item


class Said(EndToEnd):
    def setUp(self):
        super().setUp()
        self.segmind = Upstream()
        self.addCleanup(self.segmind.close)

    def start(self, *flags, **more):
        self.gateway = self.start_gateway(self.segmind.url, "--settle_lists", "2", "--settle_time", "500ms",
                                          "--submit_timeout", "5s", *flags, api_key=KEY, **more)
        return self.gateway.ready()

    def listed(self):
        return list(self.gateway.stub.ListFineTunes(svc.ListFineTunesRequest(
            page_size=1000, freshness=svc.Freshness(max_staleness=duration_pb2.Duration())), timeout=20).fine_tunes)

    def listed_if_any(self):
        try:
            return self.listed()
        except grpc.RpcError:
            return []

    def create(self, request_id=None, **fields):
        made = job("https://datasets.test/cats.zip")
        made.MergeFrom(ft.FineTune(**fields))
        return self.gateway.stub.CreateFineTune(
            svc.CreateFineTuneRequest(request_id=request_id or str(uuid.uuid4()), fine_tune=made), timeout=20)

    def refusal(self, **more):
        with self.assertRaises(grpc.RpcError) as caught:
            self.create(**more)
        return caught.exception

    def state(self):
        return svc.GatewayStatus.UpstreamState.Name(
            self.gateway.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=5).upstream_state)

    def upload_url(self, timeout=20):
        return self.gateway.stub.CreateUploadUrl(svc.CreateUploadUrlRequest(file_name="a.zip"), timeout=timeout)

    def rss(self):
        with open(f"/proc/{self.gateway.popen.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) * 1024

    def test_a_page_under_any_code_refuses_no_submit_that_was_taken(self):
        self.start()
        taken = 0
        for code in (400, 401, 402, 403, 404, 406, 409, 410, 422, 429, 500, 302):
            for body in (PAGE, "not here", "", "{}", '{"error":"cut'):
                if code == 429 and body:
                    continue  # It holds back what follows; once is enough.
                with self.subTest(code=code, body=body):
                    self.segmind.answers["submit"] = lambda query, default, c=code, b=body: said(
                        c, b, {"Content-Type": "text/html", "Retry-After": "1"} if c == 429 else {"Content-Type": "text/html"})
                    request_id = str(uuid.uuid4())
                    made = self.create(request_id)
                    taken += 1
                    self.assertEqual(made.state, State.Value("TRAINING"), made)
                    self.assertEqual(self.create(request_id).name, made.name)
                    self.assertEqual(len(self.segmind.submits), taken)
        self.assertEqual(len({j.upstream_id for j in self.listed()}), taken)

    def test_segminds_own_json_refuses_at_once_with_a_typed_error(self):
        self.start()
        rows = {400: "UPSTREAM_REJECTED", 401: "UPSTREAM_CREDENTIAL_REJECTED", 402: "UPSTREAM_CREDITS_EXHAUSTED",
                403: "UPSTREAM_CREDENTIAL_REJECTED", 404: "UPSTREAM_REJECTED", 405: "UPSTREAM_MALFORMED", 409: "UPSTREAM_REJECTED",
                410: "UPSTREAM_RETIRED", 411: "UPSTREAM_MALFORMED", 413: "UPSTREAM_REJECTED", 415: "UPSTREAM_MALFORMED",
                422: "UPSTREAM_REJECTED", 423: "UPSTREAM_REJECTED", 428: "UPSTREAM_REJECTED", 451: "UPSTREAM_REJECTED"}
        for code, reason in rows.items():
            self.segmind.answers["submit"] = lambda query, default, c=code: (self.segmind.items.clear(), said(c, {"error": "words"}))[1]
            error = self.refusal()
            self.assertEqual(reason_of(error), reason, code)
            self.assertIn("words", error.details())
        self.assertEqual(len(self.segmind.submits), len(rows))

    def test_words_are_found_wherever_they_stand(self):
        self.start()
        for body, words in (({"detail": [{"loc": ["body", "steps"], "msg": "not a number"}]}, "body.steps: not a number"),
                            ({"errors": ["one", "two"]}, "one; two"), ({"errors": {"steps": ["too many"]}}, "steps: too many"),
                            ({"msg": "words"}, "words"), ({"reason": "words"}, "words"), ({"message": "words"}, "words"),
                            ({"error": {"message": "words"}}, "words")):
            self.segmind.answers["submit"] = lambda query, default, b=body: said(400, b)
            self.assertIn(words, self.refusal().details())
        for words, reason in (("Insufficient credits", "UPSTREAM_CREDITS_EXHAUSTED"), ("Image balance is poor", "UPSTREAM_REJECTED"),
                              ("Team spend limit reached", "UPSTREAM_CREDITS_EXHAUSTED"), ("Invalid content type", "UPSTREAM_MALFORMED")):
            self.segmind.answers["submit"] = lambda query, default, w=words: said(406, {"error": w})
            error = self.refusal()
            self.assertEqual(reason_of(error), reason, words)
            self.assertIn(words, error.details())
        # Where no money is at stake plain text is quoted, too.
        self.segmind.answers["upload_url"] = lambda query, default: said(500, "the disk is full")
        error = self.refused(grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE", self.upload_url, timeout=2)
        self.assertIn("the disk is full", error.details())

    def test_how_long_to_wait_is_obeyed_and_passed_on(self):
        self.start()
        self.segmind.answers["upload_url"] = lambda query, default: said(503, PAGE, {"Retry-After": "7200"})
        for _ in range(3):
            error = self.refused(grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE", self.upload_url)
            self.assertAlmostEqual(details_of(error)["RetryInfo"].retry_delay.seconds, 7200, delta=30)
        self.assertEqual(self.segmind.counts["upload_url"], 1)
        self.assertEqual(len(self.listed()), 0)  # Other calls go on.
        self.segmind.answers["submit"] = lambda query, default: said(429, {"error": "slow"}, {"x-rate-limit-reset-at-utc": "3600"})
        error = self.refusal()
        self.assertEqual(reason_of(error), "UPSTREAM_RATE_LIMITED")
        self.assertAlmostEqual(details_of(error)["RetryInfo"].retry_delay.seconds, 3600, delta=30)
        lists = self.segmind.counts["list"]
        error = self.refusal()
        self.assertAlmostEqual(details_of(error)["RetryInfo"].retry_delay.seconds, 3600, delta=60)
        self.assertLessEqual(self.segmind.counts["list"], lists + 1)
        self.assertEqual(self.segmind.counts["submit"], 1)

    def test_a_page_blames_no_key(self):
        self.segmind.add()
        self.segmind.answers["details"] = lambda query, default: said(403, PAGE)
        self.start()
        wait_until("details to be asked for", lambda: self.segmind.counts.get("details", 0) >= 3)
        seen = set()
        lists = self.segmind.counts["list"]
        wait_until("lists beside them", lambda: (seen.add(self.state()), self.segmind.counts["list"] > lists + 10)[1])
        self.assertEqual(seen, {"DEGRADED"})
        self.segmind.answers["list"] = self.segmind.answers["details"] = lambda query, default: said(401, {"error": "no such key"})
        wait_until("the key to be blamed", lambda: self.state() == "CREDENTIAL_REJECTED")
        self.segmind.answers.clear()
        wait_until("a list", lambda: self.segmind.counts["list"] and len(self.listed_if_any()) == 1)
        wait_until("all to be well", lambda: self.state() == "HEALTHY")

    def test_answers_that_never_end_are_cut(self):
        self.start()
        before = self.rss()

        def for_ever(start, piece):
            yield start
            for _ in range(1 << 14):
                yield piece

        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n"
        def such_lists(count):
            try:
                self.listed()
            except grpc.RpcError as error:
                self.assertEqual(reason_of(error), "UPSTREAM_MALFORMED")
            return self.segmind.counts["list"] >= count

        for start, piece in ((chunked, b"X-More: " + b"x" * 4000 + b"\r\n"), (b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"x" * 4000 + b"\r\n"),
                             (b"", b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 4000 + b"\r\n\r\n"),
                             (b"HTTP/1.1 200 OK\r\n\r\n", b"[" * 65536)):
            lists = self.segmind.counts["list"]
            self.segmind.answers["list"] = lambda query, default, s=start, p=piece: (200, for_ever(s, p), {}, True)
            wait_until("such lists", lambda: such_lists(lists + 2))
        bomb = gzip.compress(b" " * (512 << 20), 9)
        lists = self.segmind.counts["list"]
        self.segmind.answers["list"] = lambda query, default: said(200, bomb, {"Content-Encoding": "gzip"})
        wait_until("such lists", lambda: such_lists(lists + 2))
        self.assertLess(self.rss(), before + (250 << 20))
        self.assertGreaterEqual(self.metric("finetune_gateway_upstream_oversized_answers_total"), 5)
        self.segmind.answers.clear()
        self.segmind.add()
        wait_until("a good list again", lambda: len(self.listed()) == 1)

    def metric(self, name):
        return sum(float(line.rsplit(" ", 1)[1]) for line in self.gateway.admin("/metrics")[1].splitlines() if line.startswith(name))

    def test_a_list_of_too_many_jobs_is_refused_and_one_within_bounds_taken(self):
        self.start("--max_listed_jobs", "3")
        for _ in range(3):
            self.segmind.add()
        wait_until("three jobs", lambda: len(self.listed()) == 3)
        for _ in range(5):
            self.segmind.add()
        with self.assertRaises(grpc.RpcError) as caught:
            self.listed()
        self.assertEqual(reason_of(caught.exception), "UPSTREAM_MALFORMED")
        self.assertIn("--max_listed_jobs", caught.exception.details())

    def test_the_id_of_another_job_is_no_answer(self):
        self.start()
        first = self.create(instance_prompt="a secret prompt", labels={"team": "a"})
        known = first.upstream_id
        for answered in (known, known.upper()):
            self.segmind.answers["submit"] = lambda query, default, a=answered: said(200, {"finetune_id": a, "status": "REQUESTED"})
            second = self.create(instance_prompt="another prompt", labels={"team": "b"})
            self.assertNotEqual(second.name, first.name)
            self.assertEqual(second.instance_prompt, "another prompt")
            self.assertNotEqual(second.upstream_id, known)
        again = self.gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=first.name), timeout=5)
        self.assertEqual((again.instance_prompt, dict(again.labels), again.upstream_id), ("a secret prompt", {"team": "a"}, known))

    def test_the_key_comes_back_in_no_text(self):
        self.start()
        code = base64.b64encode(KEY.encode()).decode()
        shifted = base64.urlsafe_b64encode(b"u:" + KEY.encode()).decode()
        split = KEY[:5] + " " + KEY[5:12] + "\n" + KEY[12:]
        percent = "".join(f"%{ord(c):02x}" for c in KEY)
        made = self.create()
        self.segmind.items[0].update(status="FAILED", error_message=f"bad key {KEY} {code} {shifted} {percent} {split}", source_type=KEY)
        self.segmind.add(name=f"cat {KEY}", model_information={"a": [{"b": code}], KEY: 1}, advance_parameters={"x": percent, KEY: "y"},
                         cloud_storage_url=f"https://storage.test/{KEY}/f?key={KEY}", slug=split, status=KEY)
        self.segmind.add(finetune_id=KEY)
        wait_until("the jobs", lambda: len(self.listed()) == 2 and [j for j in self.listed() if j.name == made.name and j.state == State.Value("FAILED")])
        shown = str(self.listed())
        self.segmind.answers["submit"] = self.segmind.answers["upload_url"] = lambda query, default: said(
            400, {"error": f"{KEY} {code} {shifted} {percent} {split}"}, {"x-request-id": f"r-{KEY}"})
        for error in (self.refusal(), self.refused(grpc.StatusCode.INVALID_ARGUMENT, "UPSTREAM_REJECTED", self.upload_url)):
            shown += error.details() + str(details_of(error))
        shown += self.gateway.admin("/metrics")[1] + self.gateway.log
        for secret in (KEY, code, percent, shifted[4:-4], KEY[5:12]):
            self.assertNotIn(secret, shown)
        self.assertIn("[removed]", shown)

    def test_cancelled_calls_leave_no_queue_behind(self):
        self.start("--upstream_calls_per_minute", "600", "--active_poll_interval", "1h", "--idle_poll_interval", "1h")
        stalled = threading.Event()
        self.segmind.answers["upload_url"] = lambda query, default: (stalled.wait(60), default)[1]
        calls = [self.gateway.stub.CreateUploadUrl.future(svc.CreateUploadUrlRequest(file_name="a.zip"), timeout=60) for _ in range(400)]
        wait_until("calls at Segmind", lambda: self.segmind.counts.get("upload_url", 0) >= 1)
        for call in calls:
            call.cancel()
        self.segmind.answers.clear()
        self.assertIn("X-Amz", self.upload_url(timeout=5).upload_uri)
        stalled.set()

    def test_ids_that_lead_elsewhere_name_no_job(self):
        for name in (".", "..", "a\u0000b", "a b", ""):
            self.segmind.add(finetune_id=name)
        for name in ("a/b", "../x", "fineTunes/..", "é"):
            self.segmind.add(finetune_id=name)
        good = self.segmind.add()["finetune_id"]
        self.start()
        wait_until("the good one", lambda: good in {j.upstream_id for j in self.listed()})
        for listed in self.listed():
            prefix, _, rest = listed.name.partition("/")
            self.assertEqual(prefix, "fineTunes")
            self.assertNotIn("/", rest)
            self.assertNotIn(rest, (".", "..", ""))
            self.assertEqual(self.gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=listed.name), timeout=5).upstream_id, listed.upstream_id)

    def test_times_are_read_in_every_form_or_not_at_all(self):
        forms = ["2025-01-01T00:00:30Z", "2025-01-01T00:00:30.123456789Z", "Wed, 01 Jan 2025 00:00:30 GMT", "Wednesday, 01-Jan-25 00:00:30 GMT",
                 "Wed Jan  1 00:00:30 2025", "Wed, 01 Jan 2025 01:00:30 +0100", "2025-01-01T00:00Z", 1735689630, 1735689630123,
                 1735689630123456, 1735689630123456789, "1735689630", {"$date": "2025-01-01T00:00:30Z"}, {"$date": {"$numberLong": "1735689630000"}}]
        ids = [self.segmind.add(created_ts=form)["finetune_id"] for form in forms]
        bad = self.segmind.add(created_ts="some day")["finetune_id"]
        self.start()
        found = {}
        def known():
            found.update({j.upstream_id: j for j in self.listed()})
            return all(found[i].create_time.seconds // 60 == 1735689630 // 60 for i in ids)
        wait_until("the times", known)
        self.assertGreaterEqual(self.metric("finetune_gateway_unreadable_times_total"), 1)
        self.assertTrue(found[bad].create_time_estimated)
        self.assertFalse(found[ids[0]].create_time_estimated)
        self.assertIn(bad, found)

    def test_whole_numbers_are_exact_or_refused(self):
        self.start()
        parameters = ft.TrainingParameters()
        parameters.integers["seed"] = 9007199254740993
        made = self.create(parameters=parameters)
        self.assertIn('"seed":9007199254740993', self.segmind.submits[0].replace(" ", ""))
        self.assertEqual(made.parameters.integers["seed"], 9007199254740993)
        for value in (9007199254740993, float("nan"), float("inf")):
            parameters = ft.TrainingParameters()
            parameters.extra["seed"] = value
            self.assertEqual(reason_of(self.refusal(parameters=parameters)), "INVALID_FIELD")
        foreign = self.segmind.add(advance_parameters={"seed": 9007199254740995, "deep": {"s": 9007199254740997}},
                                   model_information={"s": 12345678901234567890123})["finetune_id"]
        def read():
            return next((j for j in self.listed() if j.upstream_id == foreign), None)
        name = wait_until("the foreign job", read).name
        shown = self.gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=name), timeout=5)
        self.assertEqual(shown.parameters.integers["seed"], 9007199254740995)
        self.assertEqual(shown.parameters.extra["deep"]["s"], "9007199254740997")
        self.assertEqual(shown.model_information["s"], "12345678901234567890123")

    def test_pages_are_followed_to_their_end(self):
        for _ in range(25):
            self.segmind.add(status="AVAILABLE")

        def page(query, default):
            start = int(query.partition("cursor=")[2] or 0)
            body = {"finetunes": self.segmind.items[start:start + 10]}
            if start + 10 < len(self.segmind.items):
                body["next_cursor"] = str(start + 10)
            return said(200, body)

        self.segmind.answers["list"] = page
        self.start()
        wait_until("all jobs", lambda: len(self.listed()) == 25)

    def test_what_keeps_segmind_out_of_reach_is_logged_at_once_by_host_and_cause(self):
        self.segmind.close()
        self.gateway = self.start_gateway(self.segmind.url, "--active_poll_interval", "15s", "--idle_poll_interval", "15s", api_key=KEY)
        wait_until("a warning", lambda: "cannot be reached" in self.gateway.log, seconds=8)
        warning = next(json.loads(line) for line in self.gateway.log.splitlines() if "cannot be reached" in line)
        self.assertIn(f"127.0.0.1:{self.segmind.port}", warning["error"])

    def test_a_companys_authority_is_trusted_when_told(self):
        ca, key, cert = (self.folder / name for name in ("ca.pem", "key.pem", "cert.pem"))
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.folder / "ca.key", "-out", ca, "-subj", "/CN=Company CA", "-days", "2")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", self.folder / "csr", "-subj", "/CN=127.0.0.1")
        (self.folder / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", self.folder / "csr", "-CA", ca, "-CAkey", self.folder / "ca.key", "-CAcreateserial", "-out", cert,
            "-days", "2", "-extfile", self.folder / "ext")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self.segmind = Upstream(context)
        self.addCleanup(self.segmind.close)
        self.segmind.add()
        self.gateway = self.start_gateway(self.segmind.url, api_key=KEY)
        wait_until("a warning", lambda: "certificate is not trusted" in self.gateway.log, seconds=8)
        self.assertIn(f"127.0.0.1:{self.segmind.port}", self.gateway.log)
        self.assertNotIn("finetune_id", self.gateway.log)
        for flags, env, jobs in ((["--upstream_ca_file", str(ca)], None, 2), ([], {"SSL_CERT_FILE": str(ca)}, 3)):
            self.segmind.add()
            self.gateway.close()
            self.gateway.terminate()
            self.gateway = self.start_gateway(self.segmind.url, *flags, api_key=KEY, env=env)
            wait_until("the jobs", lambda: len(self.listed()) == jobs)


if __name__ == "__main__":
    unittest.main()
