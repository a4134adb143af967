"""How many tokens a white-box call reads, by its texts alone: the same whoever computes it, and in how many parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from steepest.models.local.layout import Placed


def to_propose(prefixes: Iterable[Sequence[int]]) -> int:
    """Each beginning once."""
    return _once(prefixes)


def to_lose(placed: Sequence[Placed]) -> int:
    """What stands before the prompt once for all that have it in common, and the rest of each different text."""
    return _once(p.left[:-1] for p in placed) + sum(len(p) - len(p.left) for p in placed)


def to_descend(placed: Sequence[Placed], first: int) -> int:
    """The same of a gradient with respect to the prompt's tokens from `first` on: they pass forward and backward."""
    heads = ([*p.left, *p.prompt[:first]][:-1] for p in placed)
    return _once(heads) + 2 * sum(len(p) - len(p.left) - first for p in placed)


def first_changed(positions: Sequence[int], fluent: bool) -> int:
    """The first token of the prompt that a gradient is taken of; where prompts are to be fluent, all of them."""
    return 0 if fluent else min(positions)


def _once(texts: Iterable[Sequence[int]]) -> int:
    return sum(map(len, {tuple(text) for text in texts}))
