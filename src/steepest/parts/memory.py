"""Which of the past is shown again: a few of a run's earlier prompts, with their scores.

Retrieval by recency, importance or relevance follows GPO (arXiv 2402.17564, trajectory-based momentum). As in its
paper the list ascends: the latest, best or most similar prompt stands last, next to what is to be written. GPO's code
puts the current prompt first and the others behind it in descending order.

A history holds prompts in the order of time, usually one per step with the current one as the last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from steepest.context import Context
from steepest.parts.embedding import CharTfidf, Embedder
from steepest.types import Candidate, Scored


class Recall(Protocol):
    """Picks from a history what is shown again."""

    def __call__(self, history: Sequence[Scored], current: Candidate, k: int, ctx: Context) -> list[Scored]:
        """At most k of `history`, the most telling last. `current` is one of the k if the rule picks it."""
        ...


@dataclass(frozen=True)
class Recent:
    """The last k prompts; so the current one, where the history ends with it, is one of the k and stands last."""

    def __call__(self, history: Sequence[Scored], current: Candidate, k: int, ctx: Context) -> list[Scored]:
        """See `Recall`."""
        return _last(history, k)


@dataclass(frozen=True)
class Important:
    """The k prompts of highest mean score, the best last; the current one only if it is among them.

    Of equal ones the later stands later. A prompt without a score counts as the worst.
    """

    def __call__(self, history: Sequence[Scored], current: Candidate, k: int, ctx: Context) -> list[Scored]:
        """See `Recall`."""
        return _last(sorted(history, key=lambda s: -math.inf if math.isnan(s.mean) else s.mean), k)


@dataclass(frozen=True)
class Relevant:
    """The k prompts most similar to the current one, the most similar last.

    The current prompt, where the history holds it, is most similar to itself: it is one of the k, as in GPO's code
    (k = 3 there means two others), and stands last. Of equally similar ones the later stands later. GPO's paper
    embeds with BGE, its code with Llama-2-7b; similarity is the cosine.
    """

    embedder: Embedder = field(default_factory=CharTfidf)
    """What makes vectors of prompts; by default spelling alone, which needs no model."""

    def __call__(self, history: Sequence[Scored], current: Candidate, k: int, ctx: Context) -> list[Scored]:
        """See `Recall`."""
        texts = [scored.candidate.text for scored in history]
        vectors = self.embedder.embed([*texts, current.text], ctx)
        similarity = (vectors[:-1] * vectors[-1]).sum(axis=1).tolist()
        # Rounding must not put another prompt before the current one itself.
        order = sorted(range(len(texts)), key=lambda i: (texts[i] == current.text, similarity[i]))
        return _last([history[i] for i in order], k)


def _last(history: Sequence[Scored], k: int) -> list[Scored]:
    return list(history[max(len(history) - k, 0) :])
