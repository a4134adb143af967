from __future__ import annotations

import random

import numpy as np
import pytest

from steepest.models import Proposals
from steepest.parts.tokens import agreed, ends_sentence, readable, retokenizes, steepest, text_of
from toy_whitebox import WORDS, ToyWhiteBox

READABLE = [" step", "ing", "Step", ".", "，", "。", "思考", " 一步", "नमस्ते", " don't", "naïve", "?"]
UNREADABLE = ["", " ", "\n", "12", " 3rd", "<|end|>", "_x", "$", " =", "()", "http://", "\x1b[31m", "'", "--", "  two"]


def test_words_of_any_script_are_readable() -> None:
    assert readable(READABLE).all()


def test_symbols_digits_and_special_tokens_are_not() -> None:
    assert not readable(UNREADABLE).any()


@pytest.mark.parametrize(("token", "closes"), [(".", True), ("。", True), ("!", True), (" end", False), (",", False)])
def test_full_stops(token: str, closes: bool) -> None:
    assert ends_sentence(token) is closes


def proposals(rows: list[list[int]]) -> Proposals:
    ids = np.array(rows)
    logprobs = np.log(np.tile(np.linspace(0.5, 0.1, ids.shape[1]), (ids.shape[0], 1))).astype(np.float32)
    return Proposals(ids, logprobs, 0)


ROWS = [[1, 2, 3, 4, 5], [2, 1, 4, 3, 6], [3, 1, 2, 7, 4]]


def test_intersection_keeps_what_every_sampled_row_proposes_likeliest_first() -> None:
    assert agreed(proposals(ROWS), 3, 3, 1, "intersection", 1, random.Random(0)) == [1, 2]


def test_too_small_an_intersection_widens_by_two_until_the_proposals_end() -> None:
    assert set(agreed(proposals(ROWS), 3, 3, 4, "intersection", 1, random.Random(0))) == {1, 2, 3, 4}


def test_union_of_intersections_holds_each_intersection() -> None:
    both = set(agreed(proposals(ROWS), 3, 2, 1, "union", 50, random.Random(0)))
    assert both == {1, 2, 3}


def test_mean_takes_the_likeliest_over_all_rows() -> None:
    assert agreed(proposals(ROWS), 2, 1, 2, "mean", 1, random.Random(0)) == [1, 2]


def test_agreement_is_fixed_by_its_dice() -> None:
    wide = proposals(np.random.default_rng(0).permuted(np.tile(np.arange(9), (8, 1)), axis=1).tolist())
    draw = [agreed(wide, 6, 3, 1, "intersection", 1, random.Random(seed)) for seed in (1, 1, 2, 3, 4)]
    assert draw[0] == draw[1]
    assert any(other != draw[0] for other in draw[2:])


def test_ids_that_merge_when_read_back_do_not_survive() -> None:
    model = ToyWhiteBox()
    foo, bar, think = WORDS.index(" foo"), WORDS.index("bar"), WORDS.index(" think")
    assert retokenizes(model, [foo, think], "Why? ")
    assert not retokenizes(model, [foo, bar], "Why? ")


def test_the_space_before_the_slot_is_not_said_twice() -> None:
    model = ToyWhiteBox()
    ids = model.encode("think slowly", "Why? ")
    assert text_of(model, ids, "Why? ") == "think slowly"


def test_the_steepest_of_one_position_are_its_most_negative() -> None:
    values = [np.array([0.3, -0.2, -0.5, 0.0], dtype=np.float32)]
    assert steepest(values, [[7, 8, 9, 10]], 3) == [(0, 2), (0, 1), (0, 3)]


def test_positions_take_turns_and_a_token_comes_once() -> None:
    values = [np.array(v, dtype=np.float32) for v in ([-1.0, -0.9, -0.8], [-3.0, -0.1, 0.2], [])]
    assert steepest(values, [[1, 2, 3], [1, 4, 2], []], 4) == [(1, 0), (0, 1), (1, 1), (0, 2)]


def test_fewer_are_chosen_where_there_are_no_more() -> None:
    assert steepest([np.zeros(2, np.float32), np.zeros(1, np.float32)], [[1, 2], [2]], 9) == [(0, 0), (1, 0)]
