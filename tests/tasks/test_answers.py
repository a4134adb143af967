from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steepest.errors import TaskError
from steepest.tasks.answers import Choice, Number, Text, YesNo, infer
from steepest.types import Example

NUMBER, TEXT = Number(), Text()
ABCD = Choice(("(A)", "(B)", "(C)", "(D)"))


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("The answer is 42.", "42"),
        ("so #### 1,234", "1234"),
        (r"\boxed{\frac{3}{4}}", "0.75"),
        (r"\boxed{\dfrac{1}{3}}", "1/3"),
        ("**42**", "42"),
        ("$42$", "42"),
        ("The answer is $1,234.50.", "1234.5"),
        ("3.5", "3.5"),
        ("The answer is -5 degrees", "-5"),
        ("the answer is negative 5", "-5"),
        ("The answer is −5", "-5"),
        ("10 - 3 = 7", "7"),
        ("10-3", "3"),
        ("- 3 apples", "3"),
        ("The answer is 3 + 4 = 7.", "7"),
        ("The answer is x = 5 because y = 3", "5"),
        ("答案是：４２。因为一共有三个", "42"),
        ("8 in all. The answer is 8. It took me 3 steps.", "8"),
        ("Final Answer:\n\n$18", "18"),
        (r"The final answer is: $\boxed{10{,}000}$", "10000"),
        ("The answer is 6. Wait. The answer is 7.", "7"),
        ("The answer is not 5. It is 6", "6"),
        ("5 km", "5"),
        ("pay $20.", "20"),
        ("It is 30%", "30"),
        ("-$5", "-5"),
        ("1 1/2 cups", "1.5"),
        ("1e5", "100000"),
        (r"The answer is 3 \times 10^{5}", "300000"),
        ("**Step 1**: add\n**Total: 9** or so", "9"),
        ("The total is **12 apples**.\n\nI used 3 steps.", "12"),
        ("Answer = 7", "7"),
        ('{"steps": 3, "answer": 7, "sure": 1}', "7"),
        ("<answer>7</answer> in 3 steps", "7"),
        ("no idea", None),
        ("A4 paper", None),
        ("", None),
    ],
)
def test_number_is_found(output: str, answer: str | None) -> None:
    assert NUMBER.extract(output) == answer


def test_number_after_the_extractor_is_the_first_one() -> None:
    assert NUMBER.extract(f"3 and 4 {NUMBER.extractor} 12. Next question: 13") == "12"
    assert NUMBER.extract(f"3 and 4 {NUMBER.extractor} unclear") is None


@pytest.mark.parametrize(
    ("output", "target", "right"),
    [
        ("3.5", "4", False),
        ("4.0", "4", True),
        ("The answer is 1,000 dollars.", "1000", True),
        ("0.5", "1/2", True),
        ("1/3", "0.33", True),
        ("0.334", "0.33", False),
        ("2/3", "1", False),
        ("-7", "7", False),
        ("100", "1000", False),
        ("12", "worked out\n#### 12", True),
    ],
)
def test_numbers_are_compared_by_value(output: str, target: str, right: bool) -> None:
    assert NUMBER(Example("a", "q", target), output).score == float(right)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9))
def test_number_survives_thousands_separators(value: object) -> None:
    assert NUMBER(Example("a", "q", str(value)), f"so the answer is {value:,} miles.").score == 1.0


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("(A)", "(A)"),
        ("A", "(A)"),
        ("a", "(A)"),
        ("A.", "(A)"),
        ("The answer is (B) because (A) is wrong", "(B)"),
        ("The answer is B because A is wrong", "(B)"),
        ("The answer is (b).", "(B)"),
        ("I think A dog is nice", None),
        ("The answer is a dog, so (B)", "(B)"),
        ("not (A) but (B)", "(B)"),
        ("Option C", "(C)"),
        ("(A) is wrong, (B) is wrong, so (D)", "(D)"),
        (r"\boxed{\text{(C)}}", "(C)"),
        ("**B. 12 dollars**", "(B)"),
        ("Answer: C) twelve", "(C)"),
        ("$A$", "(A)"),
        ("答案是（B）。", "(B)"),
        ("答案为Ｂ", "(B)"),
        ("Answer:\n\n**B**", "(B)"),
    ],
)
def test_option_letter_is_found(output: str, answer: str | None) -> None:
    assert ABCD.extract(output) == answer


def test_option_text_stands_for_its_letter() -> None:
    question = "Which?\nOptions:\n(A) red fish\n(B) blue\n(C) 12/14/2026\n(D) none"
    assert ABCD(Example("a", question, "(B)"), "The color is blue").answer == "(B)"
    assert ABCD(Example("a", question, "(A)"), "The answer is Red fish.").score == 1.0
    assert ABCD(Example("a", question, "(C)"), "12/14/2026").score == 1.0
    assert ABCD(Example("a", question, "(A)"), "The color is blue").score == 0.0


