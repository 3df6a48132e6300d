"""Datasets in and weights out, with real processes: what passes, what it costs, and what goes wrong on the way."""

import hashlib
import json
import os
import random
import socket
import subprocess
import threading
import time
import unittest
import urllib.error
import urllib.request
import uuid
import zipfile

import grpc

from harness import BIN, EndToEnd, State, dataset, details_of, ft, job, reason_of, svc, wait_until

Code = grpc.StatusCode
MIB = 1 << 20
CHUNK = MIB


def crc32c(data):
    """CRC-32C, by its definition."""
    crc = 0xffffffff
    for byte in data:
        crc = CRC32C_TABLE[(crc ^ byte) & 0xff] ^ crc >> 8
    return crc ^ 0xffffffff


def _crc32c_entry(value):
    for _ in range(8):
        value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
    return value


CRC32C_TABLE = [_crc32c_entry(byte) for byte in range(256)]


def resident(process):
    """Resident memory of a process, in bytes."""
    with open(f"/proc/{process.popen.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


class PeakMemory:
    """How far a process's resident memory grows while the block runs."""

    def __init__(self, process):
        self.process = process

    def __enter__(self):
        self.before = self.peak = resident(self.process)
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self):
        while not self.done.wait(0.02):
            self.peak = max(self.peak, resident(self.process))

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        self.growth = self.peak - self.before


class Transfers(EndToEnd):
    EMULATOR = ()
    GATEWAY = ("--transfer_idle_timeout", "2s", "--check_datasets=true")

    def setUp(self):
        super().setUp()
        self.emulator = self.start_emulator(*self.EMULATOR)
        self.gateway = self.start_gateway(self.emulator, *self.GATEWAY).ready()
        self.stub = self.gateway.stub

    # Uploads.

    def messages(self, data, spec=None, chunk=CHUNK):
        yield svc.UploadDatasetRequest(spec=spec or svc.DatasetSpec(
            file_name="cats.zip", size_bytes=len(data), public_read=True, sha256=hashlib.sha256(data).digest()))
        for at in range(0, len(data), chunk):
            yield svc.UploadDatasetRequest(chunk=data[at:at + chunk])

    def upload(self, data, timeout=60, **more):
        return self.stub.UploadDataset(self.messages(data, **more), timeout=timeout)

    def zip(self, images=5):
        return dataset(self.folder / "d.zip", images).read_bytes()

    def large_zip(self, size):
        """One image of that size, and what a zip adds to it."""
        path = self.folder / "large.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as large:
            large.writestr("a.jpg", os.urandom(size))
        return path.read_bytes()

    # Downloads.

    def trained(self, base_model="FAST_FLUX", weights_bytes=None, status="AVAILABLE"):
        """A job with weights, as the gateway names it, and what they are."""
        more = {} if weights_bytes is None else {"weights_bytes": weights_bytes}
        if more:
            self.emulator.call("POST", "/emulator/settings", more)
        made = self.emulator.call("POST", "/emulator/jobs", {"name": "w", "base_model": base_model, "status": status})
        upstream_id = made["finetune_id"] if "finetune_id" in made else made["id"]

        def known():
            found = self.stub.ListFineTunes(svc.ListFineTunesRequest(filter=f'upstream_id = "{upstream_id}"')).fine_tunes
            return found[0].name if found and found[0].weights_uri else None

        name = wait_until("the job to be known", known)
        return name, self.emulator.call("GET", f"/emulator/weights/{upstream_id}")

    def download(self, name, offset=0, limit=0, timeout=120, skip_sha256=False):
        return self.stub.DownloadWeights(
            svc.DownloadWeightsRequest(name=name, read_offset=offset, read_limit=limit, skip_sha256=skip_sha256), timeout=timeout)

    def fetched(self, name, **more):
        """Size, SHA-256 and first response of a whole download."""
        digest, size, first = hashlib.sha256(), 0, None
        for response in self.download(name, **more):
            first = first or response
            self.assertEqual(response.offset, more.get("offset", 0) + size)
            digest.update(response.chunk)
            size += len(response.chunk)
        return size, digest.hexdigest(), first

    def failed(self, codes, reason, call):
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        error = caught.exception
        self.assertIn(error.code(), codes, error.details())
        if reason:
            self.assertEqual(reason_of(error), reason, error.details())
        self.assertNotIn("Signature", error.details() or "")
        return error

    def all_is_left(self):
        """No transfer holds its place any more."""
        wait_until("the transfers to end", lambda: "finetune_gateway_transfers 0\n" in self.gateway.admin("/metrics")[1])


