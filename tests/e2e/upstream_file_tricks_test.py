"""Storage does what its documents do not say, as the emulator plays it: weights that are none, odd redirects, refused uploads, datasets that
are something else."""

import hashlib
import subprocess
import time
import unittest
import uuid

import grpc

from harness import BIN, EndToEnd, dataset, job, reason_of, svc, wait_until


class FileTricks(EndToEnd):
    def setUp(self):
        super().setUp()
        self.emulator = self.start_emulator("--check_datasets=false", time_scale=0)
        self.gateway = self.start_gateway(self.emulator, "--transfer_idle_timeout", "2s").ready()
        self.stub = self.gateway.stub
        self.made = self.emulator.call("POST", "/emulator/jobs", {"name": "cats", "status": "AVAILABLE", "weights_bytes": 5000})
        self.weights = self.emulator.call("GET", f"/emulator/weights/{self.made['id']}")
        listed = wait_until("the job with its weights", lambda: [
            j for j in self.stub.ListFineTunes(svc.ListFineTunesRequest(), timeout=10).fine_tunes if j.weights_uri])
        self.name = listed[0].name
        self.target = self.folder / "cats.safetensors"

    def finetune(self, *args):
        began = time.monotonic()
        done = subprocess.run([BIN / "finetune", "--server", self.gateway.address, *map(str, args)], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60, check=False)
        done.seconds = time.monotonic() - began
        self.assertNotIn("--help", done.stderr)  # That was the command line.
        return done

    def get_weights(self, **request):
        return b"".join(part.chunk for part in self.stub.DownloadWeights(svc.DownloadWeightsRequest(name=self.name, **request), timeout=20))

    def is_weights(self, data):
        return hashlib.sha256(data).hexdigest() == self.weights["sha256"]

    def test_what_is_no_weights_takes_no_files_place(self):
        for content in ("html", "html_named_binary", "s3_xml", "json", "lfs_pointer", "text", "empty", "bytes3", "image", "huge_header", "cut_header"):
            with self.subTest(content):
                self.emulator.clear_faults()
                self.target.write_bytes(b"the good one")
                self.emulator.fault("weights_get", "content", content=content, count=-1, job="gcs-content")
                done = self.finetune("download", self.name, self.target)
                self.assertNotEqual(done.returncode, 0, done.stdout)
                self.assertEqual(self.target.read_bytes(), b"the good one")
                self.assertLess(done.seconds, 20)
        self.emulator.clear_faults()
        self.assertEqual(self.finetune("download", self.name, self.target).returncode, 0)
        self.assertTrue(self.is_weights(self.target.read_bytes()))

    def test_encoded_weights_are_decoded_or_refused(self):
        for encoding in ("gzip", "deflate", "br", "x-unheard-of"):
            with self.subTest(encoding):
                self.emulator.clear_faults()
                self.emulator.fault("weights_get", "encoded", encoding=encoding, count=-1, job="gcs-content")
                try:
                    self.assertTrue(self.is_weights(self.get_weights()))
                except grpc.RpcError as error:
                    self.assertEqual(reason_of(error), "UPSTREAM_MALFORMED", error.details())

    def test_a_location_is_read_as_browsers_do_or_refused_once(self):
        path = f"/gcs-content/9/{self.made['id']}.safetensors"
        good = {"a space": f"{self.emulator.url}{path}?a=b c", "a path": path, "spaces around": f"  {self.emulator.url}{path} ",
                "letters": f"{self.emulator.url}{path}?ä=ö"}
        for words, url in good.items():
            with self.subTest(words):
                self.emulator.clear_faults()
                self.emulator.fault("weights_get", "redirect_to", url=url, job="/gcs/")
                self.assertTrue(self.is_weights(self.get_weights()))
        bad = {"a port": f"http://127.0.0.1:99999{path}", "no port": f"http://127.0.0.1:x{path}", "half an address": "http://[::1",
               "no host": "http:///x", "elsewhere": "http://10.0.0.1/x", "a scheme": "ftp://127.0.0.1/x", "a user": f"http://me@127.0.0.1{path}"}
        for words, url in bad.items():
            with self.subTest(words):
                self.emulator.clear_faults()
                self.emulator.fault("weights_get", "redirect_to", url=url, job="/gcs/", count=-1)
                calls = self.emulator.calls("weights_get")
                began = time.monotonic()
                with self.assertRaises(grpc.RpcError) as caught:
                    self.get_weights()
                self.assertIn(reason_of(caught.exception), ("UPSTREAM_MALFORMED", "UPSTREAM_UNAVAILABLE"), caught.exception.details())
                self.assertLess(time.monotonic() - began, 5)
                self.assertLessEqual(self.emulator.calls("weights_get") - calls, 2)

    def upload(self, data):
        def messages():
            yield svc.UploadDatasetRequest(spec=svc.DatasetSpec(
                file_name="cats.zip", size_bytes=len(data), public_read=True, sha256=hashlib.sha256(data).digest()))
            yield svc.UploadDatasetRequest(chunk=data)
        return self.stub.UploadDataset(messages(), timeout=30)

    def test_a_refused_upload_is_told_at_once(self):
        data = dataset(self.folder / "d.zip").read_bytes()
        for code, more in (("EntityTooLarge", {}), ("RequestEntityTooLarge", {}), ("MissingContentLength", {}), ("AccessDenied", {}),
                           ("ExpiredToken", {}), ("PermanentRedirect", {}), ("TemporaryRedirect", {})):
            with self.subTest(code):
                self.emulator.clear_faults()
                self.emulator.fault("storage_put", "storage_error", s3_code=code, count=-1, **more)
                puts = self.emulator.calls("storage_put")
                began = time.monotonic()
                with self.assertRaises(grpc.RpcError) as caught:
                    self.upload(data)
                # A fresh URL, once, may help.
                self.assertLessEqual(self.emulator.calls("storage_put") - puts, 2)
                self.assertLess(time.monotonic() - began, 8)
                self.assertTrue(reason_of(caught.exception), caught.exception)
                # By the client's own way to storage as well.
                puts = self.emulator.calls("storage_put")
                done = self.finetune("upload", self.folder / "d.zip", "--public")
                self.assertNotEqual(done.returncode, 0)
                self.assertLess(done.seconds, 15)
                self.assertLessEqual(self.emulator.calls("storage_put") - puts, 4)
                self.assertNotIn("try again", done.stderr.lower())
        self.emulator.clear_faults()
        self.assertTrue(self.upload(data).data_source_uri)


if __name__ == "__main__":
    unittest.main()
