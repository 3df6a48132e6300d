"""What a fleet's databases committed, in which order, by whom and under whose lead: of the record, and of each history that a failover or an old
snapshot ended.

Triggers note it within the commit, so that a copy of the data has just the notes of what it has.
"""

import dataclasses
import itertools

import postgres

# For so long at least new submissions wait for those who may have seen one that is lost: fleet_world's --settle_time and --submit_timeout, and 8 s.
CAUTION_SECONDS = 22
PREPARED, COUNTS_BELOW = 1, 4  # record.Intent.State: a new one, and those that count for a limit.

NOTES = """
CREATE TABLE IF NOT EXISTS public.written (number bigserial, at timestamptz DEFAULT clock_timestamp(), etag text, job text, writer text, leader text,
  term bigint);
CREATE TABLE IF NOT EXISTS public.asked (number bigserial, at timestamptz DEFAULT clock_timestamp(), writer text, seq bigint, caller text,
  request_id text, state bigint);
CREATE OR REPLACE FUNCTION public.note_writer() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
  INSERT INTO public.written (etag, job, writer, leader, term)
    SELECT to_hex(NEW.revision) || '-' || lpad(to_hex(m.era), 16, '0'), NEW.id, current_setting('application_name'),
      (SELECT name FROM finetune.members WHERE id = l.holder), l.term FROM finetune.leader AS l, finetune.meta AS m;
  RETURN NEW; END $$;
CREATE OR REPLACE TRIGGER note_writer AFTER INSERT ON finetune.changes FOR EACH ROW EXECUTE FUNCTION public.note_writer();
CREATE OR REPLACE FUNCTION public.note_asked() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
  INSERT INTO public.asked (writer, seq, caller, request_id, state)
    VALUES (current_setting('application_name'), NEW.seq, NEW.caller, NEW.request_id, NEW.state);
  RETURN NEW; END $$;
CREATE OR REPLACE TRIGGER note_asked AFTER INSERT OR UPDATE ON finetune.intents FOR EACH ROW EXECUTE FUNCTION public.note_asked();
"""


@dataclasses.dataclass(frozen=True)
class Change:
    """One of a job; `writer` and `leader` are names that end in a replica's number."""
    number: int
    at: float
    etag: str
    job: str
    writer: str
    leader: str
    term: int


@dataclasses.dataclass(frozen=True)
class Intent:
    """One state of a submission, as of commit `seq`."""
    number: int
    at: float
    writer: str
    seq: int
    caller: str
    request_id: str
    state: int

    @property
    def counts(self):
        return self.state < COUNTS_BELOW

    def is_new(self, counted):
        """Whether it was accepted with this commit, and not brought back; `counted`: request_id → whether it did before."""
        return self.state == PREPARED and not counted.get(self.request_id, False)


def number_of(name):
    return name.rsplit("-", 1)[-1]


class History:
    """All that one database has, in the order of its commits."""

    def __init__(self, changes, intents):
        self.changes = sorted(changes, key=lambda change: change.number)
        self.intents = sorted(intents, key=lambda intent: intent.number)
        self.etags = {change.etag for change in self.changes}

    @staticmethod
    def read(server):
        def rows(columns, table):
            text = server.sql(f"SELECT number, extract(epoch FROM at), {columns} FROM public.{table}").stdout
            return [line.split("|") for line in text.splitlines()]
        return History(
            [Change(int(number), float(at), etag, job, writer, leader, int(term))
             for number, at, etag, job, writer, leader, term in rows("etag, job, writer, leader, term", "written")],
            [Intent(int(number), float(at), writer, int(seq), caller, request_id, int(state))
             for number, at, writer, seq, caller, request_id, state in rows("writer, seq, caller, request_id, state", "asked")])

    @staticmethod
    def of_data(data, *settings):
        """Of a server that ended, whatever it was killed in."""
        server = postgres.Server(*settings, data=data)
        try:
            return History.read(server)
        finally:
            server.remove()

    def beyond(self, other):
        """What the other one does not have."""
        changes, intents = set(other.changes), set(other.intents)
        return History([c for c in self.changes if c not in changes], [i for i in self.intents if i not in intents])

    # --- what must hold in any one

    def wrong_terms(self):
        terms = [change.term for change in self.changes]
        if terms != sorted(terms):
            late = next(change for before, change in zip(self.changes, self.changes[1:]) if change.term < before.term)
            return [f"change {late.etag} of {late.job} was written by {late.writer} in term {late.term}, after one of a newer term"]
        return []

    def wrong_limits(self, limits):
        """`limits`: caller → new submissions that it may make. By what this database knew, no commit accepted one beyond them."""
        wrong = []
        states = {}  # Caller → request_id → whether it counts.
        for _, commit in itertools.groupby(self.intents, key=lambda intent: intent.seq):
            commit = [intent for intent in commit if intent.caller in limits]
            new = [intent for intent in commit if intent.is_new(states.get(intent.caller, {}))]
            for intent in commit:
                states.setdefault(intent.caller, {})[intent.request_id] = intent.counts
            for intent in new:
                count = sum(states[intent.caller].values())
                if count > limits[intent.caller]:
                    wrong.append(f"{intent.writer} accepted {intent.request_id} of {intent.caller}, which may make {limits[intent.caller]} a day "
                                 f"and has {count} then")
        return wrong


