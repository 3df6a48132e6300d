"""Files that are replaced under a running gateway, well and badly: no content of a file ends it or shuts anybody out."""

import os
import shutil
import signal
import socket
import ssl
import threading
import unittest
import urllib.error
import urllib.request

import grpc

from credentials import Certificates, caller, write_policy
from harness import EndToEnd, rpc, svc, wait_until

TOKEN, SECOND = "token-of-a-caller-0123456789", "second-token-of-a-caller-01234"


class TlsFront:
    """Takes TLS off what comes, one connection for each call, and passes it on to the emulator."""

    def __init__(self, emulator_url, certificates):
        self.target = int(emulator_url.rsplit(":", 1)[1])
        self.use(certificates)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def use(self, certificates):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.folder / "tls.crt", certificates.folder / "tls.key")
        self.context = context

    def run(self):
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(raw,), daemon=True).start()

    def serve(self, raw):
        try:
            with self.context.wrap_socket(raw, server_side=True) as near, socket.create_connection(("127.0.0.1", self.target)) as far:
                request = near.recv(65536)
                far.sendall(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
                while part := far.recv(65536):
                    near.sendall(part)
        except OSError:
            pass  # Who does not trust it goes away.


class Files(EndToEnd):
    def start(self, *flags, certificates=None, **more):
        self.emulator = self.start_emulator("--check_datasets=false", time_scale=0)
        self.gateway = self.start_gateway(self.emulator, *flags, **more).ready()
        self.certificates = certificates
        return self.gateway

    def connects(self, authority, client=None):
        """Whether a new connection whose client trusts this authority is served."""
        read = lambda path: path.read_bytes()
        pair = (read(client.folder / "search.key"), read(client.folder / "search.crt")) if client else (None, None)
        credentials = grpc.ssl_channel_credentials(read(authority / "ca.crt"), *pair)
        port = self.gateway.address.rsplit(":", 1)[1]
        with grpc.secure_channel(f"localhost:{port}", credentials, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            try:
                rpc.FineTuneServiceStub(channel).GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=3)
                return True
            except grpc.RpcError:
                return False

    def metric(self, line):
        return line in self.gateway.admin("/metrics")[1].splitlines()

    def refused(self, files):
        return self.metric(f'finetune_gateway_files_refused{{files="{files}"}} 1')

    def all_good(self):
        return "refused{files=" not in "".join(
            line for line in self.gateway.admin("/metrics")[1].splitlines() if line.startswith("finetune_gateway_files") and line.endswith(" 1"))

    def test_bad_certificates_end_nothing_and_good_ones_are_taken(self):
        served, other = Certificates(self.folder / "served", "search"), Certificates(self.folder / "other", "search")
        # The client's own copy, which nobody touches.
        shutil.copytree(served.folder, self.folder / "mine")
        mine = Certificates(self.folder / "mine", "search")
        self.start(*served.flags(mutual=True))
        good = {name: (mine.folder / name).read_bytes() for name in ("tls.crt", "tls.key", "ca.crt")}
        open_channel = grpc.secure_channel(f"localhost:{self.gateway.address.rsplit(':', 1)[1]}", mine.channel_credentials("search"))
        self.addCleanup(open_channel.close)
        stub = rpc.FineTuneServiceStub(open_channel)
        stream = stub.WatchFineTunes(svc.WatchFineTunesRequest())
        next(stream)
        for name, text in good.items():
            path = served.folder / name
            for bad in (b"", text[:100], b"junk", os.urandom(2000), (other.folder / name).read_bytes() if name == "tls.key" else b"\0" * 100):
                with self.subTest(name, bad=bad[:20]):
                    path.write_bytes(bad)
                    self.gateway.popen.send_signal(signal.SIGHUP)
                    wait_until("the file to be refused", lambda: self.refused("tls"))
                    self.assertTrue(self.connects(mine.folder, mine))
                    path.write_bytes(text)
                    self.gateway.popen.send_signal(signal.SIGHUP)
                    wait_until("the file to be good", self.all_good)
            path.unlink()
            wait_until("the missing file to be refused", lambda: self.refused("tls"))
            path.mkdir()
            self.gateway.popen.send_signal(signal.SIGHUP)
            self.assertTrue(self.connects(mine.folder, mine))
            path.rmdir()
            path.write_bytes(text)
            wait_until("the file to be good", self.all_good)
        # One after the other, in the wrong order: taken once they fit.
        for name in ("tls.key", "tls.crt", "ca.crt"):
            (served.folder / name).write_bytes((other.folder / name).read_bytes())
        wait_until("the next certificates", lambda: self.connects(other.folder, other))
        self.assertFalse(self.connects(mine.folder, mine))
        self.assertFalse(self.connects(other.folder, mine), "signed by an authority that is gone")
        stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=5)
        self.assertTrue(stream.is_active())

    def test_sighup_rereads_and_ends_nothing(self):
        policy = write_policy(self.folder / "policy.json", [caller("a", "ADMIN", TOKEN)])
        self.start("--policy_file", policy)
        call = lambda token: self.gateway.stub.GetGatewayStatus(
            svc.GetGatewayStatusRequest(), timeout=5, metadata=[("authorization", f"Bearer {token}")])
        call(TOKEN)
        for _ in range(20):
            self.gateway.popen.send_signal(signal.SIGHUP)
        write_policy(policy, [caller("a", "ADMIN", SECOND)])
        self.gateway.popen.send_signal(signal.SIGHUP)
        wait_until("the new policy", lambda: "policy changed" in self.gateway.log, seconds=5)
        call(SECOND)
        self.assertIn("looking at all files again", self.gateway.log)
        self.assertEqual(self.gateway.terminate(), 0)

    def test_a_webhook_token_revoked_while_the_file_could_not_be_read_is_refused_afterwards(self):
        tokens = self.folder / "tokens"
        first, second = "first-webhook-token-0123456789", "second-webhook-token-012345678"
        tokens.write_text(first)
        self.start("--webhook_token_file", tokens)
        door = self.gateway.webhook_url.rsplit("/", 1)[0]
        tokens.unlink()
        tokens.mkdir()
        wait_until("the file to be refused", lambda: self.refused("webhook_tokens"))
        self.assertEqual(self.post(f"{door}/{first}"), 200)
        tokens.rmdir()
        tokens.write_bytes(b"\xef\xbb\xbf" + second.encode() + b"\r\n")
        wait_until("the old token to go", lambda: self.post(f"{door}/{first}") == 404)
        self.assertEqual(self.post(f"{door}/{second}"), 200)

    def test_the_upstreams_authority_stays_while_its_file_is_bad(self):
        first, second = Certificates(self.folder / "first", "search"), Certificates(self.folder / "second", "search")
        emulator = self.start_emulator("--check_datasets=false", time_scale=0)
        front = TlsFront(emulator.url, first)
        self.addCleanup(front.listener.close)
        authorities = self.folder / "upstream-ca.pem"
        authorities.write_bytes((first.folder / "ca.crt").read_bytes())
        self.gateway = self.start_gateway(f"https://localhost:{front.port}", "--upstream_ca_file", authorities).ready()
        reads_go_on = lambda: self.gateway.stub.ListFineTunes(svc.ListFineTunesRequest(freshness={"max_staleness": {}}), timeout=10)
        for bad in (b"", b"junk", (first.folder / "ca.crt").read_bytes()[:200]):
            authorities.write_bytes(bad)
            self.gateway.popen.send_signal(signal.SIGHUP)
            wait_until("the file to be refused", lambda: self.refused("upstream_ca"))
            reads_go_on()
        authorities.write_bytes((second.folder / "ca.crt").read_bytes())
        wait_until("the file to be good", self.all_good)
        front.use(second)
        reads_go_on()

    def post(self, url):
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="POST", data=b"{}"), timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def test_files_that_are_pipes_are_read_once(self):
        certificates = Certificates(self.folder / "certs", "search")
        policy = write_policy(self.folder / "policy.json", [caller("a", "ADMIN", TOKEN)])
        texts = {"--tls_cert_file": certificates.folder / "tls.crt", "--tls_key_file": certificates.folder / "tls.key",
                 "--tls_client_ca_file": certificates.folder / "ca.crt", "--policy_file": policy, "--api_key_file": self.folder / "key",
                 "--webhook_token_file": self.folder / "token"}
        (self.folder / "key").write_text("e2e-key-6f1d0c\n")
        (self.folder / "token").write_text("a-webhook-token-0123456789\n")
        flags, writers = [], []
        for flag, source in texts.items():
            pipe = self.folder / f"{flag[2:]}.fifo"
            os.mkfifo(pipe)
            writers.append(threading.Thread(target=lambda pipe=pipe, source=source: pipe.write_bytes(source.read_bytes()), daemon=True))
            flags += [flag, pipe]
        for writer in writers:
            writer.start()
        self.start(*flags)
        self.gateway.popen.send_signal(signal.SIGHUP)
        port = self.gateway.address.rsplit(":", 1)[1]
        with grpc.secure_channel(f"localhost:{port}", certificates.channel_credentials("search")) as channel:
            rpc.FineTuneServiceStub(channel).GetGatewayStatus(
                svc.GetGatewayStatusRequest(), timeout=5, metadata=[("authorization", f"Bearer {TOKEN}")])
        self.assertTrue(self.all_good())


if __name__ == "__main__":
    unittest.main()
