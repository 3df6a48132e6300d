"""Runs the measurements that run.sh names and writes them as tables of ratios. Absolute figures are of the machine of the day; only
figures of one run are compared with each other."""

import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests/e2e"))

from harness import BIN, Emulator, Gateway, svc  # noqa: E402

report = []
missed = []


def say(line=""):
    print(line, flush=True)
    report.append(line)


def table(header, rows):
    say("| " + " | ".join(header) + " |")
    say("|" + "---|" * len(header))
    for row in rows:
        say("| " + " | ".join(str(cell) for cell in row) + " |")
    say()


def median(values):
    return statistics.median(values)


def spread(values):
    """The median, and the range of the repeats."""
    digits = 0 if median(values) >= 100 else 1 if median(values) >= 10 else 2 if median(values) >= 1 else 3
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def limit(what, value, bound, at_most=True):
    good = value <= bound if at_most else value >= bound
    say(f"- {what}: **{value:.2f}**, target {'≤' if at_most else '≥'} {bound}: {'met' if good else 'MISSED'}")
    if not good:
        missed.append(what)


class Bare:
    """The bare gRPC server."""

    def __init__(self, *args):
        self.popen = subprocess.Popen([BIN / "bench-bare-server", *map(str, args)], stdout=subprocess.PIPE, text=True)
        self.address = f"127.0.0.1:{int(self.popen.stdout.readline())}"
        self.pid = self.popen.pid

    def close(self):
        self.popen.kill()
        self.popen.wait()


class Ours:
    """The gateway with so many jobs, quiet."""

    def __init__(self, jobs, *args):
        self.folder = tempfile.mkdtemp(prefix="finetune-bench-")
        self.emulator = Emulator(self.folder, "--list_size", str(jobs), time_scale=0)
        self.gateway = Gateway(self.folder, self.emulator.url, "--active_poll_interval", "1h", "--idle_poll_interval", "1h",
                               "--log_level", "warning", *args).ready()
        self.address = self.gateway.address
        self.pid = self.gateway.popen.pid
        end = time.monotonic() + 120
        while self.gateway.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=30).fine_tune_count < jobs:
            if time.monotonic() > end:
                raise SystemExit("the gateway never saw all jobs:\n" + self.gateway.log)
            time.sleep(0.1)
        self.job = self.gateway.stub.ListFineTunes(svc.ListFineTunesRequest(page_size=1), timeout=30).fine_tunes[0].name

    def close(self):
        self.gateway.close()
        self.gateway.kill()
        self.emulator.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def load(*args):
    done = subprocess.run([BIN / "bench-load", *map(str, args)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench-load {' '.join(map(str, args))} failed: {done.stderr}{done.stdout}")
    return json.loads(done.stdout)


def calls(options):
    """Cached get and list against a server of ready bytes and one that fills messages."""
    say("## Cached get and list")
    say()
    say("Closed loop, 64 calls outstanding on 4 connections; repeats interleaved; CPU is the server's. `ready` is a bare gRPC server that "
        "returns the same kind of bytes ready-made, `typed` one that fills and serialises messages.")
    say()
    jobs = 1000
    servers = {"ready": Bare("--mode", "ready", "--jobs", jobs), "typed": Bare("--mode", "typed", "--jobs", jobs), "gateway": Ours(jobs)}
    repeats = 3 if options.quick else 5
    seconds = 2 if options.quick else 5
    rows, cpu = [], {}
    for call, page in (("get", 0), ("list", 50), ("list", 500)):
        seen = {name: [] for name in servers}
        for _ in range(repeats):
            for name, server in servers.items():
                job = server.job if name == "gateway" else "fineTunes/x"
                seen[name].append(load("calls", "--target", server.address, "--pid", server.pid, "--call", call, "--job", job,
                                       "--page-size", max(page, 1), "--seconds", seconds, "--expect-items", page))
        for name, runs in seen.items():
            cpu[call, page, name] = median([r["cpu_us_per_call"] for r in runs])
            rows.append([f"{call} {page or ''}", name, spread([r["calls_per_s"] for r in runs]), spread([r["cpu_us_per_call"] for r in runs]),
                         spread([r["p50_ms"] for r in runs]), spread([r["p99_ms"] for r in runs]), runs[0]["answer_bytes"]])
    for server in servers.values():
        server.close()
    table(["call", "server", "calls/s", "CPU µs/call", "p50 ms", "p99 ms", "bytes"], rows)
    for call, page in (("get", 0), ("list", 50), ("list", 500)):
        limit(f"{call} {page or ''}: CPU against the bare server's", cpu[call, page, "gateway"] / cpu[call, page, "ready"], 1.15)
    limit("list 500: CPU of the typed handler against ours", cpu["list", 500, "typed"] / cpu["list", 500, "gateway"], 10, at_most=False)
    say()


def fan_out(options):
    """One change to many watchers, against a bare broadcast in its best form."""
    say("## One change to many watchers")
    say()
    say("Milliseconds from the call that makes the change (the gateway commits it to disk first) to the first, median and last stream; "
        "medians of the changes. The bare server broadcasts the same bytes, with several threads and orders; the best one counts.")
    say()
    sizes = ((1000, 10),) if options.quick else ((100, 10), (1000, 10), (10000, 100))
    changes = 10 if options.quick else 20
    rows = []
    for streams, connections in sizes:
        runs = {}

        def one(name, server, job):
            runs[name] = load("fan-out", "--target", server.address, "--pid", server.pid, "--streams", streams, "--connections", connections,
                              "--changes", changes, "--job", job)
            server.close()

        for threads in (1, 2, 4):
            for order in ("connection", "together", "spread"):
                one(f"bare, {threads} threads, {order}", Bare("--threads", threads, "--order", order, "--jobs", 1), "fineTunes/x")
        ours = Ours(10)
        one("gateway", ours, ours.job)
        best = min((name for name in runs if name != "gateway"), key=lambda name: runs[name]["last_ms"])
        for name in (best, "gateway"):
            r = runs[name]
            rows.append([streams, name, f"{r['first_ms']:.1f}", f"{r['median_ms']:.1f}", f"{r['last_ms']:.1f}", f"{r['last_worst_ms']:.1f}",
                         f"{r['cpu_us_per_delivery']:.1f}", r["bytes_per_stream"]])
        limit(f"{streams} streams: last against the best bare broadcast's", runs["gateway"]["last_ms"] / runs[best]["last_ms"], 1.1)
        limit(f"{streams} streams: memory of an idle stream against a bare one's",
              runs["gateway"]["bytes_per_stream"] / runs[best]["bytes_per_stream"], 1.15)
    say()
    table(["streams", "server", "first", "median", "last", "worst last", "CPU µs/delivery", "bytes/stream"], rows)


def sparse(options):
    """Calls one to two seconds apart must not meet napping threads."""
    say("## Sparse calls")
    say()
    ours = Ours(10)
    times = []
    for i in range(20 if options.quick else 220):
        time.sleep(1 + (i % 10) / 10)
        start = time.perf_counter()
        ours.gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=ours.job), timeout=10)
        times.append((time.perf_counter() - start) * 1000)
    ours.close()
    say(f"{len(times)} gets one to two seconds apart, from Python: median {median(times):.2f} ms, worst {max(times):.2f} ms.")
    limit("calls over 10 ms", sum(1 for t in times if t > 10), 0)
    say()


