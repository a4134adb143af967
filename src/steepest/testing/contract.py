"""The tests that any method and any model must pass. Subclass with pytest and give the fixture that is asked for:

class TestMine(MethodContract):
    @pytest.fixture
    def case(self) -> MethodCase:
        world = toy_world()
        return MethodCase(Mine(), world.task, world.test, lambda: {"task": toy_model()})
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from steepest import codec, spec
from steepest.calls import CallLog
from steepest.context import Context, World
from steepest.engine import Run
from steepest.errors import BudgetSpent, ModelError
from steepest.estimating import with_judge
from steepest.events import Audience
from steepest.ledger import UNLIMITED, Ledger, Limits, role_of
from steepest.models import Generates
from steepest.models.opening import Opened
from steepest.plan import Method, Plan
from steepest.tasks.task import Task
from steepest.testing.taps import Crash, Tap, tapped
from steepest.types import Example, Request, Usage


@dataclass(frozen=True)
class MethodCase:
    """A method, and a world small enough to run it in many times over."""

    method: Method
    task: Task
    test: Sequence[Example]
    models: Callable[[], Mapping[str, Any]]
    """Makes the models, role by role; they must answer alike each time."""
    steps: int = 3
    gain: float = 0.0
    """How much dev must rise at least; 0 for "improves or keeps"."""
    is_random: bool = True
    """Whether another seed makes another run."""
    every: int = 1
    """The crash test crashes at every so many-th answer; above 1 only where a run takes seconds."""

    def plan(self, tap: Tap, seed: int = 0, **limits: int) -> Plan:
        """What a run of this case is made from, its models tapped."""
        models = {role: Opened("", tapped(model, tap)) for role, model in self.models().items()}
        return Plan(self.method, self.task, self.test, models, seed, Limits(**{"steps": self.steps, **limits}))


class MethodContract:
    """What must hold of a method; `case` is the fixture to give."""

    def test_it_is_its_fields(self, case: MethodCase) -> None:
        """A method can be written down and built again."""
        assert spec.build(json.loads(json.dumps(spec.describe(case.method)))) == case.method
        assert case.method.version >= 1

    def test_it_improves_or_keeps(self, case: MethodCase, tmp_path: Path) -> None:
        """The best prompt is at least as good on dev as the initial one, by `case.gain`."""
        finished = _finished(tmp_path / "run", case)
        dev = finished.result["dev"]
        assert dev["best"]["mean"] >= dev["initial"]["mean"] + case.gain

    def test_the_same_seed_makes_the_same_run(self, case: MethodCase, tmp_path: Path) -> None:
        """States, records, result and calls are equal."""
        assert _finished(tmp_path / "a", case) == _finished(tmp_path / "b", case)

    def test_another_seed_makes_another_run(self, case: MethodCase, tmp_path: Path) -> None:
        """Something was drawn differently, unless the method draws nothing."""
        a, b = _finished(tmp_path / "a", case), _finished(tmp_path / "b", case, seed=1)
        assert (a.calls != b.calls) == case.is_random

    def test_every_state_survives_json(self, case: MethodCase, tmp_path: Path) -> None:
        """A state read back from its JSON is the same, types included, and `best` says the same of it."""
        method, log = case.method, CallLog(tmp_path / "calls.jsonl")
        world = World(case.task, case.models(), log, 0, Audience())
        with log:
            state = method.init(Context(world, Ledger(log, 0, UNLIMITED, Usage())))
            for step in range(1, case.steps + 1):
                again = codec.read(method.State, codec.dumps(state), "state")
                assert repr(again) == repr(state)
                assert repr(method.best(again)) == repr(method.best(state))
                state = method.step(state, Context(world, Ledger(log, step, UNLIMITED, Usage())))

    def test_a_crash_at_any_call_changes_nothing_and_pays_nothing_twice(self, case: MethodCase, tmp_path: Path) -> None:
        """Crashed at answer i and resumed, the run is the undisturbed one, and no answer was asked for again."""
        undisturbed = _finished(tmp_path / "undisturbed", case)
        for i in range(0, undisturbed.given, case.every):
            path = tmp_path / f"crash-{i}"
            tap = Tap(fail_at=i)
            try:
                _carry_on(Run.create(path, case.plan(tap)))
            except Crash:
                tap.fail_at = None
            assert tap.fail_at is None, f"the run ended without asking for answer {i}"
            _carry_on(Run.open(path, models=_models(case, tap)))
            assert _read(path, tap) == undisturbed, f"a crash at answer {i} changed the run"
            shutil.rmtree(path)

    def test_budgets_ignore_what_the_journal_holds(self, case: MethodCase, tmp_path: Path) -> None:
        """With every answer already in the journal, the run pays, stops and ends as it did, and asks for nothing."""
        whole = _finished(tmp_path / "whole", case)
        for name in ("calls", "tokens"):
            limit = {name: max(1, whole.result["usage"][name] * 2 // 3)}
            cold, warm = tmp_path / f"cold-{name}", tmp_path / f"warm-{name}"
            if not _within(lambda cold=cold, limit=limit: _carry_on(Run.create(cold, case.plan(Tap(), **limit)))):  # type: ignore[misc]
                continue  # the method's first step alone passes the limit
            Run.create(warm, case.plan(Tap(), **limit)).close()
            shutil.copy(tmp_path / "whole" / "calls.jsonl", warm / "calls.jsonl")
            tap = Tap(fail_at=0)
            _carry_on(Run.open(warm, models=_models(case, tap)), finish=False)
            assert _steps(warm) == _steps(cold)
            assert tap.given == 0

    def test_it_costs_no_more_than_it_says(self, case: MethodCase, tmp_path: Path) -> None:
        """No step asks a role more often than `costs` allows."""
        costs = with_judge(case.method.costs(case.task), case.task)
        for number, step in enumerate(_finished(tmp_path / "run", case).steps):
            most, paid = costs.step if number else costs.init, Counter[str]()
            for account, usage in step["accounts"].items():
                paid[role_of(account)] += usage["calls"]
            assert all(calls <= most.get(role, 0) for role, calls in paid.items()), (
                f"step {number} made {dict(paid)} calls, and {dict(most)} were announced"
            )

    def test_it_refuses_a_model_without_the_capability(self, case: MethodCase, tmp_path: Path) -> None:
        """Before a call is paid or a file written."""
        for role in case.method.needs:
            tap = Tap(fail_at=0)
            plan = case.plan(tap)
            unable = replace(plan, models={**plan.models, role: Opened("", _Unable())})
            refused = _refusal(lambda plan=unable: Run.create(tmp_path / "run", plan))  # type: ignore[misc]
            assert repr(role) in refused and "unable" in refused
            assert not (tmp_path / "run").exists()


class GeneratesContract:
    """What must hold of a model that generates; the fixtures to give are `model` and `broken`, one that is down."""

    def test_errors_are_raised(self, broken: Generates) -> None:
        """A model that is down says so; it does not invent answers."""
        try:
            answers = list(broken.generate([Request("Say something.")]))
        except Exception:
            return
        raise AssertionError(f"an error was swallowed: got {answers!r}")

    def test_it_answers_every_request_once(self, model: Generates) -> None:
        """In any order."""
        requests = [Request(f"Say {n}.", max_tokens=4) for n in range(5)]
        indices = [index for index, _ in model.generate(requests)]
        assert sorted(indices) == list(range(5))

    def test_it_asks_nothing_of_nothing(self, model: Generates) -> None:
        """No requests, no answers."""
        assert list(model.generate([])) == []

    def test_its_id_is_its_own(self, model: Generates) -> None:
        """A text that stays the same while the answers do."""
        assert model.id and model.id == model.id

    def test_greedy_answers_are_repeatable(self, model: Generates) -> None:
        """Temperature 0 asks the same twice and hears the same, alone or in company."""
        request, other = Request("One plus one?", max_tokens=6), Request("A colour?", max_tokens=3)
        alone = dict(model.generate([request]))[0]
        together = dict(model.generate([other, request]))[1]
        assert alone.text == together.text

    def test_seeds_decide_samples(self, model: Generates) -> None:
        """The same seed, the same sample."""
        request = Request("A word?", temperature=1.0, max_tokens=6, seed=7)
        assert dict(model.generate([request]))[0].text == dict(model.generate([request]))[0].text

    def test_tokens_are_counted(self, model: Generates) -> None:
        """Within the limit that was set; nothing is free that was read."""
        response = dict(model.generate([Request("Count to ten.", max_tokens=5)]))[0]
        assert response.prompt_tokens > 0
        assert response.finish in ("stop", "length", "failed")


@dataclass(frozen=True)
class _Told:
    """Everything a run leaves behind, clocks and names aside."""

    steps: list[Any]
    result: Any
    calls: list[str]
    given: int


class _Unable:
    """A model that can do nothing."""

    id = "unable"


def _carry_on(run: Run, finish: bool = True) -> None:
    with run:
        for _ in run.until():
            pass
        if finish:
            run.finish()


def _finished(path: Path, case: MethodCase, seed: int = 0) -> _Told:
    tap = Tap()
    _carry_on(Run.create(path, case.plan(tap, seed)))
    return _read(path, tap)


def _models(case: MethodCase, tap: Tap) -> dict[str, Any]:
    return {role: tapped(model, tap) for role, model in case.models().items()}


def _read(path: Path, tap: Tap) -> _Told:
    result = json.loads((path / "result.json").read_text())
    del result["run"], result["usage"]["seconds"], result["measuring"]["seconds"]
    calls = (path / "calls.jsonl").read_text().removesuffix("\n").split("\n")
    assert len({json.loads(line)["key"] for line in calls}) == len(calls), "a call was paid twice"
    return _Told(_steps(path), result, calls, tap.given)


def _steps(path: Path) -> list[Any]:
    steps = [json.loads(file.read_text()) for file in sorted((path / "steps").glob("*.json"))]
    for step in steps:
        del step["seconds"]
    return steps


def _within(act: Callable[[], None]) -> bool:
    try:
        act()
    except BudgetSpent:
        return False
    return True


def _refusal(act: Callable[[], object]) -> str:
    try:
        act()
    except ModelError as refused:
        return str(refused)
    raise AssertionError("a model without the capability was not refused")
