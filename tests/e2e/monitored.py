"""A gateway with callers, watched by a real Prometheus (Debian's) with the rules of deploy/monitoring.

As a program: python3 monitored.py MINUTES OUTAGE_MINUTES OUT.png     plays a while with an outage of Segmind in the middle and draws the
dashboard from what Prometheus has seen.
"""

import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
import uuid

import grpc

from credentials import caller, write_policy
from harness import SOURCE, Emulator, Gateway, Process, State, ft, job, rpc, svc, upload, wait_until

MONITORING = SOURCE / "deploy/monitoring"
# Who calls where callers are told apart, and what they train; each one's token.
TEAMS = {"art": "FLUX", "search": "FAST_FLUX", "ads": "QWEN"}
TOKENS = {team: f"{team}-token-of-22-characters" for team in TEAMS}
# Why jobs fail, in Segmind's words.
FAILURES = ("CUDA out of memory", "Download failed", "Internal Server Error", "Invalid dataset: no images")


def tools(*names):
    """Where the tools named are."""
    folder = subprocess.run([SOURCE / "tests/deploy/tools.sh", *names], capture_output=True, text=True, check=True).stdout.strip()
    return f"{folder}:{os.environ['PATH']}"


class Prometheus(Process):
    """Scrapes one gateway every `interval`, and evaluates `rules` as often."""

    def __init__(self, folder, gateway, rules, interval="1s"):
        folder = pathlib.Path(folder)
        (folder / "rules.yaml").write_text(rules)
        (folder / "prometheus.yaml").write_text(json.dumps({
            "global": {"scrape_interval": interval, "evaluation_interval": interval},
            "rule_files": [str(folder / "rules.yaml")],
            "scrape_configs": [{"job_name": "finetune-gateway", "static_configs": [
                {"targets": [gateway.admin_url.removeprefix("http://")], "labels": {"namespace": "finetune-gateway"}}]}]}))
        port = free_port()
        path = tools("prometheus")
        program = next(p for p in (f"{d}/prometheus" for d in path.split(":")) if os.access(p, os.X_OK))
        super().__init__("prometheus", [
            program, f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/prometheus",
            f"--web.listen-address=127.0.0.1:{port}"])
        self.url = f"http://127.0.0.1:{port}"
        wait_until("Prometheus", self.answers, seconds=60)

    def answers(self):
        if self.popen.poll() is not None:
            raise AssertionError(f"prometheus ended with {self.popen.returncode}:\n{self.log}")
        try:
            with urllib.request.urlopen(self.url + "/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def ask(self, what, **parameters):
        with urllib.request.urlopen(f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
            return json.load(answer)["data"]

    def values(self, query):
        """The numbers that a query gives now."""
        return [float(r["value"][1]) for r in self.ask("query", query=query)["result"]]

    def alerts(self):
        """The names of the alerts that fire, with the moment since when."""
        return {a["labels"]["alertname"]: a["activeAt"] for a in self.ask("alerts")["alerts"] if a["state"] == "firing"}


def free_port():
    """Prometheus cannot say which port it took, so it must be told one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Token(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Sends a caller's token with each call."""

    def __init__(self, token):
        self.metadata = (("authorization", f"Bearer {token}"),)

    def intercept_unary_unary(self, continuation, client_call_details, request):
        return continuation(client_call_details._replace(metadata=self.metadata), request)

    intercept_unary_stream = intercept_unary_unary


class Callers:
    """A team's worth of calls of every kind, until stopped: one job after the other with its dataset, watches, and mistakes."""

    def __init__(self, folder, gateway, pause, stub=None, base_model="FAST_FLUX"):
        self.folder, self.gateway, self.pause = folder, gateway, pause
        self.stub, self.base_model = stub or gateway.stub, base_model
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.loop, args=(what,), daemon=True)
                        for what in (self.read, self.submit, self.watch, self.watch, self.err, self.transfer)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopped.set()
        self.gateway.close()
        for thread in self.threads:
            thread.join(30)

    def loop(self, what):
        while not self.stopped.wait(self.pause * random.uniform(0.5, 1.5)):
            try:
                what(self.stub)
            except (grpc.RpcError, OSError, ValueError):
                pass  # An outage, or one of the mistakes.

    def names(self, stub, **more):
        return [f.name for f in stub.ListFineTunes(svc.ListFineTunesRequest(page_size=20, **more), timeout=10).fine_tunes]

    def read(self, stub):
        for name in self.names(stub):
            stub.GetFineTune(svc.GetFineTuneRequest(name=name), timeout=10)
        stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=10)

    def job(self, stub):
        made = job(upload(stub, self.folder, f"{threading.get_ident()}.zip"))
        made.base_model = self.base_model
        if self.base_model != "FAST_FLUX":
            made.theme = ""
        return made

    def submit(self, stub):
        made = stub.CreateFineTune(svc.CreateFineTuneRequest(
            fine_tune=self.job(stub), request_id=str(uuid.uuid4())), timeout=20)
        stub.UpdateFineTune(svc.UpdateFineTuneRequest(
            fine_tune=ft.FineTune(name=made.name, visibility=ft.FineTune.PUBLIC), update_mask={"paths": ["visibility"]}), timeout=20)
        stub.WaitFineTune(svc.WaitFineTuneRequest(name=made.name, until=State.TRAINED, timeout={"seconds": 60}), timeout=70)

    def watch(self, stub):
        for _ in stub.WatchFineTunes(svc.WatchFineTunesRequest(), timeout=60):
            if self.stopped.is_set():
                return

    def err(self, stub):
        for call in (lambda: stub.GetFineTune(svc.GetFineTuneRequest(name="fineTunes/none"), timeout=10),
                     lambda: stub.ListFineTunes(svc.ListFineTunesRequest(filter="="), timeout=10)):
            try:
                call()
            except grpc.RpcError:
                pass
        urllib.request.urlopen(urllib.request.Request(self.gateway.webhook_url + "x", method="POST", data=b"{}"), timeout=5).close()

    def transfer(self, stub):
        for name in self.names(stub, filter="state = AVAILABLE")[:1]:
            for _ in stub.DownloadWeights(svc.DownloadWeightsRequest(name=name), timeout=60):
                pass


