"""Which of many texts is most like a given one, where most differ by a word or two.

A text is a name: four bytes for each of its parts, which are the ids of tokens, or characters.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

import numpy as np

from steepest.models import Ints

BYTES = 4
"""Of a part, in names."""


class Alike:
    """Texts in order, and texts from their ends in order: the most alike are neighbours."""

    def __init__(self) -> None:
        self._forward: list[bytes] = []
        self._backward: list[bytes] = []

    def add(self, name: bytes) -> None:
        """Put in a text, once."""
        place = bisect_left(self._forward, name)
        if self._forward[place : place + 1] != [name]:
            self._forward.insert(place, name)
            insort(self._backward, _turned(name))

    def remove(self, name: bytes) -> None:
        """Take out a text, where it is there."""
        place = bisect_left(self._forward, name)
        if self._forward[place : place + 1] == [name]:
            del self._forward[place]
            del self._backward[bisect_left(self._backward, _turned(name))]

    def nearest(self, name: bytes) -> tuple[int, bytes] | None:
        """The text that shares the longest beginning and end with this one, and how many parts: more than half."""
        turned = _turned(name)
        near = {other: _turned(other) for other in _around(self._forward, name)}
        near |= {_turned(other): other for other in _around(self._backward, turned)}
        shared = {other: alike(name, other) + alike(turned, near[other]) for other in sorted(near)}
        best = max(shared, key=shared.__getitem__, default=b"")
        return (shared[best], best) if best and 2 * shared[best] > len(name) // BYTES else None


def as_bytes(ids: Sequence[int] | Ints) -> bytes:
    """The name of tokens."""
    return np.asarray(ids, np.int32).tobytes()


def alike(one: bytes, other: bytes) -> int:
    """Parts that two texts have in common at their beginning."""
    most = min(len(one), len(other))
    # As numbers, lowest byte first: the lowest bit that differs is in the first part that does.
    differ = int.from_bytes(one[:most], "little") ^ int.from_bytes(other[:most], "little")
    return ((differ & -differ).bit_length() - 1) // (8 * BYTES) if differ else most // BYTES


def _turned(name: bytes) -> bytes:
    return np.frombuffer(name, np.int32)[::-1].tobytes()


def _around(names: Sequence[bytes], name: bytes) -> Sequence[bytes]:
    place = bisect_left(names, name)
    return names[max(place - 1, 0) : place + 2]
