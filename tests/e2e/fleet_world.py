"""Replicas on one PostgreSQL, everything between them on links that can be hurt, callers that never give up, and an account of it all.

The account is that of crash_world.World, held against Segmind's own count, and more: what each watcher and each session saw.
"""

import collections
import os
import pathlib
import random
import struct
import tempfile
import threading
import time
import urllib.error

import grpc

import crash_world
import credentials
import fleet_history
import postgres
from harness import BIN, Gateway, State, ft, reason_of, rpc, svc, wait_until
from links import Links

SETTINGS = ("wal_level=replica", "max_wal_senders=10", "wal_keep_size=256MB", "hot_standby=on", "wal_receiver_timeout=5s",
            "wal_sender_timeout=5s", "checkpoint_timeout=30min")
CALLS_A_MINUTE = 900
FLAGS = ("--settle_lists", "3", "--settle_time", "12s", "--active_poll_interval", "200ms", "--idle_poll_interval", "1s",
         "--submit_timeout", "2s", "--watch_window_changes", "100000", "--upstream_calls_per_minute", str(CALLS_A_MINUTE))
# Of a client that stays with one replica until it is gone.
CHANNEL = [("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100),
           ("grpc.max_reconnect_backoff_ms", 500), ("grpc.max_receive_message_length", 64 << 20),
           ("grpc.keepalive_time_ms", 10000), ("grpc.keepalive_timeout_ms", 3000)]
# What each of those callers may make in a day who have a limit.
CREATES_A_DAY = 3
SPENDERS = 40


def missing():
    """Why there can be no fleet here; None if there can."""
    if not postgres.FOLDERS:
        return "there is no PostgreSQL here"
    return None


def token_of(who):
    return f"token-of-{who}-0123456789abcdef0123456789"


def bearer(who):
    return (("authorization", f"Bearer {token_of(who)}"),)


class AsEverybody(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Calls that do not say who makes them are everybody's."""

    @staticmethod
    def _named(details):
        metadata = tuple(details.metadata or ())
        if not any(key == "authorization" for key, _ in metadata):
            metadata += bearer("everybody")
        return details._replace(metadata=metadata)

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(self._named(details), request)

    def intercept_unary_stream(self, continuation, details, request):
        return continuation(self._named(details), request)


class Replica:
    """A gateway that comes back, behind a door that stays: its callers', its database's and Segmind's links are its own."""

    def __init__(self, world, number):
        self.world, self.number = world, number
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"r{number}-", dir=world.folder))
        self.database = world.links.link(world.primary.socket)
        self.segmind = world.links.link(int(world.emulator.url.rsplit(":", 1)[1]))
        self.door = world.links.link(9)
        self.clock = self.folder / "clock"
        self.set_clock(0)
        self.gateway = None
        self.lock = threading.Lock()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.door.port}", options=CHANNEL)
        channel = grpc.intercept_channel(self.channel, AsEverybody()) if world.limited else self.channel
        self.stub = rpc.FineTuneServiceStub(channel)

    def set_clock(self, ahead):
        with open(self.clock, "r+b" if self.clock.exists() else "wb") as file:
            file.write(struct.pack("q", ahead))

    def start(self, *flags):
        env = {}
        if (BIN / "wall_clock.so").exists() and "asan" not in str(BIN) and "tsan" not in str(BIN):
            env |= {"LD_PRELOAD": str(BIN / "wall_clock.so"), "WALL_CLOCK_FILE": str(self.clock)}
        gateway = self.make_gateway(*self.world.flags, *flags, env=env)
        with self.lock:
            self.gateway = gateway
        host, port = gateway.address.rsplit(":", 1)
        self.door.retarget((host, int(port)))
        return self

    def make_gateway(self, *flags, env):
        return Gateway(
            self.folder, f"http://127.0.0.1:{self.segmind.port}", "--store", f"postgresql://{self.world.user}@127.0.0.1:{self.database.port}/postgres?application_name=finetune-gateway-{self.number}",
            "--store_password_file", self.world.password, "--replica_name", f"replica-{self.number}", *flags, env=env)

    def end(self, seconds=None):
        """SIGKILL; or SIGTERM, and so many seconds to drain."""
        with self.lock:
            gateway, self.gateway = self.gateway, None
        if gateway is None:
            return
        self.world.ends.append((self.number, time.time()))
        code = gateway.kill() if seconds is None else gateway.terminate(seconds)
        self.world.kills += seconds is None
        if code != (-9 if seconds is None else 0):
            self.world.note_wrong(f"replica {self.number} ended by itself with {code}: {gateway.log[-3000:]}")
        self.world.bury(gateway)

    def signal(self, number):
        with self.lock:
            if self.gateway is not None and self.gateway.popen.poll() is None:
                self.gateway.popen.send_signal(number)

    def heal(self):
        for link in (self.database, self.segmind, self.door):
            link.heal()
        self.set_clock(0)

    def metrics(self):
        """Those without labels, by name."""
        try:
            text = self.gateway.admin("/metrics")[1]
        except (OSError, urllib.error.URLError, AttributeError):
            return {}
        found = {}
        for line in text.splitlines():
            if not line.startswith("#") and "{" not in line and " " in line:
                name, value = line.rsplit(" ", 1)
                found[name] = float(value)
        return found

    def status(self):
        return self.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=5)


