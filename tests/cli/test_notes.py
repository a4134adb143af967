"""What reading the rows brought up goes with the run: said in a line, kept with every row, shown in the report."""

from __future__ import annotations

import json

from commands import METHOD, MODEL, Said, Shell, toy_rows, write_rows

from steepest.tasks.source import restore_task

BAD = "odd.csv"
SKIPPED = "1 bad row skipped: odd.csv, line 82, column 2: the column 'target' must not be empty"


def odd_rows(shell: Shell) -> tuple[str, ...]:
    """Toy rows, one of them twice, and one without a target at the end."""
    rows = toy_rows()
    write_rows(shell.folder / BAD, [rows[5], *rows[1:], ("And this?", "")])
    return ("--data", BAD, "--input", "question", "--answer", "exact_match", "--skip-bad-rows")


def notes(said: Said) -> list[str]:
    return [line.removeprefix("note").strip() for line in said.out.splitlines() if line.startswith("note ")]


def test_a_run_says_keeps_and_shows_its_notes(shell: Shell) -> None:
    said = shell("run", METHOD, *odd_rows(shell), *MODEL, "--steps", "1")
    assert said.code == 0
    told = [line for line in notes(said) if "skipped" in line or "repeated" in line]
    assert told[0].startswith(SKIPPED)
    assert told[1].startswith("1 repeated row left out: odd.csv, line 7 = odd.csv, line 2 (id ")
    assert f"note: {told[0]}" in said.err.splitlines()

    folder = shell.runs[0]
    kept = json.loads((folder / "run.json").read_text())["task"]["notes"]
    assert kept[0]["text"] == "1 bad row skipped" and kept[0]["rows"][0].startswith("odd.csv, line 82")
    assert json.loads((folder / "result.json").read_text())["notes"][:2] == told
    page = (folder / "report.html").read_text()
    assert "<h2>Notes on the rows</h2>" in page and "<summary>1 bad row skipped</summary>" in page
    assert [note.text for note in restore_task(folder).notes][:2] == ["1 bad row skipped", "1 repeated row left out"]


def test_eval_says_them_too(shell: Shell) -> None:
    rows = odd_rows(shell)
    said = shell("eval", *rows, *MODEL, "--prompt", "Be brief.")
    assert any(line.startswith(SKIPPED) for line in notes(said))
    assert shell("eval", *rows, *MODEL, "--prompt", "Be brief.", "--json").json["notes"][0].startswith(SKIPPED)


def test_rows_without_oddities_have_no_notes(shell: Shell) -> None:
    shell.run("--steps", "0")
    assert json.loads((shell.runs[0] / "result.json").read_text())["notes"] == []
    assert "Notes on the rows" not in (shell.runs[0] / "report.html").read_text()