def ingest(options):
    """What a poll costs, against RapidJSON alone on the same bytes."""
    say("## Reading a list")
    say()
    done = subprocess.run([BIN / "bench-ingest", "--jobs", "10000" if options.quick else "100000"], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    rows = [[name, f"{r['ms']:.1f}", f"{r['mb_per_s']:.0f}"] for name, r in result["runs"].items()]
    say(f"{result['jobs']} jobs, {result['bytes'] / 1e6:.0f} MB; medians of {result['repeats']} interleaved repeats.")
    say()
    table(["what", "ms", "MB/s"], rows)
    sax = result["runs"]["rapidjson_sax_in_situ"]["ms"]
    limit("unchanged list against RapidJSON's in-situ SAX pass", result["runs"]["unchanged"]["ms"] / sax, 0.2)
    limit("one changed job against that pass", result["runs"]["one_changed"]["ms"] / sax, 1.2)
    say()


def start(options):
    """From exec to ready, and the memory held."""
    say("## Start and memory")
    say()
    rows = []
    for jobs in (0, 10_000) if options.quick else (0, 10_000, 100_000):
        ours = Ours(jobs)
        folder, emulator = ours.folder, ours.emulator
        ours.gateway.terminate(60)
        times, memory = [], 0
        for _ in range(3):
            began = time.perf_counter()
            again = Gateway(folder, emulator.url, "--active_poll_interval", "1h", "--idle_poll_interval", "1h", "--log_level", "warning")
            while again.admin("/readyz")[0] != 200:
                time.sleep(0.002)
            times.append((time.perf_counter() - began) * 1000)
            memory = int(next(line.split()[1] for line in open(f"/proc/{again.popen.pid}/status") if line.startswith("VmRSS")))
            again.close()
            again.terminate(60)
        rows.append([jobs, spread(times), f"{memory / 1024:.0f}"])
        if jobs == 0:
            limit("start to ready with an empty store, ms", median(times), 50)
            limit("idle memory, MB", memory / 1024, 30)
        if jobs == 100_000:
            limit("start to ready with 100,000 jobs, ms", median(times), 1000)
        ours.close()
    say()
    table(["jobs in the store", "ms from exec to ready", "resident MB"], rows)
    say(f"The service's program has {os.path.getsize(BIN / 'finetune-gateway') / 1e6:.1f} MB (with line tables).")
    say()


SECTIONS = {"calls": calls, "fan-out": fan_out, "sparse": sparse, "ingest": ingest, "start": start}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default=",".join(SECTIONS))
    parser.add_argument("--out", default=str(SOURCE / "tests/bench/RESULTS.md"))
    options = parser.parse_args()
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    say("# Results")
    say()
    say(f"`tests/bench/run.sh{' --quick' if options.quick else ''}` on {os.cpu_count()} cores of {model}, Linux {platform.release().split('-')[0]}; client and "
        "server on the same cores. Medians, with the range of the repeats in brackets. Ratios are what counts.")
    say()
    for name in options.only.split(","):
        SECTIONS[name](options)
    if missed:
        say("Missed: " + "; ".join(missed) + ".")
    if not options.quick:
        pathlib.Path(options.out).write_text("\n".join(report).rstrip() + "\n")
    sys.exit(1 if missed and options.quick else 0)


main()
