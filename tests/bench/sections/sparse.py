"""Calls one to two seconds apart must not meet napping threads."""

import threading
import time

from report import percentile
from servers import Ours, svc

TITLE = "Sparse calls"

# Beside each other, because all of them do nothing most of the time.
GATEWAYS = 4


def call_now_and_then(ours, offset, count, times):
    time.sleep(offset)  # Not all at the same moment.
    for i in range(count):
        time.sleep(1 + (i % 10) / 10)
        start = time.perf_counter()
        ours.gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=ours.job), timeout=10)
        times.append((time.perf_counter() - start) * 1000)


def measure(report, options):
    gateways = [Ours(10) for _ in range(GATEWAYS)]
    times = []
    callers = [threading.Thread(target=call_now_and_then, args=(ours, i * 0.025, 5 if options.quick else 55, times))
               for i, ours in enumerate(gateways)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for ours in gateways:
        ours.close()
    report.keep("ms", times)
    report.say(f"{len(times)} gets from Python, on {GATEWAYS} gateways, one to two seconds apart on each: median {percentile(times, 50):.2f} ms, 99th percentile "
               f"{percentile(times, 99):.2f} ms, worst {max(times):.2f} ms.")
    report.limit("calls over 10 ms", sum(1 for t in times if t > 10), 0, absolute=True)
    report.say()
