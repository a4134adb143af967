from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steepest.errors import TaskError
from steepest.tasks.answers import Choice, Number, Text, YesNo
from steepest.tasks.metrics import (
    Answer,
    describe_metric,
    extractor_of,
    open_metric,
    write_answer,
)
from steepest.tasks.references import with_references
from steepest.tasks.similarity import F1, Contains, ExactMatch, RougeL, SameSet, common_subsequence
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
        Number(tolerance=0.01),
        F1(),
        RougeL(),
        SameSet(),
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
        ({"number": {"tolerance": "much"}}, "answer: number: tolerance must be a number, got 'much'"),
        ({"number": {"tolerance": 2}}, r"in \[0, 1\), got 2"),
        ({"f1": {"labels": ["a"]}}, "unknown field 'labels' of the answer kind 'f1'"),
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


@pytest.mark.parametrize(
    "answer",
    [
        "number",
        "number:0.05",
        {"number": {"tolerance": 0.01}},
        "f1",
        "choice:a b,c",
        {"use": "choice", "labels": ["a b", "c"]},
        half,
    ],
)
def test_written_answer_means_the_same(answer: Answer) -> None:
    assert describe_metric(open_metric(write_answer(answer))) == describe_metric(open_metric(answer))


def test_exact_match_and_contains() -> None:
    assert ExactMatch()(ROW, " Ann\n").score == 1.0
    assert ExactMatch()(ROW, "Ann.").score == 0.0
    assert Contains()(ROW, "I saw ann there").score == 1.0
    assert Contains()(ROW, "Bob").score == 0.0
    assert Contains()(ROW, "  ").answer is None
    assert extractor_of(Contains()) == ""


def row(target: str, *further: str) -> Example:
    return Example("r7", "q", target, with_references({}, further))


def test_contains_wants_words_of_their_own() -> None:
    assert Contains()(row("yes"), "I saw it yesterday").score == 0.0
    assert Contains()(row("New York"), "It is in new  york.").score == 1.0
    assert Contains()(row("C++"), "Use C++, not C.").score == 1.0
    assert Contains()(row("北京"), "我住在北京市").score == 1.0


@pytest.mark.parametrize(
    "metric", [ExactMatch(), Contains(), F1(), RougeL(), SameSet(), Number(), Text()], ids=lambda m: type(m).__name__
)
def test_best_of_several_references_counts(metric: Metric) -> None:
    assert metric(row("7", "12", "30"), "12").score == 1.0
    assert metric(row("7", "12", "30"), "13").score == 0.0


@pytest.mark.parametrize(
    ("output", "target", "score"),
    [
        ("the cat sat on the mat", "a cat on a mat", 6 / 7),
        ("Thoughts first.\nThe answer is red cat.", "red cat", 1.0),
        ("blue", "red", 0.0),
        ("the", "a", 0.0),
        ("", "red", 0.0),
        ("red red", "red", 2 / 3),
        ("我在北京", "北京", 2 / 3),
    ],
)
def test_f1(output: str, target: str, score: float) -> None:
    assert F1()(row(target), output).score == pytest.approx(score)


@pytest.mark.parametrize(
    ("output", "target", "score"),
    [  # the first four as the package rouge-score 0.1.2 has them
        ("the cat sat on the mat", "the cat was on the mat", 5 / 6),
        ("police kill the gunman", "police killed the gunman", 0.75),
        ("a b c d e", "e d c b a", 0.2),
        ("the quick brown fox jumps over the lazy dog", "a quick brown dog jumped over the lazy fox", 5 / 9),
        ("今天天气好", "今天天气很好", 10 / 11),
        ("...", "a", 0.0),
    ],
)
def test_rouge_l(output: str, target: str, score: float) -> None:
    assert RougeL()(row(target), output).score == pytest.approx(score)


def longest_by_trying(one: str, other: str) -> int:
    """Slow twin: every subsequence of the first, the longest first."""
    for length in range(len(one), 0, -1):
        for chosen in combinations(one, length):
            rest = iter(other)
            if all(letter in rest for letter in chosen):
                return length
    return 0


@settings(deadline=None)
@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_common_subsequence_is_the_longest(one: str, other: str) -> None:
    assert common_subsequence(one, other) == longest_by_trying(one, other)


@pytest.mark.parametrize(
    ("output", "score"),
    [
        ("b, a and c", 1.0),
        ("- C\n- a\n- b", 1.0),
        ("Sorted: see below.\nThe answer is a; b; c.", 1.0),
        ("a, b", 0.0),
        ("a, b, c, d", 0.0),
        ("[a, b, c]", 1.0),
    ],
)
def test_same_set(output: str, score: float) -> None:
    assert SameSet()(row("a, b, c"), output).score == score


def test_numbers_within_the_tolerance() -> None:
    assert Number(tolerance=0.01)(row("100"), "The answer is 101.").score == 1.0
    assert Number(tolerance=0.01)(row("100"), "The answer is 101.1.").score == 0.0
    assert Number(tolerance=0.5)(row("0"), "The answer is 0.1.").score == 0.0


@pytest.mark.parametrize(
    ("output", "target", "score"),
    [("30%", "30", 1), ("30%", "0.3", 1), ("0.3", "30%", 1), ("30", "30%", 1), ("30", "0.3", 0), ("3%", "30%", 0)],
)
def test_percent_may_mean_hundredths(output: str, target: str, score: int) -> None:
    assert Number()(row(Number().gold(target)), output).score == score


def test_metric_that_raises_names_the_row() -> None:
    def broken(example: Example, output: str) -> float:
        raise KeyError("no\nsuch column")

    with pytest.raises(TaskError, match=r"got KeyError: .*such column.* on row 'r7' \(q\); correct") as error:
        open_metric(broken)(row("x"), "y")
    assert "\n" not in str(error.value)
    with pytest.raises(TaskError, match="on row 'r7'"):
        open_metric(lambda example, output: "good")(row("x"), "y")  # type: ignore[arg-type, return-value]


def test_math_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TaskError, match=r"pip install 'steepest\[metrics\]'"):
        open_metric("math")


@pytest.mark.parametrize(
    ("output", "target", "score"),
    [
        ("The answer is $x(x+1)$.", "x^2+x", 1),
        ("The answer is $x+2$.", "x+1", 0),
        (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{\sqrt{2}}{2}", 1),
        (r"\boxed{0.5}", "1/2", 1),
        ("1024", "2^{10}", 1),
        ("so $2\\pi$", r"\boxed{2\pi}", 1),
        ("The answer is 9^{9^{9}}", "9^{9^{8}}", 0),
    ],
)
def test_expressions_are_compared_by_value_in_any_thread(output: str, target: str, score: int) -> None:
    pytest.importorskip("math_verify")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(open_metric("math"), row(target), output).result().score == score
