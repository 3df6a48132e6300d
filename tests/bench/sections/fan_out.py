"""One change to many watchers, against a bare broadcast in its best form."""

from servers import Bare, Ours, load

TITLE = "One change to many watchers"


def run(server, streams, connections, changes):
    result = load("fan-out", "--target", server.address, "--pid", server.pid, "--streams", streams, "--connections", connections,
                  "--changes", changes, "--job", server.job)
    server.close()
    return result


def measure(report, options):
    report.say("Milliseconds from the call that makes the change (the gateway commits it to disk first) to the first, median and last stream; "
               "medians of the changes. The bare server broadcasts the same bytes, with several threads and orders; the best one counts.")
    report.say()
    sizes = ((1000, 10),) if options.quick else ((100, 10), (1000, 10), (10000, 100))
    changes = 10 if options.quick else 20
    rows = []
    for streams, connections in sizes:
        runs = {}
        for threads in (1, 2, 4):
            for order in ("connection", "together", "spread"):
                runs[f"bare, {threads} threads, {order}"] = run(Bare("--threads", threads, "--order", order, "--jobs", 1), streams,
                                                                connections, changes)
        best = min(runs, key=lambda name: runs[name]["last_ms"])
        runs["gateway"] = run(Ours(10), streams, connections, changes)
        report.keep(f"{streams} streams", runs)
        for name in (best, "gateway"):
            r = runs[name]
            rows.append([streams, name, f"{r['first_ms']:.1f}", f"{r['median_ms']:.1f}", f"{r['last_ms']:.1f}", f"{r['last_worst_ms']:.1f}",
                         f"{r['cpu_us_per_delivery']:.1f}", r["bytes_per_stream"]])
        report.limit(f"{streams} streams: last against the best bare broadcast's", runs["gateway"]["last_ms"] / runs[best]["last_ms"], 1.1)
        report.limit(f"{streams} streams: memory of an idle stream against a bare one's",
                     runs["gateway"]["bytes_per_stream"] / runs[best]["bytes_per_stream"], 1.15)
    report.say()
    report.table(["streams", "server", "first", "median", "last", "worst last", "CPU µs/delivery", "bytes/stream"], rows)