class Uploads(Transfers):
    def test_a_dataset_passes_and_can_be_trained_with(self):
        data = self.zip(7)
        made = self.upload(data)
        self.assertEqual((made.size_bytes, made.image_count, list(made.warnings)), (len(data), 7, []))
        self.assertEqual(made.sha256, hashlib.sha256(data).digest())
        with urllib.request.urlopen(made.data_source_uri) as answer:
            self.assertEqual(answer.read(), data)
        created = self.stub.CreateFineTune(svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=job(made.data_source_uri)), timeout=20)
        done = self.stub.WaitFineTune(svc.WaitFineTuneRequest(name=created.name), timeout=60)
        self.assertEqual(done.fine_tune.state, State.AVAILABLE)
        self.assertEqual(self.emulator.call("GET", "/emulator/stats").get("keys_leaked_to_storage", 0), 0)

    def test_100_mb_take_little_memory(self):
        data = self.large_zip(100 * MIB)
        self.upload(self.zip())
        with PeakMemory(self.gateway) as memory:
            made = self.upload(data, timeout=120)
        self.assertEqual(made.sha256, hashlib.sha256(data).digest())
        self.assertTrue(made.warnings)
        self.assertLess(memory.growth, 16 * MIB)

    def test_wrong_sizes_and_digests_never_reach_storage(self):
        data = self.zip()
        good = svc.DatasetSpec(file_name="x.zip", size_bytes=len(data), public_read=True)
        for wrong in ({"size_bytes": len(data) + 1}, {"size_bytes": len(data) - 1}, {"sha256": bytes(32)}):
            spec = svc.DatasetSpec()
            spec.CopyFrom(good)
            for field, value in wrong.items():
                setattr(spec, field, value)
            self.failed([Code.DATA_LOSS], "CHECKSUM_MISMATCH", lambda: self.upload(data, spec=spec))
        self.all_is_left()
        self.assertEqual(self.emulator.calls("storage_put"), 0, "storage took a dataset that is wrong")
        self.upload(data)
        self.assertEqual(self.emulator.calls("storage_put"), 1)

    def test_its_messages_are_counted(self):
        line = 'grpc_server_msg_received_total{grpc_method="UploadDataset"'
        received = lambda: next(float(text.split()[-1]) for text in self.gateway.admin("/metrics")[1].splitlines() if text.startswith(line))
        before = received()
        self.failed([Code.INVALID_ARGUMENT], "INVALID_FIELD", lambda: self.stub.UploadDataset(iter(
            [svc.UploadDatasetRequest(spec=svc.DatasetSpec(file_name="x.zip", size_bytes=5)),
             svc.UploadDatasetRequest(chunk=b"abc"),
             svc.UploadDatasetRequest(spec=svc.DatasetSpec(file_name="x.zip", size_bytes=5))]), timeout=20))
        wait_until("its messages to be counted", lambda: received() == before + 3)

    def test_what_is_no_upload_is_refused(self):
        data = self.zip()
        for spec in (svc.DatasetSpec(file_name="../x.zip", size_bytes=5), svc.DatasetSpec(file_name="x.zip"),
                     svc.DatasetSpec(file_name="x.tar", size_bytes=5), svc.DatasetSpec(file_name="x.zip", size_bytes=5, sha256=b"x")):
            self.failed([Code.INVALID_ARGUMENT], "INVALID_FIELD", lambda: self.upload(data, spec=spec))
        self.failed([Code.INVALID_ARGUMENT], "INVALID_FIELD",
                    lambda: self.stub.UploadDataset(iter([svc.UploadDatasetRequest(chunk=b"x")]), timeout=20))
        self.failed([Code.INVALID_ARGUMENT], "INVALID_FIELD", lambda: self.stub.UploadDataset(iter([]), timeout=20))

    def test_warnings_name_what_is_wrong(self):
        path = self.folder / "odd.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as odd:
            odd.writestr("cat.jpg", os.urandom(100))
            odd.writestr("sub/cat.jpg", b"x")
            odd.writestr("../evil.jpg", b"x")
            odd.writestr("bomb.png", bytes(50 * MIB))
        made = self.upload(path.read_bytes())
        self.assertEqual(made.image_count, 2)
        for word in ("sub-folders", "leaves the folder", "unpack"):
            self.assertTrue(any(word in w for w in made.warnings), (word, made.warnings))

    def test_hostile_storages_give_typed_errors(self):
        data = self.zip(40)
        for kind, more in (("storage_500", {}), ("close_before", {}), ("lost_answer", {"reset": True}), ("stall", {"ms": 60000}),
                           ("storage_error", {"s3_code": "SlowDown"}), ("storage_error", {"s3_code": "RequestTimeout"})):
            with self.subTest(kind):
                self.emulator.fault("storage_put", kind, count=-1, **more)
                error = self.failed([Code.UNAVAILABLE], "UPSTREAM_UNAVAILABLE", lambda: self.upload(data))
                self.assertIn("RetryInfo", details_of(error))
                self.emulator.clear_faults()
                self.assertEqual(self.upload(data).image_count, 40)
        self.all_is_left()

    def test_what_storage_refuses_for_good_is_told_at_once(self):
        data = self.zip(40)
        for kind, more, code, reason in (
                ("storage_403", {}, Code.INTERNAL, "UPSTREAM_MALFORMED"),
                ("redirect_to", {"url": "http://10.1.2.3/"}, Code.INTERNAL, "UPSTREAM_MALFORMED"),
                ("redirect_to", {"url": "http://10.1.2.3/", "code": 307}, Code.INTERNAL, "UPSTREAM_MALFORMED"),
                ("storage_error", {"s3_code": "PermanentRedirect"}, Code.INTERNAL, "UPSTREAM_MALFORMED"),
                ("storage_error", {"s3_code": "MissingContentLength"}, Code.INTERNAL, "UPSTREAM_MALFORMED"),
                ("storage_error", {"s3_code": "ExpiredToken"}, Code.INTERNAL, "UPSTREAM_MALFORMED"),
                ("storage_error", {"s3_code": "EntityTooLarge"}, Code.INVALID_ARGUMENT, "INVALID_FIELD"),
                ("storage_error", {"s3_code": "RequestEntityTooLarge", "code": 413}, Code.INVALID_ARGUMENT, "INVALID_FIELD")):
            with self.subTest(kind, **more):
                self.emulator.fault("storage_put", kind, count=-1, **more)
                before = self.emulator.calls("storage_put")
                error = self.failed([code], reason, lambda: self.upload(data))
                self.assertNotIn("RetryInfo", details_of(error))
                self.assertLessEqual(self.emulator.calls("storage_put") - before, 2)
                # The command line does not send all bytes again and again either.
                path = self.folder / "cats.zip"
                path.write_bytes(data)
                before = self.emulator.calls("storage_put")
                done = subprocess.run([BIN / "finetune", "--server", self.gateway.address, "upload", path],
                                      capture_output=True, text=True, timeout=60)
                self.assertNotEqual(done.returncode, 0)
                self.assertLessEqual(self.emulator.calls("storage_put") - before, 2, done.stderr)
                self.emulator.clear_faults()
        self.all_is_left()

    def test_a_url_that_storage_refuses_is_replaced_once(self):
        # Larger ones only where storage speaks before it reads, as the emulator does not.
        for data in (self.zip(2), self.large_zip(MIB // 2)):
            for fault in (("storage_403", {}), ("storage_error", {"s3_code": "ExpiredToken"})):
                self.emulator.fault("storage_put", fault[0], count=1, **fault[1])
                made = self.upload(data)
                self.assertEqual(made.sha256, hashlib.sha256(data).digest())
                with urllib.request.urlopen(made.data_source_uri) as answer:
                    self.assertEqual(answer.read(), data)

    def test_what_nothing_can_be_trained_with_is_refused(self):
        in_folder, empty, captions = (self.folder / name for name in ("f.zip", "e.zip", "c.zip"))
        with zipfile.ZipFile(in_folder, "w") as made:
            made.writestr("cats/a.jpg", b"x")
        with zipfile.ZipFile(empty, "w"):
            pass
        with zipfile.ZipFile(captions, "w") as made:
            made.writestr("a.txt", b"a cat")
        whole = self.zip(40)
        for bad in (in_folder.read_bytes(), empty.read_bytes(), captions.read_bytes(), b"a text file\n" * 1000,
                    b"<html>" + bytes(5 * MIB), whole[:len(whole) // 2]):
            self.failed([Code.INVALID_ARGUMENT], "INVALID_FIELD", lambda: self.upload(bad))
        self.all_is_left()
        self.assertEqual(self.emulator.calls("storage_put"), 0, "storage has what is no dataset")
        with zipfile.ZipFile(captions, "a") as made:
            made.writestr("a.jpg", b"x")
            made.writestr("metadata.jsonl", b"{}")
        self.assertEqual(list(self.upload(captions.read_bytes()).warnings), [])

    def test_a_client_that_stops_sending_is_ended(self):
        def stop():
            yield from list(self.messages(self.zip(40)))[:1]
            time.sleep(30)

        self.failed([Code.DEADLINE_EXCEEDED], "DEADLINE_EXCEEDED", lambda: self.stub.UploadDataset(stop(), timeout=60))
        self.all_is_left()

    def test_a_client_that_dies_leaves_nothing(self):
        ready = threading.Event()

        def die():
            yield svc.UploadDatasetRequest(spec=svc.DatasetSpec(file_name="x.zip", size_bytes=50 * MIB, public_read=True))
            yield svc.UploadDatasetRequest(chunk=b"PK\3\4" + bytes(CHUNK - 4))
            ready.set()
            time.sleep(10)

        call = self.stub.UploadDataset.future(die())
        ready.wait(10)
        call.cancel()
        self.all_is_left()

    def test_validate_only_asks_for_the_dataset(self):
        good = self.upload(self.zip()).data_source_uri
        validate = lambda uri, **more: self.stub.CreateFineTune(  # noqa: E731
            svc.CreateFineTuneRequest(fine_tune=job(uri), validate_only=True), timeout=30)
        validate(good)
        big = self.upload(self.large_zip(101 * MIB)).data_source_uri
        for bad in (good + "x", big, "http://10.0.0.1/x.zip", "http://169.254.169.254/x.zip", "http://localhost:1/x.zip",
                    "http://[::ffff:127.0.0.1]/x.zip"):
            error = self.failed([Code.INVALID_ARGUMENT], "INVALID_FIELD", lambda: validate(bad))
            self.assertEqual(details_of(error)["BadRequest"].field_violations[0].field, "fine_tune.data_source_uri")
        self.assertEqual(self.emulator.calls("submit"), 0)

    def test_a_dataset_is_looked_at_before_it_costs_money(self):
        good = self.upload(self.zip()).data_source_uri
        create = lambda uri, **more: self.stub.CreateFineTune(svc.CreateFineTuneRequest(  # noqa: E731
            request_id=str(uuid.uuid4()), fine_tune=job(uri), **more), timeout=30)
        for content in ("html", "html_named_binary", "json", "s3_xml", "image", "bytes3", "empty", "text"):
            with self.subTest(content):
                self.emulator.fault("dataset_get", "content", count=-1, content=content)
                for more in ({}, {"validate_only": True}):
                    error = self.failed([Code.INVALID_ARGUMENT], "INVALID_FIELD", lambda: create(good, **more))
                    self.assertEqual(details_of(error)["BadRequest"].field_violations[0].field, "fine_tune.data_source_uri")
                self.emulator.clear_faults()
        for uri in (good + "x", "http://127.1/x.zip", "http://2130706433/x.zip", "http://localhost/x.zip"):
            self.failed([Code.INVALID_ARGUMENT], "INVALID_FIELD", lambda: create(uri))
        self.assertEqual(self.emulator.calls("submit"), 0)
        # A repeat is answered, whatever has become of the dataset.
        request = svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=job(good))
        made = self.stub.CreateFineTune(request, timeout=30)
        self.emulator.fault("dataset_get", "storage_403", count=-1)
        self.assertEqual(self.stub.CreateFineTune(request, timeout=30).name, made.name)
        self.emulator.clear_faults()
        # Segmind may reach what the gateway does not.
        self.assertTrue(create("https://data.invalid/cats.zip").name)

    def test_all_but_the_dataset_can_be_checked_before_it_is_uploaded(self):
        check = lambda **more: self.stub.CreateFineTune(  # noqa: E731
            svc.CreateFineTuneRequest(fine_tune=job("", **more), validate_only=True), timeout=30)
        check()
        error = self.failed([Code.INVALID_ARGUMENT], "INVALID_FIELD", lambda: check(name="x" * 200))
        self.assertEqual([v.field for v in details_of(error)["BadRequest"].field_violations], ["fine_tune.display_name"])
        self.failed([Code.INVALID_ARGUMENT], "INVALID_FIELD", lambda: self.stub.CreateFineTune(
            svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=job("")), timeout=30))


class Downloads(Transfers):
    def test_public_and_private_weights_come_whole(self):
        for base_model in ("FAST_FLUX", "QWEN"):
            name, weights = self.trained(base_model)
            size, digest, first = self.fetched(name)
            self.assertEqual((size, digest), (weights["bytes"], weights["sha256"]))
            self.assertEqual(first.total_size_bytes, size)
            self.assertTrue(first.generation)

    def test_any_part_can_be_read(self):
        name, weights = self.trained(weights_bytes=3 * MIB + 17)
        whole = b"".join(r.chunk for r in self.download(name))
        generation = next(self.download(name)).generation
        for offset, limit in ((0, 1), (1, 1), (5, 0), (MIB, 70000), (len(whole) - 1, 0), (len(whole) - 1, 9), (len(whole), 0)):
            responses = list(self.download(name, offset, limit))
            want = whole[offset:offset + limit] if limit else whole[offset:]
            self.assertEqual(b"".join(r.chunk for r in responses), want, (offset, limit))
            self.assertEqual((responses[0].total_size_bytes, responses[0].generation), (len(whole), generation))
        self.failed([Code.OUT_OF_RANGE], None, lambda: list(self.download(name, len(whole) + 1)))
        for bad in ({"offset": -1}, {"limit": -1}):
            self.failed([Code.INVALID_ARGUMENT], "INVALID_FIELD", lambda: list(self.download(name, **bad)))

    def test_what_comes_carries_its_digests(self):
        name, weights = self.trained(weights_bytes=3 * MIB + 17)
        responses = list(self.download(name))
        for response in responses:
            self.assertEqual(response.crc32c, crc32c(response.chunk))
        self.assertEqual([r.sha256.hex() for r in responses], [""] * (len(responses) - 1) + [weights["sha256"]])
        for offset, limit in ((1, 0), (0, 3 * MIB)):
            self.assertFalse(any(r.sha256 for r in self.download(name, offset, limit)))
        self.assertEqual(list(self.download(name, 0, 9 * MIB))[-1].sha256.hex(), weights["sha256"])
        without = list(self.download(name, skip_sha256=True))
        self.assertEqual([(r.chunk, r.crc32c, r.sha256) for r in without], [(r.chunk, r.crc32c, b"") for r in responses])

    def test_only_the_same_file_is_continued(self):
        name, weights = self.trained(weights_bytes=MIB)
        generation = next(self.download(name)).generation
        ask = lambda **more: list(self.stub.DownloadWeights(  # noqa: E731
            svc.DownloadWeightsRequest(name=name, **more), timeout=60))
        self.assertEqual(ask(read_offset=MIB // 2, generation=generation)[0].generation, generation)
        error = self.failed([Code.ABORTED], "WEIGHTS_CHANGED", lambda: ask(read_offset=MIB // 2, generation="another"))
        self.assertNotIn("RetryInfo", details_of(error))
        self.failed([Code.ABORTED], "WEIGHTS_CHANGED", lambda: ask(read_offset=9 * MIB, generation="another"))
        self.failed([Code.OUT_OF_RANGE], None, lambda: ask(read_offset=9 * MIB, generation=generation))

    def test_what_is_no_weights_is_not_passed_on(self):
        name, weights = self.trained(weights_bytes=MIB)
        for content in ("html", "html_named_binary", "s3_xml", "json", "lfs_pointer", "text", "empty", "bytes3", "image", "huge_header",
                        "cut_header"):
            with self.subTest(content):
                self.emulator.fault("weights_get", "content", count=-1, job="gcs-content", content=content)
                got = []
                self.failed([Code.INTERNAL], "UPSTREAM_MALFORMED", lambda: got.extend(self.download(name)))
                self.assertEqual(got, [])
                self.emulator.clear_faults()
        for encoding in ("gzip", "deflate", "br"):
            self.emulator.fault("weights_get", "encoded", count=-1, job="gcs-content", encoding=encoding)
            self.failed([Code.INTERNAL], "UPSTREAM_MALFORMED", lambda: list(self.download(name)))
            self.emulator.clear_faults()
        self.assertEqual(self.fetched(name)[1], weights["sha256"])
        self.all_is_left()

    def test_a_location_is_read_as_browsers_do_or_refused_in_words(self):
        name, _ = self.trained(weights_bytes=MIB)
        for url in (self.emulator.url + "/gcs content/x", self.emulator.url + "/gcs\tcontent", self.emulator.url + "/b\u00fccher"):
            self.emulator.fault("weights_get", "redirect_to", count=1, url=url)
            # It gets there: there is nothing.
            self.failed([Code.FAILED_PRECONDITION], "WEIGHTS_NOT_READY", lambda: list(self.download(name)))
        for url in ("http://127.0.0.1:port/w", "http://127.0.0.1:0/w", "http://user:word@127.0.0.1/w", "http://b\u00fccher.example/w"):
            self.emulator.fault("weights_get", "redirect_to", count=1, url=url)
            error = self.failed([Code.INTERNAL], "UPSTREAM_MALFORMED", lambda: list(self.download(name)))
            self.assertIn("redirected to a URL that", error.details())
            self.emulator.clear_faults()

    def test_two_gigabytes_take_little_memory(self):
        size = 2 << 30
        name, _ = self.trained()
        self.fetched(name)
        name, weights = self.trained(weights_bytes=size)
        with PeakMemory(self.gateway) as memory:
            got, digest, _ = self.fetched(name, timeout=280)
        self.assertEqual((got, digest), (size, weights["sha256"]))
        self.assertLess(memory.growth, 16 * MIB)

    def test_weights_that_are_not_there_yet(self):
        made = self.emulator.call("POST", "/emulator/jobs", {"name": "w", "base_model": "FLUX", "status": "TRAINING_INITIATED"})
        upstream_id = made.get("finetune_id") or made["id"]
        found = wait_until("the job", lambda: self.stub.ListFineTunes(
            svc.ListFineTunesRequest(filter=f'upstream_id = "{upstream_id}"')).fine_tunes)
        self.failed([Code.FAILED_PRECONDITION], "WEIGHTS_NOT_READY", lambda: list(self.download(found[0].name)))
        self.failed([Code.NOT_FOUND], "FINE_TUNE_NOT_FOUND", lambda: list(self.download("fineTunes/none")))

    def test_hostile_storages_give_typed_errors_and_hurt_nobody_else(self):
        name, weights = self.trained(weights_bytes=8 * MIB)
        for kind, more, code, reason in (
                ("storage_403", {}, Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
                ("storage_500", {}, Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
                ("short_body", {"fraction": 0.5}, Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
                ("partial", {"fraction": 0.3}, Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
                ("stall", {"ms": 60000, "bytes": 100000}, Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
                ("lost_answer", {"reset": True}, Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
                ("redirect_to", {"url": "http://10.1.2.3/w"}, Code.INTERNAL, "UPSTREAM_MALFORMED"),
                ("redirect_to", {"url": "http://127.0.0.1:1/w"}, Code.INTERNAL, "UPSTREAM_MALFORMED"),
                ("redirect_to", {"url": "http://[::ffff:127.0.0.1]/w"}, Code.INTERNAL, "UPSTREAM_MALFORMED"),
                ("redirect_to", {"url": "file:///etc/passwd"}, Code.INTERNAL, "UPSTREAM_MALFORMED")):
            with self.subTest(kind, **more):
                self.emulator.fault("weights_get", kind, count=-1, job="gcs-content", **more)
                self.failed([code], reason, lambda: list(self.download(name)))
                self.emulator.clear_faults()
                self.assertEqual(self.fetched(name)[1], weights["sha256"])
        self.all_is_left()

    def test_a_slow_reader_slows_the_source_down(self):
        name, weights = self.trained(weights_bytes=200 * MIB)
        self.fetched(name)
        with PeakMemory(self.gateway) as memory:
            digest = hashlib.sha256()
            for i, response in enumerate(self.download(name)):
                digest.update(response.chunk)
                if i < 20:
                    time.sleep(0.1)
        self.assertEqual(digest.hexdigest(), weights["sha256"])
        self.assertLess(memory.growth, 16 * MIB)

    def test_a_reader_that_stops_is_cut_off(self):
        name, weights = self.trained(weights_bytes=200 * MIB)
        stream = self.download(name)
        next(stream)
        self.all_is_left()
        self.failed([Code.CANCELLED, Code.DEADLINE_EXCEEDED], None, lambda: list(stream))
        stream = self.download(name)
        next(stream)
        stream.cancel()
        self.all_is_left()

    def test_a_download_broken_20_times_goes_on_where_it_broke(self):
        name, weights = self.trained(weights_bytes=64 * MIB)
        dice = random.Random(5)
        digest, at, breaks = hashlib.sha256(), 0, 0
        while at < weights["bytes"]:
            if breaks < 20:
                self.emulator.fault("weights_get", dice.choice(["short_body", "partial"]), job="gcs-content",
                                    fraction=dice.uniform(0, 0.1), count=1)
            try:
                for response in self.download(name, at):
                    self.assertEqual(response.offset, at)
                    digest.update(response.chunk)
                    at += len(response.chunk)
            except grpc.RpcError as error:
                self.assertEqual(reason_of(error), "UPSTREAM_UNAVAILABLE")
                breaks += 1
        self.assertEqual(breaks, 20)
        self.assertEqual(digest.hexdigest(), weights["sha256"])

    def test_the_command_line_fetches_and_continues(self):
        name, weights = self.trained(weights_bytes=32 * MIB)
        for i in range(3):
            self.emulator.fault("weights_get", "short_body", job="gcs-content", fraction=0.2, count=1, after=i)
        path = self.folder / "w.safetensors"
        done = subprocess.run([BIN / "finetune", "--server", self.gateway.address, "download", name, path],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(hashlib.sha256(path.read_bytes()).hexdigest(), weights["sha256"])


class ManyAtOnce(Transfers):
    GATEWAY = ("--max_concurrent_transfers", "10")

    def test_fifty_stay_within_the_cap(self):
        name, weights = self.trained(weights_bytes=8 * MIB)
        self.fetched(name)
        refused, wrong = [], []

        def fetch():
            while True:
                try:
                    size, digest, _ = self.fetched(name)
                    if digest != weights["sha256"]:
                        wrong.append(digest)
                    return
                except grpc.RpcError as error:
                    if reason_of(error) != "CLIENT_QUOTA_EXCEEDED" or "RetryInfo" not in details_of(error):
                        wrong.append(error)
                        return
                    refused.append(error)
                    time.sleep(0.2)

        threads = [threading.Thread(target=fetch) for _ in range(50)]
        with PeakMemory(self.gateway) as memory:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(wrong, [])
        self.assertTrue(refused)
        self.assertLess(memory.growth, 10 * 6 * MIB)
        self.all_is_left()


if __name__ == "__main__":
    unittest.main()
