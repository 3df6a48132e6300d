"""The first program in C++, as client/cpp/README.md shows it: at most 15 lines from include to weights in hand, with TLS."""

import subprocess
import unittest

from credentials import Certificates, caller, write_policy
from harness import BIN, EndToEnd, SOURCE, dataset

TOKEN = "cli-first-program-token-0123456789abcdef"


class FirstProgram(EndToEnd):
    def test_is_short_and_ends_with_weights(self):
        source = (SOURCE / "tests/client/first_program.cc").read_text()
        self.assertLessEqual(len([line for line in source.splitlines() if line.strip()]), 15)
        self.assertIn(source, (SOURCE / "client/cpp/README.md").read_text())
        certificates = Certificates(self.folder, "search")
        policy = write_policy(self.folder / "policy.json", [caller("search", "SUBMITTER", TOKEN)])
        (self.folder / "token").write_text(TOKEN)
        emulator = self.start_emulator()
        gateway = self.start_gateway(emulator, *certificates.flags(mutual=False), "--policy_file", policy)
        (self.folder / "cats").mkdir()
        subprocess.run(["/usr/bin/python3", "-m", "zipfile", "-e", str(dataset(self.folder / "d.zip", 6)), str(self.folder / "cats")], check=True)
        done = subprocess.run([str(BIN / "client-first-program"), gateway.address.replace("127.0.0.1", "localhost")], cwd=self.folder,
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater((self.folder / "cats.safetensors").stat().st_size, 0)


if __name__ == "__main__":
    unittest.main()
