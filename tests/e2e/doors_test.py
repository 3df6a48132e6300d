"""What outsiders may do to the three doors: say nothing, slowly, too much or nonsense. Whatever it is, everybody else is served as before."""

import os
import socket
import struct
import time
import unittest
import urllib.request

import grpc

from credentials import Certificates, caller, write_policy
from harness import WEBHOOK_TOKEN, EndToEnd, svc, wait_until
from transfers_test import MIB, PeakMemory

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
EVENT = b'{"event":"x","id":"1"}'
POST = f"POST /webhooks/segmind/{WEBHOOK_TOKEN} HTTP/1.1\r\nHost: a\r\n".encode()
GET = b"GET /livez HTTP/1.1\r\nHost: a\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


class Doors(EndToEnd):
    GATEWAY = ()

    def setUp(self):
        super().setUp()
        self.emulator = self.start_emulator()
        self.gateway = self.start_gateway(self.emulator, *self.GATEWAY).ready()
        self.grpc = int(self.gateway.address.rsplit(":", 1)[1])
        self.admin = int(self.gateway.admin_url.rsplit(":", 1)[1])
        self.webhook = int(self.gateway.webhook_url.split("/")[2].rsplit(":", 1)[1])
        self.sockets = []
        self.addCleanup(lambda: [s.close() for s in self.sockets])

    def connect(self, port, data=b""):
        made = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.sockets.append(made)
        if data:
            made.sendall(data)
        return made

    def answer(self, port, data):
        """The status code of the first answer to these bytes, 0 for an end without any."""
        made = self.connect(port)
        try:
            made.sendall(data)
            line = made.recv(100)
        except ConnectionError:
            return 0
        finally:
            made.close()
        return int(line.split()[1]) if line.startswith(b"HTTP/1.1 ") else 0

    def post(self):
        with urllib.request.urlopen(urllib.request.Request(self.gateway.webhook_url, method="POST", data=EVENT), timeout=5) as answer:
            return answer.status

    def all_are_served(self):
        self.gateway.stub.ListFineTunes(svc.ListFineTunesRequest(), timeout=5)
        self.assertEqual(self.post(), 200)
        for path in ("/livez", "/readyz", "/metrics"):
            self.assertEqual(self.gateway.admin(path)[0], 200)


