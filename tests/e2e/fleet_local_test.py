"""deploy/local.sh --fleet, as everybody may run it, without its building: the whole job over three gateways, one of them killed."""

import os
import subprocess
import unittest

import fleet_world
from harness import BIN, SOURCE, EndToEnd


@unittest.skipIf(fleet_world.missing(), fleet_world.missing())
class LocalFleet(EndToEnd):
    def test_it_plays_the_whole_job_and_loses_nothing(self):
        done = subprocess.run(
            [SOURCE / "deploy/local-fleet.sh", "--no-stay", "--time-scale", "100"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=240, check=False, env={**os.environ, "FINETUNE_BIN": str(BIN), "FINETUNE_RUN": str(self.folder / "run")})
        logs = "".join(path.read_text(errors="replace")[-3000:] for path in sorted((self.folder / "run").glob("*.log")))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr + logs)
        self.assertIn("Nothing is lost", done.stdout)
        self.assertIn("the same job", done.stdout)


if __name__ == "__main__":
    unittest.main()
