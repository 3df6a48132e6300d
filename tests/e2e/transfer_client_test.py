"""Datasets and weights as users of the command line move them, with real processes: breaks, interruptions, terminals, folders."""

import hashlib
import json
import os
import pty
import random
import re
import select
import signal
import subprocess
import time
import unittest
import urllib.request

import grpc

from harness import BIN, SOURCE, dataset, sample_images, svc, wait_until
from transfers_test import MIB, PeakMemory, Transfers

ENDED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)


class CommandLine(Transfers):
    GATEWAY = ("--transfer_idle_timeout", "20s")

    def command(self, *args):
        return [str(a) for a in (BIN / "finetune", "--server", self.gateway.address, *args)]

    def finetune(self, *args, timeout=120):
        return subprocess.run(self.command(*args), capture_output=True, text=True, timeout=timeout)

    def path(self):
        return self.folder / "w.safetensors"

    def digest(self, path):
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def leftovers(self):
        return sorted(p.name for p in self.folder.glob("w.safetensors*"))

    def slow_weights(self, bytes_per_second, count=-1):
        self.emulator.fault("weights_get", "slow_storage", job="gcs-content", bytes_per_second=bytes_per_second, count=count)

    def part_has(self, size):
        part = self.folder / "w.safetensors.part"
        return part.exists() and part.stat().st_size >= size

    def test_a_download_broken_20_times_at_random_is_whole(self):
        name, weights = self.trained(weights_bytes=64 * MIB)
        dice = random.Random(7)
        for i in range(20):
            self.emulator.fault("weights_get", dice.choice(["short_body", "partial"]), job="gcs-content",
                                fraction=dice.uniform(0, 0.1), count=1, after=i)
        before = self.emulator.calls("weights_get")
        done = self.finetune("download", name, self.path(), "--output", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["sha256"], weights["sha256"])
        self.assertEqual(self.digest(self.path()), weights["sha256"])
        self.assertGreater(self.emulator.calls("weights_get") - before, 20)
        self.assertEqual(self.leftovers(), ["w.safetensors"])

    def test_a_download_that_is_killed_10_times_is_continued_by_the_next_process(self):
        name, weights = self.trained(weights_bytes=32 * MIB)
        self.slow_weights(8 * MIB)
        dice = random.Random(3)
        for i in range(10):
            running = subprocess.Popen(self.command("download", name, self.path()), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            had = (self.folder / "w.safetensors.part").stat().st_size if i else 0
            wait_until("some bytes", lambda: self.part_has(had + dice.randrange(1, MIB)))
            running.send_signal(dice.choice([signal.SIGINT, signal.SIGKILL, signal.SIGTERM]))
            running.wait(20)
            self.assertFalse(self.path().exists(), "a partial file under the final name")
        self.emulator.clear_faults()
        done = self.finetune("download", name, self.path())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("from an earlier attempt", done.stderr)
        self.assertEqual(self.digest(self.path()), weights["sha256"])
        self.assertEqual(self.leftovers(), ["w.safetensors"])

    def test_an_interrupted_download_says_so_by_its_exit_code_and_keeps_what_came(self):
        name, _ = self.trained(weights_bytes=32 * MIB)
        self.slow_weights(4 * MIB)
        running = subprocess.Popen(self.command("download", name, self.path()), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until("a megabyte", lambda: self.part_has(MIB))
        second = self.finetune("download", name, self.path())
        self.assertEqual(second.returncode, 4, second.stderr)
        self.assertIn("another process", second.stderr)
        running.send_signal(signal.SIGINT)
        self.assertEqual(running.wait(20), 130)
        self.assertEqual(self.leftovers(), ["w.safetensors.part", "w.safetensors.part.generation"])
        self.all_is_left()

    def test_a_terminal_shows_a_bar_and_others_get_plain_lines(self):
        name, _ = self.trained(weights_bytes=22 * MIB)
        self.slow_weights(2 * MIB)
        ours, theirs = pty.openpty()
        running = subprocess.Popen(self.command("download", name, self.folder / "t"), stdout=subprocess.DEVNULL, stderr=theirs,
                                   env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8"})
        os.close(theirs)
        shown = b""
        try:
            while select.select([ours], [], [], 30)[0]:
                shown += os.read(ours, 65536)
        except OSError:
            pass  # The other end is closed.
        os.close(ours)
        self.assertEqual(running.wait(20), 0)
        text = shown.decode(errors="replace")
        self.assertRegex(text, r"downloading \d+% \[#*-+\] [\d.]+ .?B of [\d.]+ .?B, [\d.]+ .?B/s, \d+s left")
        self.assertIn("\r", text)
        plain = self.finetune("download", name, self.path())
        self.assertEqual(plain.returncode, 0, plain.stderr)
        self.assertRegex(plain.stderr, r"(?m)^downloading \d+% \[#*-*\] .* left$")
        self.assertNotIn("\r", plain.stderr)

    def test_a_folder_or_a_zip_is_sent_and_trained_with_in_one_go(self):
        images = self.folder / "cats"
        images.mkdir()
        sample = dataset(self.folder / "d.zip", 6)
        subprocess.run(["/usr/bin/python3", "-m", "zipfile", "-e", str(sample), str(images)], check=True)
        (images / "notes.txt").write_text("left out")
        for data in (images, sample):
            with self.subTest(data.name):
                done = self.finetune("create", "--dataset", data, "--name", "cats", "--prompt", "a photo of TOK cat", "--trigger", "TOK",
                                     "--base-model", "FAST_FLUX", "--theme", "subject", "--wait", "--output", "json")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(json.loads(done.stdout.splitlines()[-1])["state"], "AVAILABLE")
        self.assertEqual(len(self.emulator.submits()), 2)
        sent = self.finetune("upload", images, "--output", "json")
        self.assertEqual(sent.returncode, 0, sent.stderr)
        self.assertIn("notes.txt is left out", sent.stderr)
        self.assertEqual(json.loads(sent.stdout)["imageCount"], 6)

    def test_a_folder_whose_upload_is_interrupted_leaves_no_temporary_file(self):
        images, temporary = self.folder / "cats", self.folder / "tmp"
        images.mkdir()
        temporary.mkdir()
        (images / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + os.urandom(4 * MIB))
        self.emulator.fault("storage_put", "stall", ms=60000, count=-1)
        for command in (("upload", images), ("create", "--dataset", images, "--name", "cats", "--prompt", "a TOK", "--trigger", "TOK", "--base-model", "FAST_FLUX",
                                                "--theme", "subject")):
            for how, code in ((signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)):
                with self.subTest(command=command[0], signal=how.name):
                    running = subprocess.Popen(self.command(*command), env={**os.environ, "TMPDIR": str(temporary)},
                                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                    wait_until("the upload", lambda: "finetune_gateway_transfers 1\n" in self.gateway.admin("/metrics")[1])
                    running.send_signal(how)
                    self.assertEqual(running.wait(20), code)
                    self.assertEqual(os.listdir(temporary), [])
                    self.all_is_left()

    def test_a_folder_is_not_zipped_where_there_is_no_room(self):
        images = self.folder / "cats"
        images.mkdir()
        (images / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nan image")
        done = subprocess.run(self.command("upload", images), env={**os.environ, "TMPDIR": str(self.folder / "none")},
                              capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("set TMPDIR", done.stderr)

    def test_an_upload_that_breaks_begins_again_and_arrives_once_whole(self):
        path = self.folder / "big.zip"
        sample_images.write(path, 30, side=256)
        self.emulator.fault("storage_put", "storage_500", count=1)
        self.emulator.fault("storage_put", "lost_answer", reset=True, count=1)
        done = self.finetune("upload", path, "--public", "--output", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        with urllib.request.urlopen(json.loads(done.stdout)["dataSourceUri"]) as answer:
            self.assertEqual(answer.read(), path.read_bytes())
        self.emulator.fault("storage_put", "storage_403", count=-1)
        refused = self.finetune("upload", path)
        self.assertEqual(refused.returncode, 8, refused.stderr)
        self.assertIn("it answered 403 AccessDenied", refused.stderr)

    def test_a_broken_disk_or_a_wrong_place_is_told(self):
        name, _ = self.trained(weights_bytes=MIB)
        for path in ("/dev/full/w", self.folder, self.folder / "none" / "w"):
            done = self.finetune("download", name, path)
            self.assertNotIn(done.returncode, (0, 8), (path, done.stderr))
            self.assertTrue(done.stderr.strip())
        self.assertEqual(self.finetune("upload", self.folder / "none.zip").returncode, 2)


class Example(Transfers):
    def test_the_readmes_example_continues_a_broken_download(self):
        code = re.search(r"```python\n(def download\(.*?)```", (SOURCE / "client/README.md").read_text(), re.S).group(1)
        world = {"stub": self.stub, "svc": svc, "grpc": grpc, "time": time}
        exec(code, world)  # pylint: disable=exec-used
        name, weights = self.trained(weights_bytes=16 * MIB)
        for i in range(3):
            self.emulator.fault("weights_get", "partial", job="gcs-content", fraction=0.2, count=1, after=i)
        path = self.folder / "w"
        self.assertEqual(world["download"](name, path), weights["bytes"])
        self.assertEqual(hashlib.sha256(path.read_bytes()).hexdigest(), weights["sha256"])


class Neighbours(Transfers):
    """What one transfer suffers, the others do not notice."""

    def sized(self, weights_bytes):
        """As trained(), for one job: the others keep their weights."""
        name, _ = self.trained()
        upstream_id = self.stub.GetFineTune(svc.GetFineTuneRequest(name=name), timeout=10).upstream_id
        self.emulator.call("POST", f"/emulator/jobs/{upstream_id}", {"weights_bytes": weights_bytes})
        return name, self.emulator.call("GET", f"/emulator/weights/{upstream_id}")

    def test_slow_stopped_and_dying_readers_and_stalled_sources_hold_up_nobody(self):
        name, weights = self.trained(weights_bytes=48 * MIB)
        self.fetched(name)
        short, short_weights = self.sized(2 * MIB)
        long, _ = self.sized(500 * MIB)
        stalled = self.download(long)
        self.emulator.fault("weights_get", "stall", job="gcs-content", bytes=100000, ms=60000, count=1)
        victim = self.download(name)
        next(victim)
        with PeakMemory(self.gateway) as memory:
            next(stalled)  # And no more: it stops reading.
            dying = self.download(name)
            next(dying)
            slow, read, began = self.download(name), 0, time.monotonic()
            digest, rounds = hashlib.sha256(), 0
            for response in slow:  # 1 MB/s, for 5 s; then as fast as it goes.
                digest.update(response.chunk)
                read += len(response.chunk)
                ahead = read / 1e6 - (time.monotonic() - began)
                if 0 < ahead and read < 5e6:
                    started = time.monotonic()
                    self.assertEqual(self.fetched(short)[1], short_weights["sha256"])
                    self.assertLess(time.monotonic() - started, 30)
                    rounds += 1
                    time.sleep(max(0, read / 1e6 - (time.monotonic() - began)))
                if rounds == 2:
                    dying.cancel()
        self.assertGreaterEqual(rounds, 2)
        self.assertEqual(digest.hexdigest(), weights["sha256"])
        self.assertLess(memory.growth, 4 * 6 * MIB)
        self.failed(ENDED, None, lambda: list(victim))
        self.all_is_left()  # Before it reads on: a reader that comes back in time is served to the end.
        self.failed(ENDED, None, lambda: list(stalled))
        self.assertEqual(self.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=10).fine_tune_count, 3)

    def test_answers_that_contradict_the_question_are_malformed(self):
        name, weights = self.trained(weights_bytes=MIB)
        for headers in ({"Content-Range": "bytes 0-4/5"}, {"Content-Range": "bytes 9-12/1000"}, {}):
            self.emulator.fault("weights_get", "status", job="gcs-content", code=206, body="12345", headers=headers, count=1)
            self.failed([grpc.StatusCode.INTERNAL], "UPSTREAM_MALFORMED", lambda: list(self.download(name, offset=10)))
        self.assertEqual(self.fetched(name)[1], weights["sha256"])
        self.all_is_left()


if __name__ == "__main__":
    unittest.main()
