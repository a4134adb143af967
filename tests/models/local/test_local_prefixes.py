"""The tree of what was read gives back the keys of the very tokens asked for, whatever was forgotten in between."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from steepest.models.alike import alike, as_bytes
from steepest.models.local.prefixes import Prefixes
from steepest.models.local.slots import BLOCK, Shapes, Slots

SHAPES = Shapes([(torch.zeros(2, 3), torch.zeros(2, 5)), (torch.zeros(1, 4), torch.zeros(1, 4))], torch.zeros(1, 6))
"""Two layers that differ in heads, and keys that differ from values."""
A_BLOCK = BLOCK * sum(each.nbytes for each in SHAPES.each)
COLUMNS = 6 * BLOCK


def keys_of(text: tuple[int, ...]) -> list[float]:
    """What a model would have cached of each token: a number that depends on all tokens up to it."""
    return [float(hash(text[: end + 1]) % 2**20) for end in range(len(text))]


def write(slots: Slots, row: int, text: tuple[int, ...]) -> None:
    for layer, store in enumerate(slots.stores):
        values = torch.tensor(keys_of(text)) + layer
        store[row, :, : len(text)] = values[None, :, None].expand(store.shape[1], -1, store.shape[3])


def held(slots: Slots, row: int, count: int) -> list[float]:
    """What a slot's first tokens are, the same in all layers, heads and dimensions."""
    stores: list[Any] = [store[row, :, :count] - layer for layer, store in enumerate(slots.stores)]
    for store in stores:
        assert (store == stores[0][:1, :, :1]).all()
    return stores[0][0, :, 0].tolist()


texts = st.lists(st.integers(0, 1), min_size=1, max_size=5).map(
    lambda blocks: tuple(block for block in blocks for _ in range(BLOCK))
)
ragged = st.tuples(texts, st.lists(st.integers(0, 2), max_size=BLOCK - 1)).map(lambda pair: (*pair[0], *pair[1]))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9), st.lists(st.lists(ragged, min_size=1, max_size=4), min_size=1, max_size=12))
def test_what_is_found_is_what_was_kept(limit: int, calls: list[list[tuple[int, ...]]]) -> None:
    prefixes, slots = Prefixes(SHAPES, limit * A_BLOCK), Slots(None, SHAPES, "cpu")
    ever = set[tuple[int, ...]]()
    for call in calls:
        slots.reserve(len(call), COLUMNS + 1)
        known = [prefixes.known(as_bytes(text)) for text in call]
        chains, counts = [each.blocks for each in known], [each.count for each in known]
        for store in slots.stores:
            store.fill_(-1)
        prefixes.load(slots, np.arange(len(call)), chains, counts)
        for row, (text, count) in enumerate(zip(call, counts, strict=True)):
            assert text[:count] in ever or not count
            assert held(slots, row, count) == keys_of(text)[:count]
            assert slots.lengths[row] == count
            write(slots, row, text)
        prefixes.store(slots, range(len(call)), [as_bytes(text) for text in call])
        assert len(prefixes) <= limit
        ever |= {text[:end] for text in call for end in range(1, len(text) + 1)}


@given(st.lists(ragged, min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_with_room_everything_is_found_again(kept: list[tuple[int, ...]]) -> None:
    prefixes, slots = Prefixes(SHAPES, 2**20), Slots(None, SHAPES, "cpu")
    slots.reserve(1, COLUMNS + 1)
    for text in kept:
        write(slots, 0, text)
        prefixes.store(slots, [0], [as_bytes(text)])
    whole = {text[:end] for text in kept for end in range(BLOCK, len(text) + 1, BLOCK)}
    assert len(whole) <= len(prefixes) <= len(whole | set(kept))
    for text in kept:
        known = prefixes.known(as_bytes(text))
        assert known.count >= len(text) // BLOCK * BLOCK and known.missing is None
    last = prefixes.known(as_bytes(kept[-1]))
    assert last.count == len(kept[-1])


def test_a_text_goes_along_a_block_as_far_as_they_agree() -> None:
    prefixes, slots = Prefixes(SHAPES, 2**20), Slots(None, SHAPES, "cpu")
    slots.reserve(1, COLUMNS + 1)
    one = tuple(range(BLOCK + 3))
    for text in (one, (*one[:BLOCK], 99)):
        write(slots, 0, text)
        prefixes.store(slots, [0], [as_bytes(text)])
    found = {count: prefixes.known(as_bytes((*one[:count], 77, 78))).count for count in (1, 5, BLOCK + 2, BLOCK + 3)}
    assert found == {1: 1, 5: 5, BLOCK + 2: BLOCK + 2, BLOCK + 3: BLOCK + 3}
    prefixes.load(slots, np.arange(1), [prefixes.known(as_bytes((*one[:5], 77))).blocks], [5])
    assert held(slots, 0, 5) == keys_of(one)[:5]


def test_a_short_block_that_was_forgotten_for_another_is_not_kept_twice() -> None:
    prefixes, slots = Prefixes(SHAPES, 2**20), Slots(None, SHAPES, "cpu")
    slots.reserve(1, COLUMNS + 1)
    for text in ((1, 2), (1, 3), (1, 2), (1, 3), (1, 2)):
        write(slots, 0, text)
        prefixes.store(slots, [0], [as_bytes(text)])
    assert len(prefixes) == 2 and prefixes.known(as_bytes((1, 2))).count == 2


def test_what_was_used_last_is_forgotten_last_and_beginnings_after_ends() -> None:
    prefixes, slots = Prefixes(SHAPES, 4 * A_BLOCK), Slots(None, SHAPES, "cpu")
    slots.reserve(1, COLUMNS + 1)
    one, two, three = (tuple([n] * 2 * BLOCK) for n in (1, 2, 3))
    for text in (one, two, one, three[:BLOCK]):
        write(slots, 0, text)
        prefixes.store(slots, [0], [as_bytes(text)])
    found = [len(prefixes.known(as_bytes(text)).blocks) for text in (one, two, three)]
    assert found == [2, 1, 1]


def test_more_memory_keeps_what_is_there() -> None:
    prefixes, slots = Prefixes(SHAPES, 2**30), Slots(None, SHAPES, "cpu")
    slots.reserve(1, COLUMNS + 1)
    many = [tuple([n] * 2 * BLOCK) for n in range(700)]
    for text in many:
        write(slots, 0, text)
        prefixes.store(slots, [0], [as_bytes(text)])
    for text in many[::50]:
        prefixes.load(slots, np.arange(1), [prefixes.known(as_bytes(text)).blocks], [len(text)])
        assert held(slots, 0, len(text)) == keys_of(text)
    prefixes.clear()
    assert len(prefixes) == 0 and prefixes.known(as_bytes(many[0])).blocks == []


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_memory_can_be_read_with_gradients_later(mode: Any) -> None:
    prefixes, slots = Prefixes(SHAPES, 2**20), Slots(None, SHAPES, "cpu")
    with mode():
        slots.reserve(1, COLUMNS + 1)
        write(slots, 0, (1,) * BLOCK)
        prefixes.store(slots, [0], [as_bytes((1,) * BLOCK)])
    assert not any(store.is_inference() for store in [*slots.stores, *prefixes._stores])


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_common_beginnings(one: list[int], other: list[int]) -> None:
    both = zip(one, other, strict=False)
    expected = next((i for i, (a, b) in enumerate(both) if a != b), min(len(one), len(other)))
    assert alike(as_bytes(one), as_bytes(other)) == expected
