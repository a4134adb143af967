"""What changed between two prompts, word by word, and character by character where words are not spaced."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import Literal

Kind = Literal["equal", "removed", "added"]

_MOST_PAIRS = 100_000
"""Pairs of equal words; a text that repeats itself has more, and to match them all would take minutes."""

_UNSPACED = ("CJK ", "HIRAGANA", "KATAKANA", "THAI ", "LAO ", "KHMER ", "MYANMAR ", "TIBETAN ", "YI ")
# Over the classes of `_class`: a word, or one other character with its marks, behind its white space.
_TOKEN = re.compile(r"s*(?:w(?:[wm]|a(?=w))*|[upam]m*)|s+")


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of text that two prompts share, or that only one of them has."""

    kind: Kind
    text: str


def difference(old: str, new: str) -> list[Run]:
    """How `old` became `new`, in reading order, neighbouring runs of unlike kinds.

    The equal and removed runs spell `old`, the equal and added runs spell `new`, to the character.
    """
    return [
        Run(kind, "".join(run.text for run in runs))
        for kind, runs in groupby(_in_order(_changes(tokens(old), tokens(new))), key=lambda run: run.kind)
    ]


def tokens(text: str) -> list[str]:
    """Words, unspaced characters and punctuation, each behind the white space before it."""
    shape = "".join(map(_class, text))
    return [text[found.start() : found.end()] for found in _TOKEN.finditer(shape)]


def _class(character: str) -> str:
    if character.isspace():
        return "s"
    if unicodedata.category(character).startswith("M"):
        return "m"
    if unicodedata.name(character, "").startswith(_UNSPACED):
        return "u"
    if character.isalnum() or character == "_":
        return "w"
    return "a" if character in "'’" else "p"


def _changes(old: list[str], new: list[str]) -> Iterator[Run]:
    # White space does not decide whether two words are the same word.
    for tag, i, i_end, j, j_end in _compared([t.strip() for t in old], [t.strip() for t in new]):
        if tag == "equal":
            for before, after in zip(old[i:i_end], new[j:j_end], strict=True):
                yield from _same_word(before, after)
        else:
            yield from (Run("removed", t) for t in old[i:i_end])
            yield from (Run("added", t) for t in new[j:j_end])


def _compared(old: Sequence[str], new: Sequence[str]) -> Iterable[tuple[str, int, int, int, int]]:
    """What is equal and what is not; with too much to match, common words start no match, or everything changed."""
    places = Counter(new)
    is_many = _pairs(old, places) > _MOST_PAIRS
    if is_many and len(new) >= 200:  # from there on, difflib leaves out words that are more than one in a hundred
        places = Counter({word: n for word, n in places.items() if n <= len(new) // 100 + 1})
    if _pairs(old, places) > _MOST_PAIRS:
        return [("replace", 0, len(old), 0, len(new))]
    return SequenceMatcher(None, old, new, autojunk=is_many).get_opcodes()


def _pairs(old: Sequence[str], places: Mapping[str, int]) -> int:
    """How often a word of one is a word of the other, whose words are counted."""
    return sum(places.get(word, 0) for word in old)


def _same_word(before: str, after: str) -> Iterator[Run]:
    word = after.lstrip()
    if before != after:
        yield Run("removed", before[: len(before) - len(word)])
        yield Run("added", after[: len(after) - len(word)])
        yield Run("equal", word)
    else:
        yield Run("equal", after)


def _in_order(runs: Iterable[Run]) -> Iterator[Run]:
    """Between two equal runs, first all that was removed and then all that was added."""
    for _, stretch in groupby((r for r in runs if r.text), key=lambda run: run.kind == "equal"):
        yield from sorted(stretch, key=lambda run: run.kind == "added")
