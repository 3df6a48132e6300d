#!/usr/bin/env python3
"""What one gateway, three and thirty carry: a discrete-event simulation, fed with the costs that RESULTS.json holds.

  simulate.py            the table of deploy/README.md, and what the simulation says of runs that were measured
  simulate.py --check    the latter alone; fails where it is further than 30 % from what was measured
  simulate.py --write    puts the table into deploy/README.md, after a complete run of the measurements
  simulate.py --replicas 30 --streams 333 --subscriptions 100 --changes 50 --reads 2000 ...    one fleet of your own

A change is committed in the database's one turn, heard of by every replica, applied there, and then told to that replica's streams, one
after another, on as many cores as a replica has. Reads are not simulated one by one: they take their share of the cores from the rest.
What a change costs, a delivery, a read, a stream and a job comes from the measured CPU and memory; the times come from the simulation, and
are compared with times that were measured by other clocks (--check).
"""

import argparse
import dataclasses
import heapq
import itertools
import json
import math
import pathlib
import random
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
POD_MB = 1024  # The memory limit in deploy/kubernetes.
TOLERANCE = 0.3
# Steps in which one replica tells its streams of a change: as fine as times are told.
STEPS = 50


class Costs:
    """Of one replica's work, in seconds, MB and KB: medians of what was measured."""

    def __init__(self, results):
        def middle(runs, key):
            return statistics.median(run[key] for run in runs)

        def gateway(section):
            return results["calls"][f"closed loop, {section}"]["gateway"]

        self.get = middle(gateway("get 0"), "cpu_us_per_call") / 1e6
        fans = {int(name.split()[0]): runs["gateway"] for name, runs in results["fan_out"].items()}
        # By the number of streams that are told at once: few share their writes and caches with fewer others.
        self.deliveries = [(streams, middle(runs, "cpu_us_per_delivery") / 1e6) for streams, runs in sorted(fans.items())]
        self.client = {streams: middle(runs, "own_us_per_delivery") / 1e6 for streams, runs in fans.items()}
        shared = results["peers"]["runs"]["gateway, shared streams"]
        self.shared_kb = middle(shared, "bytes_per_receiver") / 1e3
        few = results["concerned"]["runs"]["label, 10 watchers"]
        self.change = middle(few, "cpu_us_per_change") / 1e6 - 10 * self.delivery(10)
        self.first = middle(fans[min(fans)], "first_ms") / 1e3
        self.stream_kb = middle(fans[max(fans)], "bytes_per_receiver") / 1e3
        self.idle_mb = statistics.median(results["start"]["0 jobs"]["resident_mb"])
        most = results["start"]["100000 jobs"]
        self.job_kb = (statistics.median(most["resident_mb"]) - self.idle_mb) / 100
        fleet = results.get("fleet", {})
        commits = fleet.get("PostgreSQL with a synchronous standby", {}).get("alone_ms")
        self.fleet_is_measured = commits is not None
        # Without a run of the section `fleet`: what a commit that a second server has, too, takes on one site.
        self.commits = [ms / 1e3 for ms in commits or [4, 5, 6, 8, 12]]
        self.local_commits = [self.first]
        heard = fleet.get("change at A until B has it, ms", {}).get("watch")
        self.feed = max(statistics.median(heard) / 1e3 - statistics.median(self.commits), 0) if heard else 0.002

    def delivery(self, streams):
        """For each stream, when so many are told together."""
        if streams <= self.deliveries[0][0]:
            return self.deliveries[0][1]
        for (few, dear), (many, cheap) in itertools.pairwise(self.deliveries):
            if streams <= many:
                part = math.log(streams / few) / math.log(many / few)
                return dear + (cheap - dear) * part
        return self.deliveries[-1][1]


@dataclasses.dataclass(frozen=True)
class Fleet:
    """What is simulated. Streams and reads are each replica's."""

    replicas: int = 1
    cores: int = 2
    streams: int = 10_000
    subscriptions: int = 1  # That share a stream, by a client library in one process.
    concerned: float = 1.0  # Of the streams, by one change.
    changes: float = 1.0  # A second, of the whole fleet.
    reads: float = 0.0  # Gets a second.
    jobs: int = 1_000
    client: float = 0.0  # CPU of the receiver on the same cores, for each delivery.


@dataclasses.dataclass
class Outcome:
    first: list
    last: list
    cores_busy: float
    database_busy: float
    memory_mb: float


class Queue:
    """Work done by `servers` in the order in which it comes."""

    def __init__(self, servers):
        self.free = [0.0] * servers
        self.busy = 0.0

    def take(self, now, seconds):
        """When it will have been done."""
        start = max(now, heapq.heappop(self.free))
        heapq.heappush(self.free, start + seconds)
        self.busy += seconds
        return start + seconds


