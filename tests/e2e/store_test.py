"""A store that cannot be written: submissions are refused before anything is sent, reads go on, and it recovers by itself."""

import os
import resource
import subprocess
import unittest
import uuid

import grpc

from harness import EndToEnd, details_of, job, reason_of, svc, wait_until


@unittest.skipUnless(os.geteuid() == 0, "needs root to mount a small file system")
class FullDisk(EndToEnd):
    def setUp(self):
        super().setUp()
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", self.disk], capture_output=True, check=False)
        if mounted.returncode != 0:
            self.skipTest("cannot mount a tmpfs here")
        self.addCleanup(lambda: subprocess.run(["umount", "-l", self.disk], check=False))

    def test_a_full_disk_refuses_submissions_before_any_post_and_recovers(self):
        emulator = self.start_emulator(time_scale=1)
        gateway = self.start_gateway(emulator, "--store", f"sqlite:{self.disk}/store.db").ready()

        def create():
            return gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(
                fine_tune=job(f"{emulator.url}/x.zip"), request_id=str(uuid.uuid4())), timeout=20)

        made = create()
        filler = self.disk / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], capture_output=True, check=False)

        def refused():
            before = len(emulator.submits())
            try:
                create()
                return None
            except grpc.RpcError as error:
                self.assertEqual(len(emulator.submits()), before, "something was posted")
                return error

        error = wait_until("the disk to be full", refused)
        self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(reason_of(error), "STORE_UNAVAILABLE")
        self.assertIn("RetryInfo", details_of(error))
        self.assertEqual(gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=made.name), timeout=10).name, made.name)
        filler.unlink()

        def recovered():
            try:
                return create()
            except grpc.RpcError:
                return None

        self.assertTrue(wait_until("the store to recover", recovered).name)


class FilesThatMayNotGrow(EndToEnd):
    def test_refuses_submissions_before_any_post_and_recovers(self):
        emulator = self.start_emulator(time_scale=0)
        gateway = self.start_gateway(emulator).ready()

        def create():
            try:
                return gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(
                    fine_tune=job(f"{emulator.url}/x.zip"), request_id=str(uuid.uuid4())), timeout=20).name
            except grpc.RpcError as error:
                return reason_of(error)

        self.assertTrue(create().startswith("fineTunes/"))
        before, hard = resource.prlimit(gateway.popen.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(gateway.popen.pid, resource.RLIMIT_FSIZE, (0, hard))
        for _ in range(3):
            self.assertEqual(create(), "STORE_UNAVAILABLE")
        self.assertEqual(len(emulator.submits()), 1)
        self.assertEqual(gateway.admin("/livez")[0], 200)
        resource.prlimit(gateway.popen.pid, resource.RLIMIT_FSIZE, (before, hard))
        wait_until("submissions to be taken again", lambda: create().startswith("fineTunes/"))


if __name__ == "__main__":
    unittest.main()
