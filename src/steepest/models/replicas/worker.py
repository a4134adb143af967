"""What a replica does: a local model in a Ray actor, opened when it is first needed, also after a restart."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from steepest.models import Bools, Gradient, Ints, Likelihood, Losses, Proposals
from steepest.models.local import open_local
from steepest.models.local.layout import Layout
from steepest.types import Infill, Objective, Prompt, Request, Response, Row


@dataclass(frozen=True, slots=True)
class Facts:
    """What is to be known of a model without asking a replica again."""

    id: str
    context: int
    width: int
    """How many logits there are."""
    batch_tokens: int
    """Tokens, prompt and answer, that are decoded at once."""
    layout: Layout
    """The tokenizer's way of writing conversations; small beside the weights."""
    node: str
    pid: int


@dataclass(frozen=True, slots=True)
class Descent:
    """What all shards of a gradient share; sent once to each machine."""

    ids: Sequence[int]
    positions: Sequence[int]
    among: Sequence[Ints]
    """As arrays: lists of a whole vocabulary are slow to send."""
    objective: Objective


@dataclass(frozen=True, slots=True)
class Proposing:
    """What all shards of `WhiteBox.propose` share."""

    ids: Sequence[int]
    position: int
    k: int
    allowed: Bools | None


class Worker:
    """One replica. Whatever it is asked, it answers as a stream, so that all work is waited for alike."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        """See `open_local`."""
        self._name = name
        self._options = options

    @cached_property
    def _model(self) -> Any:
        return open_local(self._name, **self._options)

    def facts(self) -> Facts:
        """Open the model."""
        loaded, layout = self._model.loaded, self._model.layout
        sizes = {"context": loaded.context, "width": loaded.width, "batch_tokens": loaded.batch_tokens}
        return Facts(loaded.id, **sizes, layout=layout, node=platform.node(), pid=os.getpid())

    def generate(self, asked: Sequence[tuple[int, Request]]) -> Iterator[tuple[int, Response]]:
        """Each answer as it ends, under the number that came with the request."""
        for place, response in self._model.generate([request for _, request in asked]):
            yield asked[place][0], response

    def infill(self, asked: Sequence[tuple[int, Infill]]) -> Iterator[tuple[int, Response]]:
        """Each filling as it ends."""
        for place, response in self._model.infill([request for _, request in asked]):
            yield asked[place][0], response

    def logprobs(self, pairs: Sequence[tuple[Prompt, str]]) -> Iterator[list[Likelihood]]:
        """A shard of `ScoresText.logprobs`."""
        yield self._model.logprobs(pairs)

    def propose(self, rows: Sequence[Row], common: Proposing) -> Iterator[Proposals]:
        """A shard of `WhiteBox.propose`."""
        yield self._model.propose(rows, common.ids, common.position, common.k, common.allowed)

    def gradient(self, weighted: Sequence[tuple[Row, float]], common: Descent) -> Iterator[Gradient]:
        """A shard of `WhiteBox.gradient`: rows with their weights."""
        rows, weights = [row for row, _ in weighted], [weight for _, weight in weighted]
        yield self._model.gradient(rows, common.ids, common.positions, common.among, weights, common.objective)

    def loss(self, pairs: Sequence[tuple[Row, Sequence[int]]], objective: Objective) -> Iterator[Losses]:
        """A shard of `WhiteBox.loss`."""
        yield self._model.loss([row for row, _ in pairs], [prompt for _, prompt in pairs], objective)
