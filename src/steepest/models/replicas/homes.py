"""Which replica a text belongs to: the one that has read the most of it already.

What a replica remembers, keys and values of beginnings and answers as drafts, is worth something only where the same
row comes back to it. A model is not told of rows: it sees texts in which a row's question stands before or behind a
prompt that changes from call to call, so there is nothing that a hash could be taken of. A text's home is therefore
that of the earlier text it shares most with, at its beginning and its end, if that is more than half of it; the same
rule by which drafts are found within a replica. Homes are wishes: no replica gets more than its share for them.
"""

from __future__ import annotations

from collections.abc import Sequence

from steepest.models.alike import Alike

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
        self._homes: dict[bytes, int] = {}
        self._texts = Alike()

    def find(self, text: str) -> int | None:
        """Where a text like this one was read."""
        name = _name(text)
        if name in self._homes:
            return self._homes[name]
        nearest = self._texts.nearest(name)
        return self._homes[nearest[1]] if nearest else None

    def keep(self, text: str, home: int) -> None:
        """Remember where a text is read; the oldest one is forgotten where there are too many."""
        name = _name(text)
        self._texts.add(name)
        self._homes[name] = home
        if len(self._homes) > self._kept:
            oldest = next(iter(self._homes))
            del self._homes[oldest]
            self._texts.remove(oldest)

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


def _name(text: str) -> bytes:
    """A text's beginning and end."""
    ends = text if len(text) <= 2 * _SEEN else text[:_SEEN] + text[-_SEEN:]
    return ends.encode("utf-32-le", "surrogatepass")
