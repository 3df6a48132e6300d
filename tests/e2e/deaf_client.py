"""A gRPC client that sends calls and never takes an answer: HTTP/2 by hand, with a window of nothing."""

import socket
import struct


def _frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def _text(text):
    """A string of HPACK, as it is."""
    data = text.encode()
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, size = len(data) - 127, b"\x7f"
    while rest >= 128:
        size, rest = size + bytes((rest % 128 + 128,)), rest // 128
    return size + bytes((rest,)) + data


class DeafClient:
    DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
    END_HEADERS, END_STREAM, ACK = 4, 1, 1

    def __init__(self, address, **metadata):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.metadata, self.stream = metadata, -1
        # INITIAL_WINDOW_SIZE 0: headers come, and no byte of an answer.
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(self.SETTINGS, 0, 0, struct.pack(">HI", 4, 0))
                            + _frame(self.SETTINGS, self.ACK, 0))

    def call(self, method, request, timeout=None):
        """Begins a call; its answer is never read."""
        self.stream += 2
        headers = {":method": "POST", ":scheme": "http", ":path": f"/segmind.finetune.v1.FineTuneService/{method}", ":authority": "x",
                   "te": "trailers", "content-type": "application/grpc", **self.metadata}
        if timeout is not None:
            headers["grpc-timeout"] = f"{int(timeout * 1000)}m"
        block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers.items())
        body = request.SerializeToString()
        self.socket.sendall(_frame(self.HEADERS, self.END_HEADERS, self.stream, block)
                            + _frame(self.DATA, self.END_STREAM, self.stream, b"\0" + struct.pack(">I", len(body)) + body))

    def drain(self):
        """Throws away what has come, so that the connection stays alive, and answers pings; False if the connection is gone."""
        self.socket.setblocking(False)
        try:
            while data := self.socket.recv(1 << 20):
                at = 0
                while at + 9 <= len(data):
                    size, kind, flags = int.from_bytes(data[at:at + 3], "big"), data[at + 3], data[at + 4]
                    if kind == self.PING and not flags & self.ACK:
                        self.socket.sendall(_frame(self.PING, self.ACK, 0, data[at + 9:at + 17]))
                    at += 9 + size
            return False
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            self.socket.settimeout(10)

    def close(self):
        self.socket.close()
