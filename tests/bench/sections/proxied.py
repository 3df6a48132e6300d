"""What a call that has to go on to Segmind costs on the way, against the least and the usual that could stand there."""

from report import median, spread
from rivals import Nginx, Portkey, SmallestGateway, have_nginx, have_portkey
from servers import API_KEY, Ours, Segmind, load, pin

TITLE = "Added latency of a proxied call"
CALLS = ("status", "upload-url", "create")
# The client on one core and all servers on the other, so that a call through one more of them crosses no core more often.
CLIENT, SERVERS = 0, 1
ROUNDS, CALLS_A_ROUND = 21, 500
NO_LIMIT = ("--upstream_calls_per_minute", "100000000")

# By perf and the kernel's accounts of threads.
WHY_COLD = ("With one call outstanding the gateway switches threads less than the smallest one (5 and 8 times a status), and takes some 40 µs of CPU more: half of it the "
            "kernel's, of the whole 16 % gRPC's, 10 % curl's, 9 % the C library's, 8 % its own, over hundreds of functions of which none has 0.3 %. A call that comes "
            "alone finds no code and no data in the caches: the same get costs a tenth when 64 are outstanding.")
WHY_CREATE = ("A create is a row of steps on three threads, as each of its two commits has to be on the disk before the next step; what is taken off for the commits is the disk's part alone.")


class Direct:
    """Libcurl to the emulator, with nothing between."""

    prefix = ""

    def __init__(self, segmind):
        self.address = segmind.url.removeprefix("http://")

    def headers(self):
        return [f"x-api-key: {API_KEY}"]

    def close(self):
        pass


def commit_seconds(ours):
    """The store's commits so far: how many, and how long they took in all."""
    metrics = dict(line.rsplit(" ", 1) for line in ours.gateway.admin("/metrics")[1].splitlines() if line and line[0] != "#")
    name = "finetune_gateway_store_commit_seconds"
    return float(metrics[f"{name}_count"]), float(metrics[f"{name}_sum"])


def once(server, call, calls):
    if hasattr(server, "headers"):
        headers = [word for header in server.headers() for word in ("--header", header)]
        return load("proxied", "--target", f"http://{server.address}{server.prefix}", "--call", call, "--calls", calls, *headers, cpu=CLIENT)
    if not isinstance(server, Ours):
        return load("proxied", "--target", server.address, "--call", call, "--job", server.job, "--calls", calls, cpu=CLIENT)
    before = commit_seconds(server)
    run = load("proxied", "--target", server.address, "--call", call, "--job", server.job, "--calls", calls, cpu=CLIENT)
    after = commit_seconds(server)
    run["commits_us"] = (after[1] - before[1]) * 1e6 / (calls + 100)
    return run


def measure_call(report, options, call, jobs):
    # A submission makes the list longer, so each has a Segmind of its own.
    ours = Ours(jobs, *NO_LIMIT)
    segmind = Segmind(jobs)
    servers = {"direct": Direct(segmind), "smallest gateway": SmallestGateway(segmind), "gateway": ours}
    if not options.quick and have_nginx(report):
        servers["nginx"] = Nginx(segmind)
    if call != "upload-url" and not options.quick and have_portkey(report):
        servers["Portkey"] = Portkey(segmind)
    for pid in (segmind.pid, ours.emulator.popen.pid):
        pin(pid, SERVERS)
    for name, server in servers.items():
        if name != "direct":
            pin(server.pid, SERVERS)
    runs = {name: [] for name in servers}
    # Many short rounds: what runs beside for a while moves few of them, and the median is of the others.
    for _ in range(ROUNDS):
        for name, server in servers.items():
            runs[name].append(once(server, call, CALLS_A_ROUND))
    for server in (*servers.values(), segmind):
        server.close()
    report.keep(f"{call}, {jobs} jobs", runs)
    return runs


def measure(report, options):
    report.say("One call outstanding; the client pinned to one core, all servers to the other; repeats interleaved. Added is "
               "what a call takes through it, minus what libcurl takes straight to the emulator in the same repeat: median of the repeats. "
               "`status` is a get with max_staleness zero: the gateway reads Segmind's list for it. The smallest gateway is a bare gRPC "
               "server that makes the same call with libcurl's multi interface on one thread and answers its body as it came "
               "(smallest_gateway.cc). A create takes a new connection from both, and from libcurl: it may not be sent twice; nginx and "
               "Portkey keep theirs. The gateway commits a create to disk before it is sent and when it is answered; without is with the "
               "time of these commits taken off.")
    report.say()
    rows, added = [], {}
    for call, jobs in (("status", 1), ("status", 100), ("upload-url", 1), ("create", 1)):
        if options.quick and (call, jobs) != ("status", 1):
            continue
        runs = measure_call(report, options, call, jobs)
        for name, server_runs in runs.items():
            direct = runs["direct"]
            commits = [run.get("commits_us", 0) if call == "create" else 0 for run in server_runs]
            for part in ("p50_us", "p99_us"):
                added[call, jobs, name, part] = median([run[part] - base[part] for run, base in zip(server_runs, direct)])
            added[call, jobs, name, "without"] = median([run["p50_us"] - base["p50_us"] - commit
                                                         for run, base, commit in zip(server_runs, direct, commits)])
            rows.append([f"{call}, {jobs} jobs", name, *(spread([run[part] for run in server_runs]) for part in ("p50_us", "p99_us")),
                         f"{added[call, jobs, name, 'p50_us']:.0f}", f"{added[call, jobs, name, 'p99_us']:.0f}",
                         f"{added[call, jobs, name, 'without']:.0f}" if call == "create" and name == "gateway" else ""])
    report.table(["call", "through", "p50 µs", "p99 µs", "added p50", "added p99", "without commits"], rows)
    if options.quick:
        key = ("status", 1)
        report.against_baseline("status: added p50 against the smallest gateway's",
                                added[*key, "gateway", "p50_us"] / added[*key, "smallest gateway", "p50_us"])
        report.say()
    else:
        say_limits(report, added)


def say_limits(report, added):
    for call, jobs in dict.fromkeys(key[:2] for key in added):
        what = f"{call}, {jobs} jobs"
        ours = {part: added[call, jobs, "gateway", part] for part in ("p50_us", "p99_us", "without")}
        smallest = {part: added[call, jobs, "smallest gateway", part] for part in ("p50_us", "p99_us")}
        if call == "create":
            report.limit(f"{what}: added p50 without the commits against the smallest gateway's", ours["without"] / smallest["p50_us"], 2, why=WHY_CREATE)
        else:
            report.limit(f"{what}: added p50 against the smallest gateway's", ours["p50_us"] / smallest["p50_us"], 1.5, why=WHY_COLD)
            report.limit(f"{what}: added p99 against the smallest gateway's", ours["p99_us"] / smallest["p99_us"], 1.5, why=WHY_COLD)
        for part in ("p50", "p99"):
            portkey = added.get((call, jobs, "Portkey", f"{part}_us"))
            if portkey is not None:
                report.limit(f"{what}: Portkey's added {part} against ours", portkey / ours[f"{part}_us"], 5, at_most=False,
                             why=WHY_CREATE if call == "create" else WHY_COLD)
    report.say()
