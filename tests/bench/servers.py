"""What is measured: the gateway, and what it is compared with. Each has an `address`, a `pid` and `close()`."""

import atexit
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from harness import API_KEY, BIN, Emulator, Gateway, ft, rpc, svc, wait_until  # noqa: F401

SOURCE = pathlib.Path(__file__).resolve().parents[2]

# Only what a section asks for is read from the emulator.
QUIET = ("--active_poll_interval", "1h", "--idle_poll_interval", "1h", "--log_level", "warning")


def end_with_us(*popens):
    """Nothing stays behind when a section fails half-way."""
    for popen in popens:
        atexit.register(popen.kill)


class Bare:
    """The bare gRPC server of bare_server.cc, or of bare_queue_server.cc."""

    job = "fineTunes/x"

    def __init__(self, *args, program="bench-bare-server"):
        self.varying = "typed" in args  # Maps in messages are serialised in any order.
        self.popen = subprocess.Popen([BIN / program, *map(str, args)], stdout=subprocess.PIPE, text=True)
        end_with_us(self.popen)
        self.address = f"127.0.0.1:{int(self.popen.stdout.readline())}"
        self.pid = self.popen.pid

    def close(self):
        self.popen.kill()
        self.popen.wait()


class Segmind:
    """The emulator with so many jobs, for rivals to stand before."""

    def __init__(self, jobs):
        self.folder = tempfile.mkdtemp(prefix="finetune-bench-")
        self.emulator = Emulator(self.folder, "--list_size", str(jobs), "--check_datasets=false", time_scale=0)
        end_with_us(self.emulator.popen)
        self.url = self.emulator.url
        self.pid = self.emulator.popen.pid

    def close(self):
        self.emulator.kill()
        os.unlink(self.emulator.log_path)
        shutil.rmtree(self.folder, ignore_errors=True)


class Ours:
    """The gateway with an emulator of so many jobs behind it, which it has seen; it reads them again only when asked."""

    def __init__(self, jobs, *args, time_scale=0):
        self.folder = tempfile.mkdtemp(prefix="finetune-bench-")
        self.emulator = Emulator(self.folder, "--list_size", str(jobs), "--check_datasets=false", time_scale=time_scale)
        self.gateway = Gateway(self.folder, self.emulator.url, *QUIET, *args)
        end_with_us(self.emulator.popen, self.gateway.popen)
        self.gateway.ready()
        self.address = self.gateway.address
        self.pid = self.gateway.popen.pid
        wait_until("the gateway to see all jobs", lambda: self.gateway.stub.GetGatewayStatus(
            svc.GetGatewayStatusRequest(), timeout=30).fine_tune_count >= jobs, seconds=120)
        found = self.gateway.stub.ListFineTunes(svc.ListFineTunesRequest(page_size=1), timeout=30).fine_tunes
        self.job = found[0].name if found else ""

    def settle(self):
        """Waits until it has read the details of all jobs, one after another, which it does when it first sees them."""
        jobs = len(self.emulator.jobs())
        wait_until("the details of all jobs", lambda: self.emulator.calls("details") >= jobs, seconds=120, step=0.2)
        return self

    def close(self):
        self.gateway.close()
        self.gateway.kill()
        self.emulator.kill()
        for process in (self.gateway, self.emulator):
            os.unlink(process.log_path)
        shutil.rmtree(self.folder, ignore_errors=True)


def pin(pid, cpu):
    """Keeps all threads of a process on one core, and those that they will start."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread), {cpu})


def load(*args, cpu=None, may_fail=False):
    """One run of the load generator, on one core or anywhere; ends everything if it found a wrong answer, unless its `errors` are to be looked at."""
    pinned = [] if cpu is None else ["taskset", "-c", str(cpu)]
    done = subprocess.run([*pinned, BIN / "bench-load", *map(str, args)], capture_output=True, text=True, check=False)
    if done.returncode != 0 and not (may_fail and done.stdout):
        raise SystemExit(f"bench-load {' '.join(map(str, args))} failed: {done.stderr}{done.stdout}")
    return json.loads(done.stdout)


def resident_kb(pid, kind="VmRSS"):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(kind))
