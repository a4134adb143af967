from __future__ import annotations

from pathlib import Path

import pytest

from steepest.errors import TaskError
from steepest.tasks.answers import Choice, Number, Text, YesNo
from steepest.tasks.metrics import (
    Answer,
    Contains,
    ExactMatch,
    describe_metric,
    extractor_of,
    open_metric,
    write_answer,
)
from steepest.tasks.task import Judgement, Metric
from steepest.types import Example

ROW = Example("a", "q", "Ann")


def half(example: Example, output: str) -> float:
    return 0.5


@pytest.mark.parametrize(
    "metric",
    [
        Number(),
        Number("So it is"),
        Choice(("a b", "c")),
        YesNo(("true", "false"), "Yes?"),
        Text(),
        ExactMatch(),
        Contains(),
    ],
)
def test_spec_makes_the_same_metric_again(metric: Metric) -> None:
    assert open_metric(describe_metric(metric)) == metric


def test_function_in_a_file_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def long(example, output):\n    return float(len(output) > 3)\n")
    metric = open_metric("mine.py:long", folder=tmp_path)
    assert [metric(ROW, text).score for text in ("ab", "abcd")] == [0.0, 1.0]
    spec = describe_metric(metric)
    assert spec == {"use": f"{tmp_path}/mine.py:long"}
    assert open_metric(spec)(ROW, "abcd").score == 1.0


def test_passed_function_is_described_by_its_file() -> None:
    spec = describe_metric(open_metric(half))
    assert spec == {"use": f"{Path(__file__).resolve()}:half"}
    assert open_metric(spec)(ROW, "x").score == 0.5


def test_passed_lambda_works_but_cannot_be_found_again() -> None:
    metric = open_metric(lambda example, output: 1.0)
    assert metric(ROW, "x").score == 1.0
    with pytest.raises(TaskError, match="cannot be found again"):
        open_metric(describe_metric(metric))


def first_word(example: Example, output: str) -> Judgement:
    word = output.split()[0] if output else None
    return Judgement(float(word == example.target), word)


def test_function_may_say_which_answer_it_found() -> None:
    metric = open_metric(describe_metric(first_word))
    assert metric(ROW, "Ann did") == Judgement(1.0, "Ann")
    assert metric(ROW, "") == Judgement(0.0, None)
    with pytest.raises(TaskError, match=r"in \[0, 1\], got 7"):
        open_metric(lambda example, output: Judgement(7.0, None))(ROW, "x")


def test_scores_outside_the_unit_interval_are_refused() -> None:
    with pytest.raises(TaskError, match=r"in \[0, 1\], got 7"):
        open_metric(lambda example, output: 7.0)(ROW, "x")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("nmber", "did you mean 'number'"),
        ({"use": "choice", "lables": ["a", "b"]}, "did you mean 'labels'"),
        ({"use": "yes_no", "labels": ["a", "b", "c"]}, "two labels"),
        ("absent.py:score", "must be a Python file at .*absent.py'"),
    ],
)
def test_unusable_answers_are_refused(answer: object, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        open_metric(answer, ["a", "b"])


def test_missing_function_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def score(example, output):\n    return 1.0\n")
    with pytest.raises(TaskError, match="did you mean 'score'"):
        open_metric("mine.py:scor", folder=tmp_path)


def test_labels_left_open_come_from_the_targets() -> None:
    assert open_metric("choice", ["x", "z", "y"]) == Choice(("x", "y", "z"))


def test_labels_can_be_written_behind_the_kind() -> None:
    assert open_metric("choice:red, dark green") == Choice(("red", "dark green"))
    assert open_metric("yes_no:ja,nein") == YesNo(("ja", "nein"))


@pytest.mark.parametrize("answer", ["number", "choice:a b,c", {"use": "choice", "labels": ["a b", "c"]}, half])
def test_written_answer_means_the_same(answer: Answer) -> None:
    assert describe_metric(open_metric(write_answer(answer))) == describe_metric(open_metric(answer))


def test_exact_match_and_contains() -> None:
    assert ExactMatch()(ROW, " Ann\n").score == 1.0
    assert ExactMatch()(ROW, "Ann.").score == 0.0
    assert Contains()(ROW, "I saw ann there").score == 1.0
    assert Contains()(ROW, "Bob").score == 0.0
    assert Contains()(ROW, "  ").answer is None
    assert extractor_of(Contains()) == ""
