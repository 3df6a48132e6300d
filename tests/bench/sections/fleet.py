"""Three replicas on one PostgreSQL, beside one gateway on SQLite, etcd, and a client that polls."""

import json
import pathlib
import signal
import tempfile
import threading
import time
import urllib.request

import grpc

import postgres
from fleet_world import missing
from peers import Etcd
from report import percentile
from servers import QUIET, Emulator, Gateway, Ours, end_with_us, ft, load, resident_kb, svc, wait_until

TITLE = "Three replicas on PostgreSQL"
JOBS = 100
POLL = 0.05  # Seconds.
MANY, QUICK_MANY = 100_000, 10_000
WATCHERS, QUICK_WATCHERS = 9_999, 999
# A list of so many jobs is longer than what a gateway reads by default.
LONG_LISTS = ("--max_upstream_answer_bytes", str(1 << 28))


class Fleet:
    """Three gateways on one server; `standby`: a second server has each commit before it is acknowledged."""

    def __init__(self, jobs=JOBS, standby=False):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="finetune-bench-"))
        self.server = postgres.Server("wal_level=replica")
        self.standby = None
        if standby:
            self.standby = postgres.Server(standby_of=self.server.place)
            self.server.sql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")
            self.server.sql("SELECT pg_reload_conf()")
            wait_until("commits to be synchronous", lambda: self.server.sql(
                "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'").stdout.strip() == "1")
        self.emulator = Emulator(self.folder, "--list_size", str(jobs), "--check_datasets=false", time_scale=0)
        end_with_us(self.emulator.popen)
        began = time.perf_counter()
        self.gateways = [self.start(n) for n in range(3)]
        for gateway in self.gateways:
            self.await_all(gateway, jobs)
        self.import_seconds = time.perf_counter() - began
        self.jobs = [job.name for job in self.gateways[0].stub.ListFineTunes(svc.ListFineTunesRequest(page_size=JOBS), timeout=30).fine_tunes]

    @staticmethod
    def await_all(gateway, jobs):
        wait_until("the replica to be ready", lambda: gateway.admin("/readyz")[0] == 200, seconds=120, step=0.005)
        wait_until("the replica to know all jobs", lambda: gateway.stub.GetGatewayStatus(
            svc.GetGatewayStatusRequest(), timeout=30).fine_tune_count >= jobs, seconds=120, step=0.005)

    def start(self, number):
        folder = self.folder / str(number)
        folder.mkdir(exist_ok=True)
        gateway = Gateway(folder, self.emulator.url, *QUIET, *LONG_LISTS, *self.server.flags, "--replica_name", f"replica-{number}")
        end_with_us(gateway.popen)
        return gateway

    def leader(self, among):
        def found():
            return next((g for g in among if "\nfinetune_gateway_leader 1\n" in g.admin("/metrics")[1]), None)
        return wait_until("a leader", found, seconds=60, step=0.005)

    def close(self):
        for gateway in self.gateways:
            gateway.close()
            gateway.kill()
        self.emulator.kill()
        self.server.remove()
        if self.standby:
            self.standby.remove()


def label(stub, name, value):
    stub.UpdateFineTune(svc.UpdateFineTuneRequest(fine_tune=ft.FineTune(name=name, labels={"n": str(value)}),
                                                  update_mask={"paths": ["labels.n"]}), timeout=30)


