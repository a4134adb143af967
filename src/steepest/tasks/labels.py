"""Labels in text: option letters and words of a given set, as words of their own, not negated and not ruled out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from steepest.tasks.extract import plain

_LETTER = re.compile(r"[(\[]?([A-Za-z])[)\]]?\.?")
_WORD = r"(?-i:[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])"
"""A letter or digit of a script with spaces between words. Case is not disregarded in it: each character of the ranges
would be looked up, for every label anew."""
_LETTERS = re.compile(_WORD)
_NOT = re.compile(
    r"(?:\b(?:not|never|cannot\s+be)\s+|n't\s+)"
    r"(?:(?:a|an|the|that|this|it|is|be|think|believe|say|necessarily|logically|deductively|formally|really|actually"
    r"|entirely|always|quite|exactly|option|choice|answer|considered)\s+){0,4}[\"'*(\[]*$"
    r"|(?:不|不是|非|没|沒|不选|不選|排除|并不|并非|不能说是|不一定)[\s\"'*(\[]*(?:选项|選項)?\s*$",
    re.IGNORECASE,
)
_RULED_OUT = re.compile(
    r"[)\]\"'*.]*\s*(?:(?:is|was|are|looks?|seems?)\s+(?:also\s+|clearly\s+|therefore\s+)?"
    r"(?:wrong|incorrect|false|not\b|impossible|ruled\s+out|eliminated|excluded)"
    r"|(?:isn't|can't|cannot|doesn't|does\s+not)\b"
    r"|(?:选项)?(?:是|也)?(?:错|不对|不正确|不符|不成立|不是|不合|排除|可以排除))",
    re.IGNORECASE,
)
_OR = re.compile(
    r"[)\].\"'*]*\s*(?:,\s*)?(?:\bor\b|\band/or\b|/|还是|或者?|還是)\s*(?:option\s+)?[\"'*(\[]*", re.IGNORECASE
)
_OPERATORS = frozenset({"true", "false"})
"""Words that "or" also joins in an expression."""


def letter(label: str) -> str | None:
    """The option letter that a label such as "(A)", "A." or "b" stands for, as a capital."""
    match = _LETTER.fullmatch(label.strip())
    return match[1].upper() if match else None


@dataclass(frozen=True, slots=True)
class _Mention:
    label: str
    start: int
    end: int


def mentions(text: str, labels: Sequence[str]) -> list[str]:
    """The labels that the text takes for right, in order of appearance: as words of their own, neither negated nor
    ruled out ("(A) is wrong") nor left open ("yes or no")."""
    found: list[_Mention] = []
    letters = {mark: label for label in labels if (mark := letter(label))}
    if letters:
        found += [_Mention(letters[_mark(m)], m.start(), m.end()) for m in _lettered(letters).finditer(text)]
    by_text = {" ".join(label.casefold().split()): label for label in labels if not letter(label)}
    if by_text:
        found += [
            _Mention(by_text[" ".join(m[1].casefold().split())], m.start(), m.end())
            for m in _worded(by_text).finditer(text)
        ]
    found.sort(key=lambda mention: mention.start)
    open_ones = _left_open(text, found)
    return [m.label for m in found if m not in open_ones and not is_negated(text, m.start) and not _is_out(text, m)]


def holds(text: str, phrase: str) -> bool:
    """Whether a phrase stands in the text as words of its own, in any case."""
    words = phrase.casefold().split()
    if not words or not all(word in text.casefold() for word in words):
        return False
    # Every phrase is a pattern of its own: its edges are looked at apart, as it would take long to compile with them.
    whole, at = re.compile(r"\s+".join(map(re.escape, words)), re.IGNORECASE), 0
    while match := whole.search(text, at):
        if not (_joins(text, match.start() - 1, match.start()) or _joins(text, match.end() - 1, match.end())):
            return True
        at = match.start() + 1
    return False


def _joins(text: str, left: int, right: int) -> bool:
    """Whether the characters at both places are of one word."""
    return left >= 0 and right < len(text) and bool(_LETTERS.match(text, left) and _LETTERS.match(text, right))


def is_negated(text: str, start: int) -> bool:
    """Whether "not" and its like stand before a place."""
    return _NOT.search(text[max(0, start - 60) : start]) is not None


def _is_out(text: str, mention: _Mention) -> bool:
    return _RULED_OUT.match(text, mention.end) is not None


def _left_open(text: str, found: Sequence[_Mention]) -> set[_Mention]:
    """Neighbours that differ and are joined by "or"."""
    pairs = [
        (one, other)
        for one, other in pairwise(found)
        if not _same_or_operators(one, other) and _OR.fullmatch(text, one.end, other.start)
    ]
    return {mention for pair in pairs for mention in pair}


def leading(text: str, labels: Sequence[str]) -> str | None:
    """The label that the text begins with, whatever follows it, unless that leaves the label open: "yes or no"."""
    first = _opening(text, labels)
    joined = _OR.match(text, first.end) if first else None
    if first is None or (
        joined and (other := _opening(text[joined.end() :], labels)) and not _same_or_operators(first, other)
    ):
        return None
    return first.label


_AFTER = re.compile(
    r"[)\].\"'*]*\s*(?:$|[.,;!]|(?:is|was)\s+(?:the\s+)?(?:correct|right|better|best)\b|(?:not|instead|because|since)\b)"
)


def corrected(clause: str, labels: Sequence[str], is_direct: bool) -> str | None:
    """The label that a correction begins with; a direct one stands alone or is called right: "no, B is correct"."""
    first = _opening(clause, labels)
    if first is None or (is_direct and not _AFTER.match(clause, first.end)):
        return None
    return None if _is_out(clause, first) else first.label


_UNKNOWN = re.compile(
    r"unknown|uncertain|undetermined|neither|neutral|cannot|can't|not enough|none|不确定|无法|未知|中性", re.IGNORECASE
)


def has_unknown(labels: Sequence[str]) -> bool:
    """Whether one of the labels says that it cannot be told."""
    return any(_UNKNOWN.search(label) for label in labels)


def _same_or_operators(one: _Mention, other: _Mention) -> bool:
    return one.label == other.label or {one.label.casefold(), other.label.casefold()} <= _OPERATORS


def _opening(text: str, labels: Sequence[str]) -> _Mention | None:
    opening = r"[\s*_$\"'`]*"
    letters = {mark: label for label in labels if (mark := letter(label))}
    if letters:
        capitals = "".join(letters)
        match = re.match(
            rf"{opening}(?:(?:[Oo]ption|[Cc]hoice|选项|選項)\s*)?(?:[(\[]([{capitals + capitals.lower()}])[)\]]"
            rf"|([{capitals}])(?!{_WORD})(?!['_])"
            rf"|([{capitals.lower()}])(?={opening}(?:[.,;:)\]]|$)))",
            text,
        )
        if match:
            return _Mention(letters[_mark(match)], 0, match.end())
    by_text = {" ".join(label.casefold().split()): label for label in labels if not letter(label)}
    for folded_label in sorted(by_text, key=len, reverse=True):
        match = re.match(opening + r"\s+".join(map(_edged, folded_label.split(" "))), text, re.IGNORECASE)
        if match:
            return _Mention(by_text[folded_label], 0, match.end())
    return None


def _mark(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group).upper()


def _lettered(letters: Iterable[str]) -> re.Pattern[str]:
    """(a), [A], "option b" in either case; a bare A only as a capital that no lower-case word follows."""
    capitals = "".join(letters)
    either = capitals + capitals.lower()
    return re.compile(
        rf"(?:(?<!\w)[(\[]([{either}])[)\]]"
        rf"|\b(?:[Oo]ption|[Cc]hoice|选项|選項)\s+([{either}])(?!\w)"
        rf"|(?<!{_WORD})(?<!['_&/-])([{capitals}])(?!{_WORD})(?!['_&/-])(?!\s+(?!or\b)[a-z]))"
    )


def _worded(labels: Iterable[str]) -> re.Pattern[str]:
    """Whole words, the longest label first; scripts without spaces between words need no edge."""
    longest = sorted(labels, key=len, reverse=True)
    either = "|".join(r"\s+".join(map(_edged, label.split(" "))) + _noun(label) for label in longest)
    return re.compile(rf"({either})", re.IGNORECASE)


def _noun(label: str) -> str:
    """A "no" before a noun is no answer."""
    return r"(?!\s+(?-i:[a-z]))" if label == "no" else ""


def _edged(word: str) -> str:
    if re.fullmatch(r"[\u3400-\u9fff]", word):  # one character is mostly part of another word: 对于, 但是
        return rf"(?:^|(?<=[\s,.:;!?()\[\]\"'*为為是选選“”])){word}(?=[\s,.:;!?()\[\]\"'*的了误誤“”]|$)"
    return _before(word) + re.escape(word) + _after(word)


def _before(word: str) -> str:
    return rf"(?<!{_WORD})" if re.match(_WORD, word[0]) else ""


def _after(word: str) -> str:
    return rf"(?!{_WORD})" if re.match(_WORD, word[-1]) else ""


_OPTION = re.compile(r"^[ \t]*[(\[]?([A-Z])[)\].:][ \t]+(.+?)[ \t]*$", re.MULTILINE)


def options(question: str) -> dict[str, str]:
    """Lettered options of a question, one a line: letter -> text."""
    return {m[1]: m[2] for m in _OPTION.finditer(plain(question))}
