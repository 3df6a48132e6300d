"""One connection, without a credential, sends HTTP/2 as fast as it can: the calls of others go on, in little memory."""

import contextlib
import hashlib
import json
import multiprocessing
import os
import pathlib
import re
import resource
import socket
import ssl
import struct
import threading
import time
import unittest
import zipfile

import credentials
from deaf_client import DeafClient, _frame, _text
from harness import EndToEnd, grpc, rpc, svc, wait_until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(DeafClient.SETTINGS, 0, 0)
CONTINUATION, RST_STREAM = 9, 3
END_HEADERS = DeafClient.END_HEADERS


def header(name, value):
    return b"\x00" + _text(name) + _text(value)


HEADERS = b"".join(header(name, value) for name, value in {
    ":method": "POST", ":scheme": "http", ":path": "/segmind.finetune.v1.FineTuneService/GetGatewayStatus", ":authority": "x",
    "te": "trailers", "content-type": "application/grpc"}.items())
NOTHING = b"\0\0\0\0\0"
# A header that goes into the connection's table, and its number there: one byte for 64 and more of memory.
REMEMBERED, AGAIN = b"\x40" + _text("x") + _text("y"), b"\xbe"
SECONDS = 15
# Whoever was kept waiting by such a flood waited for as long as it lasted; on a busy machine everything takes its time.
WAITING = 5
MIB = 1 << 20
MEMORY_MB = 512
TOKEN = "token-of-alice-0123456789abcdef"


def forever(chunk):
    while True:
        yield chunk


def streams(*frames, first=1, at_once=100):
    """The same frames for one stream after another."""
    while True:
        yield b"".join(_frame(kind, flags, number, payload)
                       for number in range(first, first + 2 * at_once, 2) for kind, flags, payload in frames)
        first += 2 * at_once


def continuations(stream=1):
    """Headers that do not end."""
    yield _frame(DeafClient.HEADERS, 0, stream, HEADERS)
    yield from forever(_frame(CONTINUATION, 0, stream, header("x-a", "y" * 100) * 150) * 10)


def continuations_after_calls():
    """The same, after calls that are answered."""
    calls = streams((DeafClient.HEADERS, END_HEADERS, HEADERS), (DeafClient.DATA, DeafClient.END_STREAM, NOTHING))
    for _ in range(3):
        yield next(calls)
    yield from continuations(601)


def repeated():
    """Headers that do not end, of which each is a byte."""
    yield _frame(DeafClient.HEADERS, 0, 1, HEADERS + REMEMBERED)
    yield from forever(_frame(CONTINUATION, 0, 1, AGAIN * 900) * 100)


def empty():
    """Headers that do not end, without any header."""
    yield _frame(DeafClient.HEADERS, 0, 1, HEADERS)
    yield from forever(_frame(CONTINUATION, 0, 1) * 10_000)


def endless_value():
    """One header of two gigabytes, as it says itself."""
    yield _frame(DeafClient.HEADERS, 0, 1, HEADERS + b"\x00" + _text("x-a") + b"\x7f\x80\xff\xff\xff\x07")
    yield from forever(_frame(CONTINUATION, 0, 1, b"z" * 16384) * 16)


def opened():
    """Calls whose request does not come."""
    return streams((DeafClient.HEADERS, END_HEADERS, HEADERS))


def long_headers():
    """The same, with headers as long as they may be."""
    return streams((DeafClient.HEADERS, 0, HEADERS), (CONTINUATION, END_HEADERS, header("x-a", "y" * 14_000)), at_once=10)


def whole():
    """Calls, more than there is time for."""
    return streams((DeafClient.HEADERS, END_HEADERS, HEADERS), (DeafClient.DATA, DeafClient.END_STREAM, NOTHING))


def whole_with_repeated_headers():
    yield _frame(DeafClient.HEADERS, END_HEADERS, 1, HEADERS + REMEMBERED)
    yield from streams((DeafClient.HEADERS, END_HEADERS, HEADERS + AGAIN * 800), (DeafClient.DATA, DeafClient.END_STREAM, NOTHING),
                       first=3, at_once=10)


def unknown_frames():
    return forever(_frame(99, 0, 1, bytes(16_000)) * 20)


def pings():
    return forever(_frame(DeafClient.PING, 0, 0, b"12345678") * 5000)


def settings():
    return forever(_frame(DeafClient.SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)) * 5000)


def resets():
    """Calls that are taken back as soon as they are made."""
    return streams((DeafClient.HEADERS, END_HEADERS, HEADERS), (RST_STREAM, 0, struct.pack(">I", 8)))


def flood(connect, over, chunks, read, pause):
    """One connection after another."""
    while not over.is_set():
        with contextlib.suppress(OSError), connect() as connection:
            connection.sendall(PREFACE)
            for chunk in chunks():
                if over.is_set():
                    return
                connection.settimeout(2)
                connection.sendall(chunk)
                connection.setblocking(False)
                with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
                    while read and connection.recv(MIB):
                        pass
        over.wait(pause)


