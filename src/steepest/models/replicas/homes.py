"""Which replica a text belongs to: the one that has read the most of it already.

What a replica remembers, keys and values of beginnings and answers as drafts, is worth something only where the same
row comes back to it. A model is not told of rows: it sees texts in which a row's question stands before or behind a
prompt that changes from call to call, so there is nothing that a hash could be taken of. A text's home is therefore
that of the earlier text it shares most with, at its beginning and its end, if that is more than half of it; the same
rule by which drafts are found within a replica. Homes are wishes: no replica gets more than its share for them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

_KEPT = 20_000
"""Texts remembered."""
_SEEN = 1000
"""Characters looked at from either end of a text."""
_SLACK = 0.1
"""How much more than its share a replica may be given for the sake of homes."""


class Homes:
    """The texts of earlier calls and where each was read."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._homes: dict[tuple[str, str], int] = {}
        self._heads: list[tuple[str, str]] = []
        self._tails: list[tuple[str, str]] = []
        """The same texts in the order of their beginnings, and of their ends: the most alike are neighbours."""

    def find(self, text: str) -> int | None:
        """Where a text like this one was read."""
        name = _name(text)
        if name in self._homes:
            return self._homes[name]
        near = {*_around(self._heads, name), *(_turned(other) for other in _around(self._tails, _turned(name)))}
        shared = {other: _alike(name[0], other[0]) + _alike(name[1], other[1]) for other in sorted(near)}
        best = max(shared, key=shared.__getitem__, default=None)
        return self._homes[best] if best and 2 * shared[best] > min(len(text), 2 * _SEEN) else None

    def keep(self, text: str, home: int) -> None:
        """Remember where a text is read; the oldest one is forgotten where there are too many."""
        name = _name(text)
        if name not in self._homes:
            insort(self._heads, name)
            insort(self._tails, _turned(name))
        self._homes[name] = home
        if len(self._homes) > self._kept:
            oldest = next(iter(self._homes))
            del self._homes[oldest]
            del self._heads[bisect_left(self._heads, oldest)]
            del self._tails[bisect_left(self._tails, _turned(oldest))]

    def share_out(self, texts: Sequence[str], sizes: Sequence[float], count: int) -> list[list[int]]:
        """Numbers of texts by replica: each at home while its replica has room, the others where least is to be done.

        The largest come first, so that what fills the gaps is small. It depends on what was asked so far alone, never
        on who was fast, so that a run can be had again.
        """
        limit = max((1 + _SLACK) * sum(sizes) / count, max(sizes, default=0.0))
        shares: list[list[int]] = [[] for _ in range(count)]
        loads = [0.0] * count
        for number in sorted(range(len(texts)), key=lambda n: (-sizes[n], n)):
            home = self.find(texts[number])
            if home is None or loads[home] + sizes[number] > limit:
                home = loads.index(min(loads))
            shares[home].append(number)
            loads[home] += sizes[number]
            self.keep(texts[number], home)
        return [sorted(share) for share in shares]


def _name(text: str) -> tuple[str, str]:
    """A text's beginning, and its end from the last character on."""
    return text[:_SEEN], text[: -_SEEN - 1 : -1]


def _turned(name: tuple[str, str]) -> tuple[str, str]:
    return name[1], name[0]


def _around(names: Sequence[tuple[str, str]], name: tuple[str, str]) -> Sequence[tuple[str, str]]:
    place = bisect_left(names, name)
    return names[max(place - 1, 0) : place + 1]


def _alike(one: str, other: str) -> int:
    """Characters that two texts have in common at their beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
