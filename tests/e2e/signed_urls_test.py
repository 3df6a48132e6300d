"""URLs that are signed: sent on and fetched with their signatures, compared, kept and shown without."""

import itertools
import json
import unittest
import uuid

import grpc

from harness import EndToEnd, State, job, reason_of, svc, wait_until
from odd_upstream_test import OddSegmind

SECRET = "51gnatur3"
SIGNERS = {
    "s3": "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F1&X-Amz-Date={n}&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature={s}{n}",
    "gcs": "X-Goog-Algorithm=G&X-Goog-Credential=c&X-Goog-Date={n}&X-Goog-Expires=9&X-Goog-SignedHeaders=host&X-Goog-Signature={s}{n}",
    "azure": "sv=2024-01-01&st={n}&se={n}&sr=b&sp=r&sig={s}{n}%3D",
    "cloudfront": "Expires={n}&Signature={s}{n}~-_&Key-Pair-Id=K1",
    "aliyun": "OSSAccessKeyId=k&Expires={n}&Signature={s}{n}",
    "token": "token={s}{n}",
}


class SignedUrls(EndToEnd):
    def setUp(self):
        super().setUp()
        self.segmind = OddSegmind()
        self.addCleanup(self.segmind.server.shutdown)
        self.count = itertools.count(1)

    def start(self, **more):
        self.gateway = self.start_gateway(self.segmind.url, "--active_poll_interval", "100ms", "--idle_poll_interval", "100ms", **more)
        return self.gateway.ready()

    def sign(self, signer, url):
        return url + "?" + SIGNERS[signer].format(n=next(self.count), s=SECRET)

    def jobs(self):
        return list(self.gateway.stub.ListFineTunes(svc.ListFineTunesRequest(view=svc.FINE_TUNE_VIEW_FULL), timeout=20).fine_tunes)

    def kept_nothing(self):
        """No signature lies in the store or in the log."""
        self.gateway.terminate()
        for path in self.folder.glob("store.db*"):
            self.assertNotIn(SECRET.encode(), path.read_bytes(), path)
        self.assertNotIn(SECRET, self.gateway.log)

    def test_urls_that_are_signed_anew_in_each_list_make_no_revision(self):
        for signer in SIGNERS:
            self.segmind.add(name=signer, status="available", slug=signer)
        def signed(items):
            answer = []
            for item in items:
                url = lambda what: self.sign(item["name"], f"https://h.example/{what}")  # noqa: E731
                answer.append({**item, "cloud_storage_url": url("w.safetensors"), "data_source_path": url("d.zip"),
                               "segmind_model_path": url("m"), "error_message": f"tried <{url('d.zip')}> twice",
                               "model_information": {"previews": [url("p"), {"deep": url("q")}]},
                               "advance_parameters": {"init_image": url("i"), "steps": 3}})
            return json.dumps(answer).encode()
        self.segmind.list_body = signed
        self.start()
        wait_until("all jobs", lambda: len(self.jobs()) == len(SIGNERS))
        wait_until("their weights", lambda: all(j.weights_uri for j in self.jobs()))
        def ten_more_lists():
            drawn = next(self.count)
            wait_until("ten more lists", lambda: next(self.count) > drawn + 10 * 8 * len(SIGNERS))
        ten_more_lists()  # And the details that follow the first.
        before = self.jobs()
        ten_more_lists()
        after = self.jobs()
        self.assertEqual([(j.revision, j.etag) for j in before], [(j.revision, j.etag) for j in after])
        for found in after:
            self.assertEqual(found.weights_uri, "https://h.example/w.safetensors")
            self.assertEqual(found.data_source_uri, "https://h.example/d.zip")
            self.assertNotIn(SECRET, str(found))
            self.assertEqual(found.model_information["previews"][0], "https://h.example/p")
        self.kept_nothing()

    def test_a_signed_dataset_url_is_sent_and_never_kept(self):
        self.start()
        sent = []
        self.segmind.on_submit = sent.append
        for signer in SIGNERS:
            request_id = str(uuid.uuid4())
            make = lambda url: self.gateway.stub.CreateFineTune(  # noqa: E731
                svc.CreateFineTuneRequest(request_id=request_id, fine_tune=job(url, name=signer)), timeout=30)
            url = self.sign(signer, "https://h.example/d.zip")
            made = make(url)
            self.assertEqual(sent[-1]["data_source_path"], url)
            self.assertEqual(made.data_source_uri, "https://h.example/d.zip")
            # A repeat, signed anew, is the same request.
            self.assertEqual(make(self.sign(signer, "https://h.example/d.zip")).name, made.name)
            self.assertEqual(len(sent), self.segmind.submits)
            with self.assertRaises(grpc.RpcError) as caught:
                make(self.sign(signer, "https://h.example/other.zip"))
            self.assertEqual(reason_of(caught.exception), "REQUEST_ID_REUSED")
        self.assertEqual(self.segmind.submits, len(SIGNERS))
        # Segmind's own words about it.
        for item in self.segmind.items:
            item.update(status="failed", error_message=f"Download failed: {self.sign('s3', 'https://h.example/d.zip')}",
                        data_source_path=self.sign("s3", "https://h.example/d.zip"))
        wait_until("the failures", lambda: all(j.state == State.Value("FAILED") for j in self.jobs()))
        for found in self.jobs():
            self.assertEqual(found.failure.message, "Download failed: https://h.example/d.zip")
        self.assertNotIn(SECRET, str(self.jobs()))
        self.kept_nothing()

    def test_a_submission_that_died_takes_the_signature_of_its_repeat(self):
        self.start()
        sent = []
        self.segmind.on_submit = sent.append
        self.segmind.refuse_submits = (400, b'{"error": "busy"}')
        request = svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=job(self.sign("s3", "https://h.example/d.zip")))
        with self.assertRaises(grpc.RpcError):
            self.gateway.stub.CreateFineTune(request, timeout=30)
        self.gateway.kill()
        self.segmind.refuse_submits = None
        self.start()
        request.fine_tune.data_source_uri = again = self.sign("s3", "https://h.example/d.zip")
        self.gateway.stub.CreateFineTune(request, timeout=30)
        self.assertEqual(sent[-1]["data_source_path"], again)
        self.kept_nothing()


if __name__ == "__main__":
    unittest.main()
