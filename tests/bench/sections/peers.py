"""One change to 10,000 watchers: the gateway's streams and its client library's shared ones, against etcd's watch and NATS."""

from peers import Etcd, Nats
from report import median, spread
from servers import Ours, load

TITLE = "One change to many: etcd and NATS"


def measure(report, options):
    subscriptions, connections = (1000, 10) if options.quick else (10000, 100)
    changes, repeats = (10, 1) if options.quick else (20, 3)
    report.say(f"{subscriptions} subscriptions over {connections} connections; milliseconds from the call that makes the change, medians of the changes. "
               "The gateway and etcd write it to disk first, NATS keeps nothing. Values have the size of the gateway's message. Generators "
               "read frames off their sockets, take the time at receipt and look no further into a message than its head; rows with `gRPC clients` use "
               "gRPC's C++ client, which costs as much a message as a server, and `shared` the client library, which delivers whole jobs. "
               f"`shared`: {connections} clients of the C++ library, each with one stream and {subscriptions // connections} local subscriptions, "
               f"each with names or a filter of its own; `multiplexed`: {subscriptions // connections} watches on one etcd stream.")
    report.say()
    runs = {}

    def keep(name, server, command, *args):
        counted = ["--subscriptions", subscriptions, "--connections", connections] if command in ("etcd", "nats") else []
        result = load(command, "--target", server.address, "--pid", server.pid, "--changes", changes, *counted, *args)
        server.close()
        runs.setdefault(name, []).append(result)
        return result

    for _ in range(repeats):
        ours = Ours(10)
        value_bytes = keep("gateway, a stream each", ours, "fan-out", "--job", ours.job, "--streams", subscriptions,
                           "--connections", connections, "--frames")["message_bytes"]
        ours = Ours(10)
        keep("gateway, shared streams", ours, "shared-streams", "--job", ours.job, "--clients", connections,
             "--subscriptions", subscriptions // connections)
        keep("etcd, a stream each", Etcd(), "etcd", "--value-bytes", value_bytes, "--frames")
        keep("etcd, multiplexed", Etcd(), "etcd", "--value-bytes", value_bytes, "--per-stream", subscriptions // connections, "--frames")
        keep("NATS", Nats(), "nats", "--value-bytes", value_bytes)
    ours = Ours(10)
    keep("gateway, a stream each, gRPC clients", ours, "fan-out", "--job", ours.job, "--streams", subscriptions, "--connections", connections)
    keep("etcd, a stream each, gRPC clients", Etcd(), "etcd", "--value-bytes", value_bytes)
    report.keep("runs", runs)

    def last(name):
        return median([r["last_ms"] for r in runs[name]])

    report.limit("last of the shared streams' subscriptions against the last of etcd's multiplexed watches",
                 last("gateway, shared streams") / last("etcd, multiplexed"), 1)
    report.say(f"- a stream each: the gateway's last against etcd's: {last('gateway, a stream each') / last('etcd, a stream each'):.2f}")
    report.say()
    rows = [[name] + [spread([r[what] for r in of]) for what in ("first_ms", "median_ms", "last_ms", "made_alone_ms", "cpu_us_per_delivery",
                                                                "own_us_per_delivery")]
            + [spread([r["bytes_per_receiver"] / 1000 for r in of])] for name, of in runs.items()]
    report.table(["what", "first ms", "median ms", "last ms", "call alone ms", "CPU µs/delivery", "generator's", "kB/subscription"], rows)
