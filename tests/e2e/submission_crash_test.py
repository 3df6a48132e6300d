"""A submission happens once, wherever in it the gateway is killed, whatever becomes of Segmind's answers."""

import concurrent.futures
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import grpc

from crash_world import Submission, World
from harness import Emulator, EndToEnd, State, ft, reason_of, rpc, svc, wait_until

NIGHTLY = bool(os.environ.get("FINETUNE_NIGHTLY"))
CRASHES = int(os.environ.get("FINETUNE_CRASHES", 60))
# Longer ones make lists too long to be read often.
CRASHES_IN_A_WORLD = 100
WORLDS_AT_ONCE = 4
CALLERS = 8  # In each.
SEED = int(os.environ.get("FINETUNE_SEED", random.randrange(1 << 30)))


class CrashTest(EndToEnd):
    def world(self, *flags, time_scale=2000, webhooks=False):
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        emulator = Emulator(folder, "--check_datasets=false", time_scale=time_scale)
        self.processes.append(emulator)
        world = World(folder, emulator, *flags, webhooks=webhooks)
        self.addCleanup(world.end)
        return world


def may_trace():
    if not shutil.which("strace"):
        return False
    return subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0


class Assassin:
    """Kills a process when its thread of that name is about to enter a system call for the nth time."""

    def __init__(self, pid, thread, call, nth):
        self.pid = pid
        tid = next(int(task.name) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
                   if (task / "comm").read_text().strip() == thread)
        self.strace = subprocess.Popen(
            ["strace", "-qq", "-o", "/dev/null", "-p", str(tid), "-e", f"trace={call}",
             "-e", f"inject={call}:signal=SIGKILL:when={nth}"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.status = pathlib.Path(f"/proc/{pid}/task/{tid}/status")
        wait_until("strace to attach", self.attached, step=0.002)

    def attached(self):
        try:
            return f"TracerPid:\t{self.strace.pid}\n" in self.status.read_text()
        except FileNotFoundError:
            return True  # Attaching interrupts the call that the thread is in, and entering it again was the nth.

    def leave(self):
        self.strace.send_signal(signal.SIGTERM)
        self.strace.wait(30)


@unittest.skipUnless(may_trace(), "needs strace, and leave to trace")
class EveryStep(CrashTest):
    # On which threads the steps of a submission are taken. A kill is before a call; after a call is before the next.
    STEPS = [("recorder", "fdatasync", 1), ("recorder", "futex", 1), ("recorder", "pwrite64", 5), ("recorder", "sendto", 1),
             ("calls-0", "sendmsg", 1), ("curl", "connect", 1), ("curl", "sendto", 1), ("curl", "recvfrom", 1)]
    EVERY_STEP = [(thread, call, 1) for thread, call, _ in STEPS] + [
        ("calls-0", "futex", 1), ("calls-0", "epoll_wait", 1), ("curl", "poll", 1), ("curl", "futex", 1), ("tracker", "futex", 1)]

    def walk(self, world, thread, call, stride, fault=None):
        """Kills before the 1st, 2nd, … such call, each time in a submission of its own, until one passes unharmed."""
        chance = random.Random(SEED)
        for nth in range(1, 500, stride):
            gateway = world.gateway or world.start()
            wait_until("the gateway to answer", gateway.answers)
            world.emulator.clear_faults()
            if fault:
                world.emulator.fault("submit", fault)
            assassin = Assassin(gateway.popen.pid, thread, call, nth)
            submission = Submission()
            caller = threading.Thread(target=world.submit, args=(submission, chance), kwargs={"gives_up": 0}, daemon=True)
            caller.start()
            wait_until("the kill or the answer", lambda g=gateway: not caller.is_alive() or g.popen.poll() is not None, step=0.002)
            passed = gateway.popen.poll() is None
            assassin.leave()
            if not gateway.answers():
                world.kill()
                world.start()
            caller.join(60)
            self.assertFalse(caller.is_alive(), f"no answer after a kill at {thread} {call} {nth}")
            if passed:
                return nth - 1
        raise AssertionError("no submission passed")

    def run_steps(self, steps, *flags, fault=None):
        # Jobs are over at once, so that little but the submission happens.
        world = self.world("--settle_lists", "2", "--settle_time", "200ms", "--active_poll_interval", "50ms",
                           "--idle_poll_interval", "1h", *flags, time_scale=1000000)
        for thread, call, stride in steps:
            walked = self.walk(world, thread, call, stride, fault)
            # The intent and its outcome are two commits.
            self.assertGreaterEqual(walked, 2 if call == "fdatasync" else 1, f"{thread} did not call {call}")
        world.check(self)
        print(f"Killed at every step ({' '.join(flags) or 'markers'}, {fault or 'no fault'}):", in_words(world.totals()))

    def test_a_kill_at_every_step_of_a_submission(self):
        self.run_steps(self.EVERY_STEP if NIGHTLY else self.STEPS)

    def test_a_kill_at_every_durable_write_of_a_submission_whose_answer_is_lost(self):
        self.run_steps([("recorder", "fdatasync", 1)], fault="lost_answer")

    def test_a_kill_at_every_durable_write_of_a_submission_that_never_arrives(self):
        self.run_steps([("recorder", "fdatasync", 1)], fault="close_before")

    def test_a_kill_at_every_durable_write_and_at_the_post_without_markers(self):
        self.run_steps([("recorder", "fdatasync", 1), ("curl", "sendto", 1), ("curl", "recvfrom", 1)], "--markers=false")


class AnyMoment(CrashTest):
    """Kills at random, while Segmind misbehaves at random."""

    def faults(self, chance):
        submit = [
            ("lost_answer", {}), ("lost_answer", {"reset": True}), ("error_after", {"code": chance.choice([500, 502, 503, 504])}),
            ("latency", {"ms": chance.choice([20, 200, 1000, 2500])}), ("truncated", {}), ("truncated", {"content_length": "full"}),
            ("partial", {}), ("stall", {"ms": 2500}), ("close_before", {}), ("close_before", {"reset": True}), ("malformed", {}),
            ("empty", {}), ("html", {"act": True}), ("html", {}), ("status", {"code": 503}), ("status", {"code": 500, "act": True}),
            ("status", {"code": 400}), ("no_credits", {}), ("retired", {}),
            # What stands before Segmind answers for it, whether Segmind has taken the job or not; and its own word on credits.
            ("status", {"act": chance.random() < 0.8, **self.nobodys_word(chance)}),
            ("status", {"act": chance.random() < 0.8, **self.nobodys_word(chance)}), ("status", {"code": 402}),
            # Both shorter than what a submission has to be missing for.
            ("list_delay", {"seconds": 0.6}), ("list_delay", {"list_calls": 2})]
        reads = [("latency", {"ms": 150}), ("status", {"code": 503}), ("truncated", {}), ("lost_answer", {}), ("malformed", {})]
        for kind, more in chance.sample(submit, chance.randint(0, 3)):
            yield {"call": "submit", "kind": kind, "count": -1, "probability": chance.choice([0.2, 0.5, 1]), **more}
        if chance.random() < 0.2:
            kind, more = chance.choice(reads)
            yield {"call": chance.choice(["list", "list", "details"]), "kind": kind, "count": chance.randint(1, 3), **more}

    def nobodys_word(self, chance):
        body, content_type = chance.choice([("<html>x</html>", "text/html"), ("upstream request timeout", "text/plain"), ("", "text/plain")])
        return {"code": chance.choice([400, 401, 403, 404, 406, 410, 429, 500, 503]), "body": body, "content_type": content_type}

    def habits(self, chance):
        """How this Segmind writes names, and what its clocks say."""
        offset = chance.choice([0, -30, -3600, 45, 86400])
        return {"name_mangling": chance.choice(["", "", "upper", "title", "cut:20", "cut:30", "underscore", "space", "suffix:-v1", "prefix:u7_",
                                                "upper,underscore,cut:40,suffix:-v1"]),
                "clock_offset_seconds": offset, "date_offset_seconds": chance.choice([offset, 0]), "list_timestamps": chance.random() < 0.5,
                "list_order": chance.choice(["newest", "oldest"])}

    def paging(self, chance):
        return {"list_page_size": chance.choice([0, 0, 7, 40]),
                "list_paging": chance.choice(["silent", "has_more", "next_url", "next_path", "cursor", "page", "total", "link"])}

    def misbehave(self, world, chance, stop):
        while not stop.is_set():
            world.emulator.clear_faults()
            for fault in self.faults(chance):
                world.emulator.fault(**fault)
            world.emulator.call("POST", "/emulator/settings", self.paging(chance))
            stop.wait(chance.uniform(0.1, 0.8))
        world.emulator.clear_faults()
        world.emulator.call("POST", "/emulator/settings", {"list_page_size": 0})

    def submit_on_and_on(self, world, chance, stop):
        while not stop.is_set():
            world.submit(Submission(), chance)
            stop.wait(chance.uniform(0, 0.15))

    def crash_on_and_on(self, world, chance, crashes):
        while world.kills < crashes:
            if chance.random() < 0.15:
                world.start(dies_after=chance.uniform(0, 0.5))  # While it starts, or soon after.
                time.sleep(0.05)
            else:
                world.start()
                time.sleep(chance.choice([chance.uniform(0, 0.1), chance.uniform(0, 0.5), chance.uniform(0, 1.2)]))
            world.kill(draining=chance.uniform(0, 0.5) if chance.random() < 0.1 else None)

    def one_world(self, seed, crashes, *flags):
        chance = random.Random(seed)
        world = self.world(*flags, webhooks=True)
        world.emulator.call("POST", "/emulator/settings", self.habits(chance))
        stop = threading.Event()
        threading.Thread(target=world.watch, daemon=True).start()
        with concurrent.futures.ThreadPoolExecutor(CALLERS + 1) as pool:
            running = [pool.submit(self.misbehave, world, random.Random(chance.random()), stop)]
            running += [pool.submit(self.submit_on_and_on, world, random.Random(chance.random()), stop) for _ in range(CALLERS)]
            try:
                self.crash_on_and_on(world, chance, crashes)
                stop.set()
                world.start()
                # A list may end up as long as pages are, and then proves no absence until it is longer.
                if concurrent.futures.wait(running, 30).not_done:
                    world.submit(Submission(), chance)
                for one in running:
                    one.result(180)
            except BaseException as error:
                said = world.log_of(world.unanswered()) if isinstance(error, TimeoutError) else []
                world.end()
                if said:
                    self.fail("\n".join(["no final answer for", *said]))
                raise
            finally:
                stop.set()
        world.check(self)
        world.end()
        world.emulator.kill()
        return world.totals()

    def run_worlds(self, crashes, *flags):
        print(f"FINETUNE_SEED={SEED}")
        sum_of = {}
        begun = time.monotonic()
        worlds = [min(CRASHES_IN_A_WORLD, crashes - n) for n in range(0, crashes, CRASHES_IN_A_WORLD)]
        with concurrent.futures.ThreadPoolExecutor(WORLDS_AT_ONCE) as pool:
            running = [pool.submit(self.one_world, SEED + i, few, *flags) for i, few in enumerate(worlds)]
            for world in concurrent.futures.as_completed(running):
                for what, count in world.result().items():
                    sum_of[what] = sum_of.get(what, 0) + count
                print(f"Killed at any moment ({' '.join(flags) or 'markers'}), {time.monotonic() - begun:.0f} s:",
                      in_words(sum_of), flush=True)

    def test_kills_at_random(self):
        self.run_worlds(CRASHES * 2 // 3)

    def test_kills_at_random_without_markers(self):
        self.run_worlds(CRASHES // 3, "--markers=false")


class OneRequestId(CrashTest):
    def create(self, world, submission, timeout=20):
        """Over a connection of its own."""
        with grpc.insecure_channel(world.gateway.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            return rpc.FineTuneServiceStub(channel).CreateFineTune(submission.request(world.emulator), timeout=timeout)

    def check_hundred(self, *flags):
        world = self.world("--submit_timeout", "20s", *flags)
        submission = Submission()
        world.start().ready()
        world.emulator.fault("submit", "latency", ms=700)
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            jobs = list(pool.map(lambda _: self.create(world, submission), range(100)))
        self.assertEqual(len({job.name for job in jobs}), 1)
        self.assertEqual(len({job.upstream_id for job in jobs}), 1)
        self.assertEqual(world.emulator.calls("submit"), 1)
        # And again while it is killed in the middle of the next one.
        second = Submission()
        world.emulator.fault("submit", "latency", ms=1500)
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            answers_to = [pool.submit(world.submit, second, random.Random(i), longest=20) for i in range(100)]
            wait_until("the POST", lambda: len(world.emulator.submits()) == 2)
            world.kill()
            world.start()
            for answer in answers_to:
                answer.result(60)
        self.assertEqual(world.emulator.calls("submit"), 2)
        world.submissions = [submission, second]
        submission.job = jobs[0]
        world.check(self)

    def test_a_hundred_calls_at_once_make_one_post(self):
        self.check_hundred()

    def test_a_hundred_calls_at_once_make_one_post_without_markers(self):
        self.check_hundred("--markers=false")

    def test_a_request_id_means_the_same_after_a_restart(self):
        for flags in ((), ("--markers=false",)):
            with self.subTest(flags=flags):
                world = self.world(*flags)
                submission = Submission()
                world.start().ready()
                world.submit(submission, random.Random(SEED))
                world.kill()
                world.start()
                again = self.create(world, submission)
                self.assertEqual((again.name, again.upstream_id), (submission.job.name, submission.job.upstream_id))
                other = submission.request(world.emulator)
                other.fine_tune.instance_prompt += "!"
                error = self.refused(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED", world.stub().CreateFineTune, other)
                self.assertEqual(reason_of(error), "REQUEST_ID_REUSED")
                self.assertEqual(world.emulator.calls("submit"), 1)
                world.check(self)

    def test_a_lost_submission_does_not_get_the_job_of_another_that_asks_for_the_same(self):
        for flags in ((), ("--markers=false",)):
            with self.subTest(flags=flags):
                world = self.world("--submit_timeout", "20s", "--active_poll_interval", "50ms", *flags)
                world.start().ready()
                lost, late = Submission(), Submission()
                late.display_name = lost.display_name
                asked_by_lost, asked_by_late = lost.request(world.emulator), late.request(world.emulator)
                asked_by_late.fine_tune.CopyFrom(asked_by_lost.fine_tune)
                world.emulator.fault("submit", "close_before")
                with concurrent.futures.ThreadPoolExecutor(1) as pool:
                    unknown = pool.submit(world.stub().CreateFineTune, asked_by_lost, timeout=30)
                    wait_until("the outcome to be unknown", lambda w=world: any(j.state == State.SUBMIT_UNKNOWN for j in w.listed()))
                    world.emulator.fault("submit", "latency", ms=2500)
                    made = world.stub().CreateFineTune(asked_by_late, timeout=30)
                    absent = unknown.result(60)
                self.assertEqual([made.upstream_id], [s["id"] for s in world.emulator.submits()])
                self.assertNotEqual(absent.name, made.name)
                self.assertEqual((absent.state, absent.failure.reason), (State.FAILED, ft.Failure.NOT_SUBMITTED))

    def test_watchers_see_one_job_when_lists_are_faster_than_the_answer(self):
        for flags in ((), ("--markers=false",)):
            for patience in (20, 0.5):
                with self.subTest(flags=flags, patience=patience):
                    self.check_early_news(patience, "--active_poll_interval", "50ms", "--idle_poll_interval", "50ms", *flags)

    def test_watchers_see_one_job_when_webhooks_are_faster_than_the_answer(self):
        for flags in ((), ("--markers=false",)):
            for patience in (20, 0.5):
                with self.subTest(flags=flags, patience=patience):
                    self.check_early_news(patience, "--active_poll_interval", "1h", "--idle_poll_interval", "1h", *flags, webhooks=True)

    def check_early_news(self, patience, *flags, webhooks=False):
        world = self.world("--submit_timeout", "20s", *flags, webhooks=webhooks)
        gateway = world.start().ready()
        watcher = threading.Thread(target=world.watch, daemon=True)
        watcher.start()
        wait_until("the watcher", lambda: gateway.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=5).watcher_count == 1)
        world.emulator.fault("submit", "latency", ms=1500)
        submission = Submission()
        world.submissions.append(submission)
        # The impatient may learn that the outcome is unknown, or on a slow machine nothing.
        outcome = world.call(submission, patience)
        if patience == 20:
            self.assertEqual(outcome, "job")
        submission.job = self.create(world, submission)
        world.note(submission.job)
        world.check(self)
        self.assertEqual(list(world.seen[submission.request_id]), [submission.job.name])
        self.assertEqual(world.emulator.calls("submit"), 1)


def in_words(totals):
    return ", ".join(f"{count} {what}" for what, count in totals.items())


if __name__ == "__main__":
    unittest.main()
