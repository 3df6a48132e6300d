"""A Node.js client made from the protos with @grpc/grpc-js."""

import json
import os
import pathlib
import shutil
import subprocess
import unittest

from harness import SOURCE, EndToEnd, upload


class Node(EndToEnd):
    def test_a_node_client_creates_lists_watches_and_downloads(self):
        home = pathlib.Path(os.environ["FINETUNE_BIN"]) / "node-client"
        home.mkdir(exist_ok=True)
        for name in ("package.json", "client.js"):
            shutil.copy(SOURCE / "tests/e2e/node" / name, home / name)
        subprocess.run(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"], cwd=home, check=True, timeout=240)
        emulator = self.start_emulator(time_scale=100)
        gateway = self.start_gateway(emulator).ready()
        emulator.call("POST", "/emulator/settings", {"webhook_url": gateway.webhook_url})
        uri = upload(gateway.stub, self.folder)
        done = subprocess.run(["node", home / "client.js", gateway.address, SOURCE / "proto", uri],
                              capture_output=True, text=True, timeout=150, check=False)
        self.assertEqual(done.returncode, 0, done.stderr + gateway.log)
        said = json.loads(done.stdout)
        self.assertEqual(said["listed"], [said["name"]])
        self.assertEqual(said["states"][-1], "AVAILABLE")
        self.assertEqual(said["weights"]["code"], 200)
        self.assertGreater(said["weights"]["size"], 1000)


if __name__ == "__main__":
    unittest.main()
