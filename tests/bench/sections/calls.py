"""Cached get and list: CPU and calls a second as fast as they go, and latency at fixed rates."""

from report import median, spread
from rivals import Nginx, Portkey, have_nginx, have_portkey
from servers import Bare, Ours, Segmind, load

TITLE = "Cached get and list"
CALLS = (("get", 0), ("list", 50), ("list", 500))
# Calls a second, the highest about half of what this machine does together with the generator.
RATES = {("get", 0): (1000, 4000, 12000), ("list", 50): (500, 2000, 6000), ("list", 500): (50, 200, 800)}
JOBS = 1000


class OverHttp:
    """A rival before a Segmind whose whole list is as long as the page: it has no pages, and of GETs only list passes both rivals."""

    def __init__(self, make, page):
        self.segmind = Segmind(max(page, 1))
        self.rival = make(self.segmind)
        self.pid = self.rival.pid

    def arguments(self, _call, _page):
        headers = [word for header in self.rival.headers() for word in ("--header", header)]
        return ["--target", self.rival.address, "--call", "http", "--path", f"{self.rival.prefix}/finetune/request/list",
                "--connections", 64, *headers]

    def close(self):
        self.rival.close()
        self.segmind.close()


def once(server, call, page, seconds, *more):
    if isinstance(server, OverHttp):
        arguments = server.arguments(call, page)
    else:
        arguments = ["--target", server.address, "--call", call, "--job", server.job, "--page-size", max(page, 1),
                     "--expect-items", page, *(["--varying"] if getattr(server, "varying", False) else [])]
    return load("calls", "--pid", server.pid, "--seconds", seconds, *arguments, *more)


def servers_for(report, options, page):
    """By name. Those that need a Segmind of a certain length are made for each page."""
    servers = {}
    if not options.quick and have_nginx(report):
        servers["nginx, cached"] = OverHttp(lambda segmind: Nginx(segmind, cache=True), page)
    if not options.quick and have_portkey(report):
        servers["Portkey"] = OverHttp(Portkey, page)
    return servers


def closed_loop(report, options, grpc_servers):
    report.say("### As fast as they go")
    report.say()
    report.say("64 calls outstanding on 4 connections (64 for HTTP/1.1); repeats interleaved; CPU is the server's. `ready` is a bare gRPC "
               "server on gRPC's callback API that returns the same jobs as bytes ready-made, `ready, one thread` the same on a completion queue with one thread: "
               "the least that gRPC costs. `typed` is one that fills and serialises messages of them. nginx answers from its "
               "cache, Portkey passes each call on to the emulator (whose CPU is not counted): HTTP has no pages, so it is the whole list of "
               "an account with as many jobs as the page (one for get). Own CPU is the generator's, in cores. Every answer is compared with "
               "the first, byte for byte, but for typed's, whose maps come in any order.")
    report.say()
    rows, cpu = [], {}
    for call, page in CALLS:
        rivals = servers_for(report, options, page)
        servers = {**grpc_servers, **rivals}
        seen = {name: [] for name in servers}
        for _ in range(5):
            for name, server in servers.items():
                seen[name].append(once(server, call, page, 1 if options.quick else 2))
        for server in rivals.values():
            server.close()
        report.keep(f"closed loop, {call} {page}", seen)
        for name, runs in seen.items():
            cpu[call, page, name] = median([r["cpu_us_per_call"] for r in runs])
            rows.append([f"{call} {page or ''}", name, *(spread([r[column] for r in runs]) for column in
                         ("calls_per_s", "cpu_us_per_call", "p50_ms", "p99_ms")), runs[0]["answer_bytes"],
                         f"{median([r['own_cpu'] for r in runs]):.2f}"])
    report.table(["call", "server", "calls/s", "CPU µs/call", "p50 ms", "p99 ms", "bytes", "own CPU"], rows)
    return cpu


