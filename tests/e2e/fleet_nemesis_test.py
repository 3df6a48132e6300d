"""Three replicas on one PostgreSQL while everything around them fails: no job twice, none lost, no change missed, nothing goes back.

FINETUNE_NEMESIS says for how many seconds each world is hurt (default 10; 40 minutes at night), FINETUNE_SEED in which order.
"""

import collections
import os
import pathlib
import random
import signal
import tempfile
import threading
import time
import unittest
import uuid

import grpc

import fleet_world
import postgres
from fleet_world import FleetWorld, in_words
from harness import Emulator, EndToEnd, job, svc, wait_until

NIGHTLY = bool(os.environ.get("FINETUNE_NIGHTLY"))
SECONDS = float(os.environ.get("FINETUNE_NEMESIS", 2400 if NIGHTLY else 10))
SEED = int(os.environ.get("FINETUNE_SEED", random.randrange(1 << 30)))


class Nemesis:
    """One fault at a time, or two; each is a method that hurts, waits, and mends."""

    def __init__(self, world, seed):
        self.world, self.chance = world, random.Random(seed)
        self.done = collections.Counter()

    def some(self, low, high):
        time.sleep(self.chance.uniform(low, high))

    def replica(self):
        return self.chance.choice(self.world.replicas)

    # --- processes

    def kill_a_replica(self):
        replica = self.replica()
        replica.end()
        self.some(0, 4)
        replica.start()

    def kill_all_replicas(self):
        for replica in self.world.replicas:
            replica.end()
        for replica in self.world.replicas:
            replica.start()

    def replace_a_replica(self):
        replica = self.replica()
        replica.end(seconds=40)
        replica.start()

    def pause_a_replica(self):
        replica = self.replica()
        replica.signal(signal.SIGSTOP)
        self.some(0.2, 12)
        replica.signal(signal.SIGCONT)

    def pause_one_of(self, pids):
        pid = self.chance.choice(pids)
        try:
            os.kill(pid, signal.SIGSTOP)
            self.some(0.2, 8)
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass

    def pause_a_backend(self):
        if backends := self.world.primary.backends():
            self.pause_one_of(backends)

    def pause_the_database(self):
        self.world.primary.signal_all(signal.SIGSTOP)
        self.some(0.2, 8)
        self.world.primary.signal_all(signal.SIGCONT)

    def pause_a_process_of_the_database(self):
        """Any: one that writes the log or the tables, one that sends the log, or one that serves a gateway."""
        self.pause_one_of([self.world.primary.popen.pid, *self.world.primary.processes()])

    def pause_segmind(self):
        self.world.emulator.popen.send_signal(signal.SIGSTOP)
        self.some(0.2, 6)
        self.world.emulator.popen.send_signal(signal.SIGCONT)

    def end_a_backend(self):
        backends = self.world.primary.backends()
        if backends:
            self.world.primary.sql(f"SELECT pg_terminate_backend({self.chance.choice(backends)})", check=False)

    def end_all_backends(self):
        self.world.primary.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'finetune-gateway%'",
                               check=False)

    def crash_the_database(self):
        self.world.primary.kill()
        self.some(0, 3)
        self.world.primary.start()

    def fill_the_databases_disk(self):
        """The server may end for it, and is started again by whoever made room."""
        disk = self.world.primary.disk
        disk.fill(left=self.chance.randint(0, 1 << 20))
        self.some(0.5, 6)
        disk.free()
        self.world.primary.come_back()

    OF_DISKS = [fill_the_databases_disk]

    # --- links

    def hurt(self, link, hurt, low=0.2, high=9):
        hurt(link)
        self.some(low, high)
        link.heal()

    def cut_from_the_database(self):
        self.hurt(self.replica().database, lambda link: link.cut())

    def cut_all_from_the_database(self):
        for replica in self.world.replicas:
            replica.database.cut()
        self.some(0.2, 6)
        for replica in self.world.replicas:
            replica.database.heal()

    def lose_questions_to_the_database(self):
        self.hurt(self.replica().database, lambda link: link.blackhole("up"))

    def lose_answers_of_the_database(self):
        self.hurt(self.replica().database, lambda link: link.blackhole("down"))

    def break_off(self, link):
        link.stop_after(self.chance.choice(("up", "down")), self.chance.randint(1, 4000))
        self.some(0.5, 8)
        link.reset()
        link.heal()

    def break_off_in_a_message(self):
        self.break_off(self.replica().database)

    def break_off_in_a_message_of_segmind(self):
        self.break_off(self.replica().segmind)

    def break_off_in_a_message_of_callers(self):
        self.break_off(self.replica().door)

    def delay_the_database(self):
        self.hurt(self.replica().database, lambda link: link.slow(self.chance.uniform(0.02, 0.3)))

    def delay_segmind(self):
        self.hurt(self.replica().segmind, lambda link: link.slow(self.chance.uniform(0.05, 1.5)))

    def delay_callers(self):
        self.hurt(self.replica().door, lambda link: link.slow(self.chance.uniform(0.02, 0.5)))

    def reset_connections_to_the_database(self):
        self.replica().database.reset()

    def cut_from_segmind(self):
        self.hurt(self.replica().segmind, lambda link: link.cut())

    def lose_answers_of_segmind(self):
        self.hurt(self.replica().segmind, lambda link: link.blackhole("down"))

    def cut_from_callers(self):
        self.hurt(self.replica().door, lambda link: link.cut(), high=3)

    # --- Segmind and the clocks

    def segmind_loses_answers(self):
        self.world.emulator.fault("submit", self.chance.choice(("lost_answer", "close_before", "error_after")), count=3)

    def segmind_fails(self):
        self.world.emulator.fault("list", "status", code=503, count=3)

    def set_a_clock(self):
        replica = self.replica()
        replica.set_clock(self.chance.choice((-60, 60)))
        self.some(1, 8)
        replica.set_clock(0)

    # --- two at once

    def hurt_twice(self):
        """Two links, or the clocks and a link, at the same time; they may be those of one replica."""
        first, second = self.chance.sample(self.MILD, 2)
        for fault in (first, second):
            self.done[fault.__name__.replace("_", " ")] += 1
            self.world.remember(fault.__name__)
        beside = threading.Thread(target=first, args=(self,))
        beside.start()
        second(self)
        beside.join()

    # --- the standby

    def pause_the_standby(self):
        self.world.standby.signal_all(signal.SIGSTOP)
        self.some(0.2, 8)
        self.world.standby.signal_all(signal.SIGCONT)

    def delay_the_standby(self):
        self.hurt(self.world.replication, lambda link: link.slow(self.chance.uniform(0.02, 0.3)))

    def standby_goes_away(self):
        self.world.replication.blackhole("up", "down")
        self.some(0.5, 8)
        self.world.replication.heal()

    def fail_over(self):
        """The primary dies; a synchronous standby has all that was acknowledged."""
        may_lose = self.world.standby_mode == "asynchronous"
        self.world.losses += may_lose
        self.world.primary.kill()
        old = self.world.fail_over()
        self.some(0.5, 2)
        if may_lose:
            self.world.keep_history(old.data)
        old.remove()
        self.world.add_standby()

    # --- what was acknowledged is lost

    def lose_the_tail_in_a_failover(self):
        self.world.lose_the_tail()
        self.some(0.5, 5)
        self.fail_over()

    def put_a_snapshot_back(self):
        server = self.world.primary
        server.signal_all(signal.SIGSTOP)
        server.snapshot("snapshot")
        server.signal_all(signal.SIGCONT)
        self.some(0.5, 5)
        self.world.losses += 1
        server.kill()
        server.put_back("snapshot")
        server.start()
        self.world.keep_history(server.put_aside)
        # It has seen more than the primary now.
        self.world.standby.remove()
        self.world.add_standby()

    def have_two_primaries(self):
        """One replica stays with the old one for a while, and what it writes there is lost."""
        self.world.losses += 1
        old = self.world.fail_over(stay_behind=1)
        self.some(0.5, 5)
        self.world.have_one_primary()
        old.kill()
        self.world.keep_history(old.data)
        old.remove()
        self.world.add_standby()

    MILD = [pause_a_replica, pause_a_backend, end_a_backend, end_all_backends, cut_from_the_database, cut_all_from_the_database,
            lose_questions_to_the_database, lose_answers_of_the_database, break_off_in_a_message, delay_the_database,
            reset_connections_to_the_database, cut_from_segmind, lose_answers_of_segmind, delay_segmind, cut_from_callers, delay_callers,
            segmind_loses_answers, segmind_fails, set_a_clock, pause_segmind]
    ALONE = [*MILD, kill_a_replica, kill_all_replicas, replace_a_replica, pause_the_database, pause_a_process_of_the_database,
             crash_the_database, break_off_in_a_message_of_segmind, break_off_in_a_message_of_callers, hurt_twice, hurt_twice]
    WITH_STANDBY = [*ALONE, standby_goes_away, standby_goes_away, pause_the_standby, delay_the_standby, fail_over, fail_over]
    WITH_LOSSES = [*ALONE, standby_goes_away, pause_the_standby, fail_over, lose_the_tail_in_a_failover, lose_the_tail_in_a_failover,
                   put_a_snapshot_back, put_a_snapshot_back, have_two_primaries]

    def run(self, seconds, faults):
        """Each kind once, in any order, before any of them again; for a minute longer where nothing was acknowledged meanwhile."""
        if self.world.primary.disk is not None:
            faults = [*faults, *self.OF_DISKS]
        end, before = time.monotonic() + seconds, len(self.world.acked)
        deck = []
        while time.monotonic() < end + 60 * (len(self.world.acked) == before) and not self.world.wrong:
            if not deck:
                deck = self.chance.sample(faults, len(faults))
            fault = deck.pop()
            self.done[fault.__name__.replace("_", " ")] += 1
            self.world.remember(fault.__name__)
            fault(self)
            self.some(0, 1)


