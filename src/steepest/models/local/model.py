"""The capabilities of a local model, put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from steepest.models import Bools, Gradient, Likelihood, Losses, Proposals
from steepest.models.local import generation, gradients, scoring
from steepest.models.local.layout import Layout
from steepest.models.local.loaded import Loaded, Work
from steepest.types import Objective, Prompt, Request, Response, Row

_PLAIN = Objective()


class LocalModel:
    """A transformers model in this process: `Generates`, `ScoresText` and `WhiteBox`.

    Answers depend on a request alone, up to rounding: the shape of a batch moves logits by about 1e-6 in float32,
    which can decide a tie.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._layout = Layout(loaded.tokenizer)

    @property
    def id(self) -> str:
        """Name, a hash of weights, configuration and tokenizer, and the dtype."""
        return self._loaded.id

    @property
    def context(self) -> int:
        """How many tokens fit."""
        return self._loaded.context

    @property
    def loaded(self) -> Loaded:
        """The model in memory."""
        return self._loaded

    @property
    def layout(self) -> Layout:
        """Its tokenizer's way of writing conversations."""
        return self._layout

    @property
    def work(self) -> Work:
        """What it has done since it was opened, as counted up to now."""
        return replace(self._loaded.work)

    @property
    def status(self) -> str:
        """See `models.Tells`: what memory of beginnings and drafts have spared so far."""
        work = self._loaded.work
        tokens, parts = work.read + work.reused, list[str]()
        if tokens:
            parts.append(f"{work.reused / tokens:.0%} of {tokens:,} tokens remembered")
        if work.guessed:
            parts.append(f"{work.right / work.guessed:.0%} of {work.guessed:,} drafted tokens right")
        return ", ".join(parts)

    @cached_property
    def vocabulary(self) -> Sequence[str]:
        """Text of each token on its own, one for each logit; "" for special tokens and pieces of a character."""
        return self._layout.logits(self._loaded.width)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `Generates.generate`. An answer ends at the context's end as well (finish "length")."""
        yield from generation.generate(self._loaded, self._layout, requests)

    def logprobs(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Likelihood]:
        """See `ScoresText.logprobs`. A token that overlaps prompt and continuation counts to the continuation."""
        return scoring.logprobs(self._loaded, self._layout, pairs)

    def encode(self, text: str, before: str = "") -> list[int]:
        """See `WhiteBox.encode`."""
        return self._layout.encode(text, before)

    def decode(self, ids: Sequence[int]) -> str:
        """See `WhiteBox.decode`. One leading space is left out: it is the one that a layout writes before a prompt."""
        return self._layout.decode(ids)

    def propose(
        self, rows: Sequence[Row], ids: Sequence[int], position: int, k: int, allowed: Bools | None = None
    ) -> Proposals:
        """See `WhiteBox.propose`. Fewer than k where fewer are allowed; `position` may be the prompt's end."""
        return gradients.propose(self._loaded, self._layout, rows, ids, position, k, allowed)

    def gradient(
        self,
        rows: Sequence[Row],
        ids: Sequence[int],
        positions: Sequence[int],
        among: Sequence[Sequence[int]],
        weights: Sequence[float] | None = None,
        objective: Objective = _PLAIN,
    ) -> Gradient:
        """See `WhiteBox.gradient`, and `gradients` for what is included."""
        weights = [1.0] * len(rows) if weights is None else weights
        return gradients.gradient(self._loaded, self._layout, rows, ids, positions, among, weights, objective)

    def loss(self, rows: Sequence[Row], prompts: Sequence[Sequence[int]], objective: Objective = _PLAIN) -> Losses:
        """See `WhiteBox.loss`."""
        return gradients.loss(self._loaded, self._layout, rows, prompts, objective)
