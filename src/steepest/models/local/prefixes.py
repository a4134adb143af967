"""What was read of the beginnings of texts, kept for texts that begin alike: across rows, prompts and steps.

A tree of blocks of tokens: a block's name is its own tokens and the block before it, so a text finds what was read of
it by walking down. Least recently used blocks make room for new ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from steepest.models import Ints
from steepest.models.local.slots import Shapes, Slots

BLOCK = 8
"""Tokens of a block."""
_FIRST = 256
"""Blocks to begin with; as many again whenever they are full, up to the limit."""
_FREED = 8
"""Where there is no room, at least one in so many blocks is given up at once."""

_NEVER = np.iinfo(np.int64).max
"""When free blocks are used, so that they are not freed again."""

Name = tuple[int, bytes]
"""The serial number of the block before, and a block's tokens."""


class Prefixes:
    """Keys and values by the tokens that led to them, within a number of bytes."""

    def __init__(self, shapes: Shapes, limit: int) -> None:
        self._like = [each for pair in shapes for each in pair]
        self._most = limit // (BLOCK * sum(each.nbytes for each in self._like))
        self.clear()

    def clear(self) -> None:
        """Forget everything, and give the memory back."""
        self._stores: list[Any] = [like.new_empty((0, *like.shape)) for like in self._like]
        self._blocks: dict[Name, int] = {}
        self._names: list[Name] = []
        self._serials: Ints = np.zeros(0, np.int64)
        self._used: Ints = np.zeros(0, np.int64)
        self._free: list[int] = []
        self._serial = self._clock = 0

    def __len__(self) -> int:
        return len(self._blocks)

    def known(self, text: bytes) -> tuple[list[int], Name | None]:
        """The blocks that hold the beginning of `text`, and the name of the first one that is not there."""
        found: list[int] = []
        before = 0
        for start in range(0, len(text) - _SIZE + 1, _SIZE):
            name = (before, text[start : start + _SIZE])
            block = self._blocks.get(name)
            if block is None:
                return found, name
            found.append(block)
            before = int(self._serials[block])
        return found, None

    def load(self, slots: Slots, rows: Ints, blocks: Sequence[Sequence[int]], counts: Sequence[int]) -> None:
        """Begin `rows` with the first `counts` tokens of their blocks; what stood in them is forgotten."""
        self._clock += 1
        sources, targets = [], []
        for chain, count in zip(blocks, counts, strict=True):
            self._used[chain] = self._clock
            columns = np.arange(count)
            sources.append(np.asarray(chain, np.int64)[columns // BLOCK] * BLOCK + columns % BLOCK)
            targets.append(columns)
        slots.lengths[rows] = counts
        if sum(counts):
            outside = np.repeat(rows, counts), np.concatenate(targets)
            self._copy(slots, outside, np.concatenate(sources), inwards=False)

    def store(self, slots: Slots, rows: Sequence[int], texts: Sequence[bytes]) -> None:
        """Keep what `rows` have read: the whole blocks of `texts`."""
        self._clock += 1
        new: list[tuple[int, int, int]] = []
        for row, text in zip(rows, texts, strict=True):
            chain, missing = self.known(text)
            self._used[chain] = self._clock
            before = missing[0] if missing else 0
            places = range(len(chain), len(text) // _SIZE)
            for place, block in zip(places, self._room(len(places)), strict=False):
                before = self._add(block, (before, text[place * _SIZE : (place + 1) * _SIZE]))
                new.append((row, place, block))
        if new:
            row, place, block = np.asarray(new).T[:, :, None]
            columns = np.arange(BLOCK)
            outside = row.repeat(BLOCK), (place * BLOCK + columns).ravel()
            self._copy(slots, outside, (block * BLOCK + columns).ravel(), inwards=True)

    def _add(self, block: int, name: Name) -> int:
        self._serial += 1
        self._blocks[name], self._names[block] = block, name
        self._serials[block], self._used[block] = self._serial, self._clock
        return self._serial

    def _copy(self, slots: Slots, outside: tuple[Ints, Ints], inside: Ints, inwards: bool) -> None:
        here = torch.from_numpy(inside)
        there = {heads: slots.flat(*outside, heads) for heads in {like.shape[0] for like in self._like}}
        for own, other in zip(self._stores, slots.stores, strict=True):
            ours, theirs = here.to(own.device), there[own.shape[1]].to(own.device)
            flat = other.flatten(0, 2)
            if inwards:
                own.index_copy_(0, ours, flat[theirs].view(-1, *own.shape[1:]))
            else:
                flat.index_copy_(0, theirs, own[ours].flatten(0, 1))

    def _room(self, wanted: int) -> list[int]:
        """Up to `wanted` blocks that are free, from new memory or from what was used longest ago."""
        while len(self._free) < wanted and len(self._names) < self._most:
            self._grow()
        if len(self._free) < wanted:
            self._give_up(max(wanted - len(self._free), len(self._names) // _FREED))
        return [self._free.pop() for _ in range(min(wanted, len(self._free)))]

    def _grow(self) -> None:
        old = len(self._names)
        new = min(max(_FIRST, old), self._most - old)
        # Outside inference mode: gradients may be taken of what is read after it.
        with torch.inference_mode(False), torch.no_grad():
            # One by one, so that what is there is never all there twice.
            for i, like in enumerate(self._like):
                grown = like.new_empty(((old + new) * BLOCK, *like.shape))
                grown[: old * BLOCK] = self._stores[i][: old * BLOCK]
                self._stores[i] = grown
        self._names += [(0, b"")] * new
        self._serials = np.concatenate([self._serials, np.zeros(new, np.int64)])
        self._used = np.concatenate([self._used, np.full(new, _NEVER)])
        self._free += range(old + new - 1, old - 1, -1)

    def _give_up(self, wanted: int) -> None:
        """Free the blocks used longest ago, the ends of texts first, and none of those in use now."""
        old = np.nonzero(self._used < self._clock)[0]
        for block in old[np.lexsort((-self._serials[old], self._used[old]))][:wanted].tolist():
            del self._blocks[self._names[block]]
            self._used[block] = _NEVER
            self._free.append(block)


_SIZE = 4 * BLOCK


def as_bytes(ids: Sequence[int] | Ints) -> bytes:
    """Ids as the tree knows them, four bytes each."""
    return np.asarray(ids, np.int32).tobytes()