class Http(Doors):
    def test_connections_that_are_silent_or_slow_keep_nobody_out(self):
        for port in (self.webhook, self.admin):
            with self.subTest("webhook" if port == self.webhook else "admin"), PeakMemory(self.gateway) as memory:
                slow = [self.connect(port, b"GE") for _ in range(300)]
                silent = [self.connect(port) for _ in range(300)]
                body = [self.connect(port, POST + b"Content-Length: 100000\r\n\r\n{") for _ in range(300)]
                for byte in (b"T", b" ", b"/"):
                    for connection in slow + body:
                        try:
                            connection.send(byte)
                        except ConnectionError:
                            pass  # Cut off.
                    self.all_are_served()
                for connection in slow + silent + body:
                    connection.close()
            self.assertLess(memory.growth, 32 * MIB)
            self.all_are_served()

    def test_each_form_of_nonsense_has_its_answer(self):
        length = lambda *values: POST + b"".join(b"Content-Length: %s\r\n" % v for v in values) + b"\r\n" + EVENT
        chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n"
        cases = [
            ("a good event", 200, self.webhook, length(b"22")),
            ("a good event in chunks", 200, self.webhook, chunked + b"16\r\n" + EVENT + b"\r\n0\r\n\r\n"),
            ("a long path", 414, self.webhook, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("a long header", 431, self.admin, GET + b"X: " + b"a" * 100_000 + b"\r\n\r\n"),
            ("many headers", 431, self.admin, GET + b"X: a\r\n" * 20_000 + b"\r\n"),
            ("no host", 400, self.admin, b"GET /livez HTTP/1.1\r\n\r\n"),
            ("an unknown version", 505, self.admin, b"GET /livez HTTP/3.0\r\nHost: a\r\n\r\n"),
            ("no version", 400, self.admin, b"GET /livez\r\n\r\n"),
            ("another verb", 405, self.webhook, POST.replace(b"POST", b"DELETE") + b"\r\n"),
            ("TRACE", 405, self.admin, GET.replace(b"GET", b"TRACE") + b"\r\n"),
            ("a huge body", 413, self.webhook, length(b"99999999999")),
            ("a body that is asked for first", 413, self.webhook, POST + b"Expect: 100-continue\r\nContent-Length: 9999999\r\n\r\n"),
            ("a negative length", 400, self.webhook, length(b"-5")),
            ("no number", 400, self.webhook, length(b"abc")),
            ("too large a number", 413, self.webhook, length(b"18446744073709551617")),
            ("two lengths", 400, self.webhook, length(b"22", b"5")),
            ("a length and chunks", 400, self.webhook, POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            ("two encodings", 400, self.webhook, POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
            ("a chunk that is none", 400, self.webhook, chunked + b"zz\r\nfoo\r\n"),
            ("a chunk without end", 413, self.webhook, chunked + b"ffffffffffffffffff\r\nfoo\r\n"),
            ("chunks without end", 413, self.webhook, chunked + (b"10000\r\n" + b"a" * 65536 + b"\r\n") * 60),
            ("a space before the colon", 400, self.webhook, POST + b"Content-Length : 22\r\n\r\n" + EVENT),
            ("a tab before the colon", 400, self.webhook, POST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
            ("a folded header", 400, self.webhook, POST + b"Content-Length:\r\n 22\r\n\r\n" + EVENT),
            ("lines that end with LF alone", 400, self.webhook, length(b"22").replace(b"\r\n", b"\n")),
            ("a bare CR", 400, self.webhook, POST + b"X: a\rb\r\n\r\n"),
            ("a NUL in a header", 400, self.webhook, POST + b"Content-Length: 22\0\r\n\r\n" + EVENT),
            ("a NUL in the path", 400, self.webhook, length(b"22").replace(b" HTTP", b"\0x HTTP")),
            ("an encoded NUL in the path", 404, self.webhook, length(b"22").replace(b" HTTP", b"%00x HTTP")),
            ("a broken escape in the path", 404, self.admin, GET.replace(b"livez", b"livez%zz") + b"\r\n"),
            ("a whole URL for a path", 200, self.webhook, length(b"22").replace(b"POST /", b"POST http://a:80/")),
            ("a whole URL for a path", 200, self.admin, GET.replace(b" /", b" http://a/") + b"\r\n"),
            ("two hosts", 400, self.admin, GET + b"Host: b\r\n\r\n"),
            ("an encoding that nobody knows", 400, self.webhook, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            ("two lengths in one", 400, self.webhook, length(b"22, 22")),
            ("a length with a sign", 400, self.admin, GET + b"Content-Length: +0\r\n\r\n"),
            ("a wrong token with a long body", 404, self.webhook,
             POST.replace(WEBHOOK_TOKEN.encode(), b"x" * 30) + b"Content-Length: 9999999\r\n\r\n"),
        ]
        for what, code, port, data in cases:
            with self.subTest(what):
                self.assertEqual(self.answer(port, data), code)
        self.answer(self.webhook, os.urandom(10_000))
        self.all_are_served()

    def test_a_request_is_never_two(self):
        hidden = GET + b"\r\n"
        for header in (b"Content-Length : %d", b"Content-Length:\r\n %d", b"Content-Length: +%d", b"Transfer-Encoding: identity\r\nX: %d"):
            made = self.connect(self.admin, GET + header % len(hidden) + b"\r\n\r\n" + hidden)
            answers = b""
            while part := made.recv(65536):
                answers += part
            self.assertEqual(answers.count(b"HTTP/1.1 "), 1, header)

    def test_bodies_behind_a_wrong_token_cost_no_memory(self):
        wrong = POST.replace(WEBHOOK_TOKEN.encode(), b"x" * 30) + b"Transfer-Encoding: chunked\r\n\r\n"
        body = (b"10000\r\n" + b"a" * 65536 + b"\r\n") * 20
        with PeakMemory(self.gateway) as memory:
            posts = [self.connect(self.webhook, wrong) for _ in range(256)]
            for post in posts:
                try:
                    post.sendall(body)
                except ConnectionError:
                    pass  # It has heard enough.
            for post in posts:
                post.close()
            self.all_are_served()
        self.assertLess(memory.growth, 16 * MIB)


class Looks(Doors):
    GATEWAY = ("--active_poll_interval", "1h", "--idle_poll_interval", "1h")

    def test_whatever_comes_with_a_good_token_is_a_reason_to_look(self):
        metric = lambda: int(next(line.rsplit(" ", 1)[1] for line in self.gateway.admin("/metrics")[1].splitlines()
                                  if line.startswith('finetune_gateway_webhooks_total{result="unreadable"}')))
        for i, body in enumerate((b"", b"finetune_id=1&status=AVAILABLE", b"\x1f\x8b\x08\0", b'[{"id":"1"},{"id":"2"}]', b'{"a":{"b":{"id":"1"}}}')):
            lists = self.emulator.calls("list")  # None but for a webhook.
            head = POST + b"Content-Length: %d\r\n\r\n" % len(body)
            self.assertEqual(self.answer(self.webhook, head + body), 200)
            self.assertEqual(metric(), i + 1)
            wait_until("the list to be read", lambda: self.emulator.calls("list") > lists)


class Named(EndToEnd):
    def test_a_name_means_all_its_addresses(self):
        gateway = self.start_gateway(self.start_emulator(), "--webhook_listen", "localhost:0", "--admin_listen", "localhost:0").ready()
        for url in (gateway.admin_url, gateway.webhook_url):
            port = int(url.split("/")[2].rsplit(":", 1)[1])
            for address in {info[4][0] for info in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)} | {"127.0.0.1"}:
                socket.create_connection((address, port), timeout=5).close()


class Grpc(Doors):
    def test_connections_that_say_nothing_or_nonsense_disturb_nobody(self):
        nonsense = [os.urandom(10_000), GET + b"\r\n", PREFACE + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01", PREFACE + frame(0, 0, 0, b"a"),
                    PREFACE + frame(1, 4, 2, b"\x82"), PREFACE + frame(1, 4, 1, b"\xff" * 1000), PREFACE + frame(9, 4, 1, b"a"),
                    PREFACE + frame(6, 0, 0, b"a" * 8) * 10_000, PREFACE + frame(4, 0, 0, b"\0\4\0\0\xff\xff") * 10_000]
        with PeakMemory(self.gateway) as memory:
            for _ in range(700):
                self.connect(self.grpc)
            for data in nonsense:
                try:
                    self.connect(self.grpc, data)
                except ConnectionError:
                    pass  # It has heard enough.
                self.all_are_served()
        self.assertLess(memory.growth, 128 * MIB)

    def test_metadata_that_is_too_large_is_refused_and_the_next_call_is_served(self):
        call = lambda size: self.gateway.stub.ListFineTunes(svc.ListFineTunesRequest(), metadata=[("x-much", "a" * size)], timeout=10)
        call(10_000)  # Tokens of Kubernetes and OIDC are as long.
        for size in (100_000, 1_000_000):
            with self.subTest(size), self.assertRaises(grpc.RpcError) as caught:
                call(size)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
            wait_until("calls", self.gateway.answers)
        self.all_are_served()


class Tls(EndToEnd):
    def test_without_a_certificate_nothing_is_heard_and_those_who_wait_are_closed(self):
        certificates = Certificates(self.folder, "search")
        policy = write_policy(self.folder / "p.json", [caller("search", "ADMIN", spiffe_ids=["spiffe://finetune.dev/search"])])
        gateway = self.start_gateway(self.start_emulator(), *certificates.flags(mutual=True), "--policy_file", policy)
        port = int(gateway.address.rsplit(":", 1)[1])
        hello = b"\x16\x03\x01\x00\xf0\x01\x00\x00"
        began = time.monotonic()
        waiting = [socket.create_connection(("127.0.0.1", port), timeout=40) for _ in range(200)]
        for connection in waiting[::2]:
            connection.sendall(hello)  # Half of one.
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            plain.sendall(PREFACE + frame(6, 0, 0, b"a" * 8))
            self.assertEqual(plain.recv(1), b"")
        with grpc.secure_channel(f"localhost:{port}", certificates.channel_credentials("search")) as channel:
            method = channel.unary_unary("/segmind.finetune.v1.FineTuneService/ListFineTunes",
                                         svc.ListFineTunesRequest.SerializeToString, svc.ListFineTunesResponse.FromString)
            method(svc.ListFineTunesRequest(), timeout=10)
        for connection in waiting:
            self.assertEqual(connection.recv(1), b"")
            connection.close()
        self.assertLess(time.monotonic() - began, 35)


if __name__ == "__main__":
    unittest.main()