class Watcher(threading.Thread):
    """Has every change of every job, across all replicas: in order, none missing, none twice."""

    def __init__(self, world, number):
        super().__init__(daemon=True)
        self.world, self.number = world, number
        self.chance = random.Random(number)
        self.token, self.last = "", None
        self.known = {}
        self.transitions = {}  # Name → how many it had.
        self.restarts = []  # When, why, and the etag of the last change before.
        self.last_etag = None
        self.streams = self.changes = 0

    def run(self):
        while not self.world.stopped:
            replica = self.chance.choice(self.world.replicas)
            self.streams += 1
            try:
                call = replica.stub.WatchFineTunes(svc.WatchFineTunesRequest(
                    resume_token=self.token, view=svc.FINE_TUNE_VIEW_FULL, delivery=svc.WatchFineTunesRequest.EVERY,
                    heartbeat_interval={"seconds": 1}), timeout=self.chance.uniform(2, 20))
                for response in call:
                    self.take(response)
            except (grpc.RpcError, ValueError) as error:
                if isinstance(error, grpc.RpcError) and error.code() not in crash_world.BROKEN:
                    self.world.note_wrong(f"watcher {self.number}: {error.code()} {reason_of(error)} {error.details()}")
            time.sleep(self.chance.uniform(0.01, 0.2))

    def take(self, response):
        event = response.WhichOneof("event")
        if event == "restart":
            self.restarts.append((time.time(), svc.Restart.Reason.Name(response.restart.reason), self.last_etag))
            self.known, self.transitions, self.last, self.last_etag, self.token = {}, {}, None, None, ""
            return
        if event == "change":
            job = response.change.fine_tune
            self.world.note(job)
            if response.change.type == svc.Change.LEFT_FILTER:
                self.known.pop(job.name, None)
            else:
                self.known[job.name] = job.etag
            before = self.transitions.get(job.name)
            self.transitions[job.name] = len(job.transitions)
            if response.change.type != svc.Change.SNAPSHOT:
                if before is not None and before < len(job.transitions) and job.transitions[-1].source == ft.StateTransition.POLL:
                    self.world.polled.add(job.etag)
                self.changes += 1
                self.last_etag = job.etag
                self.world.note_change(response.revision, job)
                if self.last is not None and response.revision != self.last + 1:
                    self.world.note_wrong(f"watcher {self.number}: change {response.revision} came after {self.last}")
                self.last = response.revision
        elif response.resume_token:
            if self.last is not None and response.revision < self.last:
                self.world.note_wrong(f"watcher {self.number}: {event} says {response.revision} after change {self.last}")
            if event == "synced" and self.last is None:
                self.last = response.revision
        self.token = response.resume_token or self.token


