"""Real processes for the end-to-end tests: the emulator, the gateway, the command line, and a Python client.

Every process listens on 127.0.0.1, port 0, and tells its port through a file. Nothing here sleeps to synchronise: it waits for
events with a deadline.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

BIN = pathlib.Path(os.environ["FINETUNE_BIN"])
SOURCE = pathlib.Path(__file__).resolve().parents[2]
API_KEY = "e2e-key-6f1d0c"
WEBHOOK_TOKEN = "e2e-webhook-token-0123456789abcdef"

_stubs = os.environ.get("FINETUNE_STUBS")
if _stubs:
    sys.path.insert(0, _stubs)

sys.path.insert(0, str(SOURCE / "deploy"))

import grpc  # noqa: E402
import sample_images  # noqa: E402
from segmind.finetune.v1 import fine_tune_pb2 as ft  # noqa: E402
from segmind.finetune.v1 import fine_tune_service_pb2 as svc  # noqa: E402
from segmind.finetune.v1 import fine_tune_service_pb2_grpc as rpc  # noqa: E402
from server.base import error_details_pb2  # noqa: E402

State = ft.FineTune.State


def wait_until(what, condition, seconds=30.0, step=0.02):
    """The first true value of condition(), or a failure that says what was waited for."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(step)


def recommended_service_config():
    """What client/README.md tells every client to use."""
    after = (SOURCE / "client/README.md").read_text().split("\nRecommended service config", 1)[1]
    return json.loads(after.split("```json\n", 1)[1].split("```", 1)[0])


class Process:
    """A child process with its output in a file."""

    def __init__(self, name, args, env=None):
        self.name = name
        self.log_path = tempfile.NamedTemporaryFile(prefix=f"{name}-", suffix=".log", delete=False).name
        with open(self.log_path, "wb") as log:
            self.popen = subprocess.Popen(
                [str(a) for a in args], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env={**os.environ, **(env or {})})

    @property
    def log(self):
        return pathlib.Path(self.log_path).read_text(errors="replace")

    def ports(self, path):
        def read():
            if self.popen.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.popen.returncode}:\n{self.log}")
            try:
                text = pathlib.Path(path).read_text()
            except FileNotFoundError:
                return None
            return text.strip() or None

        # As often as tests/bench/sections/start.py wants to know it.
        return wait_until(f"{self.name} to listen", read, seconds=120, step=0.002)

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
        return self.popen.wait(30)

    def terminate(self, seconds=30):
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(seconds)


class Emulator(Process):
    def __init__(self, folder, *args, time_scale=2000, listen="127.0.0.1:0"):
        port_file = pathlib.Path(folder) / "emulator.port"
        port_file.unlink(missing_ok=True)
        super().__init__("emulator", [
            BIN / "segmind-emulator", "--listen", listen, "--port_file", port_file, "--api_key", API_KEY,
            "--time_scale", str(time_scale), *args])
        self.url = f"http://127.0.0.1:{int(self.ports(port_file))}"

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            self.url + path, method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text.strip() else None

    def fault(self, call, kind, **more):
        self.call("POST", "/emulator/faults", {"call": call, "kind": kind, **more})

    def clear_faults(self):
        self.call("DELETE", "/emulator/faults")

    def calls(self, name=None):
        """How many calls it was asked: of one kind, or of Segmind's API in all."""
        stats = self.call("GET", "/emulator/stats")
        if name is None:
            return stats["total_calls"]
        return stats["calls"].get(name, {"calls": 0})["calls"]

    def submits(self):
        """The submits that it took."""
        return [s for s in self.call("GET", "/emulator/submits?limit=100000") if s["taken"]]

    def jobs(self):
        return self.call("GET", "/emulator/jobs")