class Histories:
    """Those that ended, oldest first, and the one that is left."""

    def __init__(self, ended, left):
        self.all = [*ended, left]
        self.left = left
        self.by_etag = {}
        self.wrong = []
        for history in self.all:
            for change in history.changes:
                if self.by_etag.setdefault(change.etag, change) != change:
                    self.wrong.append(f"etag {change.etag} names {self.by_etag[change.etag]} and {change}")
            self.wrong += history.wrong_terms()
        self.lost = [before.beyond(after) for before, after in zip(self.all, self.all[1:])]
        self.lost_changes = {change.etag for lost in self.lost for change in lost.changes}
        self.lost_jobs = {change.job for lost in self.lost for change in lost.changes}

    def check_writers(self, etags):
        """These changes, which a read of Segmind told of, were written by whoever led. Returns how many there were."""
        count = 0
        for etag in etags:
            change = self.by_etag.get(etag)
            if change is None:
                self.wrong.append(f"a watcher saw change {etag}, and no database ever had it")
            elif change.writer.startswith("finetune-gateway-"):
                count += 1
                if number_of(change.writer) != number_of(change.leader):
                    self.wrong.append(f"change {etag} of {change.job}, which a read of Segmind told of, was written by {change.writer} while "
                                      f"{change.leader} led")
        return count

    def check_limits(self, limits, ends):
        """Each database kept the limits, and what it had lost was brought back before anything new of that caller was accepted.

        `ends`: (number, time) of each replica's end. Returns request ids of the lost submissions that none was left to tell of in time.
        """
        for history in self.all:
            self.wrong += history.wrong_limits(limits)
        untold = set()
        for n, lost in enumerate(self.lost):
            common = {intent.request_id: intent.counts for intent in self.all[n].intents if intent not in set(lost.intents)}
            # Until the last history: another loss may come before it is told.
            told = [((k, intent.seq), intent) for k in range(n + 1, len(self.all)) for intent in self.all[k].beyond(self.all[k - 1]).intents]
            for intent in self._not_counted(lost, common):
                if intent.caller in limits:
                    self._check_lost(intent, common, told, ends, untold)
        return untold

    @staticmethod
    def _not_counted(lost, common):
        """The first note of each submission that counted in the end, and did not in what both have."""
        first, last = {}, {}
        for intent in lost.intents:
            first.setdefault(intent.request_id, intent)
            last[intent.request_id] = intent
        return [intent for who, intent in first.items() if last[who].counts and not common.get(who, False)]

    def _check_lost(self, intent, common, told, ends, untold):
        back = next((commit for commit, other in told if other.request_id == intent.request_id), None)
        sooner = next((other for commit, other in told
                       if other.caller == intent.caller and other.is_new(common) and (back is None or commit < back)), None)
        if sooner is None:
            return
        untold.add(intent.request_id)
        gone = any(str(number) == number_of(intent.writer) and intent.at <= at <= sooner.at for number, at in ends)
        if not gone and sooner.at < told[0][1].at + CAUTION_SECONDS:
            self.wrong.append(f"{sooner.writer} accepted {sooner.request_id} of {intent.caller} before {intent.writer}, which lives, "
                              f"has brought back {intent.request_id}, which the database has lost")
