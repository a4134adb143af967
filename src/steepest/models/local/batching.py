"""Lists of ids to rectangles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from steepest.errors import ModelError
from steepest.models import Ints
from steepest.models.local.loaded import Loaded

_PADDING = 0.15
"""Of a pass, that may be padding."""
_LITTLE = 128
"""Tokens of padding that cost less than another pass."""


@dataclass(frozen=True, slots=True)
class Padded:
    """Sequences of different lengths as tensors on the model's device."""

    ids: Any
    """[rows, columns]"""
    mask: Any
    """[rows, columns], True for real tokens."""
    lengths: Any
    """[rows]"""

    @property
    def positions(self) -> Any:
        """[rows, columns], counted from 0 over the real tokens."""
        return (self.mask.long().cumsum(-1) - 1).clamp(min=0)


def padded(sequences: Sequence[Sequence[int]], device: Any, left: bool) -> Padded:
    """Pad with id 0 at one side."""
    lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
    width = int(lengths.max())
    columns = np.arange(width)
    mask = columns >= width - lengths[:, None] if left else columns < lengths[:, None]
    ids = np.zeros(mask.shape, np.int64)
    ids[mask] = np.concatenate([np.asarray(s, np.int64) for s in sequences])
    return Padded(*(torch.from_numpy(a).to(device) for a in (ids, mask, lengths)))


def batches(order: Sequence[int], size: Callable[[int], int], limit: int) -> Iterator[list[int]]:
    """Cut `order` into runs in which rows * the largest size stays within `limit`; at least one row each.

    A run also ends where one more row would fill it up with more padding than a pass of its own is worth.
    """
    run: list[int] = []
    widest = total = 0
    for index in order:
        wider, more = max(widest, size(index)), total + size(index)
        area = wider * (len(run) + 1)
        if run and (area > limit or area - more > max(_PADDING * more, _LITTLE)):
            yield run
            run, wider, more = [], size(index), size(index)
        run.append(index)
        widest, total = wider, more
    if run:
        yield run


def distinct(sequences: Sequence[Sequence[int]]) -> tuple[list[Sequence[int]], Ints]:
    """The different ones, in order of appearance, and which of them each one is."""
    seen: dict[tuple[int, ...], int] = {}
    which = [seen.setdefault(tuple(s), len(seen)) for s in sequences]
    return list(seen), np.asarray(which, np.int64)


def check_fits(loaded: Loaded, lengths: Sequence[int], room: int = 0) -> None:
    """Raise ModelError where a sequence, with `room` more tokens, passes the context."""
    longest = max(lengths, default=0)
    if longest + room > loaded.context:
        raise ModelError(
            f"prompt and reply must fit in the context of {loaded.context} tokens, got {longest + room} tokens "
            f"for {loaded.id}; shorten the prompt, the row or max_tokens"
        )
