"""One caller does its worst: what do the others notice?"""

import concurrent.futures
import math
import os
import pathlib
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid

from report import percentile
from sections.access import again
from servers import Ours, end_with_us, ft, load, resident_kb, svc, wait_until

import credentials

TITLE = "One caller at its worst"
ALICE, MALLORY = "token-of-alice-0123456789abcdef", "token-of-mallory-0123456789abcd"
CALLER = pathlib.Path(__file__).resolve().parents[1] / "hostile_caller.py"
# Lists with 97 comparisons over so many jobs are what hurts.
JOBS, QUICK_JOBS = 60_000, 10_000
PATIENCE = 75  # Seconds.
# By the times of slow gets beside what the client did at them.
WHY_BURSTS = ("What is slow comes with bursts: 300 lists or 500 waits on one connection are read at once, because gRPC reads a socket as long as it has more, and a call that comes meanwhile "
              "waits for that and for its turn behind as many refusals, 4 to 8 ms.")


def metadata(token):
    return (("authorization", f"Bearer {token}"),)


def draft(n):
    return ft.FineTune(display_name=f"hers {n}", data_source_uri="https://datasets.example/cats.zip", instance_prompt="a photo of TOK cat",
                       trigger_word="TOK", base_model="FAST_FLUX", theme="subject")


class Others(threading.Thread):
    """What another caller does meanwhile: creates jobs, and changes one that it watches."""

    def __init__(self, ours):
        super().__init__(daemon=True)
        self.stub, self.job = ours.gateway.stub, ours.job
        self.creates, self.watched, self.refused = [], [], []
        self.changes, self.ended = queue.Queue(), threading.Event()
        self.watch = self.stub.WatchFineTunes(svc.WatchFineTunesRequest(names=[self.job], skip_snapshot=True), metadata=metadata(ALICE))
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for message in self.watch:
                if message.HasField("change"):
                    self.changes.put((message.change.fine_tune.labels["n"], time.monotonic()))
        except Exception as error:  # pylint: disable=broad-except
            if not self.ended.is_set():
                self.refused.append(repr(error))

    def timed(self, call, request):
        began = time.monotonic()
        call(request, timeout=20, metadata=metadata(ALICE))
        return (time.monotonic() - began) * 1000

    def once(self, n):
        request_id = str(uuid.uuid4())
        self.creates.append(self.timed(self.stub.CreateFineTune, svc.CreateFineTuneRequest(request_id=request_id, fine_tune=draft(n))))
        request = svc.UpdateFineTuneRequest(fine_tune=ft.FineTune(name=self.job, labels={"n": request_id}))
        request.update_mask.paths.append("labels")
        began = time.monotonic()
        self.timed(self.stub.UpdateFineTune, request)
        label, seen = self.changes.get(timeout=20)
        while label != request_id:
            label, seen = self.changes.get(timeout=20)
        self.watched.append((seen - began) * 1000)

    def run(self):
        n = 0
        while not self.ended.wait(0.33):  # Fewer than its share of the rate limit.
            try:
                self.once(n)
            except Exception as error:  # pylint: disable=broad-except
                self.refused.append(repr(error))
            n += 1

    def stop(self):
        self.ended.set()
        self.join()
        self.watch.cancel()


def spell(ours, token_file, seconds):
    """The 99th percentiles of a while, what was refused, and the most memory that was seen."""
    others, memory = Others(ours), []
    others.start()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        gets = pool.submit(load, "calls", "--target", ours.address, "--pid", ours.pid, "--call", "get", "--job", ours.job, "--varying",
                           "--seconds", seconds, "--rate", 200, "--connections", 2, "--token-file", token_file)
        while not gets.done():
            memory.append(resident_kb(ours.pid) / 1024)
            time.sleep(0.1)
    others.stop()
    got = gets.result()
    return {"get": got["p99_ms"], "create": percentile(others.creates, 99), "watch": percentile(others.watched, 99),
            "calls": len(others.creates) + len(others.watched), "refused": others.refused + ["get"] * got["errors"], "memory": max(memory)}


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        used = stat.read().rsplit(")", 1)[1].split()[11:13]
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


class Burnt:
    """As much of the machine's cores as the hostile client took, at its priority, taken by somebody who calls nobody."""

    PROGRAM = ("import os, sys, time\nos.nice(10)\nshare = float(sys.argv[1])\nwhile True:\n    end = time.perf_counter() + 0.02 * share\n"
               "    while time.perf_counter() < end:\n        pass\n    time.sleep(0.02 * (1 - share))\n")

    def __init__(self, cores):
        count = max(1, math.ceil(cores))
        self.processes = [subprocess.Popen([sys.executable, "-c", self.PROGRAM, str(min(cores / count, 0.999))]) for _ in range(count)]
        end_with_us(*self.processes)

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()


