from __future__ import annotations

from pathlib import Path

import pytest
from folders import HOSTILE, write_run

from steepest.errors import StateError
from steepest.reporting.summary import summary


def test_the_verdict_comes_first_and_the_numbers_line_up(tmp_path: Path) -> None:
    lines = summary(write_run(tmp_path / "run")).split("\n")
    assert lines[0] == "The new prompt is better."
    assert lines[2:6] == [
        "Held-out accuracy, with 95 % intervals:",
        "  initial  48.0 %  (38.0 to 57.0, 100 rows)  Answer the question.",
        "  new      85.0 %  (77.0 to 91.0, 100 rows)  Verify the chain step by step.",
        "  change  +37.0 points (95 % interval +26.0 to +47.0); exact McNemar test, p < 0.0001",
    ]
    assert "greater on lies, model bundled, seed 7" in lines
    assert lines[-1].endswith("400 calls, 48,000 tokens.")


def test_nothing_reaches_the_terminal_but_text(tmp_path: Path) -> None:
    text = summary(write_run(tmp_path / "run", prompts=[HOSTILE, HOSTILE * 40], dev=[0.5, 0.6]))
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "\u202e" not in text and "[31m" not in text
    assert max(map(len, text.split("\n"))) <= 100


def test_an_unfinished_run_says_how_to_go_on(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a run", finished=False)
    assert f"\n  steepest resume '{run}'\n" in summary(run)


def test_no_difference_says_what_would_settle_it(tmp_path: Path) -> None:
    text = summary(write_run(tmp_path / "run", fixed=6, broken=4))
    assert text.startswith("No real difference: keep your prompt.\n")
    assert "about 1,960 held-out rows" in text


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(StateError):
        summary(tmp_path)
