"""Any number, written in any usual way, is read back."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steepest.tasks.answers import Choice, Number, YesNo
from steepest.tasks.numbers import value_of
from steepest.tasks.numerals import numerals

NUMBER = Number()
FRAMES = (
    "The answer is {}.",
    "First 3, then 4.\n#### {}",
    "**Answer:** {}",
    "I take 2 of 9. The answer is 1. Wait, no, it's {}.",
    "<answer>{}</answer>",
    "答案是{}。",
    "So there are 3 of them. Final answer: {} apples",
)
TEX = ("\\boxed{{{}}}", "Thus $\\boxed{{{}}}$, since 2 + 2 = 4.")
ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
ONES_WORDS = [*ONES.split(), "eighteen", "nineteen"]
TENS_WORDS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def in_english(n: int) -> str:
    if n < 20:
        return ONES_WORDS[n]
    if n < 100:
        return TENS_WORDS[n // 10] + (f"-{ONES_WORDS[n % 10]}" if n % 10 else "")
    for size, name in ((10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if n >= size:
            joined = " and " if size == 100 else " "
            return f"{in_english(n // size)} {name}" + (f"{joined}{in_english(n % size)}" if n % size else "")
    raise AssertionError(n)


def in_chinese(n: int) -> str:
    """Slow twin of the reader: digit by digit, with one 零 for a gap."""
    if n >= 10**4:
        rest = n % 10**4
        return in_chinese(n // 10**4) + "万" + ("零" if 0 < rest < 1000 else "") + (in_chinese(rest) if rest else "")
    written, gap = "", False
    for size, unit in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, n = divmod(n, size)
        if digit:
            written += ("零" if gap and written else "") + "零一二三四五六七八九"[digit] + unit
        gap = not digit
    return written or "零"


def read(text: str) -> Fraction | None:
    answer = NUMBER.extract(text)
    return None if answer is None else value_of(answer)


@settings(deadline=None)
@given(st.integers(-(10**12), 10**12), st.sampled_from(FRAMES + TEX))
def test_integer_in_any_form_is_read_back(n: int, frame: str) -> None:
    forms = [f"{n}", f"{n:,}", f"{n:_}", f"{n}.00", f"{n:,}".replace(",", "{,}"), f"{n:,}".replace(",", "\\,")]
    if n >= 0:
        forms += [f"${n:,}", f"{n}".translate({48 + d: 0xFF10 + d for d in range(10)}), f"{n:,}".replace(",", " ")]
    if n >= 1000:
        forms += [f"{n:,}".replace(",", "'"), f"{n:,}".replace(",", "\u202f")]
    if n >= 10**6:
        forms += [f"{n:,}".replace(",", ".")]
    for form in forms:
        assert read(frame.format(form)) == n, form


@settings(deadline=None)
@given(st.decimals(-(10**6), 10**6, places=2), st.sampled_from(FRAMES + TEX))
def test_decimal_in_any_form_is_read_back(value: object, frame: str) -> None:
    for form in (f"{value}", f"{value:,}", f"{value}%", f"{value} kg", f"{value:e}"):
        assert read(frame.format(form)) == Fraction(str(value)), form


@settings(deadline=None)
@given(st.decimals(1000, 10**6, places=2), st.sampled_from(FRAMES))
def test_continental_decimal_is_read_back(value: object, frame: str) -> None:
    swapped = f"{value:,}".translate({ord(","): ".", ord("."): ","})
    assert read(frame.format(swapped)) == Fraction(str(value))


@settings(deadline=None)
@given(st.integers(-99, 999), st.integers(1, 99), st.sampled_from(FRAMES + TEX))
def test_fraction_in_any_form_is_read_back(over: int, under: int, frame: str) -> None:
    sign = "-" if over < 0 else ""
    for form in (f"{over}/{under}", f"{over} / {under}", f"{sign}\\frac{{{abs(over)}}}{{{under}}}"):
        assert read(frame.format(form)) == Fraction(over, under), form


@settings(deadline=None)
@given(st.integers(1, 99), st.integers(1, 9), st.sampled_from(FRAMES))
def test_mixed_number_is_read_back(whole: int, over: int, frame: str) -> None:
    assert read(frame.format(f"{whole} {over}/10")) == whole + Fraction(over, 10)


@settings(deadline=None)
@given(st.integers(0, 10**7), st.sampled_from(FRAMES))
def test_integer_in_words_is_read_back(n: int, frame: str) -> None:
    assert read(frame.format(in_english(n))) == n
    assert read(frame.format(in_english(n).replace("-", " "))) == n
    assert read(frame.format(in_chinese(n))) == n


@settings(deadline=None)
@given(st.integers(0, 9999), st.integers(0, 9999))
def test_chinese_fractions_and_percentages_are_read_back(one: int, other: int) -> None:
    assert read(f"答案是百分之{in_chinese(one)}。") == one
    if other:
        assert read(f"答案是{in_chinese(other)}分之{in_chinese(one)}。") == Fraction(one, other)


@settings(deadline=None)
@given(st.integers(1, 9999), st.sampled_from([("万", 10**4), ("亿", 10**8), ("百万", 10**6)]))
def test_digits_before_chinese_units_are_read_back(n: int, unit: tuple[str, int]) -> None:
    assert read(f"一共是{n}{unit[0]}元。") == n * unit[1]


@pytest.mark.parametrize(
    "text", ["第三个", "星期二", "十分好", "万一下雨", "一样", "someone", "tenth", "weight", "often"]
)
def test_parts_of_other_words_are_no_numbers(text: str) -> None:
    assert not [each for each in numerals(text) if not each.is_one]


@settings(deadline=None)
@given(st.text(max_size=200))
def test_no_text_is_too_odd(text: str) -> None:
    for metric in (NUMBER, YesNo(), Choice(("(A)", "(B)"))):
        for frame in ("{}", "The answer is {}", "\\boxed{{{}"):
            answer = metric.extract(frame.format(text))
            assert answer is None or answer


LABEL_FRAMES = (
    "{}",
    "The answer is {}.",
    "Answer: {}\nBecause it says so.",
    "After some thought, it must be {}.",
    "Not sure at first.\n**{}**",
    "<answer>{}</answer>",
    "#### {}",
    "\\boxed{{\\text{{{}}}}}",
    "答案是{}。",
)


@settings(deadline=None)
@given(
    st.lists(st.text("abcdefgh", min_size=3, max_size=8), min_size=2, max_size=5, unique=True),
    st.sampled_from(LABEL_FRAMES),
    st.sampled_from([str, str.upper, str.capitalize]),
)
def test_label_in_any_sentence_is_read_back(labels: list[str], frame: str, case: object) -> None:
    assert callable(case)
    for label in labels:
        assert Choice(tuple(labels)).extract(frame.format(case(label))) == label


@settings(deadline=None)
@given(st.sampled_from("ABCDE"), st.sampled_from(["{}", "({})", "{}.", "{})", "option {}", "({}) text of it"]))
def test_letter_in_any_sentence_is_read_back(letter: str, form: str) -> None:
    for frame in LABEL_FRAMES:
        assert Choice(tuple("ABCDE")).extract(frame.format(form.format(letter))) == letter, frame
