from __future__ import annotations

import re
from pathlib import Path

import pytest
from folders import DEV, HOSTILE, PATH, write_run

from steepest.reporting.comparison import CELLS, Cell, Contender, Ground, MethodComparison, Setup, gather
from steepest.reporting.comparison_page import page, write

LABELS = ("plain", f"<b>{HOSTILE}</b>")


@pytest.fixture
def found(tmp_path: Path) -> MethodComparison:
    cells = tuple(Cell(label, "lies", seed, f"{i}-{seed}") for i, label in enumerate(LABELS) for seed in (0, 1))
    for cell in cells[:3]:
        prompts = [*PATH[:-1], HOSTILE] if cell.folder == "1-0" else PATH
        write_run(tmp_path / CELLS / cell.folder, prompts=prompts, dev=DEV, fixed=20 if cell.folder == "1-0" else 40)
    setup = Setup(
        contenders=tuple(Contender(label, {"use": "greater"}) for label in LABELS),
        tasks=(Ground("lies", "lies", (PATH[0],), {"train": 60, "dev": 200, "test": 100}, "0"),),
        seeds=(0, 1),
        limits={"calls": 2000},
        models={"task": {"name": "bundled", "options": {}, "id": "bundled-3f2a"}},
        prices={},
        cells=cells,
    )
    return gather(tmp_path, setup, {"1-1": f"ModelError: {HOSTILE}"})


def test_the_page_has_every_part(found: MethodComparison) -> None:
    text = re.sub(r"<[^>]+>", " ", write(found).read_text("utf-8"))
    titles = ["Leaderboard", "By task", "What the budget buys", "Ranks", "Pairs", "flatters", "Without a result"]
    assert all(title in text for title in titles)
    assert "85.0\u00a0%" in text and "1 cell of 4 without a result" in text and "plain on lies, seed 1" in text


def test_what_others_wrote_stays_text(found: MethodComparison) -> None:
    text = page(found)
    assert "<script" not in text and "<b>\x1b" not in text and "\x1b" not in text and "\u202e" not in text
    assert text.count("&lt;script&gt;") >= 3 and "default-src" in text
    assert "http" not in re.sub(r'http-equiv="[^"]*"', "", text)


def test_numbers_are_those_of_the_runs(found: MethodComparison) -> None:
    plain, other = found.standings
    assert (plain.contender, plain.cells, plain.accuracy.mean) == ("plain", 2, pytest.approx(0.85))
    assert other.accuracy.mean == pytest.approx(0.65) and found.initial.mean == pytest.approx(0.48)
    assert found.ranks is not None and found.ranks.ranks == (1.0, 2.0) and found.ranks.blocks == 1
    (pair,) = found.pairs
    assert pair.difference == pytest.approx(0.20) and pair.blocks == 1
    assert found.failed[0].cell.folder == "1-1"
    assert found.found[0].candidates == 4 and found.found[0].expected_optimism > -0.01
    assert [point.at for point in found.curves[0].calls] == [0, 100, 200, 300, 400]
