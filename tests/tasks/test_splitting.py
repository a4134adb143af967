from __future__ import annotations

import pytest

from steepest.errors import TaskError
from steepest.tasks.splitting import Parts, Splits, split
from steepest.types import Example

WIDE = Splits(most_train=10_000, most_dev=10_000, most_test=10_000)


def rows(n: int) -> list[Example]:
    return [Example(f"id{i}", f"question {i}", "x") for i in range(n)]


def places(parts: Parts) -> dict[str, str]:
    return {e.id: name for name in ("train", "dev", "test") for e in getattr(parts, name)}


def asked(example: Example) -> str:
    return example.input


def test_a_row_never_moves_when_rows_are_added_or_reordered() -> None:
    before = places(split(rows(200), WIDE, asked))
    after = places(split(rows(400)[::-1], WIDE, asked))
    assert before == {name: after[name] for name in before}


def test_shares_are_met() -> None:
    parts = split(rows(4000), Splits(0.2, 0.3, 0.5, 10_000, 10_000, 10_000), asked)
    assert [len(parts.train), len(parts.dev), len(parts.test)] == pytest.approx([800, 1200, 2000], rel=0.1)


def test_most_cuts_a_split_without_moving_its_rows() -> None:
    wide, cut = split(rows(400), WIDE, asked), split(rows(400), Splits(most_train=10, most_dev=20, most_test=30), asked)
    assert cut.train == wide.train[:10]
    assert cut.dev == wide.dev[:20]
    assert cut.test == wide.test[:30]


def test_rows_that_ask_the_same_share_a_split_and_repeats_go() -> None:
    again = [Example(f"again{i}", f"question {i}", "y") for i in range(100)]
    parts = split([*rows(100), *again, *rows(7)], WIDE, asked)
    where = places(parts)
    assert len(where) == 200
    assert all(where[f"id{i}"] == where[f"again{i}"] for i in range(100))
    (note,) = parts.notes
    assert note.text == "7 repeated rows left out"
    assert note.rows[0] == "row 201 = row 1 (id id0)"


def test_too_few_rows_are_counted() -> None:
    with pytest.raises(TaskError, match=r"at least 2 rows, got train \d, dev \d, test \d of 4 different rows"):
        split(rows(4), Splits(), asked)


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.5), (1.0, 0.0, 0.0), (0.5, -0.5, 1.0)])
def test_impossible_shares_are_refused(shares: tuple[float, float, float]) -> None:
    with pytest.raises(TaskError, match="sum to 1"):
        Splits(*shares)