class Session(threading.Thread):
    """Reads anywhere with one session: what it sees never goes back, and what was acknowledged is there."""

    def __init__(self, world, number):
        super().__init__(daemon=True)
        self.world, self.number = world, number
        self.chance = random.Random(number)
        self.token, self.revision = "", 0
        self.jobs = {}  # name → its revision, as it was read last.
        self.not_found = set()  # Names of jobs that were acknowledged, and that a gateway did not know.
        self.reads = self.losses = 0

    def take(self, call):
        """Of an answer. One that says so rests on a record that has lost what the session saw."""
        metadata = dict(call.initial_metadata())
        self.token = metadata.get("finetune-session", self.token)
        if "finetune-session-lost" in metadata:
            self.losses += 1
            self.jobs, self.revision = {}, 0

    def run(self):
        while not self.world.stopped:
            replica = self.chance.choice(self.world.replicas)
            metadata = (("finetune-session", self.token),)
            acked = list(self.world.acked)
            asked = f"asked replica {replica.number} with {self.token} at {time.strftime('%H:%M:%S', time.gmtime())}"
            wanted = self.chance.choice(acked) if acked and self.chance.random() < 0.5 else None
            try:
                if wanted:
                    job, call = replica.stub.GetFineTune.with_call(svc.GetFineTuneRequest(name=wanted), timeout=3, metadata=metadata)
                    self.world.note(job)
                    self.take(call)
                    if job.revision < self.jobs.get(job.name, 0):
                        self.world.note_wrong(f"session {self.number}: {job.name} of {job.revision} after {self.jobs[job.name]}, {asked}")
                    self.jobs[job.name] = job.revision
                else:
                    answer, call = replica.stub.ListFineTunes.with_call(svc.ListFineTunesRequest(page_size=5), timeout=3, metadata=metadata)
                    self.take(call)
                    if answer.revision < self.revision:
                        self.world.note_wrong(f"session {self.number}: revision {answer.revision} after {self.revision}, {asked}")
                    self.revision = answer.revision
                self.reads += 1
            except ValueError:
                pass
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.NOT_FOUND:
                    self.not_found.add(wanted)
                elif error.code() not in crash_world.BROKEN | {grpc.StatusCode.NOT_FOUND}:
                    self.world.note_wrong(f"session {self.number}: {error.code()} {reason_of(error)} {error.details()}")
            time.sleep(self.chance.uniform(0.005, 0.05))


class Labeller(threading.Thread):
    """Counts in one job's label: what was acknowledged stays."""

    def __init__(self, world, number):
        super().__init__(daemon=True)
        self.world, self.number = world, number
        self.chance = random.Random(number)
        self.job, self.count = None, 0
        self.acks = [(0, "")]  # What was acknowledged, as of which change.

    def run(self):
        while not self.world.stopped and not self.world.quiet:
            time.sleep(self.chance.uniform(0.05, 0.2))
            if self.job is None:
                if len(self.world.acked) > self.number:
                    self.job = self.world.acked[self.number]
                continue
            self.count += 1
            try:
                job = self.chance.choice(self.world.replicas).stub.UpdateFineTune(svc.UpdateFineTuneRequest(
                    fine_tune=ft.FineTune(name=self.job, labels={f"count-{self.number}": str(self.count)}),
                    update_mask={"paths": [f"labels.count-{self.number}"]}), timeout=3)
                self.acks.append((self.count, job.etag))
            except ValueError:
                pass
            except grpc.RpcError as error:
                if error.code() not in crash_world.BROKEN | {grpc.StatusCode.ABORTED} and not self.world.losses:
                    self.world.note_wrong(f"labeller {self.number}: {error.code()} {reason_of(error)} {error.details()}")


