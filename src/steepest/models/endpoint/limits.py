"""How fast an endpoint may be asked, and how long to wait before asking again."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_RETRY_AFTER = 120.0
"""Seconds; a server that asks for a longer wait is asked again after this one."""


class Bucket:
    """A token bucket that may be overdrawn: what costs more than a second's worth is paid off afterwards."""

    def __init__(self, a_minute: float | None) -> None:
        self._rate = math.inf if a_minute is None else a_minute / 60
        self._room = max(1.0, self._rate)
        self._level = self._room
        self._time = -math.inf

    def wait(self, now: float, cost: float) -> float:
        """Seconds until something of this cost may be sent; 0 for now."""
        if math.isinf(self._rate):
            return 0.0
        self._level = min(self._room, self._level + self._rate * (now - self._time))
        self._time = now
        return max(0.0, (min(cost, self._room) - self._level) / self._rate)

    def take(self, cost: float) -> None:
        """Count something as sent; a negative cost gives back what an estimate had taken too much."""
        if not math.isinf(self._rate):
            self._level = min(self._room, self._level - cost)


class Backoff:
    """Exponential waits with full jitter. The dice are its own: nobody else's luck changes."""

    def __init__(self, base: float, longest: float = 30.0) -> None:
        self._base = base
        self._longest = longest
        self._dice = random.Random()

    def wait(self, tries: int) -> float:
        """Seconds before the next try after so many: anything up to base * 2 ** (tries - 1)."""
        return self._dice.uniform(0, min(self._longest, self._base * 2.0 ** min(tries - 1, 30)))


def retry_after(header: str | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """Seconds that a Retry-After header asks for, at most two minutes; None where it says nothing usable."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            when = parsedate_to_datetime(header)
            seconds = (when.replace(tzinfo=when.tzinfo or UTC) - now()).total_seconds()
        except (ValueError, OverflowError):
            return None
    return None if math.isnan(seconds) else min(max(0.0, seconds), LONGEST_RETRY_AFTER)