def flood_at_once(address, over, chunks):
    """The same in a process of its own, without a pause before it comes back."""
    host, port = address.rsplit(":", 1)
    flood(lambda: socket.create_connection((host, int(port)), timeout=SECONDS), over, chunks, True, 0)


@contextlib.contextmanager
def running(several, over):
    """Threads or processes, until it is over."""
    for one in several:
        one.start()
    try:
        yield
    finally:
        over.set()
        for one in several:
            one.join()


class Floods(EndToEnd):
    def start(self, *args):
        policy = credentials.write_policy(self.folder / "policy.json", [
            credentials.caller("alice", "ADMIN", TOKEN, sees_all_jobs=True)])
        emulator = self.start_emulator("--check_datasets=false", time_scale=0)
        self.gateway = self.start_gateway(emulator, "--policy_file", policy, *args).ready()
        self.stub = self.gateway.stub
        self.tls = None
        self.failures = []

    def start_with_tls(self):
        certificates = credentials.Certificates(self.folder)
        self.start(*certificates.flags(mutual=False))
        channel = grpc.secure_channel(self.gateway.address, certificates.channel_credentials())
        self.addCleanup(channel.close)
        self.stub = rpc.FineTuneServiceStub(channel)
        self.tls = ssl.create_default_context()
        self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE
        self.tls.set_alpn_protocols(["h2"])

    # Those who attack.

    def connect(self):
        host, port = self.gateway.address.rsplit(":", 1)
        connection = socket.create_connection((host, int(port)), timeout=SECONDS)
        return self.tls.wrap_socket(connection) if self.tls else connection

    @contextlib.contextmanager
    def flooded(self, chunks, connections=1, read=True):
        over = threading.Event()
        threads = [threading.Thread(target=flood, args=(self.connect, over, chunks, read, 0.5)) for _ in range(connections)]
        with running(threads, over):
            yield

    @contextlib.contextmanager
    def flooded_by(self, chunks, processes):
        spawn = multiprocessing.get_context("spawn")
        over = spawn.Event()
        with running([spawn.Process(target=flood_at_once, args=(self.gateway.address, over, chunks)) for _ in range(processes)], over):
            yield

    # Those who are to be served.

    def resident_mb(self):
        status = pathlib.Path(f"/proc/{self.gateway.popen.pid}/status").read_text(encoding="ascii")
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def cut(self):
        return float(re.search(r"^finetune_gateway_cut_connections_total (\S+)$", self.gateway.admin("/metrics")[1], re.M)[1])

    def me(self, timeout=60):
        return {"timeout": timeout, "metadata": (("authorization", f"Bearer {TOKEN}"),)}

    def calls(self, seconds):
        """How long each took, in seconds, and the most memory that was seen."""
        took, memory, over = [], [], threading.Event()

        def look():
            while not over.wait(0.02):
                memory.append(self.resident_mb())

        with running([threading.Thread(target=look)], over):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                began = time.monotonic()
                self.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), **self.me())
                took.append(time.monotonic() - began)
                time.sleep(0.01)
        return sorted(took), max(memory)

    def check(self, chunks, seconds=2, **how):
        with self.subTest(chunks.__name__, **how):
            with self.flooded_by(chunks, **how) if "processes" in how else self.flooded(chunks, **how):
                took, memory = self.calls(seconds)
            self.assertLess(took[len(took) * 9 // 10], WAITING, took)
            self.assertLess(memory, MEMORY_MB)
        return took

    def test_headers_that_do_not_end(self):
        self.start()
        for chunks in (continuations, continuations_after_calls, repeated, empty):
            for connections in (1, 10):
                self.check(chunks, connections=connections)
        self.check(endless_value)
        self.check(endless_value, connections=10)
        self.assertGreater(self.cut(), 0)
        self.assertIn('"peer":"ipv4:127.0.0.1:', next(line for line in self.gateway.log.splitlines() if "cut a connection" in line))

    def test_calls_without_end(self):
        self.start()
        for chunks in (opened, long_headers, whole, whole_with_repeated_headers):
            for read in (True, False):
                self.check(chunks, read=read)
            self.check(chunks, connections=10)

    def test_those_who_come_back_as_soon_as_they_are_cut(self):
        self.start()
        for chunks in (opened, whole):
            took = self.check(chunks, seconds=8, processes=12)
            # Where all of them are let in again at once, half of the calls take half a second.
            self.assertLess(took[len(took) // 2], 0.1)
            self.assertEqual(self.gateway.admin("/livez")[0], 200)
        # Nobody is kept out for long: neither they, nor others at their address.
        channel = self.other_channel()
        rpc.FineTuneServiceStub(channel).GetGatewayStatus(svc.GetGatewayStatusRequest(), wait_for_ready=True, **self.me())

    def test_other_frames_without_end(self):
        self.start()
        for chunks in (unknown_frames, pings, settings):
            for read in (True, False):
                self.check(chunks, read=read)

    def test_over_tls(self):
        self.start_with_tls()
        for chunks in (continuations, repeated, opened, whole_with_repeated_headers):
            for connections in (1, 2, 10):
                self.check(chunks, connections=connections)

    def test_handshakes_that_do_not_end(self):
        """Thousands who say hello, or are through with TLS, and nothing more: little memory, and others come in."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 14_000:
            self.skipTest("needs 14,000 descriptors")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 14_000), hard))
        self.start_with_tls()
        certificates = grpc.ssl_channel_credentials((self.folder / "ca.crt").read_bytes())
        hello = self.client_hello()
        crowd, memory, waited = [], 0, 0
        self.addCleanup(lambda: [one.close() for one in crowd])
        for i in range(12_000):
            crowd.append(socket.create_connection(self.gateway.address.rsplit(":", 1)))
            crowd[-1].sendall(hello if i % 3 else hello[:100])
            if i % 200:
                continue
            memory = max(memory, self.resident_mb())
            began = time.monotonic()
            with grpc.secure_channel(self.gateway.address, certificates, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                rpc.FineTuneServiceStub(channel).GetGatewayStatus(svc.GetGatewayStatusRequest(), **self.me(WAITING))
            waited = max(waited, time.monotonic() - began)
        self.assertLess(memory, MEMORY_MB)
        self.assertLess(waited, WAITING)
        self.assertGreater(self.cut(), 0)

    def lines(self, message):
        return [json.loads(line) for line in self.gateway.log.splitlines() if f'"msg":"{message}"' in line]

    def test_who_is_refused_does_not_fill_the_log(self):
        """Neither those who speak no TLS, nor those who have no credential."""
        self.start_with_tls()
        host, port = self.gateway.address.rsplit(":", 1)
        for _ in range(300):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    connection.recv(1)
        self.assertLess(len(self.lines("grpc")), 100)
        calls = 3000
        for call in [self.stub.ListFineTunes.future(svc.ListFineTunesRequest()) for _ in range(calls)]:
            self.assertEqual(call.code(), grpc.StatusCode.UNAUTHENTICATED)

        def counted():
            own = [line for line in self.lines("call") if line["reason"] == "CREDENTIALS_MISSING"]
            rest = [line for line in self.lines("more calls were refused") if line["peer"] == "127.0.0.1"]
            return len(own), sum(line["calls"] for line in rest)

        wait_until("all refusals to be told", lambda: sum(counted()) == calls)
        self.assertLess(counted()[0], calls // 10)

    def test_probes_leave_no_line(self):
        self.start_with_tls()
        for path in ("/livez", "/readyz"):
            self.assertEqual(self.gateway.admin(path)[0], 200)
        self.gateway.terminate()
        self.assertEqual(self.lines("grpc"), [])

    def client_hello(self):
        """What a client of TLS says first."""
        to, answer = ssl.MemoryBIO(), ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.wrap_bio(answer, to).do_handshake()
        return to.read()

    def large_zip(self, size):
        """One image of that size, and what a zip adds to it."""
        path = self.folder / "large.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as large:
            large.writestr("a.jpg", os.urandom(size))
        return path.read_bytes()

    def upload(self, data):
        def messages():
            yield svc.UploadDatasetRequest(spec=svc.DatasetSpec(
                file_name="cats.zip", size_bytes=len(data), public_read=True, sha256=hashlib.sha256(data).digest()))
            for at in range(0, len(data), MIB):
                yield svc.UploadDatasetRequest(chunk=data[at:at + MIB])
        return self.stub.UploadDataset(messages(), **self.me())

    def keep_on(self, over, act):
        try:
            while not over.is_set():
                act()
        except grpc.RpcError as error:
            self.failures.append(error)

    def test_honest_work_goes_on(self):
        """Uploads, and as many calls as go, of others on whom the flood must not be blamed; each has a connection of its own."""
        self.start()
        large, small = self.large_zip(64 * MIB), self.large_zip(MIB)
        over = threading.Event()
        stub = rpc.FineTuneServiceStub(self.other_channel())

        def burst():
            for call in [stub.ListFineTunes.future(svc.ListFineTunesRequest(), **self.me()) for _ in range(200)]:
                call.result()

        threads = [threading.Thread(target=self.keep_on, args=(over, act))
                   for act in (lambda: self.upload(large), lambda: self.upload(small), burst)]
        for thread in threads:
            thread.start()
        for chunks in (continuations, repeated, whole_with_repeated_headers):
            self.check(chunks, connections=2)
        over.set()
        for thread in threads:
            thread.join()
        self.assertEqual(self.failures, [])

    def other_channel(self):
        channel = grpc.insecure_channel(self.gateway.address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.addCleanup(channel.close)
        return channel

    @unittest.skipUnless(os.environ.get("FINETUNE_NIGHTLY"), "its calls are many, and the processors are others, too")
    def test_calls_that_are_taken_back(self):
        self.start()
        self.check(resets, seconds=SECONDS)


if __name__ == "__main__":
    unittest.main()
