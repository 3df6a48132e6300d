"""More calls than can be served: what comes through, what refusing costs, and what others and the probes notice."""

import concurrent.futures
import pathlib
import tempfile
import threading
import time

from report import median, number
from sections.access import again
from servers import Ours, load, resident_kb

import credentials

TITLE = "Beyond capacity"
GREEDY, MODEST, LIMITED = ("token-of-greedy-0123456789abcdef", "token-of-modest-0123456789abcdef", "token-of-limited-0123456789abcde")
# Of capacity.
FACTORS = (0.5, 1, 2, 4, 10)
OUTSTANDING = 50_000
# Of the open loop: what a client of ten thousands of calls would keep for itself.
MOST = 20_000
PATIENCE = 60  # Seconds, in which memory is to be given back.
# By perf, and tried: see also the tables.
WHY_GENERATOR = ("Generator and gateway share two cores: beyond what they carry together each call that the generator begins more takes the cores from those that are answered, "
                 "and what it keeps outstanding makes its own work dearer (its threads walk long lists). What a call costs the gateway doubles (11 to 22 µs, spread over all of gRPC): what is outstanding holds 20 KB a call, 400 MB in all, of which nothing is in the caches any more when its turn comes.")
WHY_UNREAD = ("gRPC looks at no socket while its completion queue has events, so that a caller on another connection waits until what was read from the greedy one's is "
              "handled. A thread of its own that reads sockets meanwhile was tried: in some runs the modest caller's p99 fell to a tenth, but all that is outstanding is then in memory "
              "(600 to 800 MB in place of 110), and a call costs half as much again.")
WHY_CUT = ("They were on connections of which the gateway cut one: a caller's calls that wait may take some 400 MB together (20 KB each, nearly all of it gRPC's), so that a pod of 512 MB "
           "lives. Their client sees UNAVAILABLE, and may send them again.")
WHY_HELD = ("At half of capacity nothing waits. Beyond it, what the generator keeps outstanding and gRPC has read holds 20 KB a call, up to the 400 MB at which a connection is cut; of "
            "a run whose half of capacity is more than the machine has beside the generator, this ratio says nothing (1.0, with 400 MB in both).")
WHY_REFUSED = ("A refused call is a call: more than nine tenths of its CPU are gRPC's and the kernel's, for reading it, for its status (gRPC makes an error of it and formats that) and for its end; the gateway's "
               "look at the token, the limit and the counters takes about 6 %. Less than a get would have to be refused below gRPC.")


class Probes(threading.Thread):
    """Asks twice a second, as a kubelet would, but more often."""

    def __init__(self, gateway):
        super().__init__(daemon=True)
        self.gateway, self.wrong, self.asked, self.ended = gateway, [], 0, threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(0.5):
            for path in ("/livez", "/readyz"):
                self.asked += 1
                try:
                    status = self.gateway.admin(path)[0]
                except OSError as error:
                    status = repr(error)
                if status != 200:
                    self.wrong.append((path, status))

    def stop(self):
        self.ended.set()
        self.join()


class Callers:
    def __init__(self, ours, folder):
        self.ours, self.files = ours, {}
        for name, token in (("greedy", GREEDY), ("modest", MODEST), ("limited", LIMITED)):
            self.files[name] = folder / name
            self.files[name].write_text(token)

    def get(self, who, seconds, *more):
        return load("calls", "--target", self.ours.address, "--pid", self.ours.pid, "--call", "get", "--job", self.ours.job, "--varying", "--refusals",
                    "--seconds", seconds, "--token-file", self.files[who], *more, may_fail=True)

    def beside(self, seconds, *more):
        """What the greedy one gets, what a modest one sees from a process and a connection of its own, and the most memory."""
        memory = []
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            greedy = pool.submit(self.get, "greedy", seconds, *more)
            modest = pool.submit(self.get, "modest", seconds, "--rate", 200, "--connections", 1)
            while not greedy.done():
                memory.append(resident_kb(self.ours.pid) / 1024)
                time.sleep(0.05)
        return greedy.result(), modest.result(), max(memory)


def at_rates(report, callers, capacity, seconds):
    rows, found = [], {}
    for factor in FACTORS:
        greedy, modest, memory = callers.beside(seconds, "--rate", capacity * factor, "--most-outstanding", MOST, "--connections", 4)
        found[factor] = {"greedy": greedy, "modest": modest, "memory": memory}
        rows.append([f"{factor}", f"{capacity * factor:.0f}", f"{greedy['calls_per_s']:.0f}", number(greedy["p99_ms"]), *(f"{greedy[what]}" for what in ("late", "left_out", "errors")),
                     number(greedy["cpu_us_per_call"]), number(modest["p99_ms"]), f"{memory:.0f}"])
    report.table(["times capacity", "offered a second", "answered a second", "p99 from the time of its schedule, ms", "begun late", "not begun", "failed", "CPU µs a call",
                  "the modest caller's p99, ms", "memory, MB"], rows)
    return found