def report(what, world, nemesis):
    print(f"\n{what} (seed {SEED}): {in_words(world.totals())}; hurt by {in_words(dict(sorted(nemesis.done.items())))}", flush=True)


@unittest.skipIf(fleet_world.missing(), fleet_world.missing())
class Fleet(EndToEnd):
    def world(self, *flags, time_scale=20, **more):
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        emulator = Emulator(folder, "--check_datasets=false", time_scale=time_scale)
        self.processes.append(emulator)
        world = FleetWorld(folder, emulator, *flags, **more)
        self.addCleanup(world.end)
        return world.start_all()


class Hurt(Fleet):
    def play(self, what, faults, **more):
        world = self.world(own_disk=postgres.Disk.missing() is None, limited=True, **more).load()
        wait_until("some jobs", lambda: len(world.acked) >= 3)
        nemesis = Nemesis(world, SEED)
        nemesis.run(SECONDS, faults)
        world.calm()
        world.check(self)
        report(what, world, nemesis)
        self.assertGreater(len(world.acked), 3)
        return world

    def test_on_one_server(self):
        self.play("One server", Nemesis.ALONE)

    def test_with_a_synchronous_standby(self):
        self.play("A synchronous standby", Nemesis.WITH_STANDBY, standby="synchronous")

    def test_where_acknowledged_commits_are_lost(self):
        """All of it, and again and again the database forgets what it has said. Whoever saw that starts over; nothing is made twice."""
        world = self.play("Lost commits", Nemesis.WITH_LOSSES, standby="asynchronous")
        for watcher in world.watchers:
            self.assertLessEqual({reason for _, reason, _ in watcher.restarts}, {"OTHER_HISTORY"})


