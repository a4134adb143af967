"""Earlier answers as drafts of the next ones.

Prompts in a search differ by a word, and the answers to a row under two of them often run alike for a while. What a
draft says is tried out many tokens in one pass and taken over as far as the model would have written the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from steepest.models.alike import Alike, as_bytes

_MOST = 64
"""Tokens tried at once, at most."""
_FIRST = 24.0, 2.0
"""Guesses that are taken to have been right, and wrong, before there were any: 8 tokens are tried at first."""
_SURE = 2 / 3
"""Of the tokens that are right in a row on average, so many are tried at once: each is right more often than not."""
_PAYS = 4
"""Where so many tokens are tried at first, an answer that is being written is worth waiting for."""
_MEMORY = 2_000
"""Guesses after which the earlier ones count half."""
_AGAIN = 32
"""Where guesses do not pay, one draft in so many is tried nevertheless."""
_APART = 16
"""How far a text may have moved against its draft and still be found in it."""
_KEPT = 20_000
"""Answers kept."""


class Trust:
    """How many tokens to guess by drafts of one kind, from how far they were right."""

    def __init__(self) -> None:
        self._right, self._wrong = _FIRST
        self._left_out = 0

    @property
    def first(self) -> int:
        """Tokens to try at once to begin with."""
        return min(round(_SURE * self._right / self._wrong), _MOST)

    def tell(self, guessed: int, right: int) -> None:
        """Note that of so many tokens the first ones were right; what comes behind a wrong one says nothing."""
        self._right, self._wrong = self._right + right, self._wrong + (right < guessed)
        if self._right + self._wrong > _MEMORY:
            self._right, self._wrong = self._right / 2, max(self._wrong / 2, 1.0)

    def draft(self, tokens: Sequence[int]) -> Draft | None:
        """A draft of this kind, unless they do not pay."""
        self._left_out = 0 if self.first else (self._left_out + 1) % _AGAIN
        return None if self._left_out else Draft(tokens, self)


class Draft:
    """One draft, and how far the text has come along it."""

    def __init__(self, tokens: Sequence[int], trust: Trust) -> None:
        """Begins as `trust` says; tries twice as many tokens after all of them were right."""
        self._tokens = list(tokens)
        self._at = 0
        self._along = True
        self._trust = trust
        self._tried = self._begin()
        self._pairs: dict[tuple[int, int], list[int]] = {}
        """Where two tokens stand in a row."""

    def _begin(self) -> int:
        return max(self._trust.first, 1)

    def guess(self, most: int) -> list[int]:
        """The next tokens, if the text goes on as the draft does; none where the two have parted."""
        return self._tokens[self._at : self._at + min(self._tried, most)] if self._along else []

    def tell(self, guessed: int, right: int) -> None:
        """Note that `guessed` tokens were tried, and how many of the first ones were right."""
        self._trust.tell(guessed, right)
        self._tried = min(2 * self._tried, _MOST) if right == guessed else self._begin()

    def follow(self, before: int, new: Sequence[int]) -> None:
        """Note that the text went on with `new` tokens behind token `before`."""
        for token in new:
            self._follow(before, token)
            before = token

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
        self._prompts = Alike()
        self._trusts = defaultdict[int, Trust](Trust)
        """By how many tokens of two prompts differ, in powers of two: another word, or another row."""

    def keep(self, prompt: Sequence[int], answer: list[int]) -> None:
        """Remember an answer; the oldest one is forgotten where there are too many."""
        name = as_bytes(prompt)
        self._prompts.add(name)
        self._answers[name] = answer
        if len(self._answers) > _KEPT:
            oldest = next(iter(self._answers))
            del self._answers[oldest]
            self._prompts.remove(oldest)

    def find(self, prompt: Sequence[int]) -> Draft | None:
        """The answer to the prompt that is most like this one, unless such drafts do not pay."""
        nearest = self._prompts.nearest(as_bytes(prompt))
        return self._trusts[_apart(prompt, nearest)].draft(self._answers[nearest[1]]) if nearest else None

    def waits(self, prompt: Sequence[int], written: Alike) -> bytes | None:
        """Of prompts whose answers are being `written`, the one whose answer is worth waiting for: a better draft."""
        name = as_bytes(prompt)
        coming = written.nearest(name)
        if coming is None or self._trusts[_apart(prompt, coming)].first < _PAYS:
            return None
        there = self._prompts.nearest(name)
        return coming[1] if there is None or there[0] < coming[0] else None


def _apart(prompt: Sequence[int], nearest: tuple[int, bytes]) -> int:
    return (len(prompt) - nearest[0]).bit_length()
