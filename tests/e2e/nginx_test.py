"""Nginx before the gateway, and between the gateway and Segmind: what passes, and what its timeouts and reloads cost."""

import os
import shutil
import signal
import socket
import subprocess
import time
import unittest
import uuid

import credentials
from harness import BIN, EndToEnd, Process, dataset, grpc, job, rpc, svc, wait_until

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@unittest.skipUnless(NGINX, "needs nginx")
class BehindNginx(EndToEnd):
    def start_nginx(self, listen, server):
        """Its port. `server` is what stands in its only server."""
        port, folder = free_port(), self.folder / f"nginx{len(self.processes)}"
        folder.mkdir()
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; events {{}}\n"
            f"http {{ access_log {folder}/access.log; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
            f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
            f"server {{ listen 127.0.0.1:{port} {listen}; {server} }} }}\n")
        self.nginx = Process("nginx", [NGINX, "-c", folder / "nginx.conf", "-p", folder])
        self.processes.append(self.nginx)

        def listens():
            with socket.socket() as one:
                return one.connect_ex(("127.0.0.1", port)) == 0

        wait_until("nginx to listen", listens)
        return port

    def reload(self):
        self.nginx.popen.send_signal(signal.SIGHUP)

    def cli(self, *words):
        return subprocess.Popen([BIN / "finetune", *map(str, words)], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env={**os.environ, "FINETUNE_SERVER": f"127.0.0.1:{self.port}"})

    def shows(self, watch, word):
        if not any(word in line for line in watch.stdout):
            self.fail(watch.stderr.read())

    def done(self, process):
        out, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, errors)
        return out

    def create(self, name="cats"):
        return self.stub.CreateFineTune(
            svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=job(name=name)), timeout=20)

    def set(self, made, status):
        self.emulator.call("POST", f"/emulator/jobs/{made.upstream_id}", {"status": status})


class BeforeTheGateway(BehindNginx):
    def start(self, location, most="0"):
        self.emulator = self.start_emulator("--check_datasets=false", "--weights_bytes", "3000000", time_scale=0)
        self.gateway = self.start_gateway(self.emulator).ready()
        self.port = self.start_nginx(
            "http2", f"client_max_body_size {most}; location / {{ grpc_pass grpc://{self.gateway.address}; {location} }}")
        channel = grpc.insecure_channel(f"127.0.0.1:{self.port}")
        self.addCleanup(channel.close)
        self.stub = rpc.FineTuneServiceStub(channel)

    def test_all_passes_and_reloads_break_nothing(self):
        self.start("")
        made = self.create()
        self.done(self.cli("upload", dataset(self.folder / "cats.zip", images=200)))
        self.set(made, "AVAILABLE")
        self.stub.WaitFineTune(svc.WaitFineTuneRequest(name=made.name, until="AVAILABLE"), timeout=20)
        self.emulator.fault("weights_get", "slow_storage", bytes_per_second=1_000_000, count=-1)
        watch = self.cli("watch")
        self.addCleanup(watch.kill)
        path = self.folder / "w.safetensors"
        download = self.cli("download", made.name, path)
        part = self.folder / "w.safetensors.part"
        wait_until("bytes to come", lambda: part.exists() and part.stat().st_size > 0)
        self.reload()
        self.done(download)
        self.assertEqual(path.stat().st_size, 3_000_000)
        self.reload()
        self.create("after-the-reload")
        self.shows(watch, "after-the-reload")

    def test_an_idle_timeout_ends_no_wait_and_no_watch(self):
        self.start("grpc_read_timeout 1s; grpc_send_timeout 1s;")
        made = self.create()
        wait, watch = self.cli("wait", made.name, "--timeout", "60s"), self.cli("watch")
        self.addCleanup(watch.kill)
        time.sleep(2.5)
        self.set(made, "AVAILABLE")
        self.done(wait)
        self.shows(watch, "AVAILABLE")

    def test_a_proxy_that_ends_uploads_is_named(self):
        self.start("", most="1m")
        upload = self.cli("upload", dataset(self.folder / "cats.zip", images=200))
        _, errors = upload.communicate(timeout=60)
        self.assertNotEqual(upload.returncode, 0)
        self.assertIn("a proxy before the gateway", errors)


class BeforeSegmind(BehindNginx):
    def test_connections_that_end_all_the_time_make_no_second_job(self):
        self.emulator = self.start_emulator("--check_datasets=false", time_scale=0)
        certificates = credentials.Certificates(self.folder / "certs")
        tls = f"ssl_certificate {certificates.folder}/tls.crt; ssl_certificate_key {certificates.folder}/tls.key;"
        for listen in ("ssl http2", "ssl"):
            with self.subTest(listen):
                before = len(self.emulator.submits())
                port = self.start_nginx(listen, f"{tls} keepalive_requests 2; location / {{ proxy_pass {self.emulator.url}; }}")
                gateway = self.start_gateway(f"https://localhost:{port}", "--upstream_ca_file", certificates.folder / "ca.crt",
                                             "--active_poll_interval", "20ms", "--idle_poll_interval", "20ms").ready()
                self.stub = gateway.stub
                for i in range(60):
                    self.create(f"job-{i}")
                    if i % 20 == 10:
                        self.reload()
                self.assertEqual(len(self.emulator.submits()) - before, 60)
                gateway.terminate()
                for beside in self.folder.glob("store.db*"):
                    beside.unlink()


if __name__ == "__main__":
    unittest.main()
