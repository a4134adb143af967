"""Numbers in words: English up to billions ("two hundred and five", "three quarters"), Chinese (三百二十, 两万五)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number in words, and where it stands."""

    value: Fraction
    start: int
    end: int
    is_percent: bool = False
    is_one: bool = False
    """Whether it is the word for one alone, which is mostly a pronoun."""


def numerals(text: str) -> list[Numeral]:
    """All numbers in words, in order of appearance."""
    # Most texts hold none, and to look for the words is many times faster than to try the patterns.
    english = list(_english(text)) if _may_hold_english(text) else []
    chinese = [] if text.isascii() else list(_chinese(text))
    return sorted(english + chinese, key=lambda numeral: numeral.start)


# -- English --------------------------------------------------------------------------------------------------------

_SMALL = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_VALUES = dict(zip(_SMALL, range(20), strict=True)) | {word: 10 * n for n, word in enumerate(_TENS, 2)}
_SCALES = {"dozen": 12, "thousand": 10**3, "million": 10**6, "billion": 10**9}
_PARTS = ("half", "third", "quarter", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_UNDER = {part: n for n, part in enumerate(_PARTS, 2)} | {"halve": 2, "fourth": 4}

_UNIT_WORD = "|".join(sorted(_VALUES, key=len, reverse=True))
_TENS_WORD = "|".join(_TENS)
_BELOW_100 = rf"(?:(?:{_TENS_WORD})(?:[\s-](?:{'|'.join(_SMALL[1:10])}))?|{_UNIT_WORD})"
_BELOW_1000 = rf"(?:(?:{_BELOW_100}|a)[\s-]hundred(?:(?:[\s-]and)?[\s-]{_BELOW_100})?|{_BELOW_100})"
_SCALE = "|".join(_SCALES)
_CARDINAL = (
    rf"(?:(?:{_BELOW_1000}|a)[\s-](?:{_SCALE})(?:,?[\s-](?:and\s)?{_BELOW_1000}[\s-](?:{_SCALE}))*"
    rf"(?:,?[\s-](?:and\s)?{_BELOW_1000})?|{_BELOW_1000})"
)
_PART = "|".join(_UNDER)
_ENGLISH = re.compile(
    rf"\b(?P<sign>(?:minus|negative)\s+)?(?:"
    rf"(?P<over>{_BELOW_100}|a)[\s-](?P<under>{_PART})s?"
    rf"|(?P<whole>{_CARDINAL})(?:\s+point(?P<places>(?:\s+(?:{'|'.join(_SMALL[:10])}))+)"
    rf"|\s+and\s+(?P<over2>{_BELOW_100}|a)[\s-](?P<under2>{_PART})s?)?"
    rf")\b(?P<percent>\s*(?:percent\b|per\s+cent\b|%))?",
    re.IGNORECASE,
)


_NAMES = frozenset([*_VALUES, "hundred", *_SCALES, *_UNDER, *(f"{part}s" for part in _UNDER)])
"""Every number in words holds one of these, as a word of its own."""
_WORD = re.compile(r"[a-z]+")
_FOLDED = re.compile("[\u0130\u0131\u017f]")
"""Letters that count as i or s where case is ignored, and do not become so in lower case."""


def _may_hold_english(text: str) -> bool:
    """Whether a text holds any of the words that English numbers are made of."""
    return not _NAMES.isdisjoint(_WORD.findall(text.lower())) or _FOLDED.search(text) is not None


def _english(text: str) -> Iterator[Numeral]:
    for match in _ENGLISH.finditer(text):
        if len(match[0]) > _LONGEST:
            continue
        value = Fraction(0)
        if match["whole"]:
            value += _cardinal(match["whole"])
        for over, under in (("over", "under"), ("over2", "under2")):
            if match[over]:
                value += Fraction(_cardinal(match[over]), _UNDER[match[under].lower().removesuffix("s")])
        if match["places"]:
            digits = "".join(str(_VALUES[word.lower()]) for word in match["places"].split())
            value += Fraction(int(digits), 10 ** len(digits))
        is_one = match[0].lower() in ("one", "a third", "a quarter")
        signed = -value if match["sign"] else value
        yield Numeral(signed, match.start(), match.end(), match["percent"] is not None, is_one)


def _cardinal(words: str) -> int:
    total = current = 0
    for word in re.findall(r"[a-z]+", words.lower()):
        if word in _VALUES:
            current += _VALUES[word]
        elif word == "hundred":
            current = 100 * (current or 1)
        elif word in _SCALES:
            total, current = total + _SCALES[word] * (current or 1), 0
    return total + current or int(words.lower() == "a")


# -- Chinese --------------------------------------------------------------------------------------------------------

_ROWS = ("零〇", "一壹", "二贰两兩", "三叁", "四肆", "五伍", "六陆", "七柒", "八捌", "九玖")
_DIGITS = {character: n for n, row in enumerate(_ROWS) for character in row}
_TENFOLD = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_MYRIADS = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_ALL = "".join(_DIGITS) + "".join(_TENFOLD) + "".join(_MYRIADS)
_INTEGER = rf"[{_ALL}]*[{''.join(_DIGITS)}十拾][{_ALL}]*"
_DECIMAL = rf"{_INTEGER}(?:点[{''.join(_DIGITS)}]+)?"
_CHINESE = re.compile(
    rf"(?<![第之周期{_ALL}])(?P<sign>[负負])?(?:百分之(?P<percent>{_DECIMAL})"
    rf"|(?:(?P<whole>{_INTEGER})又)?(?P<under>{_INTEGER})分之(?P<over>{_INTEGER})"
    rf"|(?P<value>{_DECIMAL})(?!分之))"
)
_NO_NUMBER = re.compile(r"[一二三十千万][些共样樣起定般直旦切者方面角边邊分致则則下]|万一|千万别")
_MEASURE = re.compile(r"[\s,.;!?)）个個只本条條张張块塊元米岁歲天年人次种種名位件]|$")


def _chinese(text: str) -> Iterator[Numeral]:
    for match in _CHINESE.finditer(text):
        if len(match[0]) > _LONGEST:
            continue
        if match["percent"]:
            value = han_value(match["percent"])
        elif match["under"]:
            under = han_value(match["under"])
            if not under:
                continue
            value = han_value(match["over"]) / under + (han_value(match["whole"]) if match["whole"] else 0)
        else:
            value = han_value(match["value"])
            if _NO_NUMBER.match(text, match.start()):
                continue
        is_one = match[0] in ("一", "十") and not _MEASURE.match(text, match.end())
        signed = -value if match["sign"] else value
        yield Numeral(signed, match.start(), match.end(), match["percent"] is not None, is_one)


def han_value(text: str) -> Fraction:
    """The value of 三百二十, 二〇二六, 两万五 (25,000) or 三点五; digits may stand before the units: 3万5千."""
    whole, _, places = text.partition("点")
    value = Fraction(_han_integer(whole))
    if places:
        value += Fraction(int("".join(str(_DIGITS[c]) for c in places)), 10 ** len(places))
    return value


def _han_integer(text: str) -> int:
    if all(character in _DIGITS for character in text):
        return int("".join(str(_DIGITS[character]) for character in text))
    total = section = digit = 0
    last, zero = 1, False
    for character in text:
        if character in _DIGITS:
            digit = _DIGITS[character]
            zero = digit == 0
            continue
        if character in _TENFOLD:
            last = _TENFOLD[character]
            section += (digit or int(section == 0 or last == 10)) * last
        else:
            last = _MYRIADS[character]
            grown = section + digit
            total = (total + grown) * last if last == 10**8 else total + (grown or 1) * last
            section = 0
        digit, zero = 0, False
    is_short = digit and not zero and last > 10 and text[-2] in (*_TENFOLD, *_MYRIADS)
    return total + section + (digit * last // 10 if is_short else digit)


_LONGEST = 1000
"""Characters; more are a model that repeats itself, and Python reads no number of more than 4,300 digits."""
_MIXED = re.compile(
    r"(?<![0-9])(?:[0-9]+(?:\.[0-9]+)?(?:[百千]?[万萬亿億]|百(?!分)|千(?![米克瓦赫卡字帕])))+(?:[0-9]+(?![0-9.,%/]))?"
)
_STEP = re.compile(r"([0-9]+(?:\.[0-9]+)?)([百千]?)([万萬亿億]?)")


def unmixed(text: str) -> str:
    """The text with 3万, 1.5亿 and 3万5千 as digits alone."""
    return text if text.isascii() else _MIXED.sub(_unmix, text)


def _unmix(match: re.Match[str]) -> str:
    if len(match[0]) > _LONGEST:
        return match[0]
    total = Fraction(0)
    for number, tenfold, myriad in _STEP.findall(match[0]):
        total += Fraction(number) * _TENFOLD.get(tenfold, 1) * _MYRIADS.get(myriad, 1)
    return str(total.numerator) if total.denominator == 1 else match[0]
