"""A wait of any length, made of calls."""

from __future__ import annotations

import time

import grpc

from finetune_gateway import errors
from finetune_gateway._proto.segmind.finetune.v1 import fine_tune_pb2 as ft
from finetune_gateway._proto.segmind.finetune.v1 import fine_tune_service_pb2 as svc
from finetune_gateway.backoff import Backoff
from finetune_gateway.jobs import StateLike, has_reached, is_terminal, state_name, state_of

# A longer wait is made of several calls, so that one that was lost on its way is noticed.
_SLICE = 600.0
# What a call may take beyond the time that it waits.
_GRACE = 30.0


class WaitProtocol:
    """One wait; the caller makes the calls and says what they brought."""

    def __init__(self, name: str, until: StateLike, timeout: float | None):
        self._name = name
        self._wanted = state_of(until)
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._backoff = Backoff(0.25, 5.0)
        self._seen: ft.FineTune | None = None
        self._pause = 0.0
        self._slice = 0.0
        self._began = 0.0

    def request(self) -> svc.WaitFineTuneRequest:
        self._began = time.monotonic()
        self._slice = _SLICE if self._deadline is None else max(0.0, min(_SLICE, self._deadline - self._began))
        request = svc.WaitFineTuneRequest(name=self._name, until=self._wanted)
        request.timeout.FromNanoseconds(int(self._slice * 1e9))
        return request

    @property
    def call_timeout(self) -> float:
        return self._slice + _GRACE

    def answered(self, answer: svc.WaitFineTuneResponse) -> ft.FineTune | None:
        """The job, if the wait is over."""
        self._seen = answer.fine_tune
        if answer.done or has_reached(self._seen.state, self._wanted) or is_terminal(self._seen.state):
            return self._seen
        if time.monotonic() - self._began < self._slice / 2:
            self._pause = self._backoff.next()  # A server that answers before its time is not asked in a tight loop.
        else:
            self._backoff.reset()
            self._pause = 0.0
        return None

    def failed(self, error: errors.GatewayError) -> None:
        """Raises the error unless another call may help."""
        if not (errors.worth_repeating(error) or error.code == grpc.StatusCode.DEADLINE_EXCEEDED):
            raise error
        self._pause = self._backoff.next(error.retry_delay)

    def pause(self) -> float:
        """Seconds until the next call. WaitTimeout if there is no time for it."""
        if self._deadline is not None and time.monotonic() + self._pause >= self._deadline:
            state = f"; it is {state_name(self._seen.state)}" if self._seen is not None else ""
            raise errors.WaitTimeout(
                f"{self._name} was not {state_name(self._wanted)} within {self._timeout:g} s{state}", self._seen)
        return self._pause
