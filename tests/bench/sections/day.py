"""A day's work in an hour, or a shorter time: does anything grow?"""

import collections
import concurrent.futures
import os
import subprocess
import threading
import time
import uuid

import grpc

from report import median
from sections.access import TOKEN, Callers, again
from servers import SOURCE, Ours, ft, load, resident_kb, rpc, svc

import credentials
from harness import reason_of, wait_until

TITLE = "A day in an hour"
WINDOW = 8  # Seconds of load between two looks at the process.
WATCHERS = 200
# How Segmind may be away: every call is cut before it is answered, for so many seconds in the middle of the day.
AWAY = 15
# What callers are told then, as documented: nothing was sent, or nobody knows.
DOCUMENTED = {"UPSTREAM_UNAVAILABLE"}


class Caller:
    """By TLS and with a token, as a client in a cluster calls."""

    def __init__(self, ours, files):
        token = grpc.access_token_call_credentials(TOKEN)
        self.channel = grpc.secure_channel(
            ours.address, grpc.composite_channel_credentials(files.certificates.channel_credentials(), token),
            options=[("grpc.ssl_target_name_override", "localhost")])
        self.stub = rpc.FineTuneServiceStub(self.channel)


class Churn(threading.Thread):
    """What changes all the time: jobs are made and live, labels change, watchers come and go, callers want fresh data, weights are
    fetched; and, less often, who may call and with which certificate."""

    def __init__(self, ours, files, seconds):
        super().__init__(daemon=True)
        self.ours, self.files, self.stub = ours, files, Caller(ours, files).stub
        self.ended = threading.Event()
        self.away_at = seconds / 2
        self.away = False
        self.done = collections.Counter()
        self.told, self.failed = collections.Counter(), []

    def create(self, n):
        job = self.stub.CreateFineTune(svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=ft.FineTune(
            display_name=f"day {n}", data_source_uri="https://datasets.example/cats.zip", instance_prompt="a photo of TOK cat",
            trigger_word="TOK", base_model="FAST_FLUX", theme="subject")), timeout=20)
        return job

    def update(self, n):
        request = svc.UpdateFineTuneRequest(fine_tune=ft.FineTune(name=self.ours.job, labels={"n": str(n)}))
        request.update_mask.paths.append("labels")
        self.stub.UpdateFineTune(request, timeout=20)

    def watch(self, _):
        watch = self.stub.WatchFineTunes(svc.WatchFineTunesRequest(names=[self.ours.job]), timeout=20)
        next(watch)
        watch.cancel()

    def fresh_get(self, _):
        fresh = svc.GetFineTuneRequest(name=self.ours.job)
        fresh.freshness.max_staleness.SetInParent()
        self.stub.GetFineTune(fresh, timeout=20)

    def download(self, _):
        for _ in self.stub.DownloadWeights(svc.DownloadWeightsRequest(name=self.ours.job), timeout=60):
            pass

    def swap_policy(self, n):
        """One more caller, or one less."""
        self.files.write_policy(*([credentials.caller("guest", "VIEWER", f"guest-token-{n}-0123456789abcdef")] if n // 300 % 2 else []))

    def renew_certificate(self, _):
        folder = self.files.certificates.folder
        (folder / "tls.crt").unlink()
        (folder / "tls.key").unlink()
        subprocess.run([SOURCE / "deploy/dev-certs.sh", folder, "bench"], check=True, capture_output=True)

    # What is done every so many tenths of a second.
    OFTEN = ((create, 10), (update, 1), (watch, 1), (fresh_get, 1), (download, 50), (swap_policy, 300), (renew_certificate, 300))

    def leave_and_return(self, seconds):
        """Segmind, at noon."""
        away = self.away_at <= seconds < self.away_at + AWAY
        if away and not self.away:
            for call in ("submit", "list", "details", "access_update", "file_download"):
                self.ours.emulator.fault(call, "close_before", count=-1)
        elif self.away and not away:
            self.ours.emulator.clear_faults()
        self.away = away

    def run(self):
        began, n = time.monotonic(), 0
        while not self.ended.wait(0.1):
            self.leave_and_return(time.monotonic() - began)
            for act, every in self.OFTEN:
                if n % every:
                    continue
                try:
                    act(self, n)
                    self.done[act.__name__.replace("_", " ")] += 1
                except grpc.RpcError as error:
                    self.note(act.__name__, error, began)
                except Exception as error:  # pylint: disable=broad-except
                    self.failed.append(f"{act.__name__}: {error!r}")
            n += 1
        self.ours.emulator.clear_faults()

    def note(self, what, error, began):
        reason = reason_of(error)
        # What was asked while Segmind was away may be answered later.
        if reason in DOCUMENTED and self.away_at <= time.monotonic() - began < self.away_at + AWAY + 30:
            self.told[reason] += 1
        else:
            self.failed.append(f"{what}: {error.code()} {reason} {error.details()}")


class Watchers:
    """Streams that stay, each on its own, and the revision that each has come to."""

    def __init__(self, ours, files):
        self.revisions = [0] * WATCHERS
        self.messages = [0] * WATCHERS
        self.resets = 0
        self.closed, self.ended = False, []
        callers = [Caller(ours, files) for _ in range(4)]
        self.calls = [callers[i % 4].stub.WatchFineTunes(svc.WatchFineTunesRequest(skip_snapshot=True)) for i in range(WATCHERS)]
        self.pool = concurrent.futures.ThreadPoolExecutor(WATCHERS)
        for i in range(WATCHERS):
            self.pool.submit(self.read, i)

    def read(self, i):
        try:
            for response in self.calls[i]:
                self.messages[i] += 1
                self.resets += response.WhichOneof("event") == "restart"
                self.revisions[i] = response.revision
            self.ended.append("ended without an error")
        except grpc.RpcError as error:
            if not self.closed:
                self.ended.append(f"{error.code()} {reason_of(error)} {error.details()}")
        except Exception as error:  # pylint: disable=broad-except
            self.ended.append(repr(error))

    def behind(self):
        """How many have not come to where the first of them is, once nothing changes any more."""
        try:
            wait_until("all watchers to have come to the end", lambda: len(set(self.revisions)) == 1, seconds=60, step=0.5)
        except AssertionError:
            pass
        last = max(self.revisions)
        return sum(revision != last for revision in self.revisions)

    def close(self):
        self.closed = True
        for call in self.calls:
            call.cancel()


def look(ours, began):
    """What the process has now."""
    folder = f"/proc/{ours.pid}"
    return {"s": round(time.monotonic() - began), "resident_mb": resident_kb(ours.pid) / 1024, "descriptors": len(os.listdir(f"{folder}/fd")),
            "threads": len(os.listdir(f"{folder}/task"))}


def reads(ours, files, call, seconds, *more):
    return load("calls", "--target", ours.address, "--pid", ours.pid, "--call", call, "--job", ours.job, "--page-size", 50, "--varying",
                "--seconds", seconds, "--token-file", files.token, *files.tls(), *more)


def run(ours, files, minutes):
    """The rates, and a row for each window."""
    churn, watchers, windows = Churn(ours, files, minutes * 60), Watchers(ours, files), []
    churn.start()
    # What is left beside these, whose clients in Python take more of the cores than the gateway does.
    rates = {call: reads(ours, files, call, 5)["calls_per_s"] / 4 for call in ("get", "list")}
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        while time.monotonic() - began < minutes * 60:
            runs = [pool.submit(reads, ours, files, call, WINDOW, "--rate", rate) for call, rate in rates.items()]
            got, listed = (future.result() for future in runs)
            windows.append({**look(ours, began), "get_p50_ms": got["p50_ms"], "get_p99_ms": got["p99_ms"], "list_p99_ms": listed["p99_ms"],
                            "errors": got["errors"] + listed["errors"]})
    churn.ended.set()
    churn.join()
    behind = watchers.behind()
    watchers.close()
    return rates, windows, churn, watchers, behind


def measure(report, options):
    flags = ("--active_poll_interval", "2s", "--idle_poll_interval", "5s", "--watch_window_changes", "1000")
    ours = Ours(1000, *flags, time_scale=100)
    files = Callers(ours.folder, role="ADMIN")
    again(ours, "--policy_file", files.policy, *files.certificates.flags(mutual=False), *flags)
    ours.emulator.call("POST", "/emulator/settings", {"webhook_url": ours.gateway.webhook_url})
    rates, windows, churn, watchers, behind = run(ours, files, options.minutes)
    ours.close()
    report.keep("windows", windows)
    report.keep("rates", rates)
    report.say(f"{options.minutes:g} minutes (`--minutes`), over TLS and with tokens, open loop at half of capacity: {rates['get']:.0f} gets and "
               f"{rates['list']:.0f} lists of 50 a second (a quarter each of what a closed loop does beside the rest), {WATCHERS} watchers that stay "
               "(Python, on the same cores), webhooks, and churn: " + ", ".join(f"{count} × {what}" for what, count in churn.done.items())
               + f"; jobs live a hundred times as fast. In the middle Segmind is away for {AWAY} s: {sum(churn.told.values())} calls were told so "
               f"({', '.join(churn.told) or 'none'}). {len(churn.failed)} calls failed otherwise; each watcher heard {min(watchers.messages)} to "
               f"{max(watchers.messages)} messages. Thirds of the time after the first tenth; memory may grow by the jobs that were made and by the "
               "window of changes until that is full (1,000).")
    report.say()
    for failure in churn.failed[:5] + watchers.ended[:5]:
        report.say(f"- {failure}")
    kept = windows[max(1, len(windows) // 10):]
    third = max(1, len(kept) // 3)
    first, last = kept[:third], kept[-third:]
    columns = ("resident_mb", "descriptors", "threads", "get_p50_ms", "get_p99_ms", "list_p99_ms")
    middle = {column: (median([w[column] for w in first]), median([w[column] for w in last])) for column in columns}
    report.table(["", "first third", "last third"], [[column.replace("_", " "), f"{a:.3g}", f"{b:.3g}"] for column, (a, b) in middle.items()])
    report.plot("day", "Memory", "seconds", "MB", {"resident": [(w["s"], w["resident_mb"]) for w in windows]}, log_x=False, log_y=False)
    report.limit("errors beyond the documented", sum(w["errors"] for w in windows) + len(churn.failed), 0)
    report.limit("watchers that are not at the last revision a minute after it", behind, 0)
    report.limit("streams that ended or were reset", len(watchers.ended) + watchers.resets, 0)
    report.limit("memory, last third against first", middle["resident_mb"][1] / middle["resident_mb"][0], 1.05)
    report.limit("descriptors, last third against first", middle["descriptors"][1] / middle["descriptors"][0], 1.05)
    report.limit("threads, last third against first", middle["threads"][1] / middle["threads"][0], 1.0)
    report.limit("get's median, last third against first", middle["get_p50_ms"][1] / middle["get_p50_ms"][0], 1.25)
    report.limit("get's 99th percentile, last third against first", middle["get_p99_ms"][1] / middle["get_p99_ms"][0], 1.25)
    report.say()
