"""A gateway that is killed again and again, callers that never give up, and an account of what became of each request_id.

Segmind's side of the account is the emulator's: a job is counted for a request_id by the instance_prompt that it was made with.
"""

import os
import pathlib
import threading
import time
import uuid

import grpc

from harness import Gateway, State, ft, reason_of, svc, wait_until

# Answers after which no job was made, and the same request_id may try again.
REFUSALS = {"UPSTREAM_REJECTED", "UPSTREAM_CREDITS_EXHAUSTED", "UPSTREAM_RATE_LIMITED", "UPSTREAM_CREDENTIAL_REJECTED",
            "UPSTREAM_RETIRED", "CLIENT_QUOTA_EXCEEDED"}
# The channel's own word for a gateway that died.
BROKEN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
FLAGS = ("--settle_lists", "3", "--settle_time", "1s", "--active_poll_interval", "100ms", "--idle_poll_interval", "300ms",
         "--submit_timeout", "2s")


class Killed(Exception):
    """The gateway was killed before it listened."""


class WorldEnded(Exception):
    """No gateway will come any more."""


class MortalGateway(Gateway):
    """A gateway that may be killed so long after its start, whatever it is doing then."""

    def __init__(self, *args, dies_after=None, **more):
        self.dies_after = dies_after
        super().__init__(*args, **more)

    def ports(self, path):
        if self.dies_after is not None:
            threading.Timer(self.dies_after, self.popen.kill).start()
        try:
            return super().ports(path)
        except AssertionError:
            if self.dies_after is None or self.popen.poll() != -9:
                raise
            os.unlink(self.log_path)
            raise Killed from None


class Submission:
    """One request_id and what its caller was told."""

    def __init__(self, metadata=None):
        self.metadata = metadata  # Of each of its calls: who asks.
        self.request_id = str(uuid.uuid4())
        self.display_name = f"crash-{self.request_id[:8]}"
        self.job = None  # The final answer: a job, or ...
        self.refusal = None  # ... the reason why there is none.
        self.history = []  # All answers, with their times.
        self.ended = False  # Its caller asks no more.

    def request(self, emulator):
        return svc.CreateFineTuneRequest(request_id=self.request_id, fine_tune=ft.FineTune(
            display_name=self.display_name, data_source_uri=f"{emulator.url}/cats.zip",
            instance_prompt=f"a photo of TOK cat {self.request_id}", trigger_word="TOK", base_model="FAST_FLUX", theme="subject"))


