"""Train, dev and test by content hash: a row's split depends on that row alone, so it never moves."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from steepest.errors import TaskError
from steepest.tasks.datasets import Read
from steepest.tasks.notes import Note, counted
from steepest.types import Example

FEWEST = 2
"""Rows that each split needs."""


@dataclass(frozen=True, slots=True)
class Splits:
    """Shares of the rows, and the most rows that each split takes."""

    train: float = 0.25
    dev: float = 0.25
    test: float = 0.5
    most_train: int = 100
    most_dev: int = 100
    most_test: int = 500

    def __post_init__(self) -> None:
        shares = (self.train, self.dev, self.test)
        if min(shares) <= 0 or not math.isclose(math.fsum(shares), 1.0, abs_tol=1e-6):
            raise TaskError(f"shares of train, dev and test must be positive and sum to 1, got {shares}; correct them")
        if min(self.most_train, self.most_dev, self.most_test) < FEWEST:
            raise TaskError(f"most_train, most_dev and most_test must be at least {FEWEST}; raise them")


@dataclass(frozen=True, slots=True)
class Share:
    """What one split takes of a benchmark."""

    part: str
    """The part of the benchmark, as its files are divided: "train", "validation", "test"."""
    rows: int
    """So many, or its share of them where the part has fewer rows than the splits take of it."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How a benchmark is split: by its own parts and, inside a part, by hash or in the order of the file."""

    train: Share
    dev: Share
    test: Share
    by: Literal["hash", "order"] = "hash"

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that are needed."""
        return tuple(dict.fromkeys(share.part for share in (self.train, self.dev, self.test)))


@dataclass(frozen=True, slots=True)
class Parts:
    """The rows, split, and what had to be said about them."""

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    notes: tuple[Note, ...] = ()


def split(
    examples: Sequence[Example], splits: Splits, question: Callable[[Example], str], places: Sequence[str] = ()
) -> Parts:
    """Split by a hash of the question, so that rows asking the same land together, in the order of that hash.

    Rows with the same id are kept once. Where a split would take more rows than its most, those with the lowest
    hashes stay. `places` say where each example stands, for the notes. Raises TaskError if a split is left with fewer
    than two rows.
    """
    unique = list({example.id: example for example in reversed(examples)}.values())
    notes = _repeated(examples, places)
    placed = sorted((_place(question(example)), example.id, example) for example in unique)
    shares = (
        ("train", 0.0, splits.train, splits.most_train),
        ("dev", splits.train, splits.train + splits.dev, splits.most_dev),
        ("test", splits.train + splits.dev, math.inf, splits.most_test),
    )
    rows = {name: [e for at, _, e in placed if low <= at < high][:most] for name, low, high, most in shares}
    if min(map(len, rows.values())) < FEWEST:
        counts = ", ".join(f"{name} {len(part)}" for name, part in rows.items())
        raise TaskError(
            f"each split needs at least {FEWEST} rows, got {counts} of {len(unique)} different rows; give more"
        )
    return Parts(tuple(rows["train"]), tuple(rows["dev"]), tuple(rows["test"]), tuple(notes))


def split_parts(rows: Mapping[str, Read], shares: Shares, question: Callable[[Example], str]) -> Parts:
    """Split a benchmark's parts; train, dev and test take their rows from a part in this order.

    Rows that ask the same take the place of the first of them, so that they land in the same split; a row of train or
    dev that asks what a row of another part's test asks is left out. Raises TaskError if a split is left with fewer
    than two rows.
    """
    found: dict[str, list[Example]] = {}
    notes: list[Note] = []
    for part in shares.parts:
        read = rows[part]
        notes += [replace(n, text=f"{part}: {n.text}") for n in _repeated(read.examples, read.places)]
        found |= _cut(part, read.examples, shares, question)
    notes += [*_apart(found, "train", "test", question), *_apart(found, "dev", "test", question)]
    return _enough(found, notes, "give the whole files")


def split_given(rows: Mapping[str, Read], question: Callable[[Example], str]) -> Parts:
    """Rows that were given as train, dev and test, all of them; no two splits ask the same.

    What dev or test asks is left out of train, what test asks of dev. Raises TaskError as `split_parts`.
    """
    found: dict[str, list[Example]] = {}
    notes: list[Note] = []
    for part, read in rows.items():
        notes += [replace(n, text=f"{part}: {n.text}") for n in _repeated(read.examples, read.places)]
        unique = {example.id: example for example in read.examples}
        found[part] = sorted(unique.values(), key=lambda e: (_place(question(e)), e.id))
    for name, other in (("train", "test"), ("dev", "test"), ("train", "dev")):
        notes += _apart(found, name, other, question)
    return _enough(found, notes, "give more, and different rows to each")


def _apart(found: dict[str, list[Example]], name: str, other: str, question: Callable[[Example], str]) -> list[Note]:
    """Leave out the rows of a split that ask what rows of another one ask, and say so."""
    asked = {question(example) for example in found[other]}
    again = tuple(f"row {e.id}" for e in found[name] if question(e) in asked)
    found[name] = [example for example in found[name] if question(example) not in asked]
    return [Note(f"{counted(len(again), f'{name} row')} left out: a {other} row asks the same", again)] if again else []


def _enough(found: Mapping[str, Sequence[Example]], notes: Sequence[Note], remedy: str) -> Parts:
    """The splits, each with rows enough; TaskError otherwise."""
    if min(map(len, found.values())) < FEWEST:
        counts = ", ".join(f"{name} {len(part)}" for name, part in found.items())
        raise TaskError(f"each split needs at least {FEWEST} rows, got {counts}; {remedy}")
    return Parts(tuple(found["train"]), tuple(found["dev"]), tuple(found["test"]), tuple(notes))


def _cut(
    part: str, rows: Sequence[Example], shares: Shares, question: Callable[[Example], str]
) -> dict[str, list[Example]]:
    """The splits that take rows from one part, each row once; repeated rows keep their place in the order."""
    takers = [(name, share.rows) for name, share in _named(shares) if share.part == part]
    wanted = sum(count for _, count in takers)
    ordered = list(rows) if shares.by == "order" else sorted(rows, key=lambda e: (_place(question(e)), e.id))
    first: dict[str, int] = {}
    for at, example in enumerate(ordered):
        first.setdefault(question(example), at)
    found: dict[str, list[Example]] = {}
    low = taken = 0
    for name, count in takers:
        taken += count
        high = round(taken * min(1.0, len(ordered) / wanted))
        within = {example.id: example for example in ordered if low <= first[question(example)] < high}
        found[name], low = list(within.values()), high
    return found


def _named(shares: Shares) -> tuple[tuple[str, Share], ...]:
    return (("train", shares.train), ("dev", shares.dev), ("test", shares.test))


def _repeated(examples: Sequence[Example], places: Sequence[str]) -> list[Note]:
    """Which rows were left out because an earlier one has the same id: without an id column, the same content."""
    first: dict[str, str] = {}
    again = []
    for at, example in enumerate(examples):
        place = places[at] if places else f"row {at + 1}"
        if example.id in first:
            again.append(f"{place} = {first[example.id]} (id {example.id})")
        first.setdefault(example.id, place)
    return [Note(f"{counted(len(again), 'repeated row')} left out", tuple(again))] if again else []


def _place(key: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(f"split\x1f{key}".encode()).digest()[:7]) / 2**56
