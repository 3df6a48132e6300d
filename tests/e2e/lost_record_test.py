"""A record that lost something, or was put back: nothing is submitted twice, nobody's view goes on as if nothing had happened."""

import random
import shutil
import subprocess
import unittest
import uuid

import grpc

from harness import BIN, EndToEnd, ft, job, reason_of, svc, wait_until


class LostRecord(EndToEnd):
    def setUp(self):
        super().setUp()
        self.emulator = self.start_emulator(time_scale=0)

    def files(self):
        return list(self.folder.glob("store.db*"))

    def create(self, gateway, request_id, **more):
        return gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(
            fine_tune=job(f"{self.emulator.url}/x.zip", name=f"job-{request_id[:8]}"), request_id=request_id), timeout=20, **more)

    def answer(self, gateway, request_id):
        try:
            return self.create(gateway, request_id).name
        except grpc.RpcError as error:
            return reason_of(error)

    def label(self, gateway, name, value, etag=""):
        return gateway.stub.UpdateFineTune(svc.UpdateFineTuneRequest(
            fine_tune=ft.FineTune(name=name, labels={"a": value}, etag=etag), update_mask={"paths": ["labels"]}), timeout=20)

    def start_refused(self, *args):
        """The one line that a start which is refused leaves, with its exit code."""
        key = self.folder / "api-key"
        done = subprocess.run(
            [BIN / "finetune-gateway", "--listen", "127.0.0.1:0", "--webhook_listen", "127.0.0.1:0", "--admin_listen", "127.0.0.1:0",
             "--upstream_url", self.emulator.url, "--api_key_file", key, "--store", f"sqlite:{self.folder}/store.db", *args],
            capture_output=True, text=True, timeout=60, check=False)
        lines = [line for line in done.stderr.splitlines() if line.startswith("finetune-gateway: ")]
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertEqual(done.returncode, 1)
        self.assertIn(str(self.folder / "store.db"), lines[0])
        return lines[0]

    def test_a_log_that_is_removed_loses_no_submission(self):
        """C6."""
        gateway = self.start_gateway(self.emulator).ready()
        ids = [str(uuid.uuid4()) for _ in range(20)]
        for request_id in ids[:10]:
            self.create(gateway, request_id)
        (self.folder / "store.db-wal").unlink()
        answers = [self.answer(gateway, request_id) for request_id in ids[10:]]
        self.assertTrue(all(a == "STORE_UNAVAILABLE" or a.startswith("fineTunes/") for a in answers), answers)
        gateway.kill()
        gateway = self.start_gateway(self.emulator).ready()
        for request_id in ids:
            wait_until("it to be taken", lambda i=request_id: self.answer(gateway, i).startswith("fineTunes/"))
        self.assertEqual(len(self.emulator.submits()), len(ids))

    def test_a_log_that_is_removed_or_damaged_after_a_kill_stops_the_start(self):
        """C7."""
        for harm in ("remove", "cut", "scribble"):
            with self.subTest(harm):
                for file in self.files():
                    file.unlink()
                gateway = self.start_gateway(self.emulator).ready()
                self.create(gateway, str(uuid.uuid4()))
                gateway.kill()
                log = self.folder / "store.db-wal"
                data = log.read_bytes()
                if harm == "remove":
                    log.unlink()
                elif harm == "cut":
                    log.write_bytes(data[:len(data) // 2])
                else:
                    log.write_bytes(data[:64] + random.Random(3).randbytes(len(data) - 64))
                for _ in range(2):
                    self.assertIn("--accept_lost_record", self.start_refused())
        self.start_gateway(self.emulator, "--accept_lost_record").ready().terminate()
        self.start_gateway(self.emulator).ready()

    def test_a_record_that_is_gone_stops_the_start(self):
        """C7."""
        gateway = self.start_gateway(self.emulator).ready()
        self.create(gateway, str(uuid.uuid4()))
        self.assertEqual(gateway.terminate(), 0)
        record = self.folder / "store.db"
        record.unlink()
        self.assertIn("is missing", self.start_refused())
        record.touch()
        self.assertIn("is empty", self.start_refused())
        self.start_gateway(self.emulator, "--accept_lost_record").ready()

    def lost_watch(self, gateway, token):
        stream = gateway.stub.WatchFineTunes(svc.WatchFineTunesRequest(resume_token=token), timeout=30)
        first = next(stream)
        stream.cancel()
        return first

    def synced_token(self, gateway):
        stream = gateway.stub.WatchFineTunes(svc.WatchFineTunesRequest(), timeout=30)
        token = next(r for r in stream if r.WhichOneof("event") == "synced").resume_token
        stream.cancel()
        return token

    def test_a_copy_that_is_put_back_is_another_history(self):
        """A6: with all files of the copy, or with the newer mark beside it; copied while stopped, or while working."""
        for working in (False, True):
            for with_mark in (True, False):
                with self.subTest(working=working, with_mark=with_mark):
                    self.put_back(working, with_mark)

    def put_back(self, working, with_mark):
        for file in self.files():
            file.unlink()
        gateway = self.start_gateway(self.emulator).ready()
        made = self.create(gateway, str(uuid.uuid4()))
        wait_until("the details", lambda: gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=made.name), timeout=10).slug or True)
        early = self.synced_token(gateway)
        if not working:
            self.assertEqual(gateway.terminate(), 0)
        copy = self.folder / "copy"
        copy.mkdir()
        for file in self.files():
            shutil.copy2(file, copy)
        if not working:
            gateway = self.start_gateway(self.emulator).ready()
        lost = self.label(gateway, made.name, "1")
        late = self.synced_token(gateway)
        self.assertEqual(gateway.terminate(), 0)
        for file in self.files():
            if with_mark or not file.name.endswith("-mark"):
                file.unlink()
        for file in copy.iterdir():
            if with_mark or not file.name.endswith("-mark"):
                shutil.copy2(file, self.folder)
        shutil.rmtree(copy)

        gateway = self.start_gateway(self.emulator).ready()
        other = self.label(gateway, made.name, "2")
        self.refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH", gateway.stub.UpdateFineTune, svc.UpdateFineTuneRequest(
            fine_tune=ft.FineTune(name=made.name, labels={"a": "3"}, etag=lost.etag), update_mask={"paths": ["labels"]}))
        self.assertNotEqual(other.etag, lost.etag)
        self.assertEqual(self.lost_watch(gateway, late).restart.reason, svc.Restart.OTHER_HISTORY)
        self.assertEqual(self.lost_watch(gateway, early).WhichOneof("event"), "change", "what was kept is resumed exactly")
        answer = self.answer(gateway, str(uuid.uuid4()))
        if with_mark:
            self.assertTrue(answer.startswith("fineTunes/"), answer)
        else:
            self.assertEqual(answer, "STORE_UNAVAILABLE", "it may have been submitted after the copy was taken")
            self.assertEqual(gateway.terminate(), 0)
            gateway = self.start_gateway(self.emulator, "--accept_lost_record").ready()
            self.assertTrue(self.answer(gateway, str(uuid.uuid4())).startswith("fineTunes/"))
        self.assertEqual(gateway.terminate(), 0)

    def test_flipped_bits_end_a_start_with_one_sentence_or_hit_nothing(self):
        """C10. Hundreds of them are tried in process, by SqliteStartTest."""
        gateway = self.start_gateway(self.emulator).ready()
        for _ in range(10):
            self.create(gateway, str(uuid.uuid4()))
        self.assertEqual(gateway.terminate(), 0)
        record = self.folder / "store.db"
        whole = record.read_bytes()
        chance = random.Random(7)
        refused = 0
        for _ in range(12):
            data = bytearray(whole)
            for _ in range(chance.randint(1, 10)):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            for file in self.files():
                file.unlink()
            record.write_bytes(data)
            process = None
            try:
                process = self.start_gateway(self.emulator)
            except AssertionError as ended:
                refused += 1
                self.assertIn("ended with 1", str(ended))
                self.assertIn(str(record), str(ended))
            if process is not None:
                jobs = process.stub.ListFineTunes(svc.ListFineTunesRequest(page_size=100), timeout=20).fine_tunes
                self.assertEqual(len(jobs), 10)
                self.assertEqual(process.terminate(), 0)
        self.assertGreater(refused, 2)


if __name__ == "__main__":
    unittest.main()
