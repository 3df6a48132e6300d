"""The waits between attempts."""

from __future__ import annotations

import random


class Backoff:
    """Exponential, spread by up to a quarter either way, so that clients that lost one server do not return together."""

    def __init__(self, initial: float = 0.1, maximum: float = 20.0, multiplier: float = 2.0):
        self._initial = initial
        self._maximum = maximum
        self._multiplier = multiplier
        self._next = initial

    def next(self, asked: float | None = None) -> float:
        """Seconds to wait; at least `asked`, which is what the server wants (RetryInfo)."""
        own = self._next * random.uniform(0.75, 1.25)
        self._next = min(self._maximum, self._next * self._multiplier)
        return own if asked is None else max(own, asked * random.uniform(1.0, 1.25))

    def reset(self) -> None:
        """After a success."""
        self._next = self._initial
