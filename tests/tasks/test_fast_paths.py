"""What is skipped where a text cannot hold it, against the same without skipping anything."""

from __future__ import annotations

import json
import random
import re
import string
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from steepest.tasks import extract, numbers, numerals

CORPUS = Path(__file__).parent / "answers_corpus.jsonl"
PIECES = [
    *("one", "two", "Seven", "twenty-one", "a hundred", "two THIRDS", "a half", "ſix", "fıve", "nİne", "point"),
    *("minus ", "negative", "three quarters", "a dozen", "eleventh", "ones", "5one", "one_", "per cent", "%", "$"),
    *("\\frac{1}{2}", "\\text{7}", "\\times", "\\$", "\\,", "{,}", "<answer>", "</final answer>", "<b>"),
    *("三十二", "百分之五", "3万5千", "１２，３４５", "，", "。", "、", "\u00a0", "\u202f", "负", "°", "’", "−", "-"),
    *("1", "20", "1,000", "000", "0", "\n", " ", " ", " ", ". ", ": ", "The answer is ", "and "),
]


def texts() -> list[str]:
    dice = random.Random(7)
    made = ["".join(dice.choices(PIECES, k=dice.randrange(1, 12))) for _ in range(6000)]
    noise = ["".join(dice.choices(string.printable + "ıſ三万，", k=30)) for _ in range(500)]
    corpus = [json.loads(line)["text"] for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    return [*made, *noise, *corpus]


def slowly_plain(text: str) -> str:
    text = extract._WIDE_COMMA.sub(", ", text).translate(extract._PLAIN)
    for _, pattern, replacement in extract._REWRITTEN:
        text = pattern.sub(replacement, text)
    return text


def slowly_found(text: str) -> list[numerals.Numeral]:
    return sorted([*numerals._english(text), *numerals._chinese(text)], key=lambda numeral: numeral.start)


def test_texts_are_made_plain_as_if_nothing_was_skipped() -> None:
    changed = 0
    for text in texts():
        assert extract.plain(text) == slowly_plain(text), text
        changed += extract.plain(text) != text
    assert changed > 3000


def test_numbers_in_words_are_found_as_if_nothing_was_skipped() -> None:
    found = 0
    for text in texts():
        assert numerals.numerals(text) == slowly_found(text), text
        assert numerals.unmixed(text) == numerals._MIXED.sub(numerals._unmix, text), text
        found += bool(slowly_found(text))
    assert found > 3000


def test_every_letter_that_counts_as_one_of_ours_is_known() -> None:
    ours = set("".join(numerals._NAMES))
    pattern = {letter: re.compile(letter, re.IGNORECASE) for letter in ours}
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        for letter in ours:
            if pattern[letter].fullmatch(character) and not numerals._FOLDED.match(character):
                assert character.lower() == letter, hex(code)


@pytest.mark.parametrize("text", ["0", "007", "12", "1" * 400])
def test_whole_numbers_are_written_as_all_others(text: str) -> None:
    match = numbers._NUMBER.search(text)
    assert match and match[0] == text
    assert numbers._canonical(match) == numbers.written(Fraction(text))
