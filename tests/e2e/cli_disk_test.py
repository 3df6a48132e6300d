"""What this machine's disk does to a download: told as what it is, and a good file stays."""

import shutil
import subprocess
import unittest

from harness import BIN
from transfers_test import MIB, Transfers


class Disk(Transfers):
    def finetune(self, *args, inject=None):
        command = [str(a) for a in (BIN / "finetune", "--server", self.gateway.address, *args)]
        if inject:
            command = ["strace", "-f", "-o", "/dev/null", "-e", "trace=" + inject.split(":")[0], "-e", "inject=" + inject, *command]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    @unittest.skipUnless(shutil.which("strace"), "strace makes the disk fail")
    def test_what_the_disk_refuses_is_told_by_its_name_and_the_old_file_stays(self):
        name, weights = self.trained(weights_bytes=MIB)
        path = self.folder / "w.safetensors"
        for call, error, said in (("flock", "ENOLCK", "No locks available (ENOLCK)"), ("flock", "ENOSYS", "ENOSYS"),
                                  ("rename", "EXDEV", "EXDEV"), ("pwrite64", "ENOSPC", "No space left on device (ENOSPC)"),
                                  ("pwrite64", "EDQUOT", "EDQUOT"), ("fsync", "EIO", "EIO")):
            with self.subTest(call, error=error):
                path.write_text("a good file")
                for part in self.folder.glob("*.part*"):
                    part.unlink()
                done = self.finetune("download", name, path, inject=f"{call}:error={error}")
                self.assertEqual(done.returncode, 9, done.stderr)
                self.assertIn(said, done.stderr)
                for blame in ("another process", "gateway", "storage", "RESOURCE_EXHAUSTED", "Try again", "403"):
                    self.assertNotIn(blame, done.stderr)
                self.assertEqual(path.read_text(), "a good file")
        interrupted = self.finetune("download", name, path, inject="flock:error=EINTR:when=1")
        self.assertEqual(interrupted.returncode, 0, interrupted.stderr)
        self.assertEqual(path.stat().st_size, weights["bytes"])

    def test_what_is_no_weights_never_replaces_a_good_file(self):
        name, _ = self.trained(weights_bytes=MIB)
        path = self.folder / "w.safetensors"
        for body, kind in (("<!DOCTYPE html><html>Sign in</html>", "text/html"), ('{"error": "expired"}', "application/json"),
                           ("<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "application/xml"),
                           ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "text/plain"),
                           ("", "application/octet-stream")):
            with self.subTest(kind):
                path.write_text("a good file")
                self.emulator.clear_faults()
                self.emulator.fault("weights_get", "status", job="gcs-content", code=200, body=body, content_type=kind, count=-1)
                done = self.finetune("download", name, path)
                self.assertNotEqual(done.returncode, 0, (body, done.stderr))
                self.assertEqual(path.read_text(), "a good file")
                self.assertEqual(sorted(p.name for p in self.folder.glob("w.safetensors*")), ["w.safetensors"])


if __name__ == "__main__":
    unittest.main()