def say_limits(report, options, cpu):
    for call, page in CALLS:
        ratio = cpu[call, page, "gateway"] / cpu[call, page, "ready"]
        if options.quick:
            report.against_baseline(f"{call} {page}: CPU against the bare server's", ratio)
        else:
            report.limit(f"{call} {page or ''}: calls per CPU second against the bare server's", 1 / ratio, 0.9, at_most=False)
            least = cpu[call, page, "ready, one thread"] / cpu[call, page, "gateway"]
            report.limit(f"{call} {page or ''}: calls per CPU second against the bare server's with one thread", least, 0.9, at_most=False)
    typed = cpu["list", 500, "typed"] / cpu["list", 500, "gateway"]
    if options.quick:
        report.against_baseline("list 500: CPU of the typed handler against ours", typed, at_most=False)
    else:
        report.limit("list 500: CPU of the typed handler against ours", typed, 10, at_most=False)
    report.say()
    report.say("The gateway takes calls from a completion queue with one thread (one more for each four CPUs). gRPC's callback API has two threads "
               "at least, which hand the waiting for sockets to each other at each event; the difference between the two bare servers is what that costs.")
    report.say()


def open_loop(report, grpc_servers):
    report.say("### At fixed rates")
    report.say()
    report.say("Open loop: calls begin when they are due, whatever became of the ones before, and latency counts from when they were due. "
               "Late: calls that the generator began more than 5 ms after that.")
    report.say()
    rows, lines = [], {}
    for call, page in CALLS:
        nginx = {"nginx, cached": OverHttp(lambda segmind: Nginx(segmind, cache=True), page)} if have_nginx(report) else {}
        servers = {**grpc_servers, **nginx}
        for rate in RATES[call, page]:
            seen = {name: [] for name in servers}
            for _ in range(3):
                for name, server in servers.items():
                    seen[name].append(once(server, call, page, 2, "--rate", rate))
            report.keep(f"open loop, {call} {page} at {rate}/s", seen)
            for name, runs in seen.items():
                lines.setdefault((call, page), {}).setdefault(name, []).append((rate, median([r["p99_ms"] for r in runs])))
                rows.append([f"{call} {page or ''}", rate, name, *(spread([r[column] for r in runs]) for column in
                             ("p50_ms", "p99_ms", "p999_ms")), sum(r["late"] for r in runs), f"{median([r['own_cpu'] for r in runs]):.2f}"])
        for server in nginx.values():
            server.close()
    report.table(["call", "calls/s", "server", "p50 ms", "p99 ms", "p99.9 ms", "late", "own CPU"], rows)
    for (call, page), series in lines.items():
        report.plot(f"{call}-{page}-p99", f"{call} {page or ''}: 99th percentile", "calls a second", "ms", series)


def growth(report):
    report.say("### Ten and a hundred times as many jobs")
    report.say()
    rows = []
    seen = {}
    for jobs in (100, 1000, 10_000):
        ours = Ours(jobs).settle()
        for call, page in CALLS:
            runs = [once(ours, call, min(page, jobs), 1.5) for _ in range(3)]
            seen[f"{jobs} jobs, {call} {page}"] = runs
            rows.append([jobs, f"{call} {min(page, jobs) or ''}", spread([r["calls_per_s"] for r in runs]),
                         spread([r["cpu_us_per_call"] for r in runs])])
        ours.close()
    report.keep("growth", seen)
    report.table(["jobs", "call", "calls/s", "CPU µs/call"], rows)


def measure(report, options):
    ours = Ours(JOBS).settle()
    same = ("--jobs", JOBS, "--copy-from", ours.address)
    servers = {"ready": Bare("--mode", "ready", *same), "ready, one thread": Bare(*same, program="bench-bare-queue-server"),
               "typed": Bare("--mode", "typed", *same), "gateway": ours}
    cpu = closed_loop(report, options, servers)
    say_limits(report, options, cpu)
    if not options.quick:
        open_loop(report, servers)
    for server in servers.values():
        server.close()
    if not options.quick:
        growth(report)
