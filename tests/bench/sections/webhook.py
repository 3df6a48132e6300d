"""From a webhook to the first watcher: little more than the read that confirms it."""

import threading
import time

import grpc
from report import percentile, spread
from servers import API_KEY, Ours, load, svc

TITLE = "From a webhook to the watchers"

# What a job goes through and Segmind announces.
ANNOUNCED = ("DATA_PROCESSING", "TRAINING_INITIATED", "TRAINING_COMPLETED", "DEPLOYING", "AVAILABLE")


class FirstWatcher:
    """A watch from Python; says when it was told of a job at Segmind having come to a status."""

    def __init__(self, server):
        self.changed = threading.Condition()
        self.told = {}
        self.stream = server.gateway.stub.WatchFineTunes(svc.WatchFineTunesRequest(skip_snapshot=True))
        next(self.stream)
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        try:
            for response in self.stream:
                now = time.perf_counter()
                with self.changed:
                    self.told[response.change.fine_tune.upstream_id, response.change.fine_tune.upstream_status] = now
                    self.changed.notify_all()
        except grpc.RpcError:
            pass

    def wait(self, job, status):
        with self.changed:
            if not self.changed.wait_for(lambda: (job, status) in self.told, 30):
                raise SystemExit(f"the watcher was never told of {job} being {status}")
            return self.told[job, status]

    def close(self):
        self.stream.cancel()
        self.thread.join()


def posted_by_the_emulator(count):
    """Milliseconds from a job's change at the emulator, which posts the webhook, to a watcher in Python."""
    ours = Ours(1)
    jobs = [ours.emulator.call("POST", "/emulator/jobs", {"name": f"job-{i}", "status": "QUEUED"})["id"] for i in range(count)]
    ours.gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=ours.job, freshness={"max_staleness": {}}), timeout=30)
    ours.emulator.call("POST", "/emulator/settings", {"webhook_url": ours.gateway.webhook_url})
    watcher = FirstWatcher(ours)
    times = []
    for job in jobs:
        for status in ANNOUNCED:
            start = time.perf_counter()
            ours.emulator.call("POST", f"/emulator/jobs/{job}", {"status": status})
            times.append((watcher.wait(job, status) - start) * 1000)
    watcher.close()
    ours.close()
    return times


def measure(report, options):
    streams, changes = (100, 60) if options.quick else (1000, 400)
    ours = Ours(10)
    job = ours.gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=ours.job), timeout=30).upstream_id
    result = load("webhook", "--target", ours.address, "--pid", ours.pid, "--webhook-url", ours.gateway.webhook_url, "--emulator-url",
                  ours.emulator.url, "--api-key", API_KEY, "--upstream-id", job, "--streams", streams, "--changes", changes)
    ours.close()
    emulated = posted_by_the_emulator(5 if options.quick else 30)
    report.keep("runs", result)
    report.keep("posted by the emulator, ms", emulated)
    reads = result["all_read_ms"]
    above = [first - read for first, read in zip(result["all_first_ms"], reads)]
    report.say(f"{len(above)} webhooks, each about a job that has just changed at the emulator, with {streams} streams watching. Milliseconds from before the webhook "
               "is posted; the gateway confirms it by a read, writes the change to disk and tells. `above the read`: without what the same read took "
               "this generator, over a connection that it keeps, just before. The last row is from a change made at the emulator, which then posts the "
               "webhook over a new connection, to one watcher in Python.")
    report.say()
    rows = [[name] + [f"{percentile(values, p):.2f}" for p in (50, 99, 100)] for name, values in (
        ("the read alone", reads), ("first watcher", result["all_first_ms"]), ("first watcher, above the read", above),
        (f"last of {streams} watchers", result["all_last_ms"]), ("posted by the emulator", emulated))]
    report.table(["from the webhook to", "p50 ms", "p99 ms", "worst ms"], rows)
    report.limit("99th percentile from webhook to first watcher, above the confirming read, ms", percentile(above, 99), 10)
    report.say(f"- in all: {spread(result['all_first_ms'])} ms")
    report.say()
