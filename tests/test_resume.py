from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from steepest import trusting
from steepest.engine import Run
from steepest.errors import ModelError, StateError
from steepest.events import Event, JournalRepaired, RunStarted
from steepest.ledger import Limits
from steepest.models.scripted import Scripted
from steepest.tasks.task import Judgement
from steepest.testing.taps import Tap, tapped
from steepest.testing.toy import toy_answer, toy_model, toy_world
from steepest.types import Example, Request
from testing_methods import Adder, toy_plan

STEPS = 6


def left_behind(path: Path) -> Any:
    """States and result, clocks and names aside."""
    steps = [json.loads(file.read_text()) for file in sorted((path / "steps").glob("*.json"))]
    result = json.loads((path / "result.json").read_text())
    for part in (*steps, result["usage"], result["measuring"]):
        del part["seconds"]
    del result["run"]
    return [steps, result, (path / "test.jsonl").read_text()]


def keys(path: Path) -> list[str]:
    return [json.loads(line)["key"] for line in (path / "calls.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    with Run.create(path, toy_plan(limits=Limits(steps=STEPS))) as run:
        list(run.until())
        run.finish()
    return path


def test_stopping_after_every_step_changes_nothing(tmp_path: Path, undisturbed: Path) -> None:
    path = tmp_path / "run"
    Run.create(path, toy_plan(limits=Limits(steps=STEPS))).close()
    for _ in range(STEPS + 1):
        with Run.open(path, models={"task": toy_model()}) as run:
            next(run.until())
    with Run.open(path, models={"task": toy_model()}) as run:
        assert list(run.until()) == []
        run.finish()
    assert left_behind(path) == left_behind(undisturbed)


def test_opening_restores_everything(undisturbed: Path) -> None:
    heard: list[Event] = []
    with Run.open(undisturbed, models={"task": toy_model()}, observers=[heard.append]) as run:
        plan = toy_plan(limits=Limits(steps=STEPS))
        assert run.method == plan.method
        assert run.task == plan.task
        assert run.limits == plan.limits
        assert len(run.records) == STEPS + 1
        assert isinstance(run.records[-1].state, Adder.State)
    (started,) = heard
    assert isinstance(started, RunStarted) and started.committed == STEPS + 1


def test_finishing_twice_asks_nothing_new_and_says_the_same(tmp_path: Path, undisturbed: Path) -> None:
    path = shutil.copytree(undisturbed, tmp_path / "run")
    tap = Tap(fail_at=0)
    with Run.open(path, models={"task": tapped(toy_model(), tap)}) as run:
        list(run.until())
        run.finish()
    assert left_behind(path) == left_behind(undisturbed)


def test_a_finished_run_goes_on_with_a_higher_limit_as_if_it_had_never_ended(tmp_path: Path) -> None:
    for name, parts in (("once", [5]), ("twice", [2, 5])):
        path = tmp_path / name
        Run.create(path, toy_plan(limits=Limits(steps=2))).close()
        for steps in parts:
            with Run.open(path, models={"task": toy_model()}, limits=Limits(steps=steps)) as run:
                list(run.until())
                run.finish()
    once, twice = left_behind(tmp_path / "once"), left_behind(tmp_path / "twice")
    assert once[0] == twice[0]
    assert len(once[0]) == 6


def test_every_look_at_the_test_rows_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "run"
    Run.create(path, toy_plan(limits=Limits(steps=1))).close()
    counts = []
    for steps in (1, 1, 3, 3, 4):
        with Run.open(path, models={"task": toy_model()}, limits=Limits(steps=steps)) as run:
            list(run.until())
            counts.append(run.finish().test_opened)
    assert counts == [1, 1, 2, 2, 3]
    assert json.loads((path / "result.json").read_text())["test_opened"] == 3


def test_rows_may_hold_any_line_separator(tmp_path: Path) -> None:
    task = toy_world().task
    odd = [replace(row, input=f"{row.input}\u2028a\u2029b\x85c\x0bd\re\x1c\n") for row in task.train]
    plan = toy_plan(task=replace(task, train=odd), limits=Limits(steps=1))
    with Run.create(tmp_path / "run", plan) as run:
        list(run.until())
    with Run.open(tmp_path / "run", models={"task": toy_model()}, limits=Limits(steps=2)) as run:
        assert len(list(run.until())) == 1
        assert run.task.train == tuple(odd)
        assert run.finish().steps == 2


def judged(example: Example, output: str) -> Judgement:
    return Judgement(float(output == example.target), output[:1])


def test_a_metric_that_says_which_answer_it_found_is_found_again(tmp_path: Path) -> None:
    plan = toy_plan(task=replace(toy_world().task, metric=judged), limits=Limits(steps=1))
    with Run.create(tmp_path / "run", plan) as run:
        list(run.until())
    with Run.open(tmp_path / "run", models={"task": toy_model()}, limits=Limits(steps=2)) as run:
        list(run.until())
        assert run.finish().steps == 2
        row = run.task.dev[0]
        assert run.task.metric(row, row.target) == Judgement(1.0, row.target[0])


def test_a_higher_limit_continues_the_step_that_the_budget_ended(tmp_path: Path) -> None:
    tap = Tap()
    model = tapped(toy_model(), tap)
    with Run.create(tmp_path / "run", toy_plan(model, limits=Limits(steps=STEPS, calls=50))) as run:
        list(run.until())
        assert "50 calls" in run.stopped
    with Run.open(tmp_path / "run", models={"task": model}, limits=Limits(calls=10_000)) as run:
        list(run.until())
        assert run.limits == Limits(steps=STEPS, calls=10_000)
        run.finish()
    with Run.create(tmp_path / "free", toy_plan(limits=Limits(steps=STEPS))) as run:
        list(run.until())
        run.finish()
    again, free = left_behind(tmp_path / "run"), left_behind(tmp_path / "free")
    assert again[0] == free[0] and again[1] == free[1]
    assert tap.given == len(keys(tmp_path / "run")) == len(set(keys(tmp_path / "run")))


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_resume import main
main(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
"""


def main(path: Path, kill_at: int, mode: str) -> None:
    """What the subprocess does: run, noting every finished call in a side file, and die at one of them."""
    asked = path.parent / "asked.txt"

    def answer(request: Request) -> str:
        with asked.open("a") as file:
            file.write(json.dumps([mode, repr(request)]) + "\n")
        if kill_at >= 0 and len(asked.read_text().splitlines()) > kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return toy_answer(request)

    model = Scripted(answer, "toy")
    plan = toy_plan(model, limits=Limits(steps=STEPS))
    with Run.create(path, plan) if mode == "new" else Run.open(path, models={"task": model}) as run:
        list(run.until())
        run.finish()


def in_child(path: Path, kill_at: int, mode: str) -> int:
    arguments = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(path), str(kill_at), mode]
    return subprocess.run(arguments, check=False, timeout=60).returncode


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", [3, 47, 120])
def test_killed_in_the_middle_of_a_step_with_a_torn_line(tmp_path: Path, undisturbed: Path, kill_at: int) -> None:
    path = tmp_path / "run"
    assert in_child(path, kill_at, "new") == -signal.SIGKILL
    journal = path / "calls.jsonl"
    torn = journal.read_bytes()[:-17]
    journal.write_bytes(torn)
    finished = {line["key"]: line["request"] for line in map(json.loads, torn.splitlines()[:-1])}
    assert len(finished) == kill_at - 1
    assert in_child(path, -1, "resume") == 0
    assert left_behind(path) == left_behind(undisturbed)
    assert sorted(keys(path)) == sorted(keys(undisturbed))
    asked = [json.loads(line) for line in (tmp_path / "asked.txt").read_text().splitlines()]
    before = [request for mode, request in asked if mode == "new"]
    after = [request for mode, request in asked if mode == "resume"]
    # The call whose line was torn and the one that was under way are asked again; no other is.
    assert set(before) & set(after) == set(before[-2:])
    assert len(before) == kill_at + 1 and len(after) == len(keys(undisturbed)) - (kill_at - 1)


def test_a_repaired_journal_is_told(tmp_path: Path, undisturbed: Path) -> None:
    path = shutil.copytree(undisturbed, tmp_path / "run")
    journal = path / "calls.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])
    heard: list[Event] = []
    with Run.open(path, models={"task": toy_model()}, observers=[heard.append]) as run:
        list(run.until())
        run.finish()
    (repaired,) = [event for event in heard if isinstance(event, JournalRepaired)]
    assert repaired.path == str(journal) and repaired.removed > 5
    assert left_behind(path) == left_behind(undisturbed)


@dataclass(frozen=True)
class Newer(Adder):
    version: ClassVar[int] = 2


def edited(name: str, change: Callable[[Any], None]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        data = json.loads((path / name).read_text())
        change(data)
        (path / name).write_text(json.dumps(data))
        if name == "run.json":
            trusting.remember((path / name).read_bytes(), data)  # of a user who knows what was changed

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: (path / "run.json").unlink(), "a run folder holds run.json"),
        (edited("run.json", lambda d: d.update(format=2)), "has format 2 and this version"),
        (edited("run.json", lambda d: d.update(method_version=2)), "made by version 2 of 'testing_methods:Adder'"),
        (edited("run.json", lambda d: d.update(sede=1)), "there is no field 'sede'"),
        (edited("run.json", lambda d: d["models"]["task"].update(id="other")), "are those of 'other'"),
        (edited("steps/00002.json", lambda d: d["state"].pop("best")), "00002.json: state: the field 'best'"),
        (edited("steps/00002.json", lambda d: d.pop("usage")), "00002.json: the field 'usage' is missing"),
        (lambda path: (path / "steps" / "00002.json").write_text('{"step"'), "00002.json is not JSON"),
        (lambda path: (path / "steps" / "00001.json").unlink(), "got 00002.json where 00001.json was due"),
        (lambda path: (path / "data" / "dev.jsonl").unlink(), "a run folder holds dev.jsonl, got none at"),
        (lambda path: (path / "data" / "dev.jsonl").write_text("{}\n"), "dev.jsonl line 1: the field 'id' is missing"),
        (lambda path: (path / "calls.jsonl").write_text("?\n{}\n{}\n"), "calls.jsonl line 1 is not a call"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused_in_one_line(
    tmp_path: Path, undisturbed: Path, spoil: Callable[[Path], None], message: str
) -> None:
    path = shutil.copytree(undisturbed, tmp_path / "run")
    spoil(path)
    with pytest.raises(StateError) as refused:
        Run.open(path, models={"task": toy_model()})
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_models_are_opened_again_by_name_and_must_be_the_same(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from steepest.models.scripted import Scripted\nfrom steepest.testing.toy import toy_answer\n\n\n"
        "def Toy(word='toy'):\n    return Scripted(toy_answer, word)\n"
    )
    from steepest.models.opening import opened

    models = {"task": opened(f"{tmp_path}/mine.py:Toy", {"word": "w"})}
    with Run.create(tmp_path / "run", toy_plan(models=models, limits=Limits(steps=1))) as run:
        list(run.until())
    with Run.open(tmp_path / "run", limits=Limits(steps=2)) as run:
        assert len(list(run.until())) == 1
        assert run.info.models["task"].options == {"word": "w"}
    with pytest.raises(ModelError, match="there is no model called ''"):
        edited("run.json", lambda d: d["models"]["task"].update(name=""))(tmp_path / "run")
        Run.open(tmp_path / "run")
