"""Files of TLS and tokens under the command line: read once where they can be, followed where they change, and no bad one ends anything."""

import os
import shlex
import subprocess
import unittest

from credentials import search_and_operators
from harness import BIN, EndToEnd, wait_until

TOKEN = "cli-credentials-token-0123456789abcdef"


class Credentials(EndToEnd):
    def setUp(self):
        super().setUp()
        self.certificates, self.policy = search_and_operators(self.folder, TOKEN)
        (self.folder / "token").write_text(TOKEN + "\n")
        self.emulator = self.start_emulator()

    def start(self, *flags):
        gateway = self.start_gateway(self.emulator, *self.certificates.flags(mutual=True), "--policy_file", self.policy, *flags)
        self.server = gateway.address.replace("127.0.0.1", "localhost")
        return gateway

    def shell(self, script, env=None):
        return subprocess.run(["bash", "-c", script], cwd=self.folder, capture_output=True, text=True, timeout=60, env={**os.environ, **(env or {})})

    def test_what_a_shell_gives_once_is_read_once(self):
        self.start()
        finetune = f"{shlex.quote(str(BIN / 'finetune'))} --server {self.server}"
        tls = "--tls-ca <(cat ca.crt) --tls-cert <(cat search.crt) --tls-key <(cat search.key)"
        for flags in (tls, f"{tls} --token-file <(cat token)", f"{tls} --token-file <(sleep 0.2; cat token)"):
            done = self.shell(f"{finetune} {flags} list")
            self.assertEqual(done.returncode, 0, (flags, done.stderr))
        wrong = self.shell(f"{finetune} --tls-ca <(cat search.crt) --tls-cert <(cat search.crt) --tls-key <(cat search.key) list")
        self.assertEqual(wrong.returncode, 6, wrong.stderr)
        self.assertIn("not signed by an authority in /dev/fd/", wrong.stderr)
        os.mkfifo(self.folder / "fifo")
        done = self.shell(f"(sleep 0.2; cat token > fifo) & {finetune} {tls} --token-file fifo list")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_bad_certificate_file_ends_no_watch(self):
        gateway = self.start()
        (self.folder / "client-ca.crt").write_bytes((self.folder / "ca.crt").read_bytes())
        port = gateway.address.rsplit(":", 1)[1]
        own = ("--tls-ca", "ca.crt", "--tls-cert", "search.crt", "--tls-key", "search.key")
        log = open(self.folder / "watch.log", "wb")
        watch = subprocess.Popen([str(BIN / "finetune"), "--server", self.server, *own, "watch", "--output", "json", "--heartbeats"],
                                 cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)
        self.addCleanup(lambda: (watch.kill(), watch.wait(), log.close()))
        said = lambda: (self.folder / "watch.log").read_text()
        wait_until("the watch", lambda: "synced" in said())
        for name in ("search.crt", "search.key", "ca.crt"):
            content = (self.folder / name).read_bytes()
            for spoil in (lambda p: p.write_bytes(b""), lambda p: p.write_bytes(b"rubbish"), lambda p: (p.unlink(), p.mkdir())):
                spoil(self.folder / name)
                before = said().count("Connected again")
                gateway.terminate()
                gateway = self.start_gateway(self.emulator, "--tls_cert_file", self.folder / "tls.crt", "--tls_key_file",
                                             self.folder / "tls.key", "--tls_client_ca_file", self.folder / "client-ca.crt",
                                             "--policy_file", self.policy, "--listen", f"127.0.0.1:{port}")
                wait_until(f"the watch to go on with a bad {name}", lambda: said().count("Connected again") > before)
                self.assertIsNone(watch.poll(), said())
                path = self.folder / name
                path.rmdir() if path.is_dir() else path.unlink()
                path.write_bytes(content)


if __name__ == "__main__":
    unittest.main()
