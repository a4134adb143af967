"""Pulling an answer out of prose: statements that give one, numbers, labels.

Everything here works on text in which full-width characters, LaTeX spacing and escapes were made plain, and says
where it found something, so that the last statement wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction

_PLAIN: dict[int, str] = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_PLAIN |= {ord("\u3000"): " ", ord("。"): ". ", ord("、"): ", ", ord("’"): "'"}
_PLAIN |= dict.fromkeys(map(ord, "\u2212\u2010\u2011"), "-")
_REWRITTEN = (
    (re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"\1/\2"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"(?<=\d)\\[,;!: ](?=\d)"), ","),
    (re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:bf|rm|it)|mbox)\s*\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\([$%&#_{}])"), r"\1"),
    (re.compile(r"\\times"), "×"),
    (re.compile(r"<(?:final[_ ])?answer>", re.IGNORECASE), "\nAnswer: "),
    (re.compile(r"</(?:final[_ ])?answer>", re.IGNORECASE), "\n"),
    (re.compile(r"(?<=\d)[\u00a0\u202f\u2009](?=\d{3})"), ","),
    (re.compile(r"(?:\b(?:negative|minus)\s+|负|負)(?=[$€£¥]?\d)(?<!\d minus )"), "-"),
)


def plain(text: str) -> str:
    """The text with full-width digits and punctuation, LaTeX fractions, spacing and escapes, answer tags made plain."""
    text = text.translate(_PLAIN)
    for pattern, replacement in _REWRITTEN:
        text = pattern.sub(replacement, text)
    return text


# -- statements -----------------------------------------------------------------------------------------------------

_MARKER = re.compile(
    r"\banswers?\b(?:\s*\([^()\n]*\))?(?:\s+(?:to|for|of|here|choice|option)\b[^.:=\n]{0,80}?)?[*_\s\"']*"
    r"(?:\b(?:is|are|would\s+be|will\s+be|must\s+be|should\s+be)\b(?!\s+not\b)|[:=])[*_\s:]*"
    r"|答案(?:应该|應該)?[*_\s]*(?:是|为|為|:|=)[*_\s:]*(?!不)"
    r"|^[ \t]*####[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_MARKED = re.compile(r"\*\*([^*\n]+)\*\*|(?<![\w$])\$([^$\n]+)\$(?![\w$])|__([^_\n]+)__")


def statements(text: str) -> list[str]:
    """What follows each "answer is", "Answer:", "####" or stands in each \\boxed{}, in order of appearance."""
    found = [(m.end(), text[m.end() :]) for m in _MARKER.finditer(text)]
    found += [(m.end(), _braced(text, m.end())) for m in _BOXED.finditer(text)]
    return [statement for _, statement in sorted(found)]


def _braced(text: str, start: int) -> str:
    """Up to the brace that closes the one before `start`."""
    depth = 1
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[start:at]
    return text[start:]


def marked(text: str) -> list[str]:
    """What stands in **bold**, __bold__ or $math$, in order of appearance."""
    return [next(part for part in m.groups() if part is not None).strip() for m in _MARKED.finditer(text)]


def clause(text: str) -> str:
    """The first line that holds something, up to the end of its first sentence."""
    line = next((line for line in text.splitlines() if line.strip(" *_$\t")), "")
    end = re.search(r"(?<=[\w\])}\"'*$]{3})[.!?;](?=\s)|(?<=[\d\u3040-\u9fff])[.!?;](?=\s)|\s\.(?=\s|$)", line)
    return line[: end.start()] if end else line


# -- numbers --------------------------------------------------------------------------------------------------------

_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.[0-9]+)?|\.[0-9]+)"
_NUMBER = re.compile(
    rf"(?<![A-Za-z0-9_.])(?<![0-9]/)(?P<sign>(?<![\w)])[-+])?(?:[$€£¥]\s?)?(?P<inner>(?<=[$€£¥])-)?"
    rf"(?:(?P<whole>[0-9]+)\s+(?=[0-9]+/[0-9]))?(?P<value>{_DECIMAL})"
    rf"(?:[eE](?P<power>[-+]?[0-9]{{1,3}})\b|\s*(?:×|x|\*)\s*10\^\{{?(?P<ten>[-+]?[0-9]{{1,3}})\}}?)?"
    rf"(?:\s?/\s?(?P<under>0*[1-9][0-9]*)(?![0-9.,]*[0-9/]))?"
)
_UNIT = re.compile(r"\s*(?:[%°]?\s*[A-Za-zµ°²³$€£¥\u3040-\u9fff]*(?:[ /-][A-Za-z²³]+){0,3})?\s*[.!]?\s*")
_WORKING = re.compile(r"(?:(?:[0-9\s.,+*/×÷·x()$%^-]*|\s*\$?[A-Za-z]\w{0,12}\s*)=\s*)+")


def number(text: str) -> str | None:
    """The first number in the text, in canonical form; after a chain of equations, the result of the last."""
    working = _WORKING.match(text)
    match = _NUMBER.search(text, working.end() if working else 0) or _NUMBER.search(text)
    return _canonical(match) if match else None


def last_number(text: str) -> str | None:
    """The last number in the text, in canonical form."""
    numbers = list(_NUMBER.finditer(text))
    return _canonical(numbers[-1]) if numbers else None


def whole_number(text: str) -> str | None:
    """The number that the text consists of, at most with a currency sign before and a unit behind it."""
    text = text.strip(" \t\n*$")
    text = re.sub(r"^[A-Za-z]\s*=\s*", "", text)
    match = _NUMBER.match(text)
    return _canonical(match) if match and _UNIT.fullmatch(text, match.end()) else None


def _canonical(match: re.Match[str]) -> str:
    """Digits, sign and point only; a fraction in lowest terms."""
    value = Fraction(match["value"].replace(",", "")) * Fraction(10) ** int(match["power"] or match["ten"] or 0)
    if match["under"]:
        value = value / int(match["under"]) + int(match["whole"] or 0)
    if "-" in f"{match['sign']}{match['inner']}":
        value = -value
    return written(value)


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


# -- labels ---------------------------------------------------------------------------------------------------------

_LETTER = re.compile(r"[(\[]?([A-Za-z])[)\]]?\.?")
_WORD = r"[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
_NOT = r"(?<!\bnot\s)(?<!n't\s)(?<!\bnot\s[\"'*(])(?<!不)(?<!不是)(?<!非)"


def letter(label: str) -> str | None:
    """The option letter that a label such as "(A)", "A." or "b" stands for, as a capital."""
    match = _LETTER.fullmatch(label.strip())
    return match[1].upper() if match else None


def mentions(text: str, labels: Sequence[str]) -> list[str]:
    """The labels that stand in the text as words of their own and are not negated, in order of appearance."""
    found: list[tuple[int, str]] = []
    letters = {mark: label for label in labels if (mark := letter(label))}
    if letters:
        found += [(m.start(), letters[_mark(m)]) for m in _lettered(letters).finditer(text)]
    by_text = {" ".join(label.casefold().split()): label for label in labels if not letter(label)}
    if by_text:
        found += [(m.start(), by_text[" ".join(m[1].casefold().split())]) for m in _worded(by_text).finditer(text)]
    return [label for _, label in sorted(found, key=lambda item: item[0])]


def leading(text: str, labels: Sequence[str]) -> str | None:
    """The label that the text begins with, whatever follows it."""
    opening = r"[\s*_$\"'`]*"
    letters = {mark: label for label in labels if (mark := letter(label))}
    if letters:
        capitals = "".join(letters)
        match = re.match(
            rf"{opening}(?:[(\[]([{capitals + capitals.lower()}])[)\]]|([{capitals}])(?!['\w])"
            rf"|([{capitals.lower()}])(?={opening}(?:[.,;:)\]]|$)))",
            text,
        )
        if match:
            return letters[_mark(match)]
    by_text = {" ".join(label.casefold().split()): label for label in labels if not letter(label)}
    for folded_label in sorted(by_text, key=len, reverse=True):
        if re.match(opening + r"\s+".join(map(_edged, folded_label.split(" "))), text, re.IGNORECASE):
            return by_text[folded_label]
    return None


def _mark(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group).upper()


def _lettered(letters: Iterable[str]) -> re.Pattern[str]:
    """(a), [A], "option b" in either case; a bare A only as a capital that no lower-case word follows."""
    capitals = "".join(letters)
    either = capitals + capitals.lower()
    return re.compile(
        rf"{_NOT}(?:(?<!\w)[(\[]([{either}])[)\]]"
        rf"|\b(?:[Oo]ption|[Cc]hoice|选项|選項)\s+([{either}])(?!\w)"
        rf"|(?<![\w'&/-])([{capitals}])(?!['\w&/-])(?!\s+[a-z]))"
    )


def _worded(labels: Iterable[str]) -> re.Pattern[str]:
    """Whole words, the longest label first; scripts without spaces between words need no edge."""
    longest = sorted(labels, key=len, reverse=True)
    either = "|".join(r"\s+".join(map(_edged, label.split(" "))) + _noun(label) for label in longest)
    return re.compile(rf"{_NOT}({either})", re.IGNORECASE)


def _noun(label: str) -> str:
    """A "no" before a noun is no answer."""
    return r"(?!\s+(?-i:[a-z]))" if label == "no" else ""


def _edged(word: str) -> str:
    before = rf"(?<!{_WORD})" if re.match(_WORD, word[0]) else ""
    after = rf"(?!{_WORD})" if re.match(_WORD, word[-1]) else ""
    return before + re.escape(word) + after


_OPTION = re.compile(r"^[ \t]*[(\[]?([A-Z])[)\].:][ \t]+(.+?)[ \t]*$", re.MULTILINE)


def options(question: str) -> dict[str, str]:
    """Lettered options of a question, one a line: letter -> text."""
    return {m[1]: m[2] for m in _OPTION.finditer(plain(question))}


# -- free text ------------------------------------------------------------------------------------------------------

_ARTICLE = re.compile(r"^(?:the|an?)\s+(?=\S)", re.IGNORECASE)


def bare(text: str) -> str:
    """Without the markup, quotes and closing punctuation around it."""
    inner = text.strip().strip("*_`\"'“”$ \t").rstrip(".,;:!? ").strip("*_`\"'“”$ \t")
    return inner or text.strip()


def folded(text: str) -> str:
    """For comparison: bare, without case, leading article and runs of white space."""
    return " ".join(_ARTICLE.sub("", bare(plain(text)).casefold()).split())
