"""Commands ended by Ctrl-C, a scheduler or a closed terminal: they say how to go on, and nothing is lost."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fault_harness import Ending, Forks, keys, left_behind

from steepest.testing.toy import toy_world

MODELS = ("--model", "scripted", "--option", "answer=steepest.testing.toy:toy_answer")
WRITER = ("--optimizer", "scripted", "--option", "optimizer.answer=fault_worlds:written")
CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    world = toy_world(8, 8, 8)
    path = tmp_path / "toy.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [("input", "target"), *((e.input, e.target) for e in (*world.task.train, *world.task.dev, *world.test))]
        )
    return path


def begin(forks: Forks, rows: Path, runs: str, **job: Any) -> Ending:
    """`steepest run`, its folders under `runs`."""
    folder = rows.with_name(runs)
    what = ["run", "opro", "--set", "samples=3", "--data", str(rows), "--answer", "exact_match", "--steps", "2"]
    arguments = [*what, *MODELS, *WRITER, "--runs", str(folder)]
    return forks(folder, arguments=arguments, cwd=str(rows.parent), **job)


def go_on(forks: Forks, run: Path, **job: Any) -> Ending:
    return forks(run, arguments=["resume", str(run)], cwd=str(run.parent), **job)


@pytest.mark.slow
@pytest.mark.parametrize("name", CODES)
def test_a_run_that_is_ended_says_how_to_go_on(forks: Forks, rows: Path, name: str) -> None:
    assert begin(forks, rows, "whole").code == 0
    (whole,) = rows.with_name("whole").iterdir()
    size = (whole / "calls.jsonl").stat().st_size
    dice = random.Random(name)
    for runs in ("first", "second"):
        ended = begin(forks, rows, runs, how=name, kind="byte", at=dice.randrange(size // 2, size))
        assert ended.code == CODES[name], ended.err
        (cut,) = rows.with_name(runs).iterdir()
        assert f"interrupted; go on with: steepest resume {cut}" in ended.err
        assert "Traceback" not in ended.err
        again = go_on(forks, cut, how=name, kind="byte", at=dice.randrange(size // 4))
        assert again.code == CODES[name] and "go on with" in again.err, again.err
        assert go_on(forks, cut).code == 0
        assert left_behind(cut) == left_behind(whole)
        assert sorted(keys(cut)) == sorted(keys(whole)) and len(set(keys(cut))) == len(keys(cut))


@pytest.mark.slow
def test_ended_before_there_is_a_run_says_nothing_of_going_on(forks: Forks, rows: Path) -> None:
    ended = begin(forks, rows, "runs", how="SIGTERM", kind="byte", at=100)
    assert ended.code == 143
    assert "Traceback" not in ended.err and "go on" not in ended.err


@pytest.mark.slow
def test_a_run_under_nohup_outlives_its_terminal(forks: Forks, rows: Path) -> None:
    ended = begin(forks, rows, "runs", how="SIGHUP", kind="byte", at=9000, ignored=["SIGHUP"])
    assert ended.code == 0, ended.err


HELD = """
import itertools, time
from pathlib import Path
from steepest.testing.toy import toy_answer

count, hold = itertools.count(), Path(__file__).with_name("hold")

def answer(request):
    # Answers a few, and then none while there is a file of that name.
    while next(count) > 6 and hold.exists():
        time.sleep(0.05)
    return toy_answer(request)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_a_comparison_that_is_ended_leaves_nobody_behind_and_goes_on(rows: Path) -> None:
    rows.with_name("held.py").write_text(HELD)
    (hold := rows.with_name("hold")).touch()
    out = rows.with_name("out")
    line = [Path(sys.executable).with_name("steepest"), "compare", "testing_methods:Adder", "--task", str(rows)]
    line += ["--seeds", "2", "--calls", "60", "--workers", "2", "--out", str(out)]
    line += ["--model", "scripted", "--option", "answer=held.py:answer"]
    tests = str(Path(__file__).parents[1])
    told: dict[str, Any] = {"cwd": rows.parent, "text": True, "env": {**os.environ, "PYTHONPATH": tests}}
    with subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, **told) as first:
        wait_for(out, first, calls=12)
        second = subprocess.run(line, capture_output=True, check=False, **told)
        assert second.returncode == 2 and second.stderr.count("\n") <= 2
        assert f"which is held by process {first.pid} on " in second.stderr
        first.send_signal(signal.SIGTERM)
        err = first.communicate()[1]
    assert first.returncode == 143 and "interrupted; the same command goes on" in err and "Traceback" not in err
    hold.unlink()
    before = [keys(cell) for cell in sorted((out / "cells").iterdir())]
    assert sum(map(len, before)) >= 12
    done = subprocess.run([*line, "--json"], capture_output=True, check=False, **told)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["format"]
    for cell, had in zip(sorted((out / "cells").iterdir()), before, strict=True):
        found = keys(cell)
        assert found[: len(had)] == had and len(found) == len(set(found))


def wait_for(out: Path, process: subprocess.Popen[str], calls: int) -> None:
    """Until the cells' journals hold so many calls."""
    until = time.monotonic() + 60
    while sum(path.read_bytes().count(b"\n") for path in out.glob("cells/*/calls.jsonl")) < calls:
        assert process.poll() is None and time.monotonic() < until, "it ended or never began"
        time.sleep(0.01)
