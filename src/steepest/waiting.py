"""Waiting that Ctrl-C can end."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

_T = TypeVar("_T")

_WAKE = 0.5
"""Seconds. On Windows an interrupt is seen only between waits, and a wait without an end has no between."""


def heard(queue: SimpleQueue[_T]) -> _T:
    """The next thing in a queue, waited for."""
    while True:
        with suppress(Empty):
            return queue.get(timeout=_WAKE)
