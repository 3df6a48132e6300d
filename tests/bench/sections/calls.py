"""Cached get and list, against a server of ready bytes and one that fills messages."""

from report import median, spread
from servers import Bare, Ours, load

TITLE = "Cached get and list"
CALLS = (("get", 0), ("list", 50), ("list", 500))


def measure(report, options):
    report.say("Closed loop, 64 calls outstanding on 4 connections; repeats interleaved; CPU is the server's. `ready` is a bare gRPC server "
               "that returns the same kind of bytes ready-made, `typed` one that fills and serialises messages.")
    report.say()
    jobs = 1000
    servers = {"ready": Bare("--mode", "ready", "--jobs", jobs), "typed": Bare("--mode", "typed", "--jobs", jobs), "gateway": Ours(jobs)}
    repeats = 3 if options.quick else 5
    seconds = 2 if options.quick else 5
    rows, cpu = [], {}
    for call, page in CALLS:
        seen = {name: [] for name in servers}
        for _ in range(repeats):
            for name, server in servers.items():
                seen[name].append(load("calls", "--target", server.address, "--pid", server.pid, "--call", call, "--job", server.job,
                                       "--page-size", max(page, 1), "--seconds", seconds, "--expect-items", page))
        report.keep(f"{call} {page}", seen)
        for name, runs in seen.items():
            cpu[call, page, name] = median([r["cpu_us_per_call"] for r in runs])
            rows.append([f"{call} {page or ''}", name, *(spread([r[column] for r in runs]) for column in
                         ("calls_per_s", "cpu_us_per_call", "p50_ms", "p99_ms")), runs[0]["answer_bytes"]])
    for server in servers.values():
        server.close()
    report.table(["call", "server", "calls/s", "CPU µs/call", "p50 ms", "p99 ms", "bytes"], rows)
    for call, page in CALLS:
        report.limit(f"{call} {page or ''}: CPU against the bare server's", cpu[call, page, "gateway"] / cpu[call, page, "ready"], 1.15)
    report.limit("list 500: CPU of the typed handler against ours", cpu["list", 500, "typed"] / cpu["list", 500, "gateway"], 10, at_most=False)
    report.say()
