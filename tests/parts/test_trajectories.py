from __future__ import annotations

import math
from dataclasses import replace

import pytest

from steepest.parts.trajectories import (
    ascending,
    first_best,
    joined,
    place,
    points,
    shown_exemplars,
    shown_prompts,
    trials,
)
from steepest.tasks.metrics import ExactMatch
from steepest.tasks.task import Language, Task, Template
from steepest.types import Candidate, Example, Scored

ROWS = (Example("a", "Hot?", "cold", {"hint": "ice"}), Example("b", "High?", "low", {"hint": "floor"}))


def task(layout: str = "{input}\n{prompt}", language: Language = "en", seed: str = "Say it.") -> Task:
    return Task("opposites", ROWS, ROWS, Template(layout), ExactMatch(), seeds=(seed,), language=language)


def entry(text: str, mean: float) -> Scored:
    return Scored(Candidate(text), {} if math.isnan(mean) else {"a": mean})


def texts(found: list[Scored]) -> list[str]:
    return [scored.candidate.text for scored in found]


@pytest.mark.parametrize(
    ("score", "buckets", "shown"),
    [
        (0.29, 100, "29"),
        (0.57, 100, "57"),
        (0.58, 100, "58"),
        (1.0, 100, "100"),
        (0.0, 100, "0"),
        (0.29, 20, "6"),
        (1.0, 20, "20"),
        (0.29, None, "0.290"),
        (2 / 3, None, "0.667"),
    ],
)
def test_scores_are_shown_in_buckets(score: float, buckets: int | None, shown: str) -> None:
    assert points(score, buckets) == shown


def test_the_best_twenty_of_twentyfive_ascend() -> None:
    history = [entry(f"p{i}", (i * 7 % 25) / 25) for i in range(25)]
    kept = ascending(history, 20)
    means = [scored.mean for scored in kept]
    assert len(kept) == 20 and means == sorted(means)
    assert means[0] == 5 / 25 and means[-1] == 24 / 25


def test_order_goes_by_the_exact_score() -> None:
    better, worse = entry("better", 0.294), entry("worse", 0.291)
    assert points(better.mean) == points(worse.mean)
    assert texts(ascending([better, worse], 2)) == ["worse", "better"]


def test_of_equal_prompts_the_later_is_kept_and_the_unanswered_left_out() -> None:
    history = [entry("first", 0.5), entry("none", math.nan), entry("second", 0.5), entry("best", 0.9)]
    assert texts(ascending(history, 2)) == ["second", "best"]
    assert texts(ascending(history, 9)) == ["first", "second", "best"]
    assert ascending(history, 0) == []


def test_a_window_kept_step_by_step_is_the_window_of_all() -> None:
    history = [entry(f"p{i}", (i * 5 % 7) / 7) for i in range(30)]
    kept: list[Scored] = []
    for i in range(0, 30, 4):
        kept = ascending([*kept, *history[i : i + 4]], 6)
    assert kept == ascending(history, 6)


def test_the_first_of_the_best_is_best() -> None:
    history = [entry("none", math.nan), entry("low", 0.1), entry("high", 0.7), entry("later", 0.7)]
    assert first_best(history).candidate.text == "high"
    assert first_best(history[:1]).candidate.text == "none"


@pytest.mark.parametrize(
    ("layout", "seed", "words", "chinese"),
    [
        ("{prompt}\n{input}", "Say it.", "before the input", "位于输入之前"),
        ("{input}\n{prompt}", "Say it.", "after the input", "位于输入之后"),
        ("{hint} {prompt} {input}", "Say it.", "inside the input", "位于输入之中"),
        ("{prompt}", "Answer {input}", "as the whole message", "就是整条消息"),
    ],
)
def test_the_place_is_the_templates(layout: str, seed: str, words: str, chinese: str) -> None:
    assert place(task(layout, seed=seed)) == words
    assert place(task(layout, "zh", seed)) == chinese


def test_exemplars_mark_the_real_place_and_have_their_own_answers() -> None:
    after, before = shown_exemplars(ROWS, task()), shown_exemplars(ROWS, task("Q: {prompt}\n{input} ({hint})"))
    assert after == "Input: Hot?\n<slot>\nAnswer: cold\n\nInput: High?\n<slot>\nAnswer: low"
    assert before.startswith("Input: Q: <slot>\nHot? (ice)\nAnswer: cold\n\n")
    assert shown_exemplars(ROWS[:1], task(language="zh")) == "输入：Hot?\n<slot>\n答案：cold"


def test_exemplars_of_prompts_with_columns_name_the_columns() -> None:
    shown = shown_exemplars(ROWS[:1], task("{prompt}", seed="What is the opposite, {input} Hint: {hint}"))
    assert shown == "Input: input: Hot?\nhint: ice\nAnswer: cold"


def test_prompts_are_shown_with_their_scores() -> None:
    history = [entry("Say {it}.", 0.29), entry("Think.", 1.0)]
    assert shown_prompts(history, task()) == "Prompt: Say {it}.\nScore: 29\n\nPrompt: Think.\nScore: 100"
    assert shown_prompts(history[:1], task(language="zh"), 20) == "提示词：Say {it}.\n分数：6"


def test_parts_without_content_leave_no_gap() -> None:
    assert joined(["a", "", "b"]) == "a\n\nb"


def test_trials_say_what_was_accepted() -> None:
    before, after = entry("old", 0.5), [entry("worse", 0.25), entry("better", 0.75)]
    noted = trials(before, after, after[1])
    assert [(t.old, t.new, t.before, t.after, t.accepted) for t in noted] == [
        ("old", "worse", 0.5, 0.25, False),
        ("old", "better", 0.5, 0.75, True),
    ]


@pytest.mark.parametrize(("language", "shown"), [("en", "Input: Hot?\n<slot>"), ("zh", "输入：Hot?\n<slot>")])
def test_rows_without_a_right_answer_claim_none(language: Language, shown: str) -> None:
    assert shown_exemplars([replace(ROWS[0], target="")], task(language=language)) == shown
