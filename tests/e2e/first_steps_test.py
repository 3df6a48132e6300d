"""TLS and credentials as somebody meets them who sets them up for the first time: README's steps, and each mistake with what is said to it."""

import json
import os
import pathlib
import pty
import re
import subprocess
import unittest

from credentials import openssl, search_and_operators
from harness import API_KEY, BIN, EndToEnd, SOURCE, dataset, wait_until

TOKEN = "first-steps-token-0123456789abcdef"


class FirstSteps(EndToEnd):
    def setUp(self):
        super().setUp()
        self.certificates, self.policy = search_and_operators(self.folder, TOKEN)
        self.write("token", TOKEN + "\n", mode=0o600)

    def write(self, name, content, mode=0o644):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path

    def run_finetune(self, *args, env=None, timeout=60):
        return subprocess.run([str(a) for a in (BIN / "finetune", *args)], cwd=self.folder, capture_output=True, text=True,
                              timeout=timeout, env={**os.environ, **(env or {})})


class Client(FirstSteps):
    MTLS = ("--tls-ca", "ca.crt", "--tls-cert", "search.crt", "--tls-key", "search.key")

    def setUp(self):
        super().setUp()
        self.emulator = self.start_emulator()

    def gateway_with(self, *flags):
        return self.start_gateway(self.emulator, *flags)

    def server(self, gateway):
        return ("--server", gateway.address.replace("127.0.0.1", "localhost"))

    def test_every_kind_of_call_works_by_certificate_and_by_token(self):
        gateway = self.gateway_with(*self.certificates.flags(mutual=True), "--policy_file", self.policy).ready()
        dataset(self.folder / "cats.zip")
        for who in ((), ("--token-file", "token")):
            call = lambda *args: self.run_finetune(*self.server(gateway), *self.MTLS, *who, *args)
            made = call("create", "--dataset", "cats.zip", "--name", "cats", "--prompt", "a photo of TOK cat", "--trigger", "TOK",
                        "--base-model", "FAST_FLUX", "--theme", "subject", "--wait", "--output", "json")
            self.assertEqual(made.returncode, 0, made.stderr)
            name = json.loads(made.stdout.splitlines()[-1])["name"]
            for command in (("status",), ("list",), ("get", name), ("upload", "cats.zip"), ("download", name, "w"),
                            ("watch", name, "--until", "AVAILABLE")):
                done = call(*command)
                self.assertEqual((done.returncode, command), (0, command), done.stderr)
        mine = self.run_finetune(*self.server(gateway), *self.MTLS, "list", "--output", "json")
        self.assertEqual(len(mine.stdout.splitlines()), 1, "the other's job is not search's")

    def test_each_mistake_is_told_in_words_that_help(self):
        self.certificates.make_bad_ones("search")
        gateway = self.gateway_with(*self.certificates.flags(mutual=True), "--policy_file", self.policy)
        (self.folder / "plain").mkdir()
        plain = self.Plain(self)
        by_key = lambda name: ("--tls-ca", "ca.crt", "--tls-cert", f"{name}.crt", "--tls-key", f"{name}.key")
        admin = ("--server", gateway.admin_url.removeprefix("http://"))
        self.write("t-two", "one two")
        cases = [
            # What is said; the exit code; to whom; with which flags.
            ("is not signed by an authority in other/ca.crt", 6, self.server(gateway), ("--tls-ca", "other/ca.crt", *self.MTLS[2:])),
            ("that this system trusts", 6, self.server(gateway), ("--tls",)),
            ("asks for a client certificate", 6, self.server(gateway), ("--tls-ca", "ca.crt", "--token-file", "token")),
            ("your certificate expired.crt has expired", 6, self.server(gateway), by_key("expired")),
            ("does not accept the certificate wrong-ca.crt", 6, self.server(gateway), by_key("wrong-ca")),
            ("does not accept the certificate self-signed.crt", 6, self.server(gateway), by_key("self-signed")),
            ("it speaks TLS", 6, self.server(gateway), ()),
            ("does not speak TLS", 6, plain.server, self.MTLS),
            ("does not speak TLS", 6, admin, ("--tls",)),
            ("speaks HTTP, not gRPC", 6, admin, ()),
            ("Connection refused", 6, ("--server", "localhost:1"), self.MTLS),
            ("there is no host", 6, ("--server", "no-such-host.invalid:50051"), self.MTLS),
            ("does not belong to the certificate", 2, self.server(gateway), (*self.MTLS[:4], "--tls-key", "expired.key")),
            ("needs its key", 2, self.server(gateway), self.MTLS[:4]),
            ("No such file", 2, self.server(gateway), (*self.MTLS[:4], "--tls-key", "none.key")),
            ("Is a directory", 2, self.server(gateway), ("--tls-ca", ".")),
            ("holds no PEM certificate", 2, self.server(gateway), ("--tls-ca", "search.key")),
            ("the token alone", 2, self.server(gateway), ("--tls-ca", "ca.crt", "--token-file", "t-two")),
            ("without encryption", 2, ("--server", "10.0.0.1:50051"), ("--token-file", "token")),
        ]
        for said, code, server, flags in cases:
            with self.subTest(said, flags=flags):
                done = self.run_finetune(*server, *flags, "status")
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(said, done.stderr)
                self.assertLessEqual(len(done.stderr.splitlines()), 2, done.stderr)

    class Plain:
        """A gateway without TLS, beside the other."""

        def __init__(self, test):
            folder = test.folder
            test.folder = folder / "plain"
            self.server = ("--server", test.gateway_with().address)
            test.folder = folder

    def test_a_name_that_the_certificate_lacks_and_a_certificate_that_expired_are_told(self):
        everywhere = ("--listen", "0.0.0.0:0", "--policy_file", self.policy)
        gateway = self.gateway_with(*self.certificates.flags(mutual=True), *everywhere)
        port = gateway.address.rsplit(":", 1)[1]
        done = self.run_finetune("--server", f"127.0.0.2:{port}", *self.MTLS, "status")
        self.assertEqual(done.returncode, 6)
        self.assertRegex(done.stderr, "is not for 127.0.0.2[^\n]*\n[^\n]*--server[^\n]*localhost")
        gateway.terminate()
        request = openssl("req", "-new", "-key", self.folder / "tls.key", "-subj", "/CN=gateway")
        names = self.write("names", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
        self.write("tls.crt", openssl("x509", "-req", "-CA", self.folder / "ca.crt", "-CAkey", self.folder / "ca.key", "-days", "-1",
                                      "-set_serial", "9", "-extfile", names, data=request))
        gateway = self.gateway_with(*self.certificates.flags(mutual=True), *everywhere)
        self.assertRegex(gateway.log, '"level":"warning","msg":"the certificate in [^"]* expired on')
        done = self.run_finetune(*self.server(gateway), *self.MTLS, "status")
        self.assertIn("its certificate has expired", done.stderr)

    def test_a_key_that_all_may_read_is_pointed_out_on_a_terminal(self):
        gateway = self.gateway_with(*self.certificates.flags(mutual=True), "--policy_file", self.policy)
        os.chmod(self.folder / "search.key", 0o644)
        quiet = self.run_finetune(*self.server(gateway), *self.MTLS, "status")
        self.assertEqual((quiet.returncode, quiet.stderr), (0, ""))
        ours, theirs = pty.openpty()
        done = subprocess.run([str(a) for a in (BIN / "finetune", *self.server(gateway), *self.MTLS, "status")], cwd=self.folder,
                              stdout=subprocess.DEVNULL, stderr=theirs, timeout=30, check=True)
        os.close(theirs)
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"everybody on this machine may read search.key", os.read(ours, 10000))
        os.close(ours)

    def test_the_readmes_steps_work(self):
        steps = re.search(r"```sh\n(export PATH=[^`]*?deploy/dev-certs.sh certs .*?)```", (SOURCE / "server/access/README.md").read_text(), re.S).group(1)
        ports = self.folder / "ports"
        # The emulator runs already, and all ports are others here.
        for written, meant in (("export PATH=$PWD/.build/dev/bin:$PATH\n", ""), ("segmind-emulator --api_key emulator-key &\n", ""),
                               ("echo emulator-key", f"echo {API_KEY}"), ("http://127.0.0.1:8090", self.emulator.url),
                               ("export FINETUNE_SERVER=localhost:50051\n", ""), ("deploy/", f"{SOURCE}/deploy/")):
            self.assertIn(written, steps)
            steps = steps.replace(written, meant)
        self.write("gateway", "#!/bin/bash\necho $$ > pid\n" f"exec {BIN}/finetune-gateway --listen 127.0.0.1:0 --webhook_listen 127.0.0.1:0 "
                   f"--admin_listen 127.0.0.1:0 --port_file {ports} --drain_delay 0s \"$@\"\n", mode=0o755)
        serve, use = steps.split("policy.json &\n")
        self.addCleanup(lambda: os.kill(int((self.folder / "pid").read_text()), 9))
        start = serve.replace("finetune-gateway ", "./gateway ") + "policy.json >gateway.log 2>&1 &\n"
        subprocess.run(["bash", "-euo", "pipefail", "-c", start], cwd=self.folder, check=True, timeout=60, stdout=subprocess.DEVNULL)
        port = wait_until("the gateway", lambda: ports.exists() and json.loads(ports.read_text())["grpc"])
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", use], cwd=self.folder, capture_output=True, text=True, timeout=60,
                              env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "FINETUNE_SERVER": f"localhost:{port}"})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr.count("There are no jobs."), 2, done.stdout + done.stderr)


