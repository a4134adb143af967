"""Cells as Ray tasks: the same results as here, whoever dies in between."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from steepest import TaskSpec, cluster
from steepest.comparing.comparison import compare
from steepest.comparing.on_ray import Cluster
from steepest.errors import ModelError, SpecError
from steepest.reporting.comparison import MethodComparison
from steepest.testing.toy import toy_model, toy_world

METHODS = {"three": {"use": "testing_methods:Adder"}, "two": {"use": "testing_methods:Adder", "batch": 3}}
ANSWERS = """
import os, signal
from pathlib import Path
from steepest.testing.toy import toy_answer

asked = []

def answer(request):
    # The worker that asks for the 30th time first dies of it, once.
    asked.append(request)
    died = Path({died!r})
    if len(asked) == 30 and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return toy_answer(request)
"""


def carried_out(out: Path, **given: Any) -> MethodComparison:
    world = toy_world(20, 20, 40)
    rows = [{"input": e.input, "target": e.target} for e in (*world.task.train, *world.task.dev, *world.test)]
    task = TaskSpec(rows, name="toy", answer="exact_match")
    return compare(METHODS, data=task, seeds=1, calls=120, out=out, quiet=True, **given)


def told(found: MethodComparison) -> list[Any]:
    return [(each.cell, each.prompt, each.best, each.calls, each.tokens) for each in found.found]


@pytest.mark.slow
def test_workers_look_for_no_modules_in_the_working_folder(ray_here: Any) -> None:
    def looked_in() -> tuple[str, list[str]]:
        return os.getcwd(), sys.path

    working, places = ray_here.get(ray_here.remote(looked_in).remote())
    assert working == os.path.realpath(os.environ["XDG_STATE_HOME"]), "where Ray was begun"
    assert not {"", working} & set(places)


@pytest.mark.slow
def test_a_cell_whose_worker_dies_is_done_again_from_its_journal(ray_here: Any, tmp_path: Path) -> None:
    (tmp_path / "go.py").write_text(ANSWERS.format(died=str(tmp_path / "died")))
    options = {"answer": f"{tmp_path}/go.py:answer"}
    found = carried_out(tmp_path / "c", model="scripted", options=options, ray_address="local")
    assert not found.failed and (tmp_path / "died").exists()
    assert told(found) == told(carried_out(tmp_path / "here", model=toy_model()))
    for journal in tmp_path.glob("c/cells/*/calls.jsonl"):
        keys = [json.loads(line)["key"] for line in journal.read_text().splitlines()]
        assert keys and len(keys) == len(set(keys))


@pytest.mark.slow
def test_a_cell_that_fails_says_why_and_does_not_stop_the_others(ray_here: Any, tmp_path: Path) -> None:
    (tmp_path / "go.py").write_text("def answer(request):\n    raise OSError('no disk')\n")
    options = {"answer": f"{tmp_path}/go.py:answer"}
    found = carried_out(tmp_path / "c", model="scripted", options=options, ray_address="local")
    assert [each.error for each in found.failed] == ["OSError: no disk"] * 2
    assert all("Traceback" in path.read_text() for path in tmp_path.glob("c/cells/*/stderr.txt"))


def test_models_are_opened_by_name_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cells on Ray open their models by name"):
        carried_out(tmp_path / "c", model=toy_model(), ray_address="local")


def test_the_cluster_is_joined_before_replicas_would_start_one_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(address: str | None = None, cores: int | None = None) -> Any:
        raise ModelError(f"asked for {address}")

    monkeypatch.setattr(cluster, "connect", refuse)
    with pytest.raises(ModelError, match="asked for there:1"):
        carried_out(tmp_path / "c", model="bundled", options={"replicas": 1}, ray_address="there:1")


def test_what_has_ended_is_not_cancelled(ray_here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray aborts the whole process where a task that was begun again is cancelled while its result is on its way."""
    crowd, cancelled = Cluster("local", []), list[Any]()
    monkeypatch.setattr(crowd.ray, "cancel", lambda task, force: cancelled.append(task))
    tasks = [crowd.begin(lambda: 3), crowd.begin(lambda: 4)]
    assert crowd.results(tasks) == [3, 4]
    crowd.end(tasks)
    assert not cancelled
