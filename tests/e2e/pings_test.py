"""Clients that ping to keep their connection: as often as load balancers make them, and too often."""

import socket
import struct
import time
import unittest

from harness import EndToEnd

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7


class Pings(EndToEnd):
    def frame(self, kind, payload=b"", flags=0):
        return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + bytes(4) + payload

    def kinds_after_pings(self, count, pause):
        """The kinds of the frames that come back, and what a GOAWAY says."""
        host, port = self.gateway.address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(PREFACE + self.frame(SETTINGS))
            received = b""
            connection.settimeout(2)
            try:
                for _ in range(count):
                    time.sleep(pause)  # What is tested is the pause itself.
                    connection.sendall(self.frame(PING, bytes(8)))
                    received += connection.recv(4096)
                while part := connection.recv(4096):
                    received += part
            except OSError:  # Silence, or the end.
                pass
        kinds, words = [], b""
        while len(received) >= 9:
            length = struct.unpack(">I", b"\0" + received[:3])[0]
            kinds.append(received[3])
            if received[3] == GOAWAY:
                words += received[9:9 + length]
            received = received[9 + length:]
        return kinds, words

    def test_a_client_may_ping_every_few_seconds_and_not_all_the_time(self):
        self.gateway = self.start_gateway(self.start_emulator())
        # Three too early are what gRPC forgives.
        kinds, words = self.kinds_after_pings(5, 6)
        self.assertNotIn(GOAWAY, kinds, words)
        self.assertGreaterEqual(kinds.count(PING), 5)
        kinds, words = self.kinds_after_pings(8, 0.02)
        self.assertIn(GOAWAY, kinds)
        self.assertIn(b"too_many_pings", words)


if __name__ == "__main__":
    unittest.main()
