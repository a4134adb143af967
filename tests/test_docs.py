"""The documents name what there is: fields, commands, options, modules."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

import steepest
from steepest.cli import COMMANDS
from steepest.results import Faults, Result, Spent
from steepest.testing.toy import toy_model, toy_world

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "steepest"


def names(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def table(text: str) -> list[list[str]]:
    """The cells of a document's table rows."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_every_field_of_the_result_is_documented_and_no_other() -> None:
    rows = table((ROOT / "docs" / "results.md").read_text())[2:]
    told = {name.partition(".")[0] for row in rows for name in re.findall(r"`([\w.]+)`", row[0])}
    assert told == names(Result) - {"folder"}
    text = " ".join(cell for row in rows for cell in row)
    assert all(f"`{name}`" in text for name in names(Spent) | names(Faults))


def helped(command: str) -> str:
    code = f"from steepest.cli import main; main([{command!r}, '--help'])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_table_says_what_the_help_says(command: str) -> None:
    text = (ROOT / "README.md").read_text().partition("## Commands")[2].partition("##")[0]
    (row,) = [row for row in table(text) if row[0].startswith(f"`steepest {command} ")]
    said = helped(command)
    for option in re.findall(r"--[a-z-]+", " ".join(row)):
        assert f"{option} " in said
    argument = row[0].split()[2].strip("`,").replace("\\", "")
    assert argument in said.splitlines()[0]


def test_the_folder_tree_names_every_module_and_no_other() -> None:
    page = (ROOT / "docs" / "design" / "architecture.md").read_text()
    tree = page.partition("src/steepest/\n")[2].partition("    docs/papers.md")[0]
    told = set(re.findall(r"\w+\.py\b", re.sub(r'".*"', "", tree)))
    commands = {f"{name}.py" for name in COMMANDS}
    assert told - {"__init__.py"} == {path.name for path in PACKAGE.rglob("*.py")} - commands - {
        "__init__.py",
        "_version.py",
    }


def test_the_method_of_the_contributors_page_runs(tmp_path: Path) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    (tmp_path / "mine.py").write_text(page.partition("```python\n")[2].partition("```")[0])
    world = toy_world(20, 20, 40)
    rows = [{"input": e.input, "target": e.target} for e in (*world.task.train, *world.task.dev, *world.test)]
    method = f"{tmp_path / 'mine.py'}:Prefix"
    result = steepest.optimize(
        "Answer.", data=rows, model=toy_model(), method=method, answer="exact_match", steps=2, runs=tmp_path, quiet=True
    )
    assert result.method == method and result.usage.calls > 0
