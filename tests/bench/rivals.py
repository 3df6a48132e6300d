"""What people would put in front of Segmind's API instead of the gateway. Each has an `address` (HOST:PORT), a `pid` and `close()`."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

from servers import API_KEY, BIN, end_with_us, wait_until

NODE_MODULES = pathlib.Path(__file__).resolve().parent / "rivals/node_modules"
PORTKEY = NODE_MODULES / "@portkey-ai/gateway/build/start-server.js"


def free_port():
    """Of servers that cannot say which port they got."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class SmallestGateway:
    """smallest_gateway.cc: from gRPC to libcurl, and nothing else."""

    job = "fineTunes/x"

    def __init__(self, emulator):
        self.popen = subprocess.Popen([BIN / "bench-smallest-gateway", "--upstream-url", emulator.url, "--api-key", API_KEY],
                                      stdout=subprocess.PIPE, text=True)
        self.address = f"127.0.0.1:{int(self.popen.stdout.readline())}"
        self.pid = self.popen.pid
        end_with_us(self.popen)

    def close(self):
        self.popen.kill()
        self.popen.wait()


class Nginx:
    """Debian's nginx as a reverse proxy with kept connections to the emulator, one process; with a cache or without."""

    prefix = ""

    def __init__(self, emulator, cache=False):
        self.folder = tempfile.mkdtemp(prefix="finetune-bench-nginx-")
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        cached = "proxy_cache list; proxy_cache_valid 200 1h; proxy_cache_key $uri;" if cache else ""
        temporary = "".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        pathlib.Path(self.folder, "nginx.conf").write_text(f"""
daemon off; master_process off; pid {self.folder}/pid; error_log {self.folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; {temporary}
  sendfile on; tcp_nodelay on; keepalive_requests 1000000000; open_file_cache max=1000;
  proxy_cache_path {self.folder}/cache keys_zone=list:10m;
  upstream emulator {{ server {emulator.url.removeprefix("http://")}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen {self.address};
    location / {{ proxy_pass http://emulator; proxy_http_version 1.1; proxy_set_header Connection ""; {cached} }}
  }}
}}
""")
        self.popen = subprocess.Popen(["/usr/sbin/nginx", "-p", self.folder, "-c", f"{self.folder}/nginx.conf"],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid = self.popen.pid
        end_with_us(self.popen)
        wait_until("nginx to listen", lambda: answers(port))

    def headers(self):
        return [f"x-api-key: {API_KEY}"]

    def close(self):
        self.popen.kill()
        self.popen.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Portkey:
    """@portkey-ai/gateway, which passes calls on to a host that a header names. It drops the bodies of GETs, so that of Segmind's calls
    list and submit get through."""

    prefix = "/v1"

    def __init__(self, emulator):
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self.emulator = emulator
        self.popen = subprocess.Popen(["node", PORTKEY, f"--port={port}", "--headless"], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL,
                                      env={**os.environ, "TRUSTED_CUSTOM_HOSTS": "127.0.0.1", "NODE_ENV": "production"})
        self.pid = self.popen.pid
        end_with_us(self.popen)
        wait_until("Portkey to listen", lambda: answers(port))

    def headers(self):
        return [f"x-api-key: {API_KEY}", "x-portkey-provider: openai", f"x-portkey-custom-host: {self.emulator.url}"]

    def close(self):
        self.popen.kill()
        self.popen.wait()


def have_portkey(report):
    if PORTKEY.exists() and shutil.which("node"):
        return True
    report.say("Portkey was not measured: it is not installed in tests/bench/rivals.")
    report.say()
    return False


def have_nginx(report):
    if os.path.exists("/usr/sbin/nginx"):
        return True
    report.say("nginx was not measured: it is not installed.")
    report.say()
    return False
