"""A model in memory: what all capabilities share, and what happens when memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from traceback import clear_frames
from typing import Any

import torch

from steepest.errors import ModelError
from steepest.models.local.drafts import Drafts
from steepest.models.local.prefixes import Prefixes
from steepest.models.local.slots import Shapes, Slots

_FEWEST = 64
"""Tokens of a batch below which no smaller one is tried."""


@dataclass(slots=True)
class Work:
    """What a model has done so far, counted."""

    read: int = 0
    """Tokens that passed forward without gradients, one by one or many at once."""
    reused: int = 0
    """Tokens that earlier texts had begun with as well."""
    steps: int = 0
    """Decoding steps: a token for every text of a batch."""
    guessed: int = 0
    """Tokens of drafts that were tried out."""
    right: int = 0
    """Tokens of drafts that the model would have written too."""


@dataclass(slots=True)
class Loaded:
    """A frozen model in eval mode, with its tokenizer and what it has read and written so far."""

    id: str
    model: Any
    """A transformers causal language model."""
    tokenizer: Any
    """A fast tokenizer: offsets are needed."""
    device: Any
    """The torch device that ids belong on."""
    context: int
    """How many tokens fit."""
    width: int
    """How many logits there are, padding of the vocabulary included."""
    ends: tuple[int, ...]
    """Tokens that end an answer."""
    batch_tokens: int
    """Tokens decoded at once; halved when memory runs out."""
    shapes: Shapes
    """What a token's keys and values are like, layer by layer."""
    prefixes: Prefixes
    drafts: Drafts
    ragged: bool = True
    """Whether texts can go on from different lengths in one pass. Otherwise each is read whole (`plain`)."""
    work: Work = field(default_factory=Work)
    spare: list[Slots] = field(default_factory=list)
    """Room that nobody uses now: memory that was touched before is faster than new."""

    @property
    def pass_tokens(self) -> int:
        """Tokens passed forward or backward at once: activations weigh more than cached keys and values."""
        return self.batch_tokens // 16

    @contextmanager
    def slots(self, count: int = 0, columns: int = 0) -> Iterator[Slots]:
        """Room for texts, lent."""
        slots = self.spare.pop() if self.spare else Slots(self.model, self.shapes, self.device)
        slots.reserve(count, columns)
        try:
            yield slots
        finally:
            slots.lengths[:] = 0
            self.spare.append(slots)

    def halve(self, error: Exception) -> None:
        """Go on with batches half as large and nothing remembered; ModelError where they are small already."""
        if self.batch_tokens < _FEWEST:
            raise ModelError(
                f"a text must fit in memory, got none left on {self.device} at batch_tokens {self.batch_tokens}; "
                "choose a smaller model, a smaller dtype or another device"
            ) from error
        # What the frames of the pass that failed hold on to.
        clear_frames(error.__traceback__)
        self.batch_tokens //= 2
        self.prefixes.clear()
        self.spare.clear()
        torch.cuda.empty_cache()
        logging.getLogger("steepest").warning(
            "%s: memory ran out; batches are now of %d tokens", self.id, self.batch_tokens
        )


def in_memory(
    loaded: Loaded,
    waiting: Iterable[int],
    cut: Callable[[Collection[int]], Iterator[list[int]]],
    do: Callable[[list[int]], None],
) -> None:
    """Do what waits in batches, as `cut` makes them; when memory runs out, what is left goes on in smaller ones."""
    left = dict.fromkeys(waiting)
    while left:
        try:
            for batch in cut(left):
                do(batch)
                for each in batch:
                    del left[each]
        except torch.cuda.OutOfMemoryError as error:
            loaded.halve(error)
