"""Calls one to two seconds apart must not meet napping threads."""

import time

from report import median
from servers import Ours, svc

TITLE = "Sparse calls"


def measure(report, options):
    ours = Ours(10)
    times = []
    for i in range(20 if options.quick else 220):
        time.sleep(1 + (i % 10) / 10)
        start = time.perf_counter()
        ours.gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=ours.job), timeout=10)
        times.append((time.perf_counter() - start) * 1000)
    ours.close()
    report.keep("ms", times)
    report.say(f"{len(times)} gets one to two seconds apart, from Python: median {median(times):.2f} ms, worst {max(times):.2f} ms.")
    report.limit("calls over 10 ms", sum(1 for t in times if t > 10), 0)
    report.say()
