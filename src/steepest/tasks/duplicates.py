"""Rows that say what other rows say: repeated, nearly repeated in another split, or asked with another right answer.

Rows are the same where question and shown columns are equal, case, width (NFKC) and white space apart. They are nearly
the same where all of these hold:

- they stand in different splits, have the same right answer, and hold the same numbers in the same order: word problems
  that differ in a number, and pairs that differ in the answer, are other questions;
- of the n-grams of either, the other has at least 80 % (Jaccard similarity, as in Lee et al. 2021, arXiv 2107.06499),
  counting all of them and counting those alone that at most a tenth of the rows have: the frame of a task, which all
  its rows share, makes no two of them alike;
- at least a quarter of the n-grams of both are no such frame: rows made from a template are compared as wholes only;
- each shown column by itself is as much alike: two questions on one text are two questions.

N-grams are of five characters, three in Chinese and Japanese, white space and punctuation left out. Where all rows
together have millions of them, those with certain hashes stand for all.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from steepest.tasks.notes import Note, counted
from steepest.tasks.references import references
from steepest.types import Example

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALIKE = 0.8
"""Share of common n-grams from which two rows are nearly the same."""
OWN = 0.25
"""Share of a row's n-grams that must not be its task's frame."""
_FRAME = 0.1
"""An n-gram in more than this share of the rows is frame, ..."""
_FEW = 10
"""... unless it is in no more rows than these."""
_MOST = 4_000_000
"""N-grams that are looked at."""
_BATCH = 256
_LONGEST = 40
"""Characters of an answer that a note shows."""
_BETWEEN = re.compile("[\\s_.,;:!?'\"()\\[\\]{}…、。，；：！？「」『』《》“”‘’]+")
"""What tokenisers and typists set as they like. Signs such as + and ~ are part of what is asked."""
_NUMBER = re.compile(r"\d+")
_DENSE = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
"""Scripts in which a character is about a word."""


@dataclass(frozen=True, slots=True)
class Located:
    """A row, its split and where it was read."""

    split: str
    example: Example
    place: str = ""

    def __str__(self) -> str:
        """The row for people: "test rows.csv, line 7 (id 3f2a)"."""
        where = f"{self.place} (id {self.example.id})" if self.place else f"row {self.example.id}"
        return f"{self.split} {where}"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows that say the same, or nearly."""

    row: Located
    other: Located
    alike: float
    """Share of their n-grams that both have; 1 where they are the same."""

    def __str__(self) -> str:
        """Both rows for people."""
        return f"{self.row} = {self.other}" + (f", {100 * self.alike:.0f} % alike" if self.alike < 1 else "")


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What was found among the rows of train, dev and test."""

    repeats: tuple[Pair, ...]
    """The same question and answer twice."""
    near: tuple[Pair, ...]
    """Nearly the same question, in another split, and the same answer."""
    contradictions: tuple[tuple[Located, ...], ...]
    """Rows that ask the same and have no right answer in common."""

    def notes(self) -> list[Note]:
        """What to say of them; nothing where there are none."""
        found = []
        if self.repeats:
            across = sum(pair.row.split != pair.other.split for pair in self.repeats)
            where = f", {across:,} of them one of another split: scores may be high" if across else ""
            text = f"{_rows(self.repeats)} with question and answer of another, case and spacing aside{where}"
            found.append(Note(text, tuple(map(str, self.repeats))))
        if self.near:
            text = f"{_rows(self.near)} nearly the same as one of another split, answer included: scores may be high"
            found.append(Note(text, tuple(map(str, self.near))))
        if self.contradictions:
            told = (f"{' = '.join(map(str, rows))}: {_answers(rows)}" for rows in self.contradictions)
            text = f"{counted(len(self.contradictions), 'question')} asked more than once, with different right answers"
            found.append(Note(text, tuple(told)))
        return found


def find(splits: Mapping[str, Sequence[Example]], shown: Sequence[str], places: Mapping[str, str]) -> Duplicates:
    """Compare all rows of `splits` by question and `shown` columns; `places` say where ids were read.

    Of splits, the later ones are told in terms of the earlier ones: give train, dev, test.
    """
    rows = [Located(name, e, places.get(e.id, "")) for name, part in splits.items() for e in part]
    columns = [_columns(row.example, shown) for row in rows]
    same: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for at, texts in enumerate(columns):
        same[texts].append(at)
    repeats, contradictions = [], []
    for group in same.values():
        first = rows[group[0]]
        again = [rows[at] for at in group[1:] if _agree(rows[at].example, first.example)]
        repeats += [Pair(row, first, 1.0) for row in again]
        if len(again) < len(group) - 1:
            contradictions.append(tuple(rows[at] for at in group))
    return Duplicates(tuple(repeats), tuple(_near(rows, columns)), tuple(contradictions))


def fold(text: str) -> str:
    """Text without regard to case, width and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _columns(example: Example, shown: Sequence[str]) -> tuple[str, ...]:
    """What the model is shown, column by column."""
    return tuple(fold(text) for text in (example.input, *(example.meta[column] for column in shown)))


def _agree(one: Example, other: Example) -> bool:
    """Whether two rows have a right answer in common; rows that a judge rates have none to differ in."""
    return not {fold(answer) for answer in references(one)}.isdisjoint(fold(answer) for answer in references(other))