class Lost(Fleet):
    """Commits that were acknowledged are gone: no job is made twice, none is forgotten, and whoever saw them starts over."""

    def some_more(self, world, count=3):
        before = len(world.acked)
        wait_until("more jobs to be acknowledged", lambda: len(world.acked) >= before + count, seconds=60)

    def finish(self, what, world):
        self.some_more(world)
        world.calm()
        world.check(self)
        report(what, world, Nemesis(world, SEED))
        for watcher in world.watchers:
            self.assertLessEqual({reason for _, reason, _ in watcher.restarts}, {"OTHER_HISTORY"})

    def test_a_failover_that_loses_the_tail(self):
        world = self.world(standby="asynchronous").load()
        self.some_more(world)
        world.lose_the_tail()
        self.some_more(world)
        world.losses += 1
        world.primary.kill()
        world.keep_history(world.fail_over().data)
        self.finish("A lost tail", world)

    def test_a_snapshot_that_is_put_back(self):
        world = self.world().load()
        self.some_more(world)
        server = world.primary
        server.signal_all(signal.SIGSTOP)
        server.snapshot("snapshot")
        server.signal_all(signal.SIGCONT)
        self.some_more(world)
        world.losses += 1
        server.kill()
        server.put_back("snapshot")
        server.start()
        world.keep_history(server.put_aside)
        self.finish("A snapshot that was put back", world)

    def test_a_submission_that_only_a_dead_gateway_knew(self):
        """The failover lost it, and nobody is left who has seen it: its caller repeats it elsewhere."""
        world = self.world(standby="asynchronous", replicas=2)
        dead, alive = world.replicas

        def create(replica, request_id, seconds=20):
            return replica.stub.CreateFineTune(svc.CreateFineTuneRequest(request_id=request_id, fine_tune=job(name="job")), timeout=seconds)

        def create_once_it_may(replica, request_id):
            refused = []
            end = time.monotonic() + 90
            while True:
                try:
                    return create(replica, request_id), refused
                except grpc.RpcError as error:
                    self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE, error.details())
                    self.assertLess(time.monotonic(), end, error.details())
                    refused.append(error.details())
                    time.sleep(0.2)

        create(dead, str(uuid.uuid4()))
        wait_until("the standby to have all", lambda: world.primary.sql(
            "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()").stdout.strip() == "1")
        world.lose_the_tail()
        alive.database.cut()
        request_id = str(uuid.uuid4())
        made = create(dead, request_id)
        dead.end()
        world.primary.kill()
        world.fail_over()
        alive.database.heal()
        found, refused = create_once_it_may(alive, request_id)
        self.assertEqual(found.upstream_id, made.upstream_id)
        self.assertTrue(any("may have been made" in why for why in refused), refused)
        self.assertEqual(len(world.emulator.submits()), 2)
        # And then it is over.
        create_once_it_may(alive, str(uuid.uuid4()))
        create(alive, str(uuid.uuid4()))
        self.assertEqual(len(world.emulator.submits()), 4)
        self.assertEqual(world.emulator.call("GET", "/emulator/duplicates"), [])

    def test_two_primaries_at_once(self):
        """The standby was promoted while the old primary lives, and one replica goes on with that for a while."""
        world = self.world(standby="asynchronous").load()
        self.some_more(world)
        world.losses += 1
        old = world.fail_over(stay_behind=1)
        self.some_more(world)
        world.have_one_primary()
        old.kill()
        world.keep_history(old.data)
        self.finish("Two primaries", world)


if __name__ == "__main__":
    unittest.main()