class Gateway(FirstSteps):
    def start(self, *flags):
        """How a start ends that cannot go well."""
        self.write("api-key", API_KEY, mode=0o600)
        return subprocess.run([str(a) for a in (
            BIN / "finetune-gateway", "--listen", "127.0.0.1:0", "--webhook_listen", "127.0.0.1:0", "--admin_listen", "127.0.0.1:0",
            "--upstream_url", "http://127.0.0.1:9", "--api_key_file", "api-key", "--store", "sqlite:s.db", *flags)],
            cwd=self.folder, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)

    def test_each_mistake_stops_the_start_with_one_sentence(self):
        openssl("genpkey", "-algorithm", "RSA", "-aes256", "-pass", "pass:x", "-out", self.folder / "locked.key")
        cert, key = ("--tls_cert_file", "tls.crt"), ("--tls_key_file", "tls.key")
        policy = lambda text: ("--policy_file", self.write(f"p{len(text)}.json", text))
        cases = [
            ("needs --tls_key_file", cert),
            ("need --tls_cert_file", key),
            ("No such file", (*cert, "--tls_key_file", "none")),
            ("Is a directory", ("--tls_cert_file", ".", *key)),
            ("does not belong to the certificate", (*cert, "--tls_key_file", "search.key")),
            ("a pass phrase", (*cert, "--tls_key_file", "locked.key")),
            ("holds no PEM private key", (*cert, "--tls_key_file", "tls.crt")),
            ("holds no PEM certificate", (*cert, *key, "--tls_client_ca_file", "token")),
            ("No such file", ("--policy_file", "none")),
            ("Is a directory", ("--policy_file", ".")),
            ("spiffe_id: there is no such field",
             policy('{"callers":[{"name":"a","role":"ADMIN","spiffe_id":["spiffe://x/a"]}]}')),
            ("must be VIEWER, SUBMITTER or ADMIN", policy('{"callers":[{"name":"a","role":"BOSS","dns_names":["a"]}]}')),
            ("No such file", ("--webhook_token_file", "none")),
            ("binds only to loopback", ("--listen", "0.0.0.0:0", *cert, *key)),
        ]
        for said, flags in cases:
            with self.subTest(said, flags=flags):
                done = self.start(*flags)
                self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), done.stderr)
                self.assertIn(said, done.stderr)


if __name__ == "__main__":
    unittest.main()
