"""One change to many watchers, against a bare broadcast in its best form."""

import re

from report import median, number, spread
from servers import Bare, Ours, load

TITLE = "One change to many watchers"

VARIANTS = tuple((threads, order) for threads in (1, 2, 4) for order in ("connection", "together", "spread"))


def commit_ms(server):
    """How long the gateway's store took to write a change to disk, on average; a bare server has none."""
    if not hasattr(server, "gateway"):
        return 0
    metrics = server.gateway.admin("/metrics")[1]
    seconds, count = (float(re.search(rf"^finetune_gateway_store_commit_seconds_{what}\S* (\S+)$", metrics, re.M)[1]) for what in ("sum", "count"))
    return seconds / count * 1000


def run(server, streams, connections, changes):
    result = load("fan-out", "--target", server.address, "--pid", server.pid, "--streams", streams, "--connections", connections,
                  "--changes", changes, "--job", server.job)
    result["commit_ms"] = commit_ms(server)
    server.close()
    return result


def after_commit(run_):
    return run_["last_ms"] - run_["commit_ms"]


def measure_size(report, streams, connections, changes, repeats):
    runs = {"gateway": [run(Ours(10), streams, connections, changes)]}
    message_bytes = runs["gateway"][0]["message_bytes"]

    def bare(threads, order, count):
        server = Bare("--threads", threads, "--order", order, "--jobs", 1, "--change-bytes", message_bytes)
        runs.setdefault(f"bare, {threads} thread{'s' * (threads > 1)}, {order}", []).append(run(server, streams, connections, count))

    for variant in VARIANTS:
        bare(*variant, max(changes // 2, 5))
    by_last = sorted(VARIANTS, key=lambda v: runs[f"bare, {v[0]} thread{'s' * (v[0] > 1)}, {v[1]}"][0]["last_ms"])
    for _ in range(repeats - 1):
        for variant in by_last[:2]:
            bare(*variant, changes)
        runs["gateway"].append(run(Ours(10), streams, connections, changes))
    report.keep(f"{streams} streams", runs)
    return runs


def row(streams, name, runs):
    figures = [spread([r[what] for r in runs]) for what in ("first_ms", "median_ms", "last_ms")]
    return [streams, name, *figures, spread([after_commit(r) for r in runs]), spread([r["cpu_us_per_delivery"] for r in runs]),
            spread([r["bytes_per_receiver"] / 1000 for r in runs]), runs[0]["message_bytes"]]


def measure(report, options):
    report.say("Milliseconds from the call that makes the change to the first, median and last stream; medians of the changes of a run, each made "
               "when all have the one before. The gateway writes the change to disk before it tells anybody, which a bare "
               "server does not: `after commit` is the last without that. The bare server broadcasts messages of the same size, "
               "from 1, 2 or 4 threads and in three orders; all nine are tried, the best two are repeated beside the gateway, and the best one counts.")
    report.say()
    sizes = ((1000, 10),) if options.quick else ((100, 10), (1000, 10), (10000, 100))
    rows = []
    for streams, connections in sizes:
        runs = measure_size(report, streams, connections, 10 if options.quick else 20, 2 if options.quick else 3)
        repeated = [name for name in runs if name != "gateway" and len(runs[name]) > 1]
        best = min(repeated, key=lambda name: median([after_commit(r) for r in runs[name]]))
        rows += [row(streams, name, runs[name]) for name in (best, "gateway")]
        for what, key in (("last stream", after_commit), ("memory of an idle stream", lambda r: r["bytes_per_receiver"])):
            ours, theirs = (median([key(r) for r in runs[name]]) for name in ("gateway", best))
            bound = 1.1 if key is after_commit else 1.15
            report.limit(f"{streams} streams: {what}{', after the commit,' * (key is after_commit)} against the best bare broadcast's", ours / theirs, bound)
        whole = [median([r["last_ms"] for r in runs[name]]) for name in ("gateway", best)]
        report.say(f"- {streams} streams: with the commit of {number(median([r['commit_ms'] for r in runs['gateway']]))} ms: {whole[0] / whole[1]:.2f}")
    report.say()
    report.table(["streams", "server", "first ms", "median ms", "last ms", "after commit", "CPU µs/delivery", "kB/stream", "bytes"], rows)
