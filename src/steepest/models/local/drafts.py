"""Earlier answers as drafts of the next ones.

Prompts in a search differ by a word, and the answers to a row under two of them often run alike for a while. What a
draft says is tried out many tokens in one pass and taken over as far as the model would have written the same.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

import numpy as np

from steepest.models.local.prefixes import alike, as_bytes

_FIRST, _MOST = 8, 64
"""Tokens tried at once: to begin with, and at most."""
_TOO_FEW, _ENOUGH = 0.7, 0.9
"""Where a smaller share of a pass's guesses is right, fewer tokens are tried at once; more where a larger one is."""
_CHANGE = 1.5
_APART = 16
"""How far a text may have moved against its draft and still be found in it."""
_KEPT = 20_000
"""Answers kept."""


class Draft:
    """One draft, and how far the text has come along it."""

    def __init__(self, tokens: Sequence[int], first: int) -> None:
        """`first`: how many tokens are tried at once to begin with; twice as many after all of them were right."""
        self._tokens = list(tokens)
        self._at = 0
        self._along = True
        self._first = self._trust = first
        self._pairs: dict[tuple[int, int], list[int]] = {}
        """Where two tokens stand in a row."""

    def guess(self, most: int) -> list[int]:
        """The next tokens, if the text goes on as the draft does; none where the two have parted."""
        return self._tokens[self._at : self._at + min(self._trust, most)] if self._along else []

    def tell(self, before: int, new: Sequence[int], guessed: int) -> None:
        """Note that `new` tokens were added behind token `before`, where `guessed` had been guessed."""
        for token in new:
            self._follow(before, token)
            before = token
        if guessed:
            self._trust = min(2 * self._trust, _MOST) if len(new) > guessed else self._first

    def _follow(self, before: int, token: int) -> None:
        """Go along with one more token; two in a row tell where the texts meet again."""
        here, tokens = self._at, self._tokens
        self._at += 1
        if self._along and here < len(tokens) and tokens[here] == token:
            return
        self._along = False
        if not self._pairs:
            for place, pair in enumerate(zip(tokens, tokens[1:], strict=False)):
                self._pairs.setdefault(pair, []).append(place)
        met = min(self._pairs.get((before, token), ()), key=lambda place: abs(place + 1 - here), default=None)
        if met is not None and abs(met + 1 - here) <= _APART:
            self._at, self._along = met + 2, True


class Drafts:
    """The answers so far, found by prompts that begin and end alike."""

    def __init__(self) -> None:
        self._answers: dict[bytes, list[int]] = {}
        self._forward: list[bytes] = []
        self._backward: list[bytes] = []
        """Prompts in order, and prompts from their ends in order: the most alike are neighbours."""
        self.first = float(_FIRST)
        """Tokens tried at once to begin with."""

    def keep(self, prompt: Sequence[int], answer: list[int]) -> None:
        """Remember an answer; the oldest one is forgotten where there are too many."""
        name = as_bytes(prompt)
        if name not in self._answers:
            insort(self._forward, name)
            insort(self._backward, _turned(name))
        self._answers[name] = answer
        if len(self._answers) > _KEPT:
            oldest = next(iter(self._answers))
            del self._answers[oldest]
            del self._forward[bisect_left(self._forward, oldest)]
            del self._backward[bisect_left(self._backward, _turned(oldest))]

    def tell(self, guessed: int, right: int) -> None:
        """Note how many tokens of drafts a pass has tried, and how many of them were right."""
        if right < _TOO_FEW * guessed:
            self.first = max(self.first / _CHANGE, 1.0)
        elif guessed and right > _ENOUGH * guessed:
            self.first = min(self.first * _CHANGE, float(_MOST))

    def find(self, prompt: Sequence[int]) -> Draft | None:
        """The answer to the prompt that shares the longest beginning and end with this one, more than half of it."""
        name = as_bytes(prompt)
        turned = _turned(name)
        near = {other: _turned(other) for other in _around(self._forward, name)}
        near |= {_turned(other): other for other in _around(self._backward, turned)}
        shared = {other: alike(name, other) + alike(turned, near[other]) for other in sorted(near)}
        best = max(shared, key=shared.__getitem__, default=b"")
        if not best or 2 * shared[best] <= len(prompt):
            return None
        return Draft(self._answers[best], round(self.first))


def _turned(name: bytes) -> bytes:
    return np.frombuffer(name, np.int32)[::-1].tobytes()


def _around(names: Sequence[bytes], name: bytes) -> Sequence[bytes]:
    place = bisect_left(names, name)
    return names[max(place - 1, 0) : place + 2]
