"""One change to many watchers, against a bare broadcast in its best form."""

from report import median, number, spread
from servers import Bare, Ours, load

TITLE = "One change to many watchers"

VARIANTS = tuple((threads, order) for threads in (1, 2, 4) for order in ("connection", "together", "spread"))
# Those that are mostly the best.
QUICK_VARIANTS = ((2, "together"), (4, "together"))

# By perf, with 1,000 streams.
WHY_LATER = ("Of a delivery's CPU 95 % are gRPC's and the kernel's, 8 % of it in gRPC's own threads, to which transports that four threads write to at once put work off; no function of the "
             "gateway's has 2 %. A change goes from the call to the recorder's thread, which commits it, and from there to four threads of watches; a bare server writes from the thread of "
             "the call. That is some 0.3 ms before the first stream, and counts the more the fewer there are. To gRPC's own clients, which take as long to read, the difference is the "
             "one that the line below says.")


def run(server, streams, connections, changes, *how):
    result = load("fan-out", "--target", server.address, "--pid", server.pid, "--streams", streams, "--connections", connections,
                  "--changes", changes, "--job", server.job, *how)
    server.close()
    return result


def measure_size(report, streams, connections, changes, repeats, tried=VARIANTS):
    """Runs by name, and which bare broadcast was the best."""
    size = (streams, connections)
    runs = {"gateway": [run(Ours(10), *size, changes, "--frames")]}
    message_bytes = runs["gateway"][0]["message_bytes"]

    def bare(threads, order):
        return Bare("--threads", threads, "--order", order, "--jobs", 1, "--change-bytes", message_bytes)

    variants = {f"bare, {threads} thread{'s' * (threads > 1)}, {order}": (threads, order) for threads, order in tried}
    for name, variant in variants.items():
        runs[name] = [run(bare(*variant), *size, max(changes // 2, 5), "--frames")]
    best_two = sorted(variants, key=lambda name: runs[name][0]["last_ms"])[:2]
    for _ in range(repeats - 1):
        for name in best_two:
            runs[name].append(run(bare(*variants[name]), *size, changes, "--frames"))
        runs["gateway"].append(run(Ours(10), *size, changes, "--frames"))
    best = min(best_two, key=lambda name: median([r["last_ms"] for r in runs[name]]))
    runs["gateway, gRPC clients"] = [run(Ours(10), *size, changes)]
    runs[f"{best}, gRPC clients"] = [run(bare(*variants[best]), *size, changes)]
    report.keep(f"{streams} streams", runs)
    return runs, best


def row(streams, name, runs):
    figures = [spread([r[what] for r in runs]) for what in ("first_ms", "median_ms", "last_ms", "cpu_us_per_delivery", "own_us_per_delivery")]
    return [streams, name, *figures, spread([r["bytes_per_receiver"] / 1000 for r in runs]), runs[0]["message_bytes"]]


def measure(report, options):
    report.say("Milliseconds from the call that makes the change to the first, median and last stream; medians of the changes of a run, each made "
               "when all have the one before. The gateway writes the change to disk before it tells anybody, which a bare "
               "server does not: `the commit` is how much longer the same call takes than the bare server's when nobody watches. The bare server broadcasts messages of the same size, "
               "from 1, 2 or 4 threads and in three orders; all nine are tried, the best two are repeated beside the gateway, and the best one counts. "
               "The generator reads HTTP/2's frames off its sockets and no more, so that what is measured is the server: gRPC's C++ client costs "
               "about as much a message as the server does, on the same cores. Rows with `gRPC clients` are what such clients see.")
    report.say()
    report.say("gRPC 1.51 as Debian builds it, with its debug checks, looks for each operation that completes through all that are under way in its "
               "completion queue. A program with gRPC's callbacks has one queue, in which every open stream has an operation: there a delivery's CPU "
               "grows with the number of streams. The gateway's watches have queues of their own, one for each of the hub's threads, which writes to "
               "the streams and hears of their writes in turn: an operation walks past a quarter of the streams, and a change wakes four threads, not "
               "one for each delivery.")
    report.say()
    report.say("What is left is gRPC's own. Each message is a batch of operations through the call's filters, the transport's lock and its framing, "
               "and, as measured by counting calls of `sendmsg`, nearly one of these a delivery (0.9), where etcd's writer puts what waits for a "
               "connection into one. Neither can be had through gRPC's interface: its write-buffering hint holds a message back until the same "
               "stream's next one; a slice that tells when it is let go does so after the transport's lock is free, so that what it starts is not "
               "joined; and corking the sockets saves packets, but no measurable CPU. Fewer streams help more than any of this: see the client "
               "library's shared streams below.")
    report.say()
    sizes = ((1000, 10),) if options.quick else ((100, 10), (1000, 10), (10000, 100))
    rows = []
    for streams, connections in sizes:
        runs, best = measure_size(report, streams, connections, 10 if options.quick else 20, 2 if options.quick else 3,
                                  QUICK_VARIANTS if options.quick else VARIANTS)
        names = [best, "gateway", f"{best}, gRPC clients", "gateway, gRPC clients"]
        rows += [row(streams, name, runs[name]) for name in names]

        alone = [median([r["made_alone_ms"] for r in runs[name]]) for name in ("gateway", best)]
        commit = max(0, alone[0] - alone[1])

        def ratio(what, less=0, clients=""):
            return (median([r[what] for r in runs["gateway" + clients]]) - less) / median([r[what] for r in runs[best + clients]])

        if options.quick:
            report.against_baseline(f"{streams} streams: CPU of a delivery against the best bare broadcast's", ratio("cpu_us_per_delivery"))
            continue
        report.limit(f"{streams} streams: last stream, after the commit, against the best bare broadcast's", ratio("last_ms", commit), 1.1, why=WHY_LATER)
        report.limit(f"{streams} streams: memory of an idle stream against the best bare broadcast's", ratio("bytes_per_receiver"), 1.15)
        report.say(f"- {streams} streams: with the commit of {number(commit)} ms: {ratio('last_ms'):.2f}; to gRPC's C++ clients, after the commit: "
                   f"{ratio('last_ms', commit, ', gRPC clients'):.2f}")
    report.say()
    report.table(["streams", "server", "first ms", "median ms", "last ms", "CPU µs/delivery", "generator's", "kB/stream", "bytes"], rows)
