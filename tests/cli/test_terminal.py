"""Prompts, rows and outputs may hold anything; what reaches a terminal is text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from commands import METHOD, MODEL, Shell
from rich.console import Console

from steepest.events import StepCommitted
from steepest.progress import Progress
from steepest.types import Candidate, Scored, Usage

HOSTILE = (
    "Say it.\x1b[2J\x1b]0;owned\x07\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\ "
    "\u202egnp.\x9b31m [bold]so[/bold]\x00"
)
UNFIT = re.compile("[^\\n\\t\\x20-\\x7e\\xa0-\\u200d\\u2010-\\u2029\\u202f-\\U0010ffff]|\\x1b|owned|evil")


@pytest.fixture
def hostile(shell: Shell) -> Shell:
    prompt = HOSTILE.replace("\x00", "")  # which no command line can hold
    said = shell.run("--prompt", prompt, "--steps", "3")
    assert said.code == 0
    assert not UNFIT.search(said.out) and "Say it." in said.out and "[bold]so[/bold]" in said.out
    assert not UNFIT.search(said.err) and "best: Say it." in said.err
    return shell


def test_a_finished_run_is_shown_as_text(hostile: Shell) -> None:
    (run,) = hostile.runs
    for arguments in (("show", run), ("list", "runs"), ("eval", run)):
        said = hostile(*arguments)
        assert said.code == 0
        assert not UNFIT.search(said.out + said.err) and "Say it." in said.out


def test_the_bare_prompt_is_exact_in_a_pipe_and_text_in_a_terminal(
    hostile: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = hostile.runs
    best = json.loads((run / "result.json").read_text())["prompt"]["best"]
    assert "\x1b[2J" in best
    assert hostile("show", run, "--prompt").out == best + "\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert not UNFIT.search(hostile("show", run, "--prompt").out)


def test_an_unfinished_run_is_shown_as_text(hostile: Shell) -> None:
    (run,) = hostile.runs
    for name in ("result.json", "test.jsonl"):
        (run / name).unlink()
    assert not UNFIT.search(hostile("show", run).out + hostile("list", "runs").out)


def test_json_holds_the_prompt_escaped(shell: Shell) -> None:
    said = shell("eval", "--prompt", HOSTILE, *shell.rows, *MODEL, "--json")
    assert said.json["prompt"] == HOSTILE
    assert "\x1b" not in said.out and "\x00" not in said.out


def test_errors_are_text(shell: Shell) -> None:
    said = shell("run", METHOD, "--task", "x\x1b[2J\x1b]0;owned\x07y", *MODEL)
    assert said.code == 2 and "owned" in said.err
    named = shell("resume", "\x1b[2Jnowhere\x9b31m")
    assert "nowhere" in named.err
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", said.err + named.err)


def test_the_live_panel_shows_text(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+") as out:
        console = Console(file=out, force_terminal=False, width=200)
        progress = Progress(console)
        scored = Scored(Candidate(HOSTILE), {"a": 1.0})
        progress(StepCommitted(1, scored, scored, Usage(), Usage(), 1.0, 1.0))
        console.print(progress)
        out.seek(0)
        said = out.read()
    assert "Say it." in said and not UNFIT.search(said)
