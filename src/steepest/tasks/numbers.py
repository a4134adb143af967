"""Numbers in text: digits with every usual separator, currency, percent, fractions, powers of ten, and words.

A number is given in canonical form: "1234.5", "-3", "1/3", and "30%" where a percent sign stands behind it.
Ways of writing that could mean two things are read by these rules:

- 1.000 is one, 1,000 a thousand; 1.000,50 and 1.000.000 are in the continental form, for they cannot be anything else;
- 0,125 is an eighth; 12,5 is twelve and a half, and 1 000 a thousand, only where a stated answer begins with it,
  because elsewhere they may be two numbers.
"""

from __future__ import annotations

import re
from fractions import Fraction

from steepest.tasks.numerals import Numeral, numerals, unmixed

_GROUPED = (
    r"(?:[1-9][0-9]{0,2}(?:\.[0-9]{3})+,[0-9]{1,2}(?![0-9])"
    r"|[1-9][0-9]{0,2}(?:\.[0-9]{3}){2,}(?!\.?[0-9])"
    r"|[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9])"
    r"|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}(?![0-9])"
    r"|[1-9][0-9]{0,2}(?:_[0-9]{3})+(?![0-9_])"
    r"|[1-9][0-9]{0,2}(?:'[0-9]{3})+(?![0-9])"
    r"|0,[0-9]+(?![0-9,])"
)
_VALUE = rf"{_GROUPED}|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+"
_NUMBER = re.compile(
    rf"(?<![A-Za-z0-9_.])(?<![0-9]/)(?P<sign>(?<![\w)])[-+])?(?P<money>[$€£¥]\s?)?(?P<inner>(?<=[$€£¥])-)?"
    rf"(?:(?P<whole>[0-9]+)(?:\s+and)?\s+(?=[0-9]+/[0-9]))?(?P<value>{_VALUE})"
    rf"(?:[eE](?P<power>[-+]?[0-9]{{1,3}})\b|\s*(?:×|x|\*)\s*10\^\{{?(?P<ten>[-+]?[0-9]{{1,3}})\}}?)?"
    rf"(?:\s?/\s?(?P<under>0*[1-9][0-9]*)(?![0-9.,]*[0-9/]))?"
    rf"(?P<scale>(?:\s|-)?(?:hundred|thousand|million|billion|trillion)\b|(?<=[0-9])[kKMB]\b)?"
    rf"(?P<percent>\s?(?:%|percent\b|per\scent\b))?"
)
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12, "k": 3, "m": 6, "b": 9}
_NEAR = 80
"""Characters of a statement in which its number must begin."""
_CUT = re.compile(rf".{{0,{_NEAR}}}[0-9.,]*")
_LONGEST = 1000
"""Characters; more of them are a model that repeats itself, and Python reads no number of more than 4,300 digits."""
_UNIT = re.compile(r"\s*(?:[%°]?\s*[A-Za-zµ°²³$€£¥\u3040-\u9fff]*(?:[ /-][A-Za-z²³]+){0,3})?\s*[.!]?\s*")
_WORKING = re.compile(r"(?:(?:[0-9\s.,+*/×÷·x()$%^-]*|\s*\$?[A-Za-z]\w{0,12}\s*)=\s*)+")
_SPACED = re.compile(r"^([\s*$€£¥_-]{0,4}[1-9][0-9]{0,2}(?: [0-9]{3})+)(?![0-9/])")
_COMMA = re.compile(r"^([\s*$€£¥_-]{0,4}[0-9]+),([0-9]{1,2})(?![0-9,/])")
_BEFORE_WORD = re.compile(r"[\s*$_\"'“:(-]*(?:(?:about|only|just|exactly|a total of|again|的?)\s*)?")


def number(text: str) -> str | None:
    """The first number in digits; after a chain of equations, the result of the last."""
    text = unmixed(text)
    working = _WORKING.match(text)
    match = _NUMBER.search(text, working.end() if working else 0) or _NUMBER.search(text)
    return _canonical(match) if match else None


def stated_number(clause: str) -> str | None:
    """The number that a stated answer gives: in words where it begins with them, else in digits, else in words."""
    clause = _COMMA.sub(r"\1.\2", _SPACED.sub(_closed, unmixed(clause), count=1), count=1)
    words = [word for word in numerals(clause) if word.start < _NEAR]
    opening = _BEFORE_WORD.match(clause)
    if words and opening and words[0].start in (opening.end(), opening.start()) and not _is_pronoun(words[0], clause):
        return _in_digits(words[0])
    near = _CUT.match(clause)
    return (number(near[0]) if near else None) or (
        _in_digits(words[0]) if len(words) == 1 and not words[0].is_one else None
    )