def simulate(costs, fleet, changes=300, seed=1):
    """Runs so many changes through a fleet; events in the order of their times."""
    chance = random.Random(seed)
    number = itertools.count()
    events = []

    def at(time, action):
        heapq.heappush(events, (time, next(number), action))

    alone = fleet.replicas == 1
    database = Queue(1)
    reads_take = fleet.reads * costs.get / fleet.cores
    if reads_take >= 1:
        raise ValueError(f"{fleet.reads:.0f} gets a second need more than {fleet.cores} cores")
    slower = 1 / (1 - reads_take)
    streams = max(1, round(fleet.streams * fleet.concerned))
    steps = min(STEPS, streams)
    step = streams / steps * (costs.delivery(streams) + fleet.client) * slower
    replicas = [Queue(fleet.cores) for _ in range(fleet.replicas)]
    firsts, lasts = {}, {}

    def tell(change, replica, time, begun):
        times = [replica.take(time, step) for _ in range(steps)]
        firsts[change] = min(firsts.get(change, math.inf), time - begun)
        lasts[change] = max(lasts.get(change, 0), max(times) - begun)

    def hear(change, replica, time, begun):
        # Alone it is part of what the commit took.
        done = replica.take(time, costs.change * slower) if not alone else time
        replica.busy += costs.change if alone else 0
        at(done, lambda: tell(change, replica, done, begun))

    def commit(change, begun):
        done = database.take(begun, chance.choice(costs.local_commits if alone else costs.commits))
        for replica in replicas:
            heard = done if alone else done + costs.feed
            at(heard, lambda replica=replica, heard=heard: hear(change, replica, heard, begun))

    time = 0.0
    for change in range(changes):
        time += chance.expovariate(fleet.changes)
        at(time, lambda change=change, begun=time: commit(change, begun))
    end = time
    while events:
        end, _, action = heapq.heappop(events)
        action()
    busiest = max(replica.busy for replica in replicas) / (end * fleet.cores)
    stream_kb = costs.stream_kb + (fleet.subscriptions - 1) * costs.shared_kb
    return Outcome(
        first=sorted(firsts.values()), last=sorted(lasts.values()),
        cores_busy=busiest + reads_take, database_busy=database.busy / end,
        memory_mb=costs.idle_mb + (fleet.jobs * costs.job_kb + fleet.streams * stream_kb) / 1e3)


def percentile(ordered, percent):
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def limits(costs, fleet):
    """How far each resource goes: the most changes a second, streams a replica and gets a second, each by itself."""
    streams = max(1, round(fleet.streams * fleet.concerned))
    cpu = costs.change + streams * costs.delivery(streams)
    commit = statistics.mean(costs.local_commits if fleet.replicas == 1 else costs.commits)
    stream_kb = costs.stream_kb + (fleet.subscriptions - 1) * costs.shared_kb
    return {
        "changes by the database": 1 / commit,
        "changes by the cores": fleet.cores / cpu,
        "streams by memory": (POD_MB - costs.idle_mb - fleet.jobs * costs.job_kb / 1e3) * 1e3 / stream_kb,
        "gets by the cores": fleet.cores / costs.get,
    }


def first_to_end(costs, fleet, outcome):
    """The resource that is nearest to its end, and how much of it is used."""
    used = {"its cores": outcome.cores_busy, "the database's turn": outcome.database_busy, "its memory": outcome.memory_mb / POD_MB}
    name = max(used, key=used.get)
    return f"{name} ({used[name]:.0%})"


# What the page tells of. A change concerns everybody who watches everything, and few of those who watch what is theirs.
SHAPES = {
    "1": [("10,000 that watch all jobs", Fleet(streams=10_000, changes=1, reads=2_000)),
          ("10,000 that watch their own", Fleet(streams=10_000, concerned=0.001, changes=20, reads=2_000)),
          ("33,000 subscriptions over shared streams", Fleet(streams=333, subscriptions=100, changes=5, reads=2_000))],
    "3": [("30,000 that watch all jobs", Fleet(replicas=3, streams=10_000, changes=1, reads=2_000, jobs=10_000)),
          ("30,000 that watch their own", Fleet(replicas=3, streams=10_000, concerned=0.001, changes=20, reads=2_000, jobs=10_000)),
          ("100,000 subscriptions over shared streams", Fleet(replicas=3, streams=333, subscriptions=100, changes=5, reads=2_000, jobs=10_000))],
    "30": [("300,000 that watch all jobs", Fleet(replicas=30, streams=10_000, changes=1, reads=2_000, jobs=100_000)),
           ("300,000 that watch their own", Fleet(replicas=30, streams=10_000, concerned=0.001, changes=20, reads=2_000, jobs=100_000)),
           ("1,000,000 subscriptions over shared streams",
            Fleet(replicas=30, streams=333, subscriptions=100, changes=5, reads=2_000, jobs=100_000))],
}