class World:
    """Emulator, gateway, Prometheus and callers: one, or, told apart by a policy, each of TEAMS. `rules` become Prometheus' own."""

    def __init__(self, folder, rules, pause=0.3, time_scale=200, interval="1s", gateway_flags=(), teams=False):
        self.emulator = Emulator(folder, "--list_size", "30", time_scale=time_scale)
        if teams:
            policy = write_policy(pathlib.Path(folder) / "policy.json", [
                caller(team, "SUBMITTER", token, sees_all_jobs=True) for team, token in TOKENS.items()])
            gateway_flags = (*gateway_flags, "--policy_file", policy)
        self.gateway = Gateway(folder, self.emulator.url, *gateway_flags).ready()
        self.emulator.call("POST", "/emulator/settings", {"webhook_url": self.gateway.webhook_url})
        self.prometheus = Prometheus(folder, self.gateway, rules, interval)
        if teams:
            stubs = {team: rpc.FineTuneServiceStub(grpc.intercept_channel(self.gateway.channel, Token(TOKENS[team]))) for team in TEAMS}
            self.callers = [Callers(folder, self.gateway, pause, stubs[team], model) for team, model in TEAMS.items()]
        else:
            self.callers = [Callers(folder, self.gateway, pause)]
        self.processes = [self.emulator, self.gateway, self.prometheus]

    def freeze_segmind(self):
        """Segmind takes connections and says nothing."""
        self.emulator.popen.send_signal(signal.SIGSTOP)

    def thaw_segmind(self):
        self.emulator.popen.send_signal(signal.SIGCONT)

    def close(self):
        self.thaw_segmind()
        for callers in self.callers:
            callers.stop()
        for process in reversed(self.processes):
            process.kill()
            os.unlink(process.log_path)


def main():
    minutes, outage, out = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    with tempfile.TemporaryDirectory(prefix="finetune-monitored-") as folder:
        # The rules as they are, and Segmind's pace and the gateway's as in earnest.
        world = World(folder, (MONITORING / "rules.yaml").read_text(), pause=5, time_scale=40, interval="5s", teams=True, gateway_flags=(
            "--active_poll_interval", "15s", "--idle_poll_interval", "5m", "--upstream_calls_per_minute", "100"))
        began = time.monotonic()

        def say(what):
            age = world.prometheus.values("finetune_gateway_view_age_seconds")
            print(f"{time.monotonic() - began:6.0f} s: {what}; view age {age[0] if age else -1:.0f} s; livez {world.gateway.admin('/livez')[0]}, "
                  f"readyz {world.gateway.admin('/readyz')[0]}; firing: {', '.join(world.prometheus.alerts()) or 'nothing'}", flush=True)

        def go_on(seconds, frozen=False):
            end = time.monotonic() + seconds
            known = set()
            while time.monotonic() < end:
                time.sleep(min(5, max(0, end - time.monotonic())))
                if not frozen and random.random() < 0.2:  # One job in a while.
                    world.emulator.fault("lifecycle", "fail", stage="TRAINING_COMPLETED", message=random.choice(FAILURES), count=1)
                if set(world.prometheus.alerts()) != known:
                    known = set(world.prometheus.alerts())
                    say("alerts changed")

        try:
            before = (minutes - outage) * 30
            go_on(before)
            say("Segmind is frozen")
            world.freeze_segmind()
            go_on(outage * 60, frozen=True)
            say("Segmind comes back")
            world.thaw_segmind()
            go_on(before / 2)
            world.emulator.fault("submit", "no_credits", count=-1)
            go_on(before / 6)
            world.emulator.clear_faults()
            go_on(before / 3)
            say("the end")
            subprocess.run([MONITORING / "draw.py", world.prometheus.url, out, str(minutes)], check=True)
        finally:
            world.close()


if __name__ == "__main__":
    main()