def timed(writers, count):
    """Milliseconds of each of `count` calls by each writer, all at once, and how many were done a second."""
    times = [[] for _ in writers]

    def write(index):
        for value in range(count):
            began = time.perf_counter()
            writers[index](value)
            times[index].append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    threads = [threading.Thread(target=write, args=(index,)) for index in range(len(writers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [one for many in times for one in many]
    return done, len(done) / (time.perf_counter() - began)


def etcd_put(etcd):
    def put(value):
        request = urllib.request.Request(f"http://{etcd.address}/v3/kv/put", data=json.dumps({"key": "YQ==", "value": "eHh4eHh4"}).encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()
    return put


def until_seen(writer, reader, name, count):
    """Milliseconds from asking for a change at one replica until a watcher at another has it."""
    seen = {}
    call = reader.WatchFineTunes(svc.WatchFineTunesRequest(skip_snapshot=True, delivery=svc.WatchFineTunesRequest.EVERY))
    ready = threading.Event()

    def watch():
        try:
            for response in call:
                if response.WhichOneof("event") == "synced":
                    ready.set()
                elif response.WhichOneof("event") == "change":
                    seen[response.change.fine_tune.labels.get("n")] = time.perf_counter()
        except grpc.RpcError:
            pass

    threading.Thread(target=watch, daemon=True).start()
    ready.wait(30)
    times = []
    for value in range(count):
        began = time.perf_counter()
        label(writer, name, f"w{value}")
        wait_until("the change", lambda v=value: f"w{v}" in seen, step=0.0005)
        times.append((seen[f"w{value}"] - began) * 1000)
    call.cancel()
    return times


def until_polled(writer, reader, name, count):
    """The same by a client that looks every 50 ms."""
    times = []
    for value in range(count):
        time.sleep(POLL * (value % 10) / 10)
        began = time.perf_counter()
        stop = threading.Event()
        seen = []

        def poll(v=value):
            while not stop.is_set():
                if reader.GetFineTune(svc.GetFineTuneRequest(name=name), timeout=30).labels.get("n") == f"p{v}":
                    seen.append(time.perf_counter())
                    return
                stop.wait(POLL)

        polling = threading.Thread(target=poll)
        polling.start()
        time.sleep(0.001)
        label(writer, name, f"p{value}")
        polling.join(30)
        stop.set()
        times.append((seen[0] - began) * 1000)
    return times


def take_overs(fleet, number, count):
    times = []
    for _ in range(count):
        old = fleet.leader(fleet.gateways)
        others = [gateway for gateway in fleet.gateways if gateway is not old]
        began = time.perf_counter()
        old.popen.send_signal(number)
        fleet.leader(others)
        times.append(time.perf_counter() - began)
        old.popen.wait(60)
        old.close()
        number_of = fleet.gateways.index(old)
        fleet.gateways[number_of] = fleet.start(number_of).ready()
    return times


def watchers(fleet, streams):
    """One change to watchers of all three replicas, and to a third as many at one of them."""
    def run(targets, count):
        return load("fan-out", "--target", ",".join(targets), "--pid", fleet.gateways[0].popen.pid, "--streams", count, "--connections",
                    30 * len(targets), "--frames", "--changes", 10, "--job", fleet.jobs[0])

    addresses = [gateway.address for gateway in fleet.gateways]
    return run(addresses, streams), run(addresses[:1], streams // 3)


def database_load(server, seconds):
    """Transactions a second that nobody asked for, and the database's processor time a second."""
    def now():
        server.sql("SELECT pg_stat_clear_snapshot()")
        count = server.sql("SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database WHERE datname IS NOT NULL").stdout
        return int(count.strip()), time.perf_counter()

    before, began = now()
    time.sleep(seconds)
    after, ended = now()
    return (after - before) / (ended - began)


def many_jobs(report, options):
    """What a record of 100,000 jobs costs a fleet."""
    jobs = QUICK_MANY if options.quick else MANY
    fleet = Fleet(jobs)
    a, b = fleet.gateways[0].stub, fleet.gateways[1].stub
    change = until_seen(a, b, fleet.jobs[0], 50)
    follower = next(gateway for gateway in fleet.gateways if gateway is not fleet.leader(fleet.gateways))
    number = fleet.gateways.index(follower)
    follower.terminate(60)
    follower.close()
    began = time.perf_counter()
    fleet.gateways[number] = fleet.start(number)
    fleet.await_all(fleet.gateways[number], jobs)
    start = time.perf_counter() - began
    memory = max(resident_kb(gateway.popen.pid) / 1024 for gateway in fleet.gateways)
    fleet.close()
    report.keep(f"{jobs} jobs", {"import_s": fleet.import_seconds, "start_s": start, "change_ms": change, "resident_mb": memory})
    report.say(f"- {jobs:,} jobs: {fleet.import_seconds:.1f} s from the start of three replicas on an empty database until all of them have read them from "
               f"Segmind; a replica that starts anew has them after {start:.2f} s; a change at A is seen at B after {percentile(change, 50):.2f} ms, p99 "
               f"{percentile(change, 99):.2f}; {memory:.0f} MB resident at most")
    report.limit(f"start of a replica with {jobs:,} jobs, s", start, 2, absolute=True)


def measure(report, options):
    if why := missing():
        report.say(f"Left out: {why}.")
        return
    count = 100 if options.quick else 500
    report.say(f"A commit is a label's update, one after another, from Python over gRPC (etcd: a put over its HTTP door), {count} each. Three writers: each at "
               "a replica of its own, at once. Servers, replicas and clients share the cores.")
    report.say()
    rows = []

    def commits(what, alone, three):
        ones, _ = timed([alone], count)
        threes, rate = timed(three, count)
        report.keep(what, {"alone_ms": ones, "three_ms": threes, "a_second": rate})
        rows.append([what, *(f"{percentile(times, q):.2f}" for times in (ones, threes) for q in (50, 99)), f"{rate:.0f}"])

    ours = Ours(JOBS)
    names = [job.name for job in ours.gateway.stub.ListFineTunes(svc.ListFineTunesRequest(page_size=3), timeout=30).fine_tunes]
    writers = [lambda v, n=n: label(ours.gateway.stub, n, v) for n in names]
    commits("SQLite, one gateway", writers[0], writers)
    ours.close()
    fleet = Fleet()
    writers = [lambda v, g=g, n=n: label(g.stub, n, v) for g, n in zip(fleet.gateways, fleet.jobs)]
    commits("PostgreSQL, three replicas", writers[0], writers)
    etcd = Etcd()
    commits("etcd", etcd_put(etcd), [etcd_put(etcd)] * 3)
    etcd.close()

    a, b = fleet.gateways[0].stub, fleet.gateways[1].stub
    watched, polled = until_seen(a, b, fleet.jobs[0], count), until_polled(a, b, fleet.jobs[0], count // 5)
    report.keep("change at A until B has it, ms", {"watch": watched, "poll": polled})
    idle = [resident_kb(gateway.popen.pid) / 1024 for gateway in fleet.gateways]
    transactions = database_load(fleet.server, 5 if options.quick else 20)
    everywhere, third = watchers(fleet, QUICK_WATCHERS if options.quick else WATCHERS)
    killed, asked = take_overs(fleet, signal.SIGKILL, 1 if options.quick else 3), take_overs(fleet, signal.SIGTERM, 1 if options.quick else 3)
    fleet.close()
    synchronous = Fleet(standby=True)
    writers = [lambda v, g=g, n=n: label(g.stub, n, v) for g, n in zip(synchronous.gateways, synchronous.jobs)]
    commits("PostgreSQL with a synchronous standby", writers[0], writers)
    synchronous.close()

    report.table(["commits", "alone p50, ms", "p99", "three writers p50, ms", "p99", "a second"], rows)
    report.table(["change at A until B's client has it", "p50, ms", "p99"], [
        ["watch at B", f"{percentile(watched, 50):.2f}", f"{percentile(watched, 99):.2f}"],
        [f"get at B every {POLL * 1000:.0f} ms", f"{percentile(polled, 50):.2f}", f"{percentile(polled, 99):.2f}"]])
    report.keep("take-over, s", {"SIGKILL": killed, "SIGTERM": asked})
    report.keep("resident MB of a replica", idle)
    report.say(f"- another replica leads after a kill -9: {', '.join(f'{t:.1f}' for t in killed)} s; after SIGTERM: {', '.join(f'{t:.2f}' for t in asked)} s")
    report.say(f"- resident memory of a replica with {JOBS} jobs: {max(idle):.0f} MB; the database's transactions while nobody asks for anything, of three "
               f"replicas and Segmind's list every hour: {transactions:.1f} a second")
    report.keep("watchers", {"of three": everywhere, "a third at one": third})
    last = [run["last_ms"] for run in (everywhere, third)]
    streams = QUICK_WATCHERS if options.quick else WATCHERS
    report.say(f"- a change to {streams:,} watchers of three replicas: the last one has it after {last[0]:.1f} ms, where {streams // 3:,} of one replica have it "
               f"after {last[1]:.1f}: all three replicas, the database and the generator share the cores here, so that what three machines would do at once is "
               "done in turn")
    report.keep("idle transactions a second", transactions)
    many_jobs(report, options)
    report.say()
    report.limit("a delivery of a change to watchers of three replicas against one to a third of them at one", last[0] / 3 / last[1], 1.2)
    report.limit("resident memory of an idle replica, MB", max(idle), 35, absolute=True)
    report.limit("change at A until a watcher at B has it, p99, ms", percentile(watched, 99), 20, absolute=True)