class World:
    """One store and one emulator, and the gateways that live and die on them. Thread-safe but for start and kill."""

    def __init__(self, folder, emulator, *flags, webhooks=False):
        self.folder = pathlib.Path(folder)
        self.webhooks = webhooks
        self.emulator = emulator
        self.flags = FLAGS + flags
        self.lock = threading.Condition()
        self.gateway = None
        self.submissions = []
        self.wrong = []  # What must not happen, in words.
        self.seen = {}  # request_id → name → upstream ids, as any caller or watcher ever saw them.
        self.kills = self.calls = self.not_submitted = self.refused = self.false_failures = 0
        self.stopped = False

    # --- the gateway

    def start(self, *flags, dies_after=None):
        try:
            gateway = MortalGateway(self.folder, self.emulator.url, *self.flags, *flags, dies_after=dies_after)
        except Killed:
            self.kills += 1
            return None
        if self.webhooks:
            self.emulator.call("POST", "/emulator/settings", {"webhook_url": gateway.webhook_url})
        with self.lock:
            self.gateway = gateway
            self.lock.notify_all()
        return gateway

    def kill(self, draining=None):
        """With SIGKILL; or in the middle of its drain, so long after a SIGTERM."""
        with self.lock:
            gateway, self.gateway = self.gateway, None
        if gateway is None:
            return
        if draining is not None and gateway.popen.poll() is None:
            gateway.popen.terminate()
            time.sleep(draining)
        code = gateway.kill()
        if code != -9 and (draining is None or code != 0):
            self.note_wrong(f"the gateway ended by itself with {code}: {gateway.log[-3000:]}")
        self.kills += 1
        self.bury(gateway)

    def bury(self, gateway):
        gateway.close()
        with open(self.folder / "gateways.log", "a") as log:
            log.write(gateway.log)
        os.unlink(gateway.log_path)

    def stub(self):
        """Of the gateway that lives; waits for one."""
        with self.lock:
            while self.gateway is None:
                if self.stopped:
                    raise WorldEnded
                self.lock.wait(1)
            return self.gateway.stub

    # --- callers

    def submit(self, submission, chance, gives_up=0.5, longest=4.0):
        """Calls with one request_id until the answer is final; with chance `gives_up`, a refusal is."""
        with self.lock:
            self.submissions.append(submission)
        while True:
            outcome = self.call(submission, chance.uniform(0.3, longest))
            if outcome == "again" or (outcome == "none" and chance.random() >= gives_up):
                time.sleep(chance.uniform(0, 0.03))  # As a caller's backoff would.
                continue
            submission.ended = True
            return submission

    def call(self, submission, timeout):
        """One call: `again`, `none` (there is no job, for a reason), `job`."""
        with self.lock:
            self.calls += 1

        def remember(what):
            submission.history.append(f"{time.strftime('%H:%M:%S', time.gmtime())} {what}")

        try:
            job = self.stub().CreateFineTune(submission.request(self.emulator), timeout=timeout, metadata=submission.metadata)
        except ValueError:  # The channel was closed meanwhile.
            return "again"
        except grpc.RpcError as error:
            reason = reason_of(error)
            remember(f"{error.code().name} {reason} {error.details()}")
            if reason in REFUSALS:
                self.expect_no_job(submission, reason)
                submission.refusal = reason
                return "none"
            if error.code() not in BROKEN:
                self.note_wrong(f"{submission.request_id}: {error.code()} {reason} {error.details()}")
            return "again"
        self.note(job)
        remember(f"{job.name} {State.Name(job.state)} {job.upstream_id}")
        if job.state == State.SUBMIT_UNKNOWN:
            return "again"
        if job.state == State.FAILED and job.failure.reason == ft.Failure.NOT_SUBMITTED:
            with self.lock:
                self.not_submitted += 1
            self.expect_no_job(submission, "NOT_SUBMITTED")
            submission.refusal = "NOT_SUBMITTED"
            return "none"
        submission.job = job
        submission.refusal = None
        return "job"

    def expect_no_job(self, submission, reason):
        taken = [s for s in self.emulator.call("GET", f"/emulator/submits?name={submission.display_name}") if s["taken"]]
        with self.lock:
            self.refused += reason != "NOT_SUBMITTED"
            if taken:
                self.false_failures += 1
                self.wrong.append(f"{submission.request_id} was told {reason}, and Segmind has {taken}")

    # --- what is seen

    def note_wrong(self, what):
        with self.lock:
            self.wrong.append(what)

    @staticmethod
    def whose(job):
        """The request_id that it was made for; Segmind may have changed its name, and not its prompt."""
        return job.instance_prompt.rsplit(" ", 1)[-1] or job.display_name

    def note(self, job):
        with self.lock:
            ids = self.seen.setdefault(self.whose(job), {}).setdefault(job.name, set())
            if job.upstream_id:
                ids.add(job.upstream_id)

    def watch(self):
        """Watches all jobs, through all deaths, until the world stops."""
        token = ""
        while not self.stopped:
            try:
                for response in self.stub().WatchFineTunes(
                        svc.WatchFineTunesRequest(resume_token=token, view=svc.FINE_TUNE_VIEW_FULL), timeout=120):
                    if response.WhichOneof("event") == "change":
                        self.note(response.change.fine_tune)
                    token = response.resume_token or token
            except (grpc.RpcError, ValueError):
                time.sleep(0.02)
            except WorldEnded:
                return

    # --- the account

    def listed(self):
        jobs, page = [], ""
        while True:
            answer = self.stub().ListFineTunes(
                svc.ListFineTunesRequest(page_size=500, page_token=page, view=svc.FINE_TUNE_VIEW_FULL), timeout=30)
            jobs += answer.fine_tunes
            page = answer.next_page_token
            if not page:
                return jobs

    def check(self, test):
        """Holds every caller's last answer against Segmind's own count and against what lists and streams show."""
        # All is settled, and every job that Segmind has is shown.
        taken = {}
        for submit in self.emulator.submits():
            taken.setdefault(submit["body"]["instance_prompt"].rsplit(" ", 1)[-1], []).append(submit["id"])
        ids = {i for found in taken.values() for i in found}

        def settled():
            jobs = self.listed()
            open_ones = any(job.state == State.SUBMIT_UNKNOWN for job in jobs)
            return jobs if ids <= {job.upstream_id for job in jobs} and not open_ones else None

        jobs = wait_until("lists to show all jobs, settled", settled, seconds=60)
        for job in jobs:
            self.note(job)
        listed = {}
        for job in jobs:
            listed.setdefault(self.whose(job), []).append(job)
        known = {s.request_id for s in self.submissions}
        self.wrong += [f"a job for {who} is shown, and nobody asked for it" for who in self.seen if who not in known]
        for submission in self.submissions:
            self.check_one(submission, taken.get(submission.request_id, []), listed.get(submission.request_id, []))
        if self.emulator.call("GET", "/emulator/duplicates"):
            self.wrong.append(f"names taken twice: {self.emulator.call('GET', '/emulator/duplicates')}")
        self.accepted = sum(1 for s in self.submissions if s.job)
        self.duplicates = sum(len(found) - 1 for found in taken.values() if len(found) > 1)
        self.lost_answers = sum(1 for job in jobs if job.upstream_id and any(
            transition.source == ft.StateTransition.RECONCILE for transition in job.transitions))
        if self.wrong:
            self.end()
            test.fail("\n".join(self.wrong + self.log_of_wrong()))

    def check_one(self, submission, taken, listed):
        who = submission.request_id
        wrong = self.wrong.append
        if len(taken) > 1:
            wrong(f"{who}: Segmind has it {len(taken)} times: {taken}")
        if submission.job is None and taken:
            wrong(f"{who}: refused ({submission.refusal}), and Segmind has {taken}")
        if submission.job is not None:
            if not taken:
                wrong(f"{who}: its caller has {submission.job.name}, and Segmind has nothing")
            now = [job for job in listed if job.name == submission.job.name]
            if len(now) != 1 or now[0].upstream_id not in taken or submission.job.upstream_id not in ("", now[0].upstream_id):
                wrong(f"{who}: Segmind has {taken}, its caller has {submission.job.name} {submission.job.upstream_id}, "
                      f"lists have {now}")
        for job in listed:
            if not job.upstream_id and not (job.state == State.FAILED and job.failure.reason == ft.Failure.NOT_SUBMITTED):
                wrong(f"{who}: lists show {job.name} in {State.Name(job.state)} without Segmind's id")
        real = {name: ids for name, ids in self.seen.get(submission.request_id, {}).items() if ids}
        if len(real) > 1 or any(ids != set(taken) for ids in real.values()):
            wrong(f"{who}: one job was seen as {real}, Segmind has {taken}")

    def unanswered(self):
        return [s for s in self.submissions if not s.ended]

    def log_of_wrong(self):
        return self.log_of([s for s in self.submissions if any(s.request_id in what for what in self.wrong)])

    def log_of(self, found):
        """What callers of these were told and the gateways logged about them."""
        told = [f"{s.request_id} was told {answer}" for s in found for answer in s.history]
        if self.gateway is not None:
            told.append(f"the gateway that lives: {self.gateway.log[-3000:]}")
        with open(self.folder / "gateways.log") as log:
            return told + [line.rstrip() for line in log if any(s.request_id in line for s in found)][:100]

    def undecided(self):
        """Jobs of which an operator was told that it cannot be decided whether Segmind has them. At the end all are decided: check sees to it."""
        told = "it cannot be told whether Segmind has a submission"
        logs = [(self.folder / "gateways.log").read_text(errors="replace") if (self.folder / "gateways.log").exists() else ""]
        if self.gateway is not None:
            logs.append(self.gateway.log)
        return len({line.split('"fine_tune":"')[1].split('"')[0] for log in logs for line in log.splitlines() if told in line})

    def totals(self):
        return {"submissions": len(self.submissions), "accepted": self.accepted, "calls": self.calls, "crashes": self.kills,
                "lost answers": self.lost_answers, "refusals": self.refused, "not submitted": self.not_submitted, "told undecided for a while": self.undecided(),
                "duplicates": self.duplicates, "false failures": self.false_failures}

    def end(self):
        self.stopped = True
        with self.lock:
            gateway, self.gateway = self.gateway, None
        if gateway is not None:
            gateway.kill()
            self.bury(gateway)
