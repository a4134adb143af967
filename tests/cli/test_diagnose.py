from __future__ import annotations

from commands import MODEL, Shell


def test_diagnose_says_a_verdict_and_what_it_rests_on(shell: Shell) -> None:
    said = shell("diagnose", *shell.rows, *MODEL, "--calls", "800", "--out", "d")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0].startswith(("Yes", "No", "First get more rows", "Not "))
    for heading in ("Prompts", "Spread and headroom", "Rows for a gain", "What a search costs"):
        assert heading in lines
    assert "cannot run greater" in said.out and "diagnosis.html" in lines[-1]
    again = shell("diagnose", *shell.rows, *MODEL, "--calls", "800", "--out", "d", "--json")
    assert again.code == 0 and again.json["asked"] == 0 and again.json["sentence"] == lines[0]


def test_its_folder_is_named_for_the_task(shell: Shell) -> None:
    assert shell("diagnose", *shell.rows, *MODEL, "--calls", "800").code == 0
    assert (shell.folder / "runs" / "diagnose-toy" / "diagnosis.json").is_file()


def test_refusals_are_one_line(shell: Shell) -> None:
    for arguments in ((), ("--task", "lies", "--data", "toy.csv"), (*shell.rows, *MODEL, "--calls", "9")):
        said = shell("diagnose", *arguments)
        assert said.code == 2 and said.err.startswith("error: ") and said.err.count("\n") == 1
