"""Weights down and datasets up through the gateway, against curl straight to the same storage and against the smallest relay."""

import os
import pathlib
import subprocess
import threading
import time

from report import median, spread
from servers import BIN, Ours, load, resident_kb, svc

TITLE = "Transfers"
# By the CPU of the table.
WHY_COPIES = ("The gateway gathers what comes into messages of 1 MiB, one copy, and takes the CRC-32C of each: 0.1 s of CPU a GB more than the relay, which passes on what it reads. On two "
              "cores storage, gateway and client share, that is a tenth of the speed.")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Growth:
    """How far a process's memory grows while the block runs, in MB."""

    def __init__(self, pid):
        self.pid = pid
        self.done = threading.Event()

    def __enter__(self):
        self.before = self.peak = resident_kb(self.pid)
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self):
        while not self.done.wait(0.02):
            self.peak = max(self.peak, resident_kb(self.pid))

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        self.mb = (self.peak - self.before) / 1024


class Relay:
    """relay.cc with the weights behind it."""

    def __init__(self, url):
        self.popen = subprocess.Popen([BIN / "bench-relay", "--url", url], stdout=subprocess.PIPE, text=True)
        self.address = f"127.0.0.1:{int(self.popen.stdout.readline())}"
        self.pid = self.popen.pid

    def close(self):
        self.popen.kill()
        self.popen.wait()


class Runs:
    """Repeats of several ways to move the same bytes, interleaved."""

    def __init__(self, size):
        self.size = size
        self.mb_per_s = {}
        self.cpu = {}
        self.growth = {}

    def one(self, name, move, pid=None):
        cpu = cpu_seconds(pid) if pid else 0
        with Growth(pid or os.getpid()) as growth:
            began = time.perf_counter()
            move()
            seconds = time.perf_counter() - began
        self.mb_per_s.setdefault(name, []).append(self.size / 1e6 / seconds)
        if pid:
            self.cpu.setdefault(name, []).append((cpu_seconds(pid) - cpu) / (self.size / 1e9))
            self.growth.setdefault(name, []).append(growth.mb)

    def ratio(self, name, to):
        """The median of the ratios of runs that were side by side."""
        return median([a / b for a, b in zip(self.mb_per_s[name], self.mb_per_s[to])])

    def rows(self, direction, to):
        return [[direction, name, spread(runs), f"{self.ratio(name, to):.2f}",
                 spread(self.cpu[name]) if name in self.cpu else "–",
                 f"{max(self.growth[name]):.1f}" if name in self.growth else "–"] for name, runs in self.mb_per_s.items()]


def run(*command):
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def weights_of(ours, size):
    """Gives the one job weights of that size that need no signature; says where they are."""
    made = ours.gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=ours.job), timeout=30)
    ours.emulator.call("POST", f"/emulator/jobs/{made.upstream_id}", {"base_model": "FAST_FLUX", "weights_bytes": size})
    return made.weights_uri


def downloads(ours, options):
    size = 500_000_000 if options.quick else 2_000_000_000
    url = weights_of(ours, size)
    relay = Relay(url)
    # In memory, for all alike: no disk is measured.
    file = pathlib.Path("/dev/shm" if os.path.isdir("/dev/shm") else ours.folder) / f"finetune-bench-{os.getpid()}"

    def to_file(*command):
        file.unlink(missing_ok=True)
        run(*command)

    def curl_and_digest():
        to_file("curl", "-sSfL", "-o", file, url)
        run("openssl", "dgst", "-sha256", file)

    def raw(target, *more):
        load("download", "--target", target, "--job", ours.job, "--size-bytes", size, *more)

    runs, files = Runs(size), Runs(size)
    raw(ours.address)  # What grows only once has grown.
    for _ in range(3 if options.quick else 5):
        runs.one("curl", lambda: run("curl", "-sSfL", "-o", "/dev/null", url))
        runs.one("smallest relay", lambda: raw(relay.address), relay.pid)
        runs.one("gateway, skip_sha256", lambda: raw(ours.address, "--skip-sha256"), ours.pid)
        runs.one("gateway", lambda: raw(ours.address), ours.pid)
        if not options.quick:
            files.one("curl, then the digest", curl_and_digest)
            files.one("finetune download", lambda: to_file(BIN / "finetune", "--server", ours.address, "download", ours.job, file), ours.pid)
    relay.close()
    file.unlink(missing_ok=True)
    return runs, files