def test_target_that_is_an_option_text_accepts_its_letter() -> None:
    metric = Choice(("(A)", "(B)", "earth, wind"))
    example = Example("a", "Which?\n(A) earth, wind\n(B) other", "earth, wind")
    assert metric(example, "(A)").score == 1.0
    assert metric(example, "(B)").score == 0.0


@pytest.mark.parametrize(
    ("labels", "output", "answer"),
    [
        (("valid", "invalid"), "The argument is invalid", "invalid"),
        (("valid", "invalid"), "Valid.", "valid"),
        (("valid", "invalid"), "It is not valid", None),
        (("valid", "invalid"), "validity matters", None),
        (("Yes", "No"), "Now I know nothing", None),
        (("Yes", "No"), "there is no doubt", None),
        (("Yes", "No"), "The answer is no because they differ", "No"),
        (("Yes", "No"), "So the answer is: **No**.", "No"),
        (("Yes", "No"), "NO", "No"),
        (("正确", "错误"), "答案是正确的", "正确"),
        (("正确", "错误"), "这个说法不正确", None),
    ],
)
def test_one_of_two_words_is_found(labels: tuple[str, str], output: str, answer: str | None) -> None:
    assert YesNo(labels).extract(output) == answer


def test_the_longer_label_wins_where_one_holds_the_other() -> None:
    assert Choice(("entailed", "not entailed")).extract("It is not entailed") == "not entailed"


def test_labels_in_the_extractor_are_no_answer() -> None:
    for metric in (ABCD, YesNo()):
        assert metric.extract(f"Hm. {metric.extractor} unclear") is None
        assert metric.extract(f"Hm. {metric.extractor} {metric.labels[1]}.") == metric.labels[1]


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("The answer is Ann .", "Ann"),
        ("The answer is Paris. It is the capital of France.", "Paris"),
        ("The answer is St. Louis.", "St. Louis"),
        ("apple bear cat", "apple bear cat"),
        ("] ] }", "] ] }"),
        ("First one.\nThen two.", None),
        ("Steps. Therefore, the final answer is Gus.", "Gus"),
        ("I say\n**Paris**", "Paris"),
        ("I say\n<answer>New York</answer> of course", "New York"),
        ("", None),
    ],
)
def test_free_text_is_found(output: str, answer: str | None) -> None:
    assert TEXT.extract(output) == answer


def test_free_text_is_compared_without_case_article_and_closing_punctuation() -> None:
    assert TEXT(Example("a", "q", "Old Bridge"), "The answer is the old  bridge.").score == 1.0
    assert TEXT(Example("a", "q", "Old Bridge"), "The answer is Bridge.").score == 0.0


@pytest.mark.parametrize(
    ("targets", "kind"),
    [
        (["1", "-2.5", "1,000"], Number()),
        (["worked\n#### 3", "7"], Number()),
        (["yes", "no", "Yes", "yes"], YesNo(("yes", "no"))),
        (["False", "True"], YesNo(("True", "False"))),
        (["(A)", "(D)"], Choice(("(A)", "(B)", "(C)", "(D)"))),
        (["b", "a"], Choice(("a", "b"))),
        (["pos", "neg", "neutral"] * 4, Choice(("neg", "neutral", "pos"))),
        (["one thing", "another", "a third"], Text()),
        (["same", "same"], Text()),
    ],
)
def test_kind_follows_from_the_targets(targets: list[str], kind: object) -> None:
    assert infer(targets) == kind


@pytest.mark.parametrize("metric", [NUMBER, ABCD, YesNo(("valid", "invalid")), TEXT])
def test_extractor_covers_all_labels_and_ends_without_a_space(metric: Number | Choice | YesNo | Text) -> None:
    assert metric.extractor == metric.extractor.strip()
    labels = metric.labels if isinstance(metric, Choice | YesNo) else ()
    assert all(label in metric.extractor for label in labels)


def test_targets_must_fit_the_kind() -> None:
    with pytest.raises(TaskError, match="every target must be one, got 'many'"):
        NUMBER.gold("many")
    with pytest.raises(TaskError, match="got 'Perhaps'; add it"):
        YesNo().gold("Perhaps")
    with pytest.raises(TaskError, match="at least two different labels"):
        Choice(("only",))
    assert ABCD.gold("c.") == "(C)"


@pytest.mark.parametrize("output", ["7" * 5000, "0." + "3" * 5000, "1/" + "7" * 5000])
def test_digits_without_end_are_no_number(output: str) -> None:
    judged = NUMBER(Example("1", "How many?", "7"), output)
    assert judged.score == 0 and judged.answer is None
