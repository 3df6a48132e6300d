"""What a watch stream says, turned into events for any number of local watchers. Nothing here does I/O.

One stream serves all watchers of a client. It is resumed for ever; what the gateway sends again after a restart is compared with
what is known, so that no watcher is told anything twice.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
from typing import Callable, Iterable

import grpc

from finetune_gateway import errors
from finetune_gateway._proto.segmind.finetune.v1 import fine_tune_pb2 as ft
from finetune_gateway._proto.segmind.finetune.v1 import fine_tune_service_pb2 as svc

FineTune = ft.FineTune

# A stream on which nothing came for that many seconds is opened anew. The gateway sends a heartbeat every 15 s.
SILENCE = 45.0


class EventKind(str, enum.Enum):
    SNAPSHOT = "snapshot"  # A job as it was when the watch began.
    SYNCED = "synced"  # All jobs that there were have been told; what follows is live.
    CREATED = "created"  # The job is new.
    UPDATED = "updated"  # The job has changed, or now matches the filter.
    LEFT = "left"  # The job matches no longer; `fine_tune` is how it was last seen.


@dataclasses.dataclass(frozen=True)
class Event:
    kind: EventKind
    fine_tune: FineTune | None = None

    @property
    def revision(self) -> int:
        return self.fine_tune.revision if self.fine_tune is not None else 0


class Subscriber:
    """One local watcher: which jobs it wants, and what it has yet to be told.

    A slow one has one event a job waiting, never a growing queue: a later change takes the place of an earlier one. `wake` is
    called after events were added.
    """

    def __init__(self, names: Iterable[str], where: Callable[[FineTune], bool] | None, wake: Callable[[], None]):
        self.names = frozenset(names)
        self.where = where
        self._wake = wake
        self._matched: set[str] = set()
        # The jobs that this watcher knows of.
        self._told: set[str] = set()
        self._synced = False
        # Key: the job's name, or "" for SYNCED.
        self._pending: collections.OrderedDict[str, Event] = collections.OrderedDict()
        self.error: Exception | None = None

    def tell(self, kind: EventKind, job: FineTune) -> None:
        if self.names and job.name not in self.names:
            return
        if self.where is not None:
            if kind is not EventKind.LEFT and self.where(job):
                self._matched.add(job.name)
            elif job.name in self._matched:
                self._matched.discard(job.name)
                kind = EventKind.LEFT
            else:
                return
        waiting = self._pending.pop(job.name, None)
        told = job.name in self._told
        if kind is EventKind.LEFT and not told:
            return
        if kind is not EventKind.LEFT and told:
            kind = EventKind.UPDATED
        elif waiting is not None and kind is EventKind.UPDATED:
            # It takes the place of what would have made the job known; behind SYNCED it is no part of the snapshot any more.
            late = waiting.kind is EventKind.SNAPSHOT and "" in self._pending
            kind = EventKind.CREATED if late else waiting.kind
        self._pending[job.name] = Event(kind, job)
        self._wake()

    def synced(self) -> None:
        if not self._synced:
            self._synced = True
            self._pending[""] = Event(EventKind.SYNCED)
            self._wake()

    def end(self, error: Exception) -> None:
        self.error = error
        self._wake()

    def next(self) -> Event | None:
        """The next event, or None if there is none yet. Raises what ended the watch, after all events."""
        if self._pending:
            event = self._pending.popitem(last=False)[1]
            if event.kind is EventKind.LEFT:
                self._told.discard(event.fine_tune.name)
            elif event.fine_tune is not None:
                self._told.add(event.fine_tune.name)
            return event
        if self.error is not None:
            raise self.error
        return None


class WatchView:
    """What one stream knows, and who is told. Its owner calls it under a lock of its own, or from one thread."""

    def __init__(self):
        self._known: dict[str, FineTune] = {}
        # A snapshot that is being sent again, until it is complete.
        self._collected: dict[str, FineTune] | None = None
        # Whether revisions of that snapshot and of what is known can be compared.
        self._same_history = False
        self._synced = False
        self._ever_synced = False
        self._subscribers: list[Subscriber] = []
        self._error: Exception | None = None
        self._token = ""

    def add(self, subscriber: Subscriber) -> None:
        """Tells a new watcher what is known, and from now on what changes."""
        if self._error is not None:
            subscriber.end(self._error)
            return
        self._subscribers.append(subscriber)
        for job in sorted(self._known.values(), key=lambda job: job.revision):
            subscriber.tell(EventKind.SNAPSHOT, job)
        if self._synced:
            subscriber.synced()

    def remove(self, subscriber: Subscriber) -> None:
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)

    @property
    def watched(self) -> bool:
        return bool(self._subscribers)

    def request(self) -> svc.WatchFineTunesRequest:
        """For the next stream."""
        if not self._token and (self._known or self._ever_synced):
            # The gateway may be another one by now.
            self._collected, self._same_history = {}, False
        return svc.WatchFineTunesRequest(resume_token=self._token)

    def apply(self, response: svc.WatchFineTunesResponse) -> None:
        event = response.WhichOneof("event")
        if event == "change":
            self._apply_change(response.change)
        elif event == "restart":
            self._same_history = response.restart.reason in (svc.Restart.EXPIRED, svc.Restart.TOO_SLOW)
            self._collected = {}
            self._token = ""
            return
        elif event == "synced" or (response.resume_token and self._collected is None):
            # After a resume the first heartbeat is as good as SYNCED.
            self._apply_synced()
        if response.resume_token:
            self._token = response.resume_token

    def _apply_change(self, change: svc.Change) -> None:
        job = change.fine_tune
        left = change.type == svc.Change.LEFT_FILTER
        if self._collected is not None:
            if left:
                self._collected.pop(job.name, None)
            else:
                self._collected[job.name] = job
            return
        if left:
            if self._known.pop(job.name, None) is not None:
                self._tell(EventKind.LEFT, job)
            return
        known = self._known.get(job.name)
        if known is not None and job.revision and job.revision <= known.revision:
            return  # A repetition.
        self._known[job.name] = job
        if change.type == svc.Change.SNAPSHOT:
            self._tell(EventKind.SNAPSHOT, job)
        else:
            self._tell(EventKind.CREATED if known is None and change.type == svc.Change.CREATED else EventKind.UPDATED, job)

    def _apply_synced(self) -> None:
        if self._collected is not None:
            self._pass_on_differences()
        self._synced = self._ever_synced = True
        for subscriber in self._subscribers:
            subscriber.synced()

    def _pass_on_differences(self) -> None:
        before, self._known, self._collected = self._known, self._collected or {}, None
        for name, job in before.items():
            if name not in self._known:
                self._tell(EventKind.LEFT, job)
        for name, job in sorted(self._known.items(), key=lambda item: item[1].revision):
            old = before.get(name)
            if old is None:
                self._tell(EventKind.CREATED if self._ever_synced else EventKind.SNAPSHOT, job)
            elif job.revision != old.revision if self._same_history and job.revision else job != old:
                self._tell(EventKind.UPDATED if self._ever_synced else EventKind.SNAPSHOT, job)

    def _tell(self, kind: EventKind, job: FineTune) -> None:
        for subscriber in self._subscribers:
            subscriber.tell(kind, job)

    def failed(self, error: errors.GatewayError, ever_connected: bool) -> bool:
        """A stream ended so. True: open another one. False: trying again cannot cure it; all watchers were told."""
        if error.reason == "RESUME_TOKEN_INVALID" and self._token:
            self._token = ""  # Of a gateway that lost its store: what is known is compared with a new snapshot.
            return True
        fatal = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED,
                 grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.FAILED_PRECONDITION)
        if isinstance(error, errors.ClientClosedError):
            self.end(error)
            return False
        # After it worked once, UNAUTHENTICATED is a token or a certificate that is being replaced.
        if error.code in fatal or (error.code == grpc.StatusCode.UNAUTHENTICATED and not ever_connected):
            self.end(error)
            return False
        return True

    def end(self, error: Exception) -> None:
        self._error = error
        for subscriber in self._subscribers:
            subscriber.end(error)
        self._subscribers = []