class Gateway(Process):
    def __init__(self, folder, emulator_url, *args, env=None, api_key=API_KEY, prefix=(), host="127.0.0.1"):
        folder = pathlib.Path(folder)
        port_file = folder / "gateway.ports"
        port_file.unlink(missing_ok=True)
        key_file = folder / "api-key"
        if not key_file.exists():
            key_file.touch(mode=0o600)
            key_file.write_text(api_key + "\n")
        token_file = folder / "webhook-token"
        token_file.touch(mode=0o600)
        token_file.write_text(WEBHOOK_TOKEN + "\n")
        super().__init__("gateway", [
            *prefix, BIN / "finetune-gateway", "--listen", f"{host}:0", "--webhook_listen", f"{host}:0",
            "--admin_listen", f"{host}:0", "--port_file", port_file, "--upstream_url", emulator_url,
            "--api_key_file", key_file, "--webhook_token_file", token_file, "--store", f"sqlite:{folder}/store.db",
            "--upstream_calls_per_minute", "100000", "--active_poll_interval", "200ms", "--idle_poll_interval", "1s",
            "--drain_delay", "0s", "--check_datasets=false", *args], env=env)
        ports = json.loads(self.ports(port_file))
        self.address = f"{host}:{ports['grpc']}"
        self.webhook_url = f"http://{host}:{ports['webhook']}/webhooks/segmind/{WEBHOOK_TOKEN}"
        self.admin_url = f"http://{host}:{ports['admin']}"
        self.channel = grpc.insecure_channel(self.address, options=[("grpc.max_receive_message_length", 64 << 20)])
        self.stub = rpc.FineTuneServiceStub(self.channel)

    def admin(self, path):
        try:
            with urllib.request.urlopen(self.admin_url + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def ready(self):
        wait_until("the gateway to be ready", lambda: self.admin("/readyz")[0] == 200)
        return self

    def answers(self):
        """Whether it does now, within a second."""
        try:
            self.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=1)
            return True
        except grpc.RpcError:
            return False

    def close(self):
        self.channel.close()


def details_of(error):
    """The google.rpc details of a failed call, by the names of their types."""
    found = {}
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = error_details_pb2.Status.FromString(value)
            for detail in status.details:
                name = detail.type_url.rsplit(".", 1)[-1]
                found[name] = getattr(error_details_pb2, name).FromString(detail.value)
    return found


def reason_of(error):
    info = details_of(error).get("ErrorInfo")
    return info.reason if info else None


def dataset(path, images=8):
    sample_images.write(path, images, side=64)
    return path


def upload(stub, folder, file_name="cats.zip"):
    """Asks for an upload URL, PUTs a real zip to it, and returns the URL to train with."""
    path = dataset(pathlib.Path(folder) / file_name)
    target = stub.CreateUploadUrl(svc.CreateUploadUrlRequest(file_name=file_name, public_read=True), timeout=20)
    request = urllib.request.Request(
        target.upload_uri, method="PUT", data=path.read_bytes(), headers=dict(target.required_headers))
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 200
    return target.data_source_uri


def job(uri="https://datasets.example/cats.zip", name="cats", **more):
    return ft.FineTune(display_name=name, data_source_uri=uri, instance_prompt="a photo of TOK cat", trigger_word="TOK",
                       base_model="FAST_FLUX", theme="subject", **more)


class EndToEnd(unittest.TestCase):
    """A test with a folder of its own and processes that end with it."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="finetune-e2e-"))
        self.processes = []
        self.addCleanup(self._clean)

    def _clean(self):
        for process in reversed(self.processes):
            if isinstance(process, Gateway):
                process.close()
            process.kill()
            os.unlink(process.log_path)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start_emulator(self, *args, **more):
        emulator = Emulator(self.folder, *args, **more)
        self.processes.append(emulator)
        return emulator

    def start_gateway(self, emulator, *args, **more):
        gateway = Gateway(self.folder, emulator if isinstance(emulator, str) else emulator.url, *args, **more)
        self.processes.append(gateway)
        return gateway

    def refused(self, code, reason, call, *args, **more):
        """The error of a call that must fail so."""
        with self.assertRaises(grpc.RpcError) as caught:
            result = call(*args, **{"timeout": 20, **more})
            if hasattr(result, "__next__"):
                next(result)
        error = caught.exception
        self.assertEqual((error.code(), reason_of(error)), (code, reason), error.details())
        self.assertEqual(details_of(error)["ErrorInfo"].domain, "segmind-finetune-gateway")
        return error
