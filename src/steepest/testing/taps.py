"""Models whose answers are counted and that can be made to fail at any of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from steepest.models import Bools, Gradient, Infills, Likelihood, Losses, Proposals, ScoresText, WhiteBox
from steepest.types import ANSWER_LOSS, Infill, Objective, Prompt, Request, Response, Row


class Crash(Exception):
    """What a tapped model raises where it was told to fail."""


@dataclass
class Tap:
    """Counts answers, over all models it is put on; fails instead of giving answer number `fail_at` (from 0)."""

    fail_at: int | None = None
    given: int = 0

    def draw(self) -> None:
        """Count one answer, or fail."""
        if self.given == self.fail_at:
            raise Crash(f"answer {self.given} was made to fail")
        self.given += 1


def tapped(model: Any, tap: Tap) -> Any:
    """`model`, its answers counted by `tap`, with the capabilities it has."""
    if isinstance(model, WhiteBox):
        return (TappedInfillingWhiteBox if isinstance(model, Infills) else TappedWhiteBox)(model, tap)
    if isinstance(model, ScoresText):
        return (TappedInfillingScorer if isinstance(model, Infills) else TappedScorer)(model, tap)
    return (TappedInfillingText if isinstance(model, Infills) else TappedText)(model, tap)


@dataclass(frozen=True)
class TappedText:
    """A tapped model that generates."""

    model: Any
    tap: Tap

    @property
    def id(self) -> str:
        """Id of the model."""
        return str(self.model.id)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """Each answer is counted as it is given."""
        for index, response in self.model.generate(requests):
            self.tap.draw()
            yield index, response


@dataclass(frozen=True)
class TappedInfills:
    """What a tapped model that fills gaps has besides."""

    model: Any
    tap: Tap

    def infill(self, requests: Sequence[Infill]) -> Iterator[tuple[int, Response]]:
        """Each answer is counted as it is given."""
        for index, response in self.model.infill(requests):
            self.tap.draw()
            yield index, response


class TappedInfillingText(TappedText, TappedInfills):
    """A tapped model that generates and fills gaps."""


@dataclass(frozen=True)
class TappedScorer:
    """A tapped model that generates and scores texts; a batch of scores counts as one answer."""

    model: Any
    tap: Tap

    @property
    def id(self) -> str:
        """Id of the model."""
        return str(self.model.id)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `TappedText.generate`."""
        return TappedText(self.model, self.tap).generate(requests)

    def logprobs(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Likelihood]:
        """See `ScoresText.logprobs`."""
        self.tap.draw()
        found: list[Likelihood] = self.model.logprobs(pairs)
        return found


class TappedInfillingScorer(TappedScorer, TappedInfills):
    """A tapped model that generates, scores texts and fills gaps."""


@dataclass(frozen=True)
class TappedWhiteBox:
    """A tapped model that generates and gives gradients; a white-box result counts as one answer."""

    model: Any
    tap: Tap

    @property
    def id(self) -> str:
        """Id of the model."""
        return str(self.model.id)

    @property
    def vocabulary(self) -> Sequence[str]:
        """See `WhiteBox.vocabulary`."""
        words: Sequence[str] = self.model.vocabulary
        return words

    @property
    def context(self) -> int:
        """See `WhiteBox.context`."""
        return int(self.model.context)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `TappedText.generate`."""
        return TappedText(self.model, self.tap).generate(requests)

    def encode(self, text: str, before: str = "") -> list[int]:
        """See `WhiteBox.encode`; not counted."""
        ids: list[int] = self.model.encode(text, before)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """See `WhiteBox.decode`; not counted."""
        return str(self.model.decode(ids))

    def propose(
        self, rows: Sequence[Row], ids: Sequence[int], position: int, k: int, allowed: Bools | None = None
    ) -> Proposals:
        """See `WhiteBox.propose`."""
        self.tap.draw()
        found: Proposals = self.model.propose(rows, ids, position, k, allowed)
        return found

    def gradient(
        self,
        rows: Sequence[Row],
        ids: Sequence[int],
        positions: Sequence[int],
        among: Sequence[Sequence[int]],
        weights: Sequence[float] | None = None,
        objective: Objective = ANSWER_LOSS,
    ) -> Gradient:
        """See `WhiteBox.gradient`."""
        self.tap.draw()
        found: Gradient = self.model.gradient(rows, ids, positions, among, weights, objective)
        return found

    def loss(self, rows: Sequence[Row], prompts: Sequence[Sequence[int]], objective: Objective = ANSWER_LOSS) -> Losses:
        """See `WhiteBox.loss`."""
        self.tap.draw()
        found: Losses = self.model.loss(rows, prompts, objective)
        return found


class TappedInfillingWhiteBox(TappedWhiteBox, TappedInfills):
    """A tapped model that generates, gives gradients and fills gaps."""