def uploads(ours, options):
    size = 100_000_000
    body = pathlib.Path(ours.folder) / "dataset.zip"
    with open(body, "wb") as file:
        file.truncate(size)

    def direct():
        target = ours.gateway.stub.CreateUploadUrl(svc.CreateUploadUrlRequest(file_name="bench.zip", public_read=True), timeout=30)
        headers = [part for name, value in target.required_headers.items() for part in ("-H", f"{name}: {value}")]
        run("curl", "-sSf", "-T", body, *headers, "-H", "Expect:", target.upload_uri)

    def ours_once():
        load("upload", "--target", ours.address, "--size-bytes", size)

    runs = Runs(size)
    ours_once()
    for _ in range(3 if options.quick else 7):
        runs.one("curl", direct)
        runs.one("gateway", ours_once, ours.pid)
    return runs


def at_once(report, options):
    most, clients = 10, 50
    ours = Ours(1, "--max_concurrent_transfers", most)
    size = 20_000_000 if options.quick else 100_000_000
    weights_of(ours, size)
    load("download", "--target", ours.address, "--job", ours.job, "--size-bytes", size)
    with Growth(ours.pid) as growth:
        result = load("download", "--target", ours.address, "--job", ours.job, "--size-bytes", size, "--at-once", clients)
    ours.close()
    report.keep("at once", {**result, "growth_mb": growth.mb})
    report.say(f"{clients} clients at once, {most} of them let in at a time: {result['mb_per_s']:.0f} MB/s together, {result['refused']} refusals "
               f"that were repeated, and the gateway grew by {growth.mb:.1f} MB.")
    report.limit(f"{clients} at once: memory for each that is let in, of 6 MB", growth.mb / most / 6, 1)
    report.say()


def measure(report, options):
    ours = Ours(1, "--upstream_calls_per_minute", "1000000")
    down, files = downloads(ours, options)
    up = uploads(ours, options)
    ours.close()
    report.say(f"{down.size / 1e9:.1f} GB of weights down, {up.size / 1e6:.0f} MB of a dataset up, from and to the emulator's storage, interleaved. `curl` "
               "talks to the storage directly. `smallest relay` is curl and gRPC on one thread with nothing in between: the floor. The client of "
               "both reads raw messages. Storage, gateway and client share the cores: through the gateway the bytes cross twice as many sockets. Unless a client says "
               "skip_sha256, the gateway takes the SHA-256 of the whole on the way, 0.5 s of CPU a GB, which neither curl nor the relay does: like is compared with like, without a digest "
               "on either side, and to a file with one on both.")
    report.say()
    report.table(["direction", "what", "MB/s", "of curl's", "its CPU s/GB", "its memory's growth, MB"],
                 down.rows("down", "curl") + (files.rows("to a file", "curl, then the digest") if files.mb_per_s else []) + up.rows("up", "curl"))
    for name, runs in (("down", down), ("to a file", files), ("up", up)):
        report.keep(name, {"bytes": runs.size, "mb_per_s": runs.mb_per_s, "cpu_s_per_gb": runs.cpu, "growth_mb": runs.growth})
    report.limit("down without a digest, of curl's speed", down.ratio("gateway, skip_sha256", "curl"), 0.8, at_most=False, why=WHY_COPIES)
    report.limit("down without a digest, of the smallest relay's speed", down.ratio("gateway, skip_sha256", "smallest relay"), 0.8, at_most=False, why=WHY_COPIES)
    if files.mb_per_s:
        report.limit("to a file with its digest, of curl's speed with one", files.ratio("finetune download", "curl, then the digest"), 0.8, at_most=False)
    report.limit("up, of curl's speed", up.ratio("gateway", "curl"), 0.8, at_most=False)
    report.limit("memory's growth down and up, of 16 MB", max(down.growth["gateway"] + up.growth["gateway"]) / 16, 1)
    report.say()
    at_once(report, options)
