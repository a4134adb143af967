"""The verdict: each of its reasons, the first that holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from steepest.diagnosing.advising import Evidence, advise, cautions, judge
from steepest.diagnosing.findings import Fit, Majority, Tried
from steepest.diagnosing.spread import Headroom, Spread
from steepest.results import Difference, Estimate, Faults

FINE = Faults(0, 0, 0)
SPREAD = Spread(observed=0.15, chance=0.03, prompts=0.14, rows=0.2, rest=0.2, p_value=0.0001)
ALIKE = replace(SPREAD, observed=0.03, prompts=0.0, p_value=0.4)


def tried(name: str, mean: float, adjusted: float = 1.0, answers: Faults = FINE, n: int = 50) -> Tried:
    score = Estimate(mean, max(0.0, mean - 0.1), min(1.0, mean + 0.1), n)
    return Tried(name, f"Text of {name}.", score, Difference(mean - 0.4, 0.0, 0.0), adjusted, adjusted, answers)


def evidence(*prompts: Tried, spread: Spread = SPREAD, gain: float = 0.3, test: int = 300, train: int = 64) -> Evidence:
    return Evidence(
        tried=prompts or (tried("initial", 0.4), tried("other", 0.6, 0.01)),
        spread=spread,
        headroom=Headroom(gain, 0.4 + gain, 0.9),
        majority=Majority("no", 0.5, 2, Estimate(0.2, 0.1, 0.3, 50), 0.01),
        churn=0.1,
        is_binary=True,
        rows={"train": train, "dev": 50, "test": test},
    )


def test_worth_it_names_the_gain_and_the_rows() -> None:
    found = judge(evidence())
    assert found.verdict == "yes" and "30 points over 40.0 %" in found.sentence and "300 test rows" in found.sentence


def test_a_gain_that_cannot_be_shown_asks_for_rows() -> None:
    found = judge(evidence(test=30))
    assert found.verdict == "more_rows" and "there are 30" in found.sentence


def test_a_perfect_prompt_is_kept_even_where_prompts_differ() -> None:
    found = judge(evidence(tried("initial", 0.98), tried("other", 0.1)))
    assert found.verdict == "solved" and "98.0 %" in found.sentence


def test_prompts_that_differ_downwards_only() -> None:
    assert judge(evidence(gain=0.01)).verdict == "nothing_better"


def test_no_difference_and_no_better_than_guessing() -> None:
    given = evidence(spread=ALIKE)
    assert judge(given).verdict == "no_difference" and "Perhaps the model" not in judge(given).sentence
    told = Majority("no", 0.5, 2, Estimate(0.42, 0.3, 0.5, 50), 0.8)
    found = judge(replace(given, majority=told))
    assert found.verdict == "no_difference" and "'no' would score 42.0 %" in found.sentence
    low = judge(evidence(tried("initial", 0.04), tried("other", 0.02), spread=ALIKE))
    assert "Perhaps the model cannot do this task" in low.sentence


def test_a_difference_that_could_not_have_been_seen_is_not_denied() -> None:
    found = judge(evidence(spread=replace(ALIKE, chance=0.08)))
    assert found.verdict == "unclear" and "32 points might be missed" in found.sentence


@pytest.mark.parametrize(
    ("answers", "word"),
    [
        (Faults(9, 0, 0), "read"),
        (Faults(0, 0, 9), "max_tokens"),
        (Faults(0, 9, 0), "no answer"),
        (Faults(0, 0, 0, 9), "judge"),
    ],
)
def test_answers_that_cannot_be_scored_come_first(answers: Faults, word: str) -> None:
    found = judge(evidence(tried("initial", 0.99, answers=answers), tried("other", 0.5, answers=answers)))
    assert found.verdict == "fix_answers" and word in found.sentence
    avoided = judge(evidence(tried("initial", 0.4, answers=answers), tried("other", 0.5)))
    assert avoided.verdict == "yes"


def test_cautions_tell_of_the_majority_and_of_a_better_prompt() -> None:
    told = Majority("no", 0.5, 2, Estimate(0.7, 0.6, 0.8, 50), 0.001)
    said = " ".join(cautions(replace(evidence(), majority=told)))
    assert "worse than always answering 'no' (70.0 %" in said and "'other' is better than yours already: 60.0 %" in said
    said = " ".join(cautions(evidence(tried("initial", 0.4, answers=Faults(3, 0, 2)))))
    assert "3 of 50 rows held no answer" in said and "2 of 50 rows were cut off" in said
    assert cautions(replace(evidence(tried("initial", 0.4)), majority=None)) == []


def test_the_method_follows_from_what_there_is() -> None:
    methods = [
        Fit(name, "") for name in ("greater", "ape:small", "protegi:small", "opro:small", "pe2:small", "gradsum")
    ]
    black = [replace(methods[0], refused="no gradients"), *methods[1:]]
    few, many = evidence(), evidence(train=500)
    assert advise(few, methods, False, False).method == "greater"
    assert advise(few, methods, True, False).method == "pe2:small"
    assert advise(few, black, False, False).method == "ape:small"
    assert advise(many, black, False, False).method == "protegi:small"
    assert advise(many, methods, True, True).method == "gradsum"
    assert advise(evidence(tried("initial", 0.93)), black, True, False).method == "opro:small"
    assert advise(few, [replace(each, refused="no") for each in methods], False, False).method == ""