def refusal_against_get(report, callers, seconds):
    gets, refusals = [], []
    for _ in range(3):
        gets.append(callers.get("greedy", seconds)["cpu_us_per_call"])
        refusals.append(callers.get("limited", seconds)["cpu_us_per_call"])
    report.say(f"CPU of a get: {number(median(gets))} µs; of one that is refused because its caller is beyond its limit, with the log on: "
               f"{number(median(refusals))} µs.")
    report.say()
    return {"get": gets, "refused": refusals}


def ready_callers():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="finetune-bench-"))
    limited = {**credentials.caller("limited", "VIEWER", LIMITED, sees_all_jobs=True), "limits": {"calls_per_second": 1}}
    policy = credentials.write_policy(folder / "policy.json", [
        credentials.caller("greedy", "VIEWER", GREEDY, sees_all_jobs=True), credentials.caller("modest", "VIEWER", MODEST, sees_all_jobs=True), limited])
    ours = Ours(1000)
    again(ours, "--policy_file", policy, "--log_level", "info")
    return ours, Callers(ours, folder)


def measure_quick(report):
    """What a run on any machine can guard."""
    ours, callers = ready_callers()
    costs = refusal_against_get(report, callers, 1)
    _, modest, _ = callers.beside(2, "--outstanding", OUTSTANDING, "--connections", 16)
    ours.close()
    report.against_baseline("CPU of a refused call against a get", median(costs["refused"]) / median(costs["get"]))
    report.limit("calls of the modest caller refused", modest["refused"], 0)
    report.say()


def measure(report, options):
    if options.quick:
        measure_quick(report)
        return
    seconds = 8
    ours, callers = ready_callers()
    probes = Probes(ours.gateway)
    best = callers.get("greedy", seconds)
    capacity = best["calls_per_s"]
    report.say(f"Capacity is what a closed loop of 64 gets has: {capacity:.0f} a second. The generator runs on the same cores and cannot begin ten times as "
               f"many: what it begins late or, with {MOST} outstanding, not at all, is counted, and its own queue is in the times from the schedule. What the gateway does to others "
               "is what a second caller sees, who gets 200 times a second on a connection of its own.")
    report.say()
    rates = at_rates(report, callers, capacity, seconds)
    costs = refusal_against_get(report, callers, seconds)
    many, beside_many, most = callers.beside(seconds, "--outstanding", OUTSTANDING, "--connections", 16)
    end = time.monotonic() + PATIENCE
    at_capacity = rates[FACTORS[0]]["memory"]
    while (left := resident_kb(ours.pid) / 1024) > 1.25 * at_capacity and time.monotonic() < end:
        time.sleep(1)
    probes.stop()
    ours.close()
    report.say(f"{OUTSTANDING} gets outstanding on 16 connections: {many['calls_per_s']:.0f} a second, {many['cpu_us_per_call']:.1f} µs of CPU each, "
               f"{many['refused']} refused; the modest caller's p99 {beside_many['p99_ms']:.0f} ms; memory {most:.0f} MB, and {left:.0f} MB at most {PATIENCE} s later. "
               f"{probes.asked} probes, {len(probes.wrong)} of them not 200.")
    report.say()
    report.keep("overload", {"best": best, "rates": {str(factor): data for factor, data in rates.items()}, "costs": costs, "many": many,
                             "beside_many": beside_many, "memory": [at_capacity, most, left], "probes": probes.wrong})
    half, ten = rates[0.5], rates[10]
    goodput = max(rate["greedy"]["calls_per_s"] for rate in rates.values())
    report.limit("goodput at ten times capacity against the best", ten["greedy"]["calls_per_s"] / max(goodput, capacity), 0.9, at_most=False, why=WHY_GENERATOR)
    report.limit("the modest caller's p99 at ten times capacity against half of it", ten["modest"]["p99_ms"] / half["modest"]["p99_ms"], 3, why=WHY_UNREAD)
    report.limit("CPU of a refused call against a get", median(costs["refused"]) / median(costs["get"]), 0.3, why=WHY_REFUSED)
    report.limit(f"goodput with {OUTSTANDING} outstanding against the best", many["calls_per_s"] / max(goodput, capacity), 0.9, at_most=False, why=WHY_GENERATOR)
    report.limit(f"memory with {OUTSTANDING} outstanding against half of capacity", most / at_capacity, 2, why=WHY_HELD)
    report.limit("memory after it against half of capacity", left / at_capacity, 1.25)
    report.limit("calls of the modest caller refused", sum(rate["modest"]["refused"] for rate in rates.values()) + beside_many["refused"], 0)
    runs = [many, beside_many, *(rate[who] for rate in rates.values() for who in ("greedy", "modest"))]
    report.limit("calls that failed", sum(run["errors"] for run in runs), 0, why=WHY_CUT)
    report.limit("probes that were not 200", len(probes.wrong), 0)
    report.say()
