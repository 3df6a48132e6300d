"""From exec to ready, and the memory held."""

import os
import time

from report import median, spread
from servers import BIN, QUIET, Gateway, Ours, resident_kb

TITLE = "Start and memory"
# The longest list is longer than what is read of an answer unless more is asked for.
LONG_LISTS = ("--max_upstream_answer_bytes", 128 << 20)

# By /proc/PID/smaps.
WHY_IDLE = ("Of 27 MB, 11 are pages of the program itself (gRPC, protobuf and Abseil are in it) and 12 of Debian's libraries, 6 of these for TLS (libcrypto alone 3.5; libcurl brings "
            "GnuTLS besides): pages of files, which the kernel takes back when memory is short. The heap has 2.")


def starts(jobs, repeats):
    """Milliseconds from exec to ready, with so many jobs in the store, and the MB then resident."""
    ours = Ours(jobs, *LONG_LISTS)
    ours.gateway.terminate(60)
    times, memory = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        again = Gateway(ours.folder, ours.emulator.url, *QUIET, *LONG_LISTS)
        while again.admin("/readyz")[0] != 200:
            time.sleep(0.002)
        times.append((time.perf_counter() - began) * 1000)
        memory.append(resident_kb(again.popen.pid) / 1024)
        again.close()
        again.terminate(60)
        os.unlink(again.log_path)
    ours.close()
    return times, memory


def measure(report, options):
    report.say("From exec until /readyz says 200, asked every 2 ms; memory then, before the first list is read. Its own process each time, the "
               "store in the page cache.")
    report.say()
    rows, series, held = [], [], {}
    for jobs in (0, 10_000) if options.quick else (0, 1000, 10_000, 100_000):
        times, memory = starts(jobs, 3 if options.quick else 5)
        report.keep(f"{jobs} jobs", {"ms": times, "resident_mb": memory})
        held[jobs] = median(memory)
        per_job = f"{(held[jobs] - held[0]) * 1024 / jobs:.1f}" if jobs else ""
        rows.append([f"{jobs:,}", spread(times), spread(memory), per_job])
        series.append((max(jobs, 1), median(times)))
        if jobs == 0:
            report.limit("start to ready with an empty store, ms", median(times), 35, absolute=True)
            report.limit("idle memory, MB", median(memory), 26, absolute=True, why=WHY_IDLE)
        if jobs == 100_000:
            report.limit("start to ready with 100,000 jobs, ms", median(times), 1000, absolute=True)
    report.say()
    report.table(["jobs in the store", "ms from exec to ready", "resident MB", "KB/job"], rows)
    if not options.quick:
        report.plot("start", "Start to ready", "jobs in the store", "ms", {"gateway": series})
    size = os.path.getsize(BIN / "finetune-gateway") / 1e6
    report.keep("program_mb", size)
    linked = "with Debian's shared libraries, as for tests" if options.quick else "as it is released: with gRPC, protobuf and Abseil in it"
    report.say(f"The service's program has {size:.1f} MB, line tables included; it is linked {linked}.")
    report.say()
