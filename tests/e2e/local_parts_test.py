"""What deploy/local.sh does with its folder: one run at a time, and nothing that was paid for is removed."""

import pathlib
import subprocess
import tempfile
import unittest

from harness import SOURCE


class LocalParts(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="finetune-e2e-")
        self.addCleanup(folder.cleanup)
        self.run_folder = pathlib.Path(folder.name) / "run"

    def start(self, commands):
        script = f'set -euo pipefail; run={self.run_folder} bin=/nowhere pids=(); . deploy/local-parts.sh; {commands}'
        return subprocess.Popen(["bash", "-c", script], cwd=SOURCE, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def bash(self, commands):
        process = self.start(commands)
        out, error = process.communicate(timeout=30)
        return process.returncode, out, error

    def test_a_second_run_leaves_the_first_alone(self):
        first = self.start("claim_run ''; touch $run/store.db; echo claimed; read -r _")
        self.assertEqual(first.stdout.readline(), "claimed\n")
        code, _, error = self.bash("claim_run ''")
        self.assertEqual(code, 1)
        self.assertIn(f"process {first.pid}", error)
        self.assertTrue((self.run_folder / "store.db").exists())
        first.communicate("\n", timeout=30)
        self.assertEqual(self.bash("claim_run ''")[0], 0)

    def test_a_run_begins_anew_but_keeps_certificates_and_what_it_is_told_to(self):
        (self.run_folder / "certs").mkdir(parents=True)
        (self.run_folder / "store.db").touch()
        self.assertEqual(self.bash("claim_run real-key")[0], 0)
        self.assertTrue((self.run_folder / "store.db").exists())
        self.assertEqual(self.bash("claim_run ''")[0], 0)
        self.assertFalse((self.run_folder / "store.db").exists())
        self.assertTrue((self.run_folder / "certs").exists())

    def test_commands_are_shown_as_they_can_be_typed(self):
        typed = self.bash("""typed list --filter 'labels.team = "demo"' --page-size=5""")[1]
        self.assertEqual(typed, """ list --filter 'labels.team = "demo"' --page-size=5""")


if __name__ == "__main__":
    unittest.main()