def corrected_number(clause: str, is_direct: bool) -> str | None:
    """The number that a correction begins with; a direct one consists of it, up to the next comma."""
    if is_direct:
        clause = re.split(r",(?![0-9])|\s+(?:not|because|since|as)\b", clause, maxsplit=1)[0]
        words = numerals(clause)
        is_short = len(clause.split()) <= 3 and not re.search(r"\b(?:of|is|are|was|were|more|times)\b", clause)
        return (stated_number(clause) if words else whole_number(clause)) if is_short else number_of_equation(clause)
    begins = re.match(r"[\s*$€£¥_-]*[0-9]", clause) or any(not clause[: n.start].strip(" *_") for n in numerals(clause))
    return stated_number(clause) if begins else None


def number_of_equation(clause: str) -> str | None:
    """The result of a chain of equations that the text consists of."""
    working = _WORKING.match(clause)
    return whole_number(clause[working.end() :]) if working else None


def last_number(text: str) -> str | None:
    """The last number in digits; where there are none, the only one in words of the last sentence."""
    matches = list(_NUMBER.finditer(unmixed(text)))
    if matches:
        return _canonical(matches[-1])
    sentences = [each for each in re.split(r"[.!?\n]+(?=\s|$)", text) if each.strip()]
    words = numerals(sentences[-1]) if sentences else []
    if len(words) != 1 or (words[0].is_one and text.strip(" .!").casefold() != "one"):
        return None
    return _in_digits(words[0])


def whole_number(text: str) -> str | None:
    """The number that the text consists of, at most with a currency sign before and a unit behind it."""
    text = unmixed(text.strip(" \t\n*$"))
    text = re.sub(r"^[A-Za-z]\s*=\s*", "", text)
    match = _NUMBER.match(text)
    return _canonical(match) if match and _UNIT.fullmatch(text, match.end()) else None


def whole_words(text: str) -> str | None:
    """The number that the text spells out and nothing else: "twelve", "三十二"."""
    words = numerals(text.strip())
    alone = len(words) == 1 and (words[0].start, words[0].end) == (0, len(text.strip()))
    return _in_digits(words[0]) if alone else None


def _closed(match: re.Match[str]) -> str:
    return re.sub(r"(?<=[0-9]) (?=[0-9])", "", match[0])


def _is_pronoun(word: Numeral, clause: str) -> bool:
    """Whether a "one" is no number: "one of them", "one that"."""
    return word.is_one and re.match(r"[\s*]*(?:$|[.,;!:*)]|[a-z]+[\s*.]*$)(?<!of)", clause[word.end :]) is None


def _in_digits(word: Numeral) -> str:
    return written(word.value) + "%" * word.is_percent


def _canonical(match: re.Match[str]) -> str | None:
    """Digits, sign and point only; a fraction in lowest terms. None for digits without end."""
    if len(match[0]) > _LONGEST:
        return None
    if match[0] == match["value"] and match[0].isdigit():
        return str(int(match[0]))
    value = _plain_value(match["value"]) * Fraction(10) ** int(match["power"] or match["ten"] or 0)
    if match["under"]:
        value = value / int(match["under"]) + int(match["whole"] or 0)
    scale = (match["scale"] or "").lstrip("-").strip().lower()
    if scale and (len(scale) > 1 or match["money"]):
        value *= 10 ** _SCALES[scale]
    if "-" in f"{match['sign']}{match['inner']}":
        value = -value
    return written(value) + "%" * (match["percent"] is not None)


def _plain_value(digits: str) -> Fraction:
    """The value of digits with separators."""
    comma, point = digits.rfind(","), digits.rfind(".")
    if comma > point > -1 or digits.startswith("0,"):
        return Fraction(digits.replace(".", "").replace(",", "."))
    if digits.count(".") > 1:
        return Fraction(digits.replace(".", ""))
    return Fraction(re.sub(r"[,_']", "", digits))


def written(value: Fraction) -> str:
    """A fraction as a decimal where that is exact, else as numerator/denominator."""
    places = 0
    while places < 30 and (value * 10**places).denominator != 1:
        places += 1
    if places == 30:
        return str(value)
    digits = str(abs(value.numerator * 10**places // value.denominator)).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    return sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)


def value_of(canonical: str) -> Fraction:
    """The value of a number in canonical form, its percent sign apart."""
    return Fraction(canonical.removesuffix("%"))


def same_value(answer: str, gold: str, tolerance: Fraction = Fraction(0)) -> bool:
    """Whether two canonical numbers are equal.

    A percent sign on one of them only may also mean hundredths: 30% is 30 and is 0.3. A fraction also equals its
    rounded decimal. `tolerance` is a share of the gold value.
    """
    if answer == gold:
        return True
    value, right = value_of(answer), value_of(gold)
    meant = {value}
    if answer.endswith("%") != gold.endswith("%"):
        meant.add(value / 100 if answer.endswith("%") else value * 100)
    if any(abs(each - right) <= tolerance * abs(right) for each in meant):
        return True
    places = len(gold.removesuffix("%").partition(".")[2])
    return "/" in answer and "/" not in gold and places > 0 and round(value, places) == right
