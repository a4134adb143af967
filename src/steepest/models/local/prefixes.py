"""What was read of the beginnings of texts, kept for texts that begin alike: across rows, prompts and steps.

A tree of blocks of tokens: a block's name is its own tokens and the block before it, so a text finds what was read of
it by walking down. The last block of a text may be short, and a text may go along a block for a part of it only. Least
recently used blocks make room for new ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from steepest.models import Ints
from steepest.models.alike import BYTES, alike
from steepest.models.local.slots import BLOCK, Shapes, Slots, chosen, zeros

_FIRST = 256
"""Blocks to begin with."""
_MORE = 3
"""So many for each that is there are added whenever they are full, up to the limit; few are copied, then."""
_FREED = 8
"""Where there is no room, at least one in so many blocks is given up at once."""

_NEVER = np.iinfo(np.int64).max
"""When free blocks are used, so that they are not freed again."""

Name = tuple[int, bytes]
"""The serial number of the block before, and a block's tokens."""


@dataclass(frozen=True, slots=True)
class Known:
    """What was read of a text's beginning."""

    blocks: list[int]
    """Those that hold it, one after another; of the last one perhaps only the first tokens."""
    count: int
    """How many tokens."""
    missing: Name | None
    """The first whole block of the text that is not there."""


class Prefixes:
    """What is kept of tokens, by the tokens that led to them, within a number of bytes."""

    def __init__(self, shapes: Shapes, limit: int) -> None:
        self._like = shapes.each
        self._most = limit // (BLOCK * sum(each.nbytes for each in self._like))
        self.clear()

    def clear(self) -> None:
        """Forget everything, and give the memory back."""
        self._stores: list[Any] = [like.new_empty(self._shape(like, 0)) for like in self._like]
        self._blocks: dict[Name, int] = {}
        self._begun: dict[Name, int] = {}
        """By the block before and a first token: the latest block that goes on so."""
        self._names: list[Name] = []
        self._serials: Ints = np.zeros(0, np.int64)
        self._used: Ints = np.zeros(0, np.int64)
        self._free: list[int] = []
        self._serial = self._clock = 0

    def __len__(self) -> int:
        return len(self._blocks)

    def known(self, text: bytes) -> Known:
        """How far `text` was read before."""
        found: list[int] = []
        before, missing, whole = 0, None, len(text) // _SIZE
        for start in range(0, whole * _SIZE, _SIZE):
            block = self._blocks.get((before, text[start : start + _SIZE]))
            if block is None:
                missing = (before, text[start : start + _SIZE])
                break
            found.append(block)
            before = int(self._serials[block])
        count, rest = len(found) * BLOCK, text[len(found) * _SIZE : (len(found) + 1) * _SIZE]
        part = self._begun.get((before, rest[:BYTES]))
        if part is not None:
            found.append(part)
            count += alike(rest, self._names[part][1])
        return Known(found, count, missing)

    def load(self, slots: Slots, rows: Ints, blocks: Sequence[Sequence[int]], counts: Sequence[int]) -> None:
        """Begin `rows` with the first `counts` tokens of their blocks; what stood in them is forgotten."""
        self._clock += 1
        pieces = [-(-count // BLOCK) for count in counts]
        for chain, many in zip(blocks, pieces, strict=True):
            self._used[chain[:many]] = self._clock
        slots.lengths[rows] = counts
        if sum(pieces):
            inside = np.concatenate(
                [np.asarray(chain[:many], np.int64) for chain, many in zip(blocks, pieces, strict=True)]
            )
            outside = np.repeat(rows, pieces), np.concatenate([np.arange(many) for many in pieces])
            self._copy(slots, outside, inside, inwards=False)

    def store(self, slots: Slots, rows: Sequence[int], texts: Sequence[bytes]) -> None:
        """Keep what `rows` have read: `texts`, of which the last block may be short."""
        try:
            self._store(slots, rows, texts)
        except BaseException:  # An interrupt, too, would leave names of what is not there.
            self.clear()
            raise

    def _store(self, slots: Slots, rows: Sequence[int], texts: Sequence[bytes]) -> None:
        self._clock += 1
        new: list[tuple[int, int, int]] = []
        for row, text in zip(rows, texts, strict=True):
            known = self.known(text)
            self._used[known.blocks] = self._clock
            if known.count == len(text) // BYTES:
                continue
            whole = known.count // BLOCK
            before = int(self._serials[known.blocks[whole - 1]]) if whole else 0
            pieces = [text[start : start + _SIZE] for start in range(whole * _SIZE, len(text), _SIZE)]
            if (there := self._blocks.get((before, pieces[0]))) is not None:
                # A short one, behind which texts have gone on otherwise since.
                self._used[there], self._begun[_begin((before, pieces[0]))] = self._clock, there
                continue
            for place, (piece, block) in enumerate(zip(pieces, self._room(len(pieces)), strict=False), start=whole):
                new.append((row, place, block))
                before = self._add(block, (before, piece))
        if new:
            row, place, block = np.asarray(new).T
            self._copy(slots, (row, place), block, inwards=True)

    def _add(self, block: int, name: Name) -> int:
        self._serial += 1
        self._blocks[name], self._names[block] = block, name
        self._begun[_begin(name)] = block
        self._serials[block], self._used[block] = self._serial, self._clock
        return self._serial

    def _copy(self, slots: Slots, outside: tuple[Ints, Ints], inside: Ints, inwards: bool) -> None:
        """Copy blocks whole, short ones too: what stands behind a text's end is finite, and nobody looks at it."""
        for own, other in zip(self._stores, slots.stores, strict=True):
            heads, size = own.shape[1:]
            ours = torch.from_numpy((inside[:, None] * heads + np.arange(heads)).ravel()).to(own.device)
            theirs = slots.flat(*outside, heads, of=BLOCK).to(own.device)
            here, there = own.view(-1, size), other.view(-1, size)
            if inwards:
                here.index_copy_(0, ours, chosen(there, theirs))
            else:
                there.index_copy_(0, theirs, chosen(here, ours))

    def _shape(self, like: Any, blocks: int) -> tuple[int, int, int]:
        return blocks, like.shape[0], BLOCK * like.shape[1]

    def _room(self, wanted: int) -> list[int]:
        """Up to `wanted` blocks that are free, from new memory or from what was used longest ago."""
        while len(self._free) < wanted and len(self._names) < self._most:
            self._grow()
        if len(self._free) < wanted:
            self._give_up(max(wanted - len(self._free), len(self._names) // _FREED))
        return [self._free.pop() for _ in range(min(wanted, len(self._free)))]

    def _grow(self) -> None:
        old = len(self._names)
        new = min(max(_FIRST, _MORE * old), self._most - old)
        # Outside inference mode: gradients may be taken of what is read after it.
        with torch.inference_mode(False), torch.no_grad():
            # One by one, so that what is there is never all there twice.
            for i, like in enumerate(self._like):
                # What is behind the end of a short block must be finite.
                grown = zeros(like, self._shape(like, old + new))
                grown[:old] = self._stores[i]
                self._stores[i] = grown
        self._names += [(0, b"")] * new
        self._serials = np.concatenate([self._serials, np.zeros(new, np.int64)])
        self._used = np.concatenate([self._used, np.full(new, _NEVER)])
        self._free += range(old + new - 1, old - 1, -1)

    def _give_up(self, wanted: int) -> None:
        """Free the blocks used longest ago, the ends of texts first, and none of those in use now."""
        old = np.nonzero(self._used < self._clock)[0]
        for block in old[np.lexsort((-self._serials[old], self._used[old]))][:wanted].tolist():
            name = self._names[block]
            del self._blocks[name]
            if self._begun.get(_begin(name)) == block:
                del self._begun[_begin(name)]
            self._used[block] = _NEVER
            self._free.append(block)


_SIZE = BYTES * BLOCK


def _begin(name: Name) -> Name:
    return name[0], name[1][:BYTES]