class Spender(threading.Thread):
    """Makes jobs as one after another of those who may make few a day, beside others who do the same."""

    def __init__(self, world, number):
        super().__init__(daemon=True)
        self.world = world
        self.chance = random.Random(number)

    def run(self):
        began = time.monotonic()
        while not self.world.stopped and not self.world.quiet:
            who = f"spender-{int((time.monotonic() - began) / 8) % SPENDERS}"
            submission = crash_world.Submission(metadata=bearer(who))
            with self.world.lock:
                self.world.spent.setdefault(who, []).append(submission)
            self.world.submit(submission, self.chance, gives_up=1, longest=8.0)
            time.sleep(self.chance.uniform(0.2, 1))


class FleetWorld(crash_world.World):
    """`standby`: none, asynchronous or synchronous; `user`: as whom replicas come to the database; `own_disk`: of each server; `limited`: there
    are callers who may make few jobs a day.

    Thread-safe but for what hurts and heals.
    """

    def __init__(self, folder, emulator, *flags, replicas=3, standby="none", primary=None, user="admin", own_disk=False, limited=False):
        super().__init__(folder, emulator)
        self.flags = FLAGS + flags
        self.limited = limited
        self.spent = {}  # Caller → its submissions.
        if limited:
            self.flags += ("--policy_file", credentials.write_policy(self.folder / "policy.json", [
                credentials.caller("everybody", "ADMIN", token_of("everybody"), sees_all_jobs=True),
                *(credentials.caller(f"spender-{n}", "SUBMITTER", token_of(f"spender-{n}"), limits={"creates_per_day": CREATES_A_DAY})
                  for n in range(SPENDERS))]))
        self.links = Links()
        self.chance = random.Random()
        self.acked = []  # Names of jobs whose creation was acknowledged.
        self.changes = {}  # etag → what it names.
        self.polled = set()  # Etags of changes that a list or a job's details told of, as far as a watcher saw them being made.
        self.two_primaries = []  # From when to when there were two, by the wall clock.
        self.losses = 0  # Times that acknowledged commits were taken away, or may have been.
        self.ended = []  # The histories that ended then, as `keep_history` has read them.
        self.ends = []  # (replica, time) of each end of a gateway.
        self.standby_mode = standby
        self.own_disk = own_disk
        self.primary = primary or postgres.Server(*SETTINGS, own_disk=own_disk)
        self.servers = [self.primary]
        self.user = user
        if user != "admin":
            self.primary.sql(f"CREATE ROLE {user} LOGIN PASSWORD '{postgres.PASSWORD}'")
            self.primary.sql(f"GRANT CREATE ON DATABASE postgres TO {user}")
        # Every server has it, and none of them is there to the end.
        self.password = self.folder / "database-password"
        self.password.write_text(postgres.PASSWORD)
        self.standby = self.replication = None
        if standby != "none":
            self.add_standby()
        self.replicas = [self.make_replica(number) for number in range(replicas)]
        self.threads = []

    def make_replica(self, number):
        return Replica(self, number)

    def add_standby(self):
        """Follows the primary over a link of its own; synchronously if this world is so."""
        self.replication = self.links.link(self.primary.socket)
        self.standby = postgres.Server(*SETTINGS, standby_of={"host": "127.0.0.1", "port": self.replication.port}, own_disk=self.own_disk)
        self.servers.append(self.standby)
        wait_until("the standby to stream", lambda: "streaming" in self.primary.sql("SELECT state FROM pg_stat_replication").stdout)
        if self.standby_mode == "synchronous":
            self.primary.sql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")
            self.primary.sql("SELECT pg_reload_conf()")
            wait_until("commits to be synchronous", lambda: self.primary.sql(
                "SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('quorum', 'sync')").stdout.strip() == "1")

    def fail_over(self, stay_behind=0):
        """The standby becomes the primary, and the service leads there; not for the first so many replicas."""
        old, self.primary = self.primary, self.standby
        # It came over with the old one's settings, and has no standby of its own yet.
        self.primary.sql("SELECT 1")
        self.primary.promote()
        self.primary.sql("ALTER SYSTEM RESET synchronous_standby_names")
        self.primary.sql("SELECT pg_reload_conf()")
        if stay_behind:
            self.two_primaries.append((time.time(), None))
        for replica in self.replicas[stay_behind:]:
            replica.database.retarget(self.primary.socket)
        self.standby = self.replication = None
        return old

    def have_one_primary(self):
        """Whoever stayed behind comes after the others."""
        for replica in self.replicas:
            if replica.database.target != self.primary.socket:
                replica.database.retarget(self.primary.socket)
        self.two_primaries[-1] = (self.two_primaries[-1][0], time.time())

    def keep_history(self, data):
        """Before the data of a server that ended goes: of what it alone had, too, the account is right."""
        self.ended.append(fleet_history.History.of_data(data, *SETTINGS))

    def start_all(self):
        for replica in self.replicas:
            replica.start()
        for replica in self.replicas:
            replica.gateway.ready()
        self.primary.sql(fleet_history.NOTES)
        return self

    def load(self, creators=3, watchers=4, sessions=4, labellers=2):
        self.watchers = [Watcher(self, n) for n in range(watchers)]
        self.sessions = [Session(self, n) for n in range(sessions)]
        self.labellers = [Labeller(self, n) for n in range(labellers)]
        spenders = [Spender(self, n) for n in range(3 if self.limited else 0)]
        creating = [threading.Thread(target=self.create_on, args=(random.Random(n),), daemon=True) for n in range(creators)]
        self.threads = [*self.watchers, *self.sessions, *self.labellers, *creating, *spenders]
        for thread in self.threads:
            thread.start()
        self.creating = [*creating, *spenders]
        return self

    def create_on(self, chance):
        while not self.quiet and not self.stopped:
            submission = self.submit(crash_world.Submission(), chance, gives_up=1, longest=8.0)
            if submission.job:
                self.acked.append(submission.job.name)
            time.sleep(chance.uniform(0.05, 0.4))

    quiet = False

    def calm(self):
        """Everything is mended; returns once nobody submits any more."""
        self.emulator.clear_faults()
        for replica in self.replicas:
            replica.heal()
            if replica.gateway is None:
                replica.start()
        self.quiet = True
        end = time.monotonic() + 30
        for thread in self.creating:
            thread.join(max(0, end - time.monotonic()))
        if any(thread.is_alive() for thread in self.creating):
            # A list that is just as long as pages often are proves nothing; one job more, and it does.
            self.creating.append(threading.Thread(target=self.submit, args=(crash_world.Submission(), random.Random(0), 1, 8.0), daemon=True))
            self.creating[-1].start()
        for thread in self.creating:
            thread.join(120)
            if thread.is_alive():
                self.note_wrong("a caller has had no final answer for 120 s after all was mended")

    def remember(self, what):
        """For whoever reads the account of a failure."""
        with open(self.folder / "gateways.log", "a") as log:
            log.write(f"{time.strftime('%H:%M:%S', time.gmtime())} NEMESIS {what}\n")

    # --- what crash_world.World asks for

    def stub(self):
        return self.chance.choice(self.replicas).stub

    def note_change(self, revision, job):
        """(era, revision) names one change, for ever: an etag is made of both."""
        text = (revision, job.name, State.Name(job.state), job.upstream_id, tuple(sorted(job.labels.items())), job.display_name)
        with self.lock:
            before = self.changes.setdefault(job.etag, text)
        if before != text:
            self.note_wrong(f"etag {job.etag} names {before} and {text}")

    def bury(self, gateway):
        gateway.close()
        with open(self.folder / "gateways.log", "a") as log:
            log.write(gateway.log)
        os.unlink(gateway.log_path)

    def end(self):
        if self.links is None:
            return
        self.stopped = True
        for thread in self.threads:
            thread.join(25)
        for replica in self.replicas:
            replica.signal(18)  # SIGCONT
            with replica.lock:
                gateway, replica.gateway = replica.gateway, None
            if gateway is not None:
                gateway.kill()
                self.bury(gateway)
            replica.channel.close()
        for server in self.servers:
            server.remove()
        self.links.close()
        self.links = None

    def has_leader(self):
        """Whether one replica reads Segmind for all, and they share the account's calls; else each has its own."""
        return "finetune_gateway_leader" in self.replicas[0].metrics()

    # --- the account

    def settle(self):
        """After `calm`: all replicas show one view, and every watcher knows it."""
        shown = {}

        def agreed():
            for replica in self.replicas:
                metrics = replica.metrics()
                shown[replica.number] = [metrics.get(f"finetune_gateway_{name}") for name in ("view_digest", "revision", "store_lag_seconds")]
            views = {tuple(view[:2]) for view in shown.values()}
            return len(views) == 1 and None not in next(iter(views))
        try:
            wait_until("all replicas to have one digest", agreed, seconds=60, step=0.1)
        except AssertionError as error:
            self.note_wrong(f"{error}: digest, revision and lag are {shown}; " + "; ".join(
                f"replica {replica.number}: {replica.gateway.log[-2000:]}" for replica in self.replicas))

    def lose_the_tail(self):
        """From here on the standby gets nothing: what is acknowledged now goes with the primary."""
        self.replication.blackhole("down")

    def check(self, test):
        self.check_calls()
        # Jobs go on changing; the emulator stops them, so that there is an end to compare.
        self.emulator.call("POST", "/emulator/clock", {"time_scale": 0})
        self.settle()
        replica = self.replicas[0]

        def complete():
            jobs = {job.name: job.etag for job in self.listed()}
            return all(watcher.known == jobs for watcher in self.watchers)
        try:
            wait_until("every watcher to know what lists show", complete, seconds=60, step=0.2)
        except AssertionError as error:
            jobs = {job.name: job.etag for job in self.listed()}
            for watcher in self.watchers:
                lacks = {name: (etag, watcher.known.get(name)) for name, etag in jobs.items() if watcher.known.get(name) != etag}
                if lacks or len(jobs) != len(watcher.known):
                    self.note_wrong(f"{error}: watcher {watcher.number} lacks {list(lacks.items())[:5]} and has {len(watcher.known)} jobs")
        self.check_histories()
        if self.losses:
            self.check_after_a_loss()
            # Until its details were read, a job that was lost and came back is known by its name alone.
            for submission in self.submissions:
                self.seen.pop(submission.display_name, None)
        super().check(test)

    def check_calls(self):
        """Two databases at once cannot share a limit; but before and after, calls of both count."""
        allowed = CALLS_A_MINUTE * (1 if self.has_leader() else len(self.replicas))
        calls = collections.Counter(dict(self.emulator.call("GET", "/emulator/seconds")))
        for second in calls:
            two = any(second < end + 1 and second + 60 > start for start, end in self.two_primaries)
            count = sum(calls[second + n] for n in range(60))
            if count > allowed * (1 + two):
                self.note_wrong(f"Segmind had {count} calls in the minute after {second}, and {allowed * (1 + two)} are allowed; two primaries: "
                                f"{self.two_primaries}")
                return

    def check_histories(self):
        """Holds what each was told against all that was ever committed, lost or not."""
        polled = set(self.polled)  # Watchers go on; what they see from here on is not in what is read then.
        self.histories = fleet_history.Histories(self.ended, fleet_history.History.read(self.primary))
        self.changes_of_leaders = self.histories.check_writers(polled)
        self.terms = len({(change.leader, change.term) for change in self.histories.by_etag.values()})
        self.check_limits()
        for watcher in self.watchers:
            for when, why, etag in watcher.restarts:
                if not self.losses or etag is not None and not self.is_missing(etag, when):
                    self.note_wrong(f"watcher {watcher.number} was restarted ({why}), and {etag}, the last change that it saw, was never lost")
        for session in self.sessions:
            for name in session.not_found:
                if name.rsplit("/", 1)[-1] not in self.histories.lost_jobs:
                    self.note_wrong(f"session {session.number}: NOT_FOUND of {name}, which was acknowledged and never lost")
            if session.losses and not self.histories.lost_changes:
                self.note_wrong(f"session {session.number} was told {session.losses} times that something was lost, and nothing was")
        for labeller in self.labellers:
            self.check_labels(labeller)

    def is_missing(self, etag, when):
        """Whether some replica's database lacked this change then: it was lost, or the replica had stayed behind with the old one of two primaries."""
        two = any(start < when < (end or when) + 1 for start, end in self.two_primaries)
        return etag in self.histories.lost_changes or two and any(etag not in before.etags for before in self.ended)

    def check_labels(self, labeller):
        """Of what was acknowledged, the last that the record still has is there, or what was asked for later."""
        acked = [count for count, etag in labeller.acks if not etag or etag in self.histories.left.etags]
        if labeller.job is None or (len(acked) == 1 and self.losses):
            return
        job = self.replicas[0].stub.GetFineTune(svc.GetFineTuneRequest(name=labeller.job), timeout=10)
        if not acked[-1] <= int(job.labels.get(f"count-{labeller.number}", "0")) <= labeller.count:
            self.note_wrong(f"labeller {labeller.number} was told {acked[-1]}, and {job.labels} is there")

    def check_limits(self):
        """No caller has made more in a day than it may, nor by what each database knew; submissions that a failover lost and that no gateway was left
        to tell of count for nobody."""
        limits = dict.fromkeys(self.spent, CREATES_A_DAY)
        self.untold = self.histories.check_limits(limits, self.ends)
        self.wrong += self.histories.wrong
        made = {submit["body"]["instance_prompt"].rsplit(" ", 1)[-1] for submit in self.emulator.submits()}
        for who, submissions in self.spent.items():
            count = sum(1 for submission in submissions if submission.request_id in made - self.untold)
            if count > CREATES_A_DAY:
                self.note_wrong(f"{who} has made {count} jobs, and may make {CREATES_A_DAY} a day")
        self.limits_reached = sum(1 for submissions in self.spent.values() if any(s.refusal == "CLIENT_QUOTA_EXCEEDED" for s in submissions))

    limits_reached = changes_of_leaders = terms = 0
    histories, untold = fleet_history.Histories([], fleet_history.History([], [])), frozenset()

    def check_after_a_loss(self):
        """Every caller asks once more, as one may that has lost the answer: Segmind gets no second job for it."""
        before = len(self.emulator.submits())
        for submission in self.submissions:
            if submission.job is not None:
                submission.job = None
                self.submit_again(submission)
        after = self.emulator.submits()
        if len(after) != before:
            self.note_wrong(f"{len(after) - before} jobs were made by repeating what had been answered before the loss")

    def submit_again(self, submission):
        end = time.monotonic() + 60
        while self.call(submission, 20) == "again":
            if time.monotonic() > end:
                self.note_wrong(f"{submission.request_id}: no final answer after the loss")
                return

    def check_one(self, submission, taken, listed):
        if not self.losses:
            super().check_one(submission, taken, listed)
        elif len(taken) > 1:
            self.wrong.append(f"{submission.request_id}: Segmind has it {len(taken)} times: {taken}")
        elif len(taken) == 1 and len([job for job in listed if job.upstream_id in taken]) != 1:
            self.wrong.append(f"{submission.request_id}: Segmind has {taken}, and lists show {listed}")

    def totals(self):
        return {**super().totals(), "watched": sum(w.changes for w in self.watchers), "streams": sum(w.streams for w in self.watchers),
                "session reads": sum(s.reads for s in self.sessions), "labels": sum(l.acks[-1][0] for l in self.labellers),
                "limits reached": self.limits_reached, "changes that only a leader makes": self.changes_of_leaders, "terms": self.terms,
                "histories": len(self.histories.all), "changes lost": len(self.histories.lost_changes),
                "submissions lost": sum(len({intent.request_id for intent in lost.intents}) for lost in self.histories.lost),
                "told too late": len(self.untold)}


def in_words(totals):
    return ", ".join(f"{count} {what}" for what, count in totals.items())
