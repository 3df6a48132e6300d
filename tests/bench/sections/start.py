"""From exec to ready, and the memory held."""

import os
import time

from report import median, spread
from servers import BIN, QUIET, Gateway, Ours, resident_kb

TITLE = "Start and memory"


def measure(report, options):
    rows = []
    for jobs in (0, 10_000) if options.quick else (0, 10_000, 100_000):
        ours = Ours(jobs)
        ours.gateway.terminate(60)
        times, memory = [], 0
        for _ in range(3):
            began = time.perf_counter()
            again = Gateway(ours.folder, ours.emulator.url, *QUIET)
            while again.admin("/readyz")[0] != 200:
                time.sleep(0.002)
            times.append((time.perf_counter() - began) * 1000)
            memory = resident_kb(again.popen.pid) / 1024
            again.close()
            again.terminate(60)
        report.keep(f"{jobs} jobs", {"ms": times, "resident_mb": memory})
        rows.append([jobs, spread(times), f"{memory:.0f}"])
        if jobs == 0:
            report.limit("start to ready with an empty store, ms", median(times), 50, absolute=True)
            report.limit("idle memory, MB", memory, 30, absolute=True)
        if jobs == 100_000:
            report.limit("start to ready with 100,000 jobs, ms", median(times), 1000, absolute=True)
        ours.close()
    report.say()
    report.table(["jobs in the store", "ms from exec to ready", "resident MB"], rows)
    report.say(f"The service's program has {os.path.getsize(BIN / 'finetune-gateway') / 1e6:.1f} MB (with line tables).")
    report.say()