def _answers(rows: Iterable[Located]) -> str:
    """Their right answers, cut to what fits a line."""
    texts = (" ".join(row.example.target.split()) for row in rows)
    return " / ".join(dict.fromkeys(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…" for text in texts))


def _rows(pairs: Iterable[Pair]) -> str:
    """ "3 dev rows and 1 test row"."""
    of: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        of[pair.row.split].add(pair.row.example.id)
    return " and ".join(counted(len(ids), f"{split} row") for split, ids in of.items())


# -- nearly the same ------------------------------------------------------------------------------------------------


def _near(rows: Sequence[Located], columns: Sequence[tuple[str, ...]]) -> Iterator[Pair]:
    """Pairs across splits, the later row first; each row with the most alike of the earlier splits' rows."""
    best: dict[int, Pair] = {}
    for one, other in _candidates(rows, columns):
        if columns[one] == columns[other] or not _agree(rows[one].example, rows[other].example):
            continue
        alike = min(_alike(a, b) for a, b in zip(columns[one], columns[other], strict=True))
        if alike >= ALIKE and (one not in best or alike > best[one].alike):
            best[one] = Pair(rows[one], rows[other], alike)
    yield from (best[at] for at in sorted(best))


def _alike(one: str, other: str) -> float:
    """Jaccard similarity of the n-grams of two texts."""
    if one == other:
        return 1.0
    a, b = _grams(one), _grams(other)
    return len(a & b) / len(a | b)


def _grams(text: str) -> set[str]:
    letters = _letters(text) or text
    n = _size(letters)
    return {letters[at : at + n] for at in range(max(1, len(letters) - n + 1))}


def _letters(text: str) -> str:
    """Without white space and punctuation."""
    return _BETWEEN.sub("", text)


def _size(letters: str) -> int:
    """Characters in an n-gram."""
    return 3 if 2 * len(_DENSE.findall(letters)) > len(letters) else 5


@dataclass(frozen=True, slots=True)
class _Table:
    """Which row has which n-gram, the frame left out."""

    own: Any
    """Sparse, [rows, n-grams], ones."""
    rare: Any
    """The same with only the rarest of each row: two rows that are alike share one of them. Empty for rows that are
    mostly frame."""
    sizes: NDArray[np.int64]
    """[rows] n-grams of its own."""


def _candidates(rows: Sequence[Located], columns: Sequence[tuple[str, ...]]) -> Iterator[tuple[int, int]]:
    """Pairs, the later row first, that are alike in what is their own."""
    table = _table([_letters("".join(texts)) for texts in columns])
    split = _codes([row.split for row in rows])
    numbers = _codes([tuple(_NUMBER.findall(" ".join(texts))) for texts in columns])
    for start in range(0, len(rows), _BATCH):
        shared = (table.rare[start : start + _BATCH] @ table.rare.T).tocoo()
        one, other = shared.row.astype(np.int64) + start, shared.col.astype(np.int64)
        kept = (split[one] > split[other]) & (numbers[one] == numbers[other])
        sizes = table.sizes[one], table.sizes[other]
        kept &= np.minimum(*sizes) >= ALIKE * np.maximum(*sizes)
        one, other = one[kept], other[kept]
        for low in range(0, len(one), 50 * _BATCH):
            a, b = one[low : low + 50 * _BATCH], other[low : low + 50 * _BATCH]
            common = np.asarray(table.own[a].multiply(table.own[b]).sum(axis=1)).ravel()
            alike = common >= ALIKE * (table.sizes[a] + table.sizes[b] - common)
            yield from zip(a[alike].tolist(), b[alike].tolist(), strict=True)


def _codes(values: Sequence[object]) -> NDArray[np.int64]:
    """A number for each value, equal for equal ones, in the order in which they first appear."""
    known: dict[object, int] = {}
    return np.array([known.setdefault(value, len(known)) for value in values], dtype=np.int64)


def _table(texts: Sequence[str]) -> _Table:
    from scipy.sparse import csr_array

    row, hashes = _hashed(texts)
    _, gram, count = np.unique(hashes, return_inverse=True, return_counts=True)
    n = len(texts)
    whole = np.bincount(row, minlength=n)
    is_own = count[gram] <= max(_FRAME * n, _FEW)
    row, gram = row[is_own], gram[is_own]
    sizes = np.bincount(row, minlength=n)
    order = np.lexsort((gram, count[gram], row))
    row, gram = row[order], gram[order]
    # Two sets that share 80 % of their union share an element among the rarest fifth of each, plus one.
    rank = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    is_rare = rank < sizes[row] - np.ceil(ALIKE * sizes[row]) + 1

    def matrix(chosen: NDArray[np.bool_]) -> Any:
        values = np.ones(int(chosen.sum()), dtype=np.int32)
        return csr_array((values, (row[chosen], gram[chosen])), shape=(n, len(count)))

    # What one row alone has is never shared; it counts in the sizes.
    several = count[gram] > 1
    is_compared = sizes >= np.maximum(OWN * whole, _FEW)
    return _Table(matrix(several), matrix(several & is_rare & is_compared[row]), sizes)


def _hashed(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Row and hash of each different n-gram of each text, ordered by row."""
    sizes = [_size(text) for text in texts]
    lengths = np.array([max(0, len(text) - size + 1) for text, size in zip(texts, sizes, strict=True)])
    every = np.uint64(1 + lengths.sum() // _MOST)
    parts = [_hashes(text, size, every) for text, size in zip(texts, sizes, strict=True)]
    row = np.repeat(np.arange(len(texts)), [len(part) for part in parts])
    return row, np.concatenate(parts)


def _hashes(text: str, size: int, every: np.uint64) -> NDArray[np.uint64]:
    """Hashes of a text's different n-grams, those of one in `every`."""
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    length = max(0, len(codes) - size + 1)
    found = np.zeros(length, dtype=np.uint64)
    for at in range(size):
        found = (found ^ codes[at : at + length]) * np.uint64(0x9E3779B97F4A7C15)
        found ^= found >> np.uint64(29)
    return np.unique(found if every == 1 else found[found % every == 0])
