"""What stands where a run folder has a file may be anything: commands end in a line, and never in waiting."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.commands import MODEL, Shell, toy_rows, write_rows

FILES = (
    "run.json",
    "result.json",
    "test.jsonl",
    "steps/00001.json",
    "steps/00002.json",
    "calls.jsonl",
    "data/dev.jsonl",
)
KINDS: dict[str, Callable[[Path], object]] = {
    "folder": lambda path: path.mkdir(),
    "pipe": lambda path: os.mkfifo(path),
    "link to nothing": lambda path: path.symlink_to("/nonexistent/file"),
    "link to itself": lambda path: path.symlink_to(path),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "brackets": lambda path: path.write_text("[" * 3000 + "]" * 3000),
}


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "toy.csv", toy_rows())
    return Shell(capsys, tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_files_of_a_run_may_be_anything(shell: Shell) -> None:
    assert shell.run().code == 0
    (run,) = shell.runs
    for name in FILES:
        for kind, put in KINDS.items():
            odd = shell.folder / "odd" / f"{name} {kind}".replace("/", " ")
            shutil.copytree(run, odd)
            (odd / name).unlink()
            put(odd / name)
            for arguments in (
                ("report", odd),
                ("show", odd),
                ("resume", odd, "--steps", "3"),
                ("eval", odd),
                ("export", odd, "--to", "json"),
                ("transfer", odd, *MODEL, "--rows", "2", "--out", "carried"),
            ):
                said = shell(*arguments)
                assert said.code in (0, 2), (name, kind, arguments)
                assert said.code == 0 or said.err.splitlines()[-1].startswith("error: "), (name, kind, arguments)
            shutil.rmtree(odd)


@pytest.mark.parametrize("name", ["toy.csv/x", "x" * 300, "x" * 5000])
def test_places_that_cannot_be_are_told_in_a_line(shell: Shell, name: str) -> None:
    assert shell.run("--steps", "0").code == 0
    (run,) = shell.runs
    for arguments in (
        *((command, name) for command in ("report", "show", "resume", "eval", "trust")),
        ("export", run, "--to", "json", "--out", name),
        ("export", run, "--to", "yaml", "--out", name),
        ("compare", "opro", "--task", run, *MODEL, "--calls", "300", "--out", name),
        ("transfer", run, *MODEL, "--out", name),
        ("run", "opro", *shell.rows, *MODEL, "--steps", "0", "--runs", name),
    ):
        said = shell(*arguments)
        assert said.code == 2 and said.err.startswith("error: ") and said.err.count("\n") == 1, (arguments, said)


def test_a_diagnosis_writes_nothing_into_a_run(shell: Shell) -> None:
    assert shell.run("--steps", "0").code == 0
    (run,) = shell.runs
    before = (run / "calls.jsonl").read_bytes()
    said = shell("diagnose", *shell.rows, *MODEL, "--calls", "300", "--out", run)
    assert said.code == 2 and "a folder of its own" in said.err
    assert (run / "calls.jsonl").read_bytes() == before