def table(costs):
    yield "| replicas | watchers of the fleet | changes a second | first told, ms | last told, p50 ms | p99 ms | MB a replica | nearest to its end |"
    yield "|---|---|---|---|---|---|---|---|"
    for replicas, shapes in SHAPES.items():
        for who, fleet in shapes:
            outcome = simulate(costs, fleet)
            yield (f"| {replicas} | {who} | {fleet.changes:g} | {percentile(outcome.first, 50) * 1e3:.1f} | "
                   f"{percentile(outcome.last, 50) * 1e3:.1f} | {percentile(outcome.last, 99) * 1e3:.1f} | "
                   f"{outcome.memory_mb:.0f} | {first_to_end(costs, fleet, outcome)} |")


def write_table(page, lines):
    """In the place of the table with the same head."""
    old = page.read_text(encoding="utf-8").splitlines()
    begin = old.index(lines[0])
    end = next(i for i in range(begin, len(old)) if not old[i].startswith("|"))
    page.write_text("\n".join([*old[:begin], *lines, *old[end:]]) + "\n", encoding="utf-8")


def measured(results):
    """Runs on this machine: what was told when, the fleet that was, and on how many cores beside its clients."""
    def last(runs):
        return statistics.median(run["last_ms"] for run in runs)

    costs = Costs(results)
    for name, runs in results["fan_out"].items():
        streams = int(name.split()[0])
        yield f"{name}, the last of them", last(runs["gateway"]), Fleet(streams=streams, client=costs.client[streams])
    most = max(costs.client)
    peers = results["peers"]["runs"]
    yield "10,000 streams again (beside etcd)", last(peers["gateway, a stream each"]), Fleet(streams=10_000, client=costs.client[most])
    shared = peers["gateway, shared streams"]
    # Its client library hands each message to a hundred subscriptions.
    yield "10,000 subscriptions on 100 streams", last(shared), Fleet(
        streams=100, subscriptions=100, client=statistics.median(100 * run["own_us_per_delivery"] for run in shared) / 1e6)
    webhook = results["webhook"]["runs"]
    yield "a webhook to 1,000 streams", webhook["last_ms"], Fleet(streams=1_000, client=webhook["own_us_per_delivery"] / 1e6)


def check(results, costs):
    """The table of runs, and those that are too far off."""
    lines, wrong = ["| run | measured, ms | simulated, ms | ratio |", "|---|---|---|---|"], []
    for what, ms, fleet in measured(results):
        # One change at a time, as it was measured.
        told = percentile(simulate(costs, dataclasses.replace(fleet, changes=0.2), changes=50).last, 50) * 1e3
        lines.append(f"| {what} | {ms:.2f} | {told:.2f} | {told / ms:.2f} |")
        if not 1 - TOLERANCE <= told / ms <= 1 + TOLERANCE:
            wrong.append(what)
    return lines, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default=HERE / "RESULTS.json", type=pathlib.Path, help="the costs (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="compare with measured runs, and fail where it is too far off")
    parser.add_argument("--write", action="store_true", help="put the table into deploy/README.md")
    own = parser.add_argument_group("one fleet of your own")
    for field in dataclasses.fields(Fleet):
        if field.name != "client":
            own.add_argument(f"--{field.name}", type=type(field.default), help=f"default {field.default}")
    options = parser.parse_args()
    results = json.loads(options.results.read_text(encoding="utf-8"))
    costs = Costs(results)
    given = {field.name: value for field in dataclasses.fields(Fleet) if (value := getattr(options, field.name, None)) is not None}
    if any(value <= 0 for name, value in given.items() if name != "reads"):
        parser.error("all numbers are greater than zero")
    if given:
        fleet = Fleet(**given)
        try:
            outcome = simulate(costs, fleet)
        except ValueError as error:
            parser.error(str(error))
        print(f"first told {percentile(outcome.first, 50) * 1e3:.1f} ms, last told p50 {percentile(outcome.last, 50) * 1e3:.1f} ms, "
              f"p99 {percentile(outcome.last, 99) * 1e3:.1f} ms")
        print(f"a replica: {outcome.memory_mb:.0f} MB, {outcome.cores_busy:.0%} of its cores; the database's turn: {outcome.database_busy:.0%}")
        for what, most in limits(costs, fleet).items():
            print(f"at most, {what}: {most:,.0f}")
        return
    if options.write:
        write_table(HERE.parents[1] / "deploy/README.md", list(table(costs)))
    elif not options.check:
        print("\n".join(table(costs)))
        print()
        if not costs.fleet_is_measured:
            print("PostgreSQL's commits are assumed, not measured: there is no section `fleet` in these results.\n")
    lines, wrong = check(results, costs)
    print("\n".join(lines))
    if wrong:
        sys.exit(f"further than {TOLERANCE:.0%} from what was measured: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
