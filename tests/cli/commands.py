"""Calls of the command line, in this process, on a world that needs no torch."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from steepest.cli import main
from steepest.testing.toy import toy_world

METHOD = "testing_methods:Adder"
MODEL = ("--model", "scripted", "--option", "answer=steepest.testing.toy:toy_answer")


@dataclass(frozen=True)
class Said:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Shell:
    """Calls commands and keeps what they print apart."""

    capsys: pytest.CaptureFixture[str]
    folder: Path
    """The working folder, in which `rows` is toy data."""

    def __call__(self, *arguments: str | Path) -> Said:
        code = main([str(argument) for argument in arguments])
        said = self.capsys.readouterr()
        return Said(code, said.out, said.err)

    @property
    def rows(self) -> tuple[str, ...]:
        """Options that name the toy data."""
        return ("--data", "toy.csv", "--input", "question", "--answer", "exact_match")

    def run(self, *arguments: str | Path) -> Said:
        """A run of two steps, unless told otherwise."""
        steps = () if "--steps" in arguments else ("--steps", "2")
        return self("run", METHOD, *self.rows, *MODEL, *steps, *arguments)

    @property
    def runs(self) -> list[Path]:
        """All run folders, in the order of their numbers."""
        return sorted((self.folder / "runs").glob("*"), key=lambda path: (len(path.name), path.name))


def write_rows(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = ("question", "target")) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def toy_rows() -> list[tuple[str, str]]:
    world = toy_world(20, 20, 40)
    return [(e.input, e.target) for e in (*world.task.train, *world.task.dev, *world.test)]
