"""A day's work in an hour, or a shorter time: does anything grow?"""

import concurrent.futures
import os
import threading
import time
import uuid

from report import median
from servers import Ours, ft, load, resident_kb, svc

TITLE = "A day in an hour"
WINDOW = 8  # Seconds of load between two looks at the process.
WATCHERS = 200


class Churn(threading.Thread):
    """What changes all the time: jobs are made and live, labels change, watchers come and go, callers want fresh data."""

    def __init__(self, ours):
        super().__init__(daemon=True)
        self.ours, self.stub = ours, ours.gateway.stub
        self.ended = threading.Event()
        self.done = dict.fromkeys(("create", "update", "watch", "fresh get"), 0)
        self.failed = []

    def once(self, n):
        if n % 10 == 0:
            self.stub.CreateFineTune(svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=ft.FineTune(
                display_name=f"day {n}", data_source_uri="https://datasets.example/cats.zip", instance_prompt="a photo of TOK cat",
                trigger_word="TOK", base_model="FAST_FLUX", theme="subject")), timeout=20)
            self.done["create"] += 1
        request = svc.UpdateFineTuneRequest(fine_tune=ft.FineTune(name=self.ours.job, labels={"n": str(n)}))
        request.update_mask.paths.append("labels")
        self.stub.UpdateFineTune(request, timeout=20)
        self.done["update"] += 1
        watch = self.stub.WatchFineTunes(svc.WatchFineTunesRequest(names=[self.ours.job]), timeout=20)
        next(watch)
        watch.cancel()
        self.done["watch"] += 1
        fresh = svc.GetFineTuneRequest(name=self.ours.job)
        fresh.freshness.max_staleness.SetInParent()
        self.stub.GetFineTune(fresh, timeout=20)
        self.done["fresh get"] += 1

    def run(self):
        n = 0
        while not self.ended.wait(0.1):
            try:
                self.once(n)
            except Exception as error:  # pylint: disable=broad-except
                self.failed.append(repr(error))
            n += 1


def watch_all(ours):
    """Streams that stay, each on its own, and what they hear."""
    heard = [0] * WATCHERS
    calls = [ours.gateway.stub.WatchFineTunes(svc.WatchFineTunesRequest(skip_snapshot=True)) for _ in range(WATCHERS)]

    def read(i):
        try:
            for _ in calls[i]:
                heard[i] += 1
        except Exception:  # pylint: disable=broad-except
            pass  # Cancelled at the end.

    pool = concurrent.futures.ThreadPoolExecutor(WATCHERS)
    for i in range(WATCHERS):
        pool.submit(read, i)
    return calls, heard


def look(ours, began):
    """What the process has now."""
    folder = f"/proc/{ours.pid}"
    return {"s": round(time.monotonic() - began), "resident_mb": resident_kb(ours.pid) / 1024, "descriptors": len(os.listdir(f"{folder}/fd")),
            "threads": len(os.listdir(f"{folder}/task"))}


def reads(ours, call, seconds, *more):
    return load("calls", "--target", ours.address, "--pid", ours.pid, "--call", call, "--job", ours.job, "--page-size", 50, "--varying",
                "--seconds", seconds, *more)


def run(ours, minutes):
    """The rates, and a row for each window."""
    churn, windows = Churn(ours), []
    calls, heard = watch_all(ours)
    churn.start()
    # What is left beside these, whose clients in Python take more of the cores than the gateway does.
    rates = {call: reads(ours, call, 5)["calls_per_s"] / 4 for call in ("get", "list")}
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        while time.monotonic() - began < minutes * 60:
            runs = [pool.submit(reads, ours, call, WINDOW, "--rate", rate) for call, rate in rates.items()]
            got, listed = (future.result() for future in runs)
            windows.append({**look(ours, began), "get_p50_ms": got["p50_ms"], "get_p99_ms": got["p99_ms"], "list_p99_ms": listed["p99_ms"],
                            "errors": got["errors"] + listed["errors"]})
    churn.ended.set()
    churn.join()
    for call in calls:
        call.cancel()
    return rates, windows, churn, heard


def measure(report, options):
    ours = Ours(1000, "--active_poll_interval", "2s", "--idle_poll_interval", "5s", "--watch_window_changes", "1000", time_scale=100)
    rates, windows, churn, heard = run(ours, options.minutes)
    ours.close()
    report.keep("windows", windows)
    report.keep("rates", rates)
    report.say(f"{options.minutes:g} minutes (`--minutes`), open loop at half of capacity: {rates['get']:.0f} gets and {rates['list']:.0f} lists of 50 "
               f"a second (a quarter each of what a closed loop does beside the rest), {WATCHERS} watchers that stay (Python, on the same cores), and churn: "
               + ", ".join(f"{count} × {what}" for what, count in churn.done.items())
               + f"; jobs live a hundred times as fast. {len(churn.failed)} calls of the churn failed; each watcher heard {min(heard)} to "
               f"{max(heard)} messages. Thirds of the time after the first tenth; memory may grow by the jobs that were made and by the window of "
               "changes until that is full (1,000).")
    report.say()
    kept = windows[max(1, len(windows) // 10):]
    third = max(1, len(kept) // 3)
    first, last = kept[:third], kept[-third:]
    columns = ("resident_mb", "descriptors", "threads", "get_p50_ms", "get_p99_ms", "list_p99_ms")
    middle = {column: (median([w[column] for w in first]), median([w[column] for w in last])) for column in columns}
    report.table(["", "first third", "last third"], [[column.replace("_", " "), f"{a:.3g}", f"{b:.3g}"] for column, (a, b) in middle.items()])
    report.plot("day", "Memory", "seconds", "MB", {"resident": [(w["s"], w["resident_mb"]) for w in windows]}, log_x=False, log_y=False)
    report.limit("errors", sum(w["errors"] for w in windows) + len(churn.failed), 0)
    report.limit("memory, last third against first", middle["resident_mb"][1] / middle["resident_mb"][0], 1.05)
    report.limit("descriptors, last third against first", middle["descriptors"][1] / middle["descriptors"][0], 1.05)
    report.limit("threads, last third against first", middle["threads"][1] / middle["threads"][0], 1.0)
    report.limit("get's median, last third against first", middle["get_p50_ms"][1] / middle["get_p50_ms"][0], 1.25)
    report.limit("get's 99th percentile, last third against first", middle["get_p99_ms"][1] / middle["get_p99_ms"][0], 1.25)
    report.say()
