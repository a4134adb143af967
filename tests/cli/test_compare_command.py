from __future__ import annotations

from pathlib import Path

from commands import METHOD, MODEL, Shell, write_rows

from steepest.testing.toy import toy_world


def duel(shell: Shell, *arguments: str | Path) -> list[str | Path]:
    world = toy_world(20, 20, 40)
    rows = [(e.input, e.target) for e in (*world.task.train, *world.task.dev, *world.test)]
    write_rows(shell.folder / "rows.csv", rows, ("input", "target"))
    (shell.folder / "toy.yaml").write_text("data: rows.csv\nanswer: exact_match\n")
    return ["compare", METHOD, f"{METHOD},suggest.n=1", "--task", "toy.yaml", *MODEL, "--seeds", "1", *arguments]


def test_compare_then_transfer(shell: Shell) -> None:
    said = shell(*duel(shell, "--calls", "120", "--out", "c"))
    assert said.code == 0, said.err
    assert METHOD in said.out and "initial prompt" in said.out and "compare.html" in said.out
    assert "2/2" in said.err and (shell.folder / "c" / "compare.html").is_file()
    again = shell(*duel(shell, "--calls", "120", "--out", "c", "--json"))
    assert again.code == 0 and len(again.json["found"]) == 2 and again.json["failed"] == []
    other = shell(*duel(shell, "--calls", "121", "--out", "c"))
    assert other.code == 2 and other.err.count("\n") == 1 and "other limits" in other.err
    runs = sorted((shell.folder / "c" / "cells").iterdir())
    carried = shell("transfer", *runs, "--model", "scripted", "--rows", "5", "--out", "t")
    assert carried.code == 0 and "transfer.html" in carried.out
    carried = shell("transfer", *runs, "--model", "scripted", "--rows", "5", "--out", "t", "--json")
    assert carried.json["asked"] == 0 and carried.json["prompts"][0]["label"] == "initial"


def test_refusals_are_one_line(shell: Shell) -> None:
    for arguments in (["compare", METHOD], ["compare", "--task", "lies", "--calls", "9"], duel(shell)):
        said = shell(*arguments)
        assert said.code == 2 and said.err.startswith("error: ") and said.err.count("\n") == 1
