from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from folders import DEV, HOSTILE, PATH, write_run

from steepest.reporting.comparison import CELLS, Cell, Contender, Ground, MethodComparison, Ranks, Setup, gather
from steepest.reporting.comparison_page import name_of, page, write
from steepest.reporting.comparison_words import caveats

LABELS = ("plain", f"<b>{HOSTILE}</b>")


@pytest.fixture
def found(tmp_path: Path) -> MethodComparison:
    cells = tuple(Cell(label, "lies", seed, f"{i}-{seed}") for i, label in enumerate(LABELS) for seed in (0, 1))
    for cell in cells[:3]:
        prompts = [*PATH[:-1], HOSTILE] if cell.folder == "1-0" else PATH
        write_run(tmp_path / CELLS / cell.folder, prompts=prompts, dev=DEV, fixed=20 if cell.folder == "1-0" else 40)
    return gather(tmp_path, setup_of(LABELS, cells), {"1-1": f"ModelError: {HOSTILE}"})


def setup_of(labels: Sequence[str], cells: Sequence[Cell]) -> Setup:
    return Setup(
        contenders=tuple(Contender(label, {"use": "greater"}) for label in labels),
        tasks=(Ground("lies", "lies", (PATH[0],), {"train": 60, "dev": 200, "test": 100}, "0"),),
        seeds=tuple(dict.fromkeys(cell.seed for cell in cells)),
        limits={"calls": 2000},
        models={"task": {"name": "bundled", "options": {}, "id": "bundled-3f2a"}},
        prices={},
        cells=tuple(cells),
    )


def test_the_page_has_every_part(found: MethodComparison) -> None:
    text = re.sub(r"<[^>]+>", " ", write(found).read_text("utf-8"))
    titles = ["Leaderboard", "By task", "What the budget buys", "Pairs", "flatters", "Without a result"]
    assert all(title in text for title in titles)
    assert "85.0\u00a0%" in text and "1 cell of 4 without a result" in text and "plain on lies, seed 1" in text


def test_ranks_are_drawn_where_there_are_any(found: MethodComparison) -> None:
    assert "Nemenyi" not in page(found)
    ranks = Ranks(("plain", "b", "c"), (1.25, 1.75, 3.0), 4, 6.5, 0.0388, 1.66, (("plain", "b"), ("b", "c")))
    text = page(replace(found, ranks=ranks))
    assert "Mean ranks over 4 tasks" in text and "critical difference 1.66" in text
    assert text.count('class="clique"') == 2


@pytest.mark.parametrize(("cells", "better"), [(1, 1), (4, 0)])
def test_verdicts_of_many_searches_are_corrected(tmp_path: Path, cells: int, better: int) -> None:
    # 12 rows gained and 2 lost: p = 2 (1 + 14 + 91) / 2^14 = 0.013 alone, four times that of four.
    setup = setup_of(("plain",), [Cell("plain", "lies", seed, f"{seed}") for seed in range(cells)])
    for cell in setup.cells:
        write_run(tmp_path / CELLS / cell.folder, fixed=12, broken=2)
    (line,) = gather(tmp_path, setup, {}).standings
    assert line.verdicts == {"better": better, "no_difference": cells - better, "worse": 0}


def test_too_few_runs_are_said_to_be_too_few(found: MethodComparison) -> None:
    # Two seeds on one task: 2 / C(4, 2) = 0.33; four are the least, 2 / C(8, 4) = 0.029.
    assert any("2 seeds on 1 task cannot tell" in text and "4 seeds can." in text for text in caveats(found))
    enough = replace(found, setup=replace(found.setup, seeds=(0, 1, 2, 3)))
    assert not any("cannot tell" in text for text in caveats(enough))


def test_unfinished_methods_say_how_many_runs_their_mean_is_of(found: MethodComparison) -> None:
    assert [name_of(found, line) == line.contender for line in found.standings] == [True, False]
    assert "1 of 2 runs" in name_of(found, found.standings[1])


def test_what_others_wrote_stays_text(found: MethodComparison) -> None:
    text = page(found)
    assert "<script" not in text and "<b>\x1b" not in text and "\x1b" not in text and "\u202e" not in text
    assert text.count("&lt;script&gt;") >= 3 and "default-src" in text
    assert "http" not in re.sub(r'http-equiv="[^"]*"', "", text)


def test_numbers_are_those_of_the_runs(found: MethodComparison) -> None:
    plain, other = found.standings
    assert (plain.contender, plain.cells, plain.accuracy.mean) == ("plain", 2, pytest.approx(0.85))
    assert other.accuracy.mean == pytest.approx(0.65) and found.initial.mean == pytest.approx(0.48)
    assert found.ranks is None
    (pair,) = found.pairs
    assert pair.difference == pytest.approx(0.20) and pair.cells == 1
    assert found.failed[0].cell.folder == "1-1"
    assert found.found[0].candidates == 4 and found.found[0].expected_optimism > -0.01
    assert [point.at for point in found.curves[0].calls] == [0, 100, 200, 300, 400]
