"""Texts read in pieces beside others give the logits of a plain forward pass, wherever they lie."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import Family

from steepest.models.local.slots import BLOCK, Kept, Slots, chosen, zeros

TEXTS = np.random.default_rng(5).integers(5, 400, (5, 60))


def plain(family: Family, text: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        return family.reference(torch.from_numpy(text)[None]).logits[0]


def fresh(family: Family) -> Slots:
    loaded = family.local._loaded
    return Slots(loaded.model, loaded.shapes, loaded.device)


def check_pieces(family: Family, plan: list[list[tuple[int, int, int]]]) -> None:
    """Read so many (slot, tokens, fillers) at a time, and compare every logit."""
    slots = fresh(family)
    slots.reserve(len(TEXTS), 9)
    expected = [plain(family, text) for text in TEXTS]
    for pieces in plan:
        order = np.asarray([slot for slot, _, _ in pieces])
        widths = np.asarray([count for _, count, _ in pieces])
        tokens = np.full((len(pieces), max(count + fillers for _, count, fillers in pieces)), 7)
        starts = slots.lengths[order].copy()
        for row, (slot, count, _) in enumerate(pieces):
            tokens[row, :count] = TEXTS[slot, starts[row] : starts[row] + count]
        rows, columns = np.nonzero(np.arange(tokens.shape[1]) < widths[:, None])
        with torch.inference_mode():
            found = slots.read(order, tokens, widths, (order[rows], starts[rows] + columns))
            again = slots.read(order[:1], TEXTS[:1, :1], np.asarray([0]), (order[rows], starts[rows] + columns))
        assert torch.equal(found, again)
        wanted = [expected[slot][start : start + n] for (slot, n, _), start in zip(pieces, starts, strict=True)]
        torch.testing.assert_close(found, torch.cat(wanted), rtol=1e-4, atol=1e-3)


def test_pieces_of_different_length(family: Family) -> None:
    # Fillers far behind the longest text: under a sliding window they see none of its keys.
    check_pieces(
        family, [[(0, 5, 0), (3, 2, 50)], [(3, 9, 0), (1, 1, 0), (0, 30, 25)], [(0, 1, 0), (1, 8, 40), (2, 3, 0)]]
    )
    check_pieces(family, [[(slot, slot + 1, 0) for slot in range(5)]] + [[(slot, 1, 0) for slot in range(5)]] * 12)


plans = st.lists(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 12), st.integers(0, 20)), min_size=1, max_size=4,
             unique_by=lambda piece: piece[0]),
    min_size=1, max_size=5,
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(plan=plans)
def test_any_pieces(llama_and_mistral: list[Family], plan: list[list[tuple[int, int, int]]]) -> None:
    for family in llama_and_mistral:
        check_pieces(family, plan)


def test_a_copy_and_a_cut_go_on_alike(family: Family) -> None:
    slots = fresh(family)
    slots.reserve(3, 31)
    text, other = TEXTS[0], TEXTS[1]
    with torch.inference_mode():
        nothing = np.zeros(0, np.int64), np.zeros(0, np.int64)
        slots.read(np.asarray([2]), text[None, :20], np.asarray([20]), nothing)
        slots.copy(np.asarray([2, 2]), np.asarray([0, 1]))
        slots.lengths[1] = 11
        tokens = np.stack([text[20:29], other[:9]])
        found = slots.read(np.asarray([0, 1]), tokens, np.asarray([9, 9]), (np.asarray([0, 1]), np.asarray([28, 19])))
    torch.testing.assert_close(found[0], plain(family, text[:29])[-1], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found[1], plain(family, np.r_[text[:11], other[:9]])[-1], rtol=1e-4, atol=1e-3)


def test_another_shape_keeps_what_was_read(llama: Family) -> None:
    slots = fresh(llama)
    slots.reserve(4, 20)
    nothing = np.zeros(0, np.int64), np.zeros(0, np.int64)
    with torch.inference_mode():
        slots.read(np.arange(2), TEXTS[:2, :10], np.asarray([10, 4]), nothing)
        before = [store[:2, :, :10].clone() for store in slots.stores]
        for count, columns in ((2, 40), (3, 11), (9, 30)):
            slots.reserve(count, columns)
            assert (len(slots), slots.lengths[:2].tolist()) == (count, [10, 4])
            assert columns <= slots.columns < columns + BLOCK
            assert all((store[:2, :, :10] == old).all() for store, old in zip(slots.stores, before, strict=True))


def test_memory_is_what_the_largest_shape_needs(llama: Family) -> None:
    """Many short texts and then a few long ones do not ask for many long ones."""
    slots = fresh(llama)
    slots.reserve(100, 2 * BLOCK)
    slots.reserve(2, 60 * BLOCK)
    assert all(len(memory) == 200 * BLOCK * 32 for layer in slots._layers for memory in layer.kept._memory)


def test_memory_that_is_too_small_is_given_back_before_more_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept([torch.zeros(1, 6)])
    kept.resize(2, BLOCK, 0, 0)
    before, taken = weakref.ref(kept._memory[0]), list[bool]()

    def taking(*args: Any) -> Any:
        taken.append(before() is None)
        return zeros(*args)

    monkeypatch.setattr("steepest.models.local.slots.zeros", taking)
    kept.resize(4, BLOCK, 2, 3)
    assert taken == [True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_lazy_zeros_are_zeros(dtype: torch.dtype) -> None:
    like = torch.ones(3, dtype=dtype)
    made = zeros(like, (2, 5, 4))
    assert made.dtype == dtype and torch.equal(made, like.new_zeros(2, 5, 4))
    made[1, 2] = 1
    assert made.sum() == 4
    assert torch.equal(chosen(made, torch.tensor([1, 0, 1])), made[[1, 0, 1]])
