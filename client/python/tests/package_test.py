"""The package is what it should be: its generated code is current, and its service config is the recommended one."""

import filecmp
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from finetune_gateway.channels import SERVICE_CONFIG, Settings, is_loopback

HERE = pathlib.Path(__file__).resolve().parents[1]
ROOT = HERE.parents[1]


class Package(unittest.TestCase):
    @unittest.skipUnless(shutil.which("protoc") and shutil.which("grpc_python_plugin"), "needs protoc and gRPC's plugin")
    def test_the_generated_code_is_current(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([HERE / "generate.sh", f"{folder}/new"], check=True)
            committed = HERE / "src/finetune_gateway/_proto"
            files = sorted(str(p.relative_to(f"{folder}/new")) for p in pathlib.Path(f"{folder}/new").rglob("*.py*") if p.is_file())
            self.assertGreater(len(files), 6)
            _, different, missing = filecmp.cmpfiles(f"{folder}/new", committed, files, shallow=False)
            self.assertEqual((different, missing), ([], []), "run client/python/generate.sh")

    def test_the_service_config_is_the_recommended_one(self):
        source = (ROOT / "client/cpp/channel.cc").read_text()
        recommended = re.search(r'kServiceConfig\[\] = R"\((.*?)\)";', source, re.S).group(1)
        self.assertEqual(SERVICE_CONFIG, json.loads(recommended))

    def test_loopback_is_known_in_all_its_spellings(self):
        for target in ("127.0.0.1:1", "127.8.0.1:1", "localhost:1", "localhost", "[::1]:1", "ipv4:127.0.0.1:1", "dns:///localhost:1", "unix:/x"):
            self.assertTrue(is_loopback(target), target)
        for target in ("gateway:1", "10.0.0.1:1", "localhost.example:1", "dns:///gateway:1", "[2001:db8::1]:1"):
            self.assertFalse(is_loopback(target), target)

    def test_an_address_needs_a_port(self):
        for target in ("127.0.0.1:1", "gateway:1", "[::1]:1", "ipv4:127.0.0.1:1", "dns:///gateway:1", "dns://8.8.8.8/gateway:1", "unix:/x", "xds:///x"):
            Settings(target).check()
        for target in ("127.0.0.1", "gateway", "::1", "[::1]", "gateway:0", "gateway:70000", "dns:///gateway", "ipv4:127.0.0.1", ":50051"):
            with self.assertRaisesRegex(ValueError, "HOST:PORT", msg=target):
                Settings(target).check()


if __name__ == "__main__":
    unittest.main()
