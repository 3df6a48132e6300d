"""Watchers that stop reading hold up nobody and cost no memory that grows."""

import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

from report import median, number, spread
from servers import BIN, Ours, resident_kb, svc

TITLE = "Watchers that have stopped"

PROCESSES, STREAMS = 5, 10


class Generator:
    """A bench-load that runs on, and says one line of JSON for each line that it is told."""

    def __init__(self, command, server, *args):
        self.popen = subprocess.Popen([BIN / "bench-load", command, "--target", server.address, *map(str, args)],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def said(self):
        line = self.popen.stdout.readline()
        if not line:
            raise SystemExit("bench-load ended early: see above")
        return json.loads(line)

    def ask(self):
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()
        return self.said()

    def close(self):
        self.popen.stdin.close()
        self.popen.wait(120)


def messages_sent(server):
    return sum(float(n) for n in re.findall(r"^finetune_gateway_watch_messages_total\S* (\S+)$", server.gateway.admin("/metrics")[1], re.M))


def let_settle(server):
    """Returns when the gateway sends no more."""
    before = -1
    while (now := messages_sent(server)) != before:
        before = now
        time.sleep(0.5)


def change_all_jobs(server, visible):
    """All jobs read otherwise from now on, and the gateway has read them and told of it."""
    server.emulator.clear_faults()
    server.emulator.fault("list", "set_field", field="segmind_public_model", value=visible, count=-1)
    server.gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=server.job, freshness={"max_staleness": {}}), timeout=60)


def revision_of(server):
    return server.gateway.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=30).revision


def measure(report, options):
    others, jobs, batches, changes = (950, 200, 10, 20) if options.quick else (9950, 2000, 50, 30)
    stopped = PROCESSES * STREAMS
    report.say(f"{others + stopped} watch streams. {stopped} of them, in {PROCESSES} processes, watch all jobs and are stopped with SIGSTOP; the others watch "
               f"one job, which changes {changes} times before, right after, and when all {jobs} jobs have changed {batches} times, by lists read "
               "from the emulator, with nobody reading those streams. Then the stopped ones go on and must come to the latest state of all.")
    report.say()
    ours = Ours(jobs)
    holders = [Generator("hold", ours, "--streams", STREAMS, "--connections", 1) for _ in range(PROCESSES)]
    for holder in holders:
        holder.said()
    with tempfile.TemporaryDirectory(prefix="finetune-bench-") as folder:
        names_file = pathlib.Path(folder) / "names"
        names_file.write_text(ours.job + "\n")
        load = Generator("fan-out", ours, "--frames", "--pid", ours.pid, "--streams", others, "--connections", others // 100 + 1, "--changes", changes,
                         "--job", ours.job, "--names-file", names_file, "--rounds", 3)
        rounds = {"all reading": load.said()}
    for holder in holders:
        os.kill(holder.popen.pid, signal.SIGSTOP)
    rounds["50 just stopped"] = load.ask()
    first_revision = revision_of(ours)
    memory = []
    for batch in range(batches):
        change_all_jobs(ours, batch % 2 == 0)
        memory.append(resident_kb(ours.pid, "RssAnon") / 1000)
    let_settle(ours)
    told = revision_of(ours) - first_revision
    rounds[f"stopped for {told} changes"] = load.ask()
    load.close()
    for holder in holders:
        os.kill(holder.popen.pid, signal.SIGCONT)
    last = revision_of(ours)
    end = time.monotonic() + 60
    while (states := [holder.ask() for holder in holders]) and time.monotonic() < end:
        behind = [state for state in states if not state["ended"] and state["lowest_revision"] != last]
        if not behind:
            break
        time.sleep(0.1)
    ended = sum(state["ended"] for state in states)
    for holder in holders:
        holder.close()
    ours.close()
    report.keep("rounds", rounds)
    report.keep("memory MB after each batch", memory)
    base, *after = rounds.values()
    for name, result in list(rounds.items())[1:]:
        report.limit(f"{name}: the others' 99th percentile against before", result["p99_ms"] / base["p99_ms"], 1.1)
    settled = memory[len(memory) // 4]
    report.limit(f"memory after {told} changes against after a quarter of them", memory[-1] / settled, 1.05)
    report.limit("processes whose streams were not at the latest revision a minute after they went on", len(behind), 0)
    report.say(f"- {ended} of the {stopped} streams were ended by the gateway, because their connection answered no ping for most of a minute")
    report.say(f"- the gateway's memory: {number(memory[0])} MB after the first {jobs} changes, {number(settled)} after a quarter, {number(memory[-1])} "
               f"at the end, {number(max(memory))} at most")
    report.say()
    report.table(["the stopped", "median ms", "p99 ms", "last ms"],
                 [[name, number(r["median_ms"]), spread(r["all_p99_ms"]), spread(r["all_last_ms"])] for name, r in rounds.items()])
