"""What people would use instead to tell many of a change: Debian's etcd and NATS, each with a folder of its own, on loopback."""

import shutil
import socket
import subprocess
import tempfile
import time


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Peer:
    """A server that was started, and whose port answers."""

    def __init__(self, command, port):
        self.address = f"127.0.0.1:{port}"
        self.popen = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid = self.popen.pid
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > end or self.popen.poll() is not None:
                    raise SystemExit(f"{command[0]} does not start") from None
                time.sleep(0.05)

    def close(self):
        self.popen.kill()
        self.popen.wait()


class Etcd(Peer):
    """One member, which writes each put to disk before it tells anybody, as the gateway does."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="finetune-bench-etcd-")
        port, peer_port = free_port(), free_port()
        client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
        super().__init__(["etcd", "--name", "bench", "--data-dir", self.folder, "--listen-client-urls", client, "--advertise-client-urls", client,
                          "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"bench={peer}",
                          "--logger", "zap", "--log-level", "error"], port)

    def close(self):
        super().close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Nats(Peer):
    """Core NATS: it keeps nothing."""

    def __init__(self):
        port = free_port()
        super().__init__(["nats-server", "-a", "127.0.0.1", "-p", str(port)], port)