def refusals(ours):
    """Whom the gateway refused what."""
    lines = ours.gateway.admin("/metrics")[1].splitlines()
    found = {}
    for line in lines:
        if line.startswith("finetune_gateway_share_refusals_total{") and not line.endswith(" 0"):
            caller, share = line.split('caller="')[1].split('"')[0], line.split('share="')[1].split('"')[0]
            found[f"{caller}: {share}"] = float(line.rsplit(" ", 1)[1])
    return found


def memory_after(ours, rest):
    """What is left of the wave; the gateway looks every minute at least."""
    end = time.monotonic() + PATIENCE
    while (left := resident_kb(ours.pid) / 1024) > rest + 64 and time.monotonic() < end:
        time.sleep(1)
    return left


def unfinished_job(ours):
    """One that nobody waits for in vain by mistake."""
    return ours.gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=draft(0)), timeout=20,
                                            metadata=metadata(ALICE)).name


def measure(report, options):
    seconds = 20 if options.quick else 300
    silent = socket.create_server(("127.0.0.1", 0), backlog=4096)
    host = f"127.0.0.1:{silent.getsockname()[1]}"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="finetune-bench-"))
    policy = credentials.write_policy(folder / "policy.json", [
        credentials.caller("alice", "ADMIN", ALICE, sees_all_jobs=True), credentials.caller("mallory", "SUBMITTER", MALLORY, sees_all_jobs=True)])
    token_file = folder / "token"
    token_file.write_text(ALICE)
    ours = Ours(QUICK_JOBS if options.quick else JOBS, "--transfer_hosts", host)
    again(ours, "--transfer_hosts", host, "--policy_file", policy, "--upstream_calls_per_minute", "1600")
    ours.job = unfinished_job(ours)
    before = spell(ours, token_file, 10 if options.quick else 60)
    rest = resident_kb(ours.pid) / 1024
    hostile = subprocess.Popen([sys.executable, CALLER, ours.address, MALLORY, ours.job, host], stdin=subprocess.PIPE)
    end_with_us(hostile)
    wait_until("the worst to begin", lambda: len(refusals(ours)) >= 4, seconds=120)
    began, used = time.monotonic(), processor_seconds(hostile.pid)
    during = spell(ours, token_file, seconds)
    cores = (processor_seconds(hostile.pid) - used) / (time.monotonic() - began)
    refused = refusals(ours)
    hostile.kill()
    hostile.wait()
    after = memory_after(ours, rest)
    burnt = Burnt(cores)
    beside = spell(ours, token_file, 10 if options.quick else 60)
    burnt.stop()
    ours.close()
    silent.close()
    report.keep("hostile", {"before": before, "during": during, "burnt": beside, "cores": cores, "refused": refused,
                            "memory": [rest, during["memory"], after]})
    report.say(f"{seconds} s, {QUICK_JOBS if options.quick else JOBS} jobs. One caller, at a low priority: 20,100 waits; lists of 1,000 full jobs, each "
               "with another filter, that it does not read; 40 calls a second that go on to Segmind; 1,100 looks at a dataset that never answers; 300 lists at "
               "a time with 98 comparisons and 0.2 s; 64 uploads of a byte in 5 s; 100 watches anew every 2 s "
               f"with 98 comparisons. Its client took {cores:.2f} cores; the last column is beside a process that takes as much and calls nobody. Another caller gets 200 times a second, creates, and changes a job that it "
               f"watches: {during['calls']} of these. 99th percentiles in ms.")
    report.say()
    report.table(["", "alone", "beside it", "beside as much burnt"],
                 [[what, f"{before[what]:.3g}", f"{during[what]:.3g}", f"{beside[what]:.3g}"] for what in ("get", "create", "watch")])
    report.table(["refused", "times"], [[what, f"{count:.0f}"] for what, count in sorted(refused.items())])
    report.say(f"Resident memory: {rest:.0f} MB before, {during['memory']:.0f} MB at most, {after:.0f} MB within {PATIENCE} s after it left.")
    report.say()
    for what in ("get", "create", "watch"):
        report.limit(f"{what}'s 99th percentile, beside the worst caller against as much of the cores burnt", during[what] / beside[what], 2, why=WHY_BURSTS)
    report.limit("calls of the other caller refused", len(during["refused"]), 0)
    report.limit("most memory, MB", during["memory"], 512)
    report.limit("memory that stays, MB", after - rest, 64)
    report.say()
