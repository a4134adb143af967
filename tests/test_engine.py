from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from steepest import spec
from steepest.context import Context
from steepest.costs import Costs
from steepest.engine import Run
from steepest.errors import BudgetSpent, ModelError, SpecError, StateError, SteepestError, TaskError
from steepest.ledger import Limits, Price
from steepest.models.opening import Opened
from steepest.models.scripted import Scripted, text_of
from steepest.plan import Plan
from steepest.stops import no_gain, reached
from steepest.tasks.task import Task, Template
from steepest.testing.taps import Tap, tapped
from steepest.testing.toy import toy_answer, toy_model, toy_world
from steepest.types import Candidate, Example, Request, Response, Scored, Usage
from testing_methods import Adder, Ask, toy_plan


def whole(path: Path, plan: Plan) -> Run:
    with Run.create(path, plan) as run:
        list(run.until())
        run.finish()
    return run


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_folder_holds_what_was_asked_for(tmp_path: Path) -> None:
    plan = toy_plan(limits=Limits(steps=1, calls=500), seed=3, passed={"task": "toy"}, origin="made up")
    whole(tmp_path / "run", plan)
    told = load(tmp_path / "run" / "run.json")
    assert told["format"] == 1 and told["method_version"] == 1 and told["seed"] == 3
    assert spec.build(told["method"]) == plan.method
    assert told["passed"] == {"task": "toy"}
    assert told["task"] == {
        "name": "toy",
        "layout": "{input}\n{prompt}",
        "system": "You add numbers.",
        "extractor": "",
        "metric": {"use": "exact_match"},
        "max_tokens": 32,
        "seeds": ["Answer the question."],
        "origin": "made up",
        "language": "en",
        "description": "",
        "notes": [],
    }
    assert told["models"] == {"task": {"name": "scripted", "options": {}, "id": "toy"}}
    assert told["prompt"] == "Answer the question."
    unlimited = dict.fromkeys(("tokens", "seconds", "patience", "dollars"))
    assert told["limits"] == {"steps": 1, "calls": 500, **unlimited}
    assert (told["prices"], told["fail_on"]) == ({}, 0.2)
    assert {"python", "numpy"} <= set(told["versions"])
    assert len((tmp_path / "run" / "data" / "test.jsonl").read_text().splitlines()) == len(plan.test)
    assert sorted(path.name for path in (tmp_path / "run" / "steps").iterdir()) == ["00000.json", "00001.json"]


def test_a_step_file_is_the_record(tmp_path: Path) -> None:
    run = whole(tmp_path / "run", toy_plan(limits=Limits(steps=2)))
    data = load(tmp_path / "run" / "steps" / "00002.json")
    record = run.records[2]
    assert data["step"] == 2 and data["seconds"] == record.seconds > 0
    assert data["best"]["candidate"]["text"] == record.best.candidate.text
    assert data["referee"]["scores"] == dict(record.referee.scores)
    assert set(data["referee"]["scores"]) == {e.id for e in run.task.dev}
    assert data["trials"][0]["predicted"] == "NaN" and len(data["trials"]) == len(record.trials) > 0
    assert data["usage"]["calls"] == record.usage.calls > 0
    assert data["state"]["tried"] == list(record.state.tried)


def test_the_result_is_what_the_test_rows_say(tmp_path: Path) -> None:
    run = whole(tmp_path / "run", toy_plan(limits=Limits(steps=12)))
    told = load(tmp_path / "run" / "result.json")
    assert told["verdict"] == "better" and told["sentence"].startswith("The new prompt is better")
    assert told["prompt"]["initial"] == "Answer the question."
    assert told["test"]["initial"]["mean"] == 0.0 and told["test"]["initial"]["n"] == 40
    best = told["test"]["best"]
    assert best["low"] < best["mean"] and best["mean"] in (0.5, 0.75, 1.0)
    assert told["test"]["difference"]["mean"] == best["mean"]
    assert told["test"]["p_value"] < 0.05
    assert told["dev"]["best"]["mean"] == max(record.referee.mean for record in run.records)
    usage = told["usage"]
    assert usage["calls"] == sum(record.usage.calls for record in run.records)
    assert usage["tokens"] == usage["prompt_tokens"] + usage["output_tokens"]
    assert told["measuring"]["calls"] >= 2 * 40
    assert (told["method"], told["task"], told["models"]) == ("testing_methods:Adder", "toy", {"task": "scripted"})
    assert (told["steps"], told["stopped"], told["run"], told["format"]) == (12, "12 steps done", "run", 1)
    assert told["answers"]["best"] == {"unextracted": 0, "unanswered": 0, "truncated": 0, "unjudged": 0}
    lines = [json.loads(line) for line in (tmp_path / "run" / "test.jsonl").read_text().splitlines()]
    assert sum(line["best"]["score"] for line in lines) / len(lines) == best["mean"]
    assert set(lines[0]) == {"id", "input", "target", "initial", "best"}


def test_finish_returns_what_it_wrote(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", toy_plan(limits=Limits(steps=1))) as run:
        run.advance()
        result = run.finish("stopped by hand")
    assert result.to_json() == load(tmp_path / "run" / "result.json")
    assert result.stopped == "stopped by hand" and result.folder == tmp_path / "run"


def test_without_a_better_prompt_the_old_one_is_kept(tmp_path: Path) -> None:
    plan = toy_plan(Scripted(lambda request: "no", "deaf"), limits=Limits(steps=2))
    whole(tmp_path / "run", plan)
    told = load(tmp_path / "run" / "result.json")
    assert told["verdict"] == "no_difference" and told["test"]["p_value"] == 1.0
    assert told["prompt"]["best"] == told["prompt"]["initial"]
    assert told["sentence"].startswith("No better prompt was found: keep your prompt")


def test_faults_of_test_answers_are_counted(tmp_path: Path) -> None:
    def answer(request: Request) -> Response:
        said = toy_answer(request)
        finish = {"0": "failed", "8": "length"}.get(said[-1], "stop")
        return Response("" if said[-1] in "04" else said, 3, 1, finish)  # type: ignore[arg-type]

    whole(tmp_path / "run", toy_plan(Scripted(answer, "faulty"), limits=Limits(steps=0)))
    faults = load(tmp_path / "run" / "result.json")["answers"]["initial"]
    lines = [json.loads(line) for line in (tmp_path / "run" / "test.jsonl").read_text().splitlines()]
    said = [line["initial"] for line in lines]
    assert faults == {
        "unextracted": sum(s["finish"] != "failed" and s["answer"] is None for s in said),
        "unanswered": sum(s["score"] is None for s in said),
        "truncated": sum(s["finish"] == "length" for s in said),
        "unjudged": 0,
    }
    assert min(faults[name] for name in ("unextracted", "unanswered", "truncated")) > 0


@dataclass(frozen=True)
class Fickle:
    """Recommends a worse prompt at every step; starts from another one than the initial prompt."""

    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, type]] = {}

    @dataclass(frozen=True)
    class State:
        text: str

    def init(self, ctx: Context) -> State:
        return self.State("carefully stepwise")

    def step(self, state: State, ctx: Context) -> State:
        return self.State(["carefully", "carefully stepwise check", "maybe"][ctx.step - 1])

    def best(self, state: State) -> Scored:
        return Scored(Candidate(state.text), {})

    def costs(self, task: Task) -> Costs:
        return Costs({}, {})


def test_the_referee_decides_who_won_and_the_initial_prompt_competes(tmp_path: Path) -> None:
    run = whole(tmp_path / "run", toy_plan(method=Fickle(), limits=Limits(steps=3)))
    assert [record.referee.mean for record in run.records] == [0.5, 0.25, 0.75, 0.0]
    assert load(tmp_path / "run" / "result.json")["prompt"]["best"] == "carefully stepwise check"
    plan = toy_plan(limits=Limits(steps=3), method=Fickle())
    proud = replace(plan, task=replace(plan.task, seeds=("carefully stepwise check units",)))
    whole(tmp_path / "proud", proud)
    assert load(tmp_path / "proud" / "result.json")["prompt"]["best"] == "carefully stepwise check units"


@dataclass(frozen=True)
class Idle(Fickle):
    """Has nothing to ask and stays where it is."""

    def step(self, state: Fickle.State, ctx: Context) -> Fickle.State:
        return state


def test_a_method_that_lacks_a_part_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    class Half:
        version: ClassVar[int] = 1
        needs: ClassVar[dict[str, type]] = {}

    with pytest.raises(SpecError, match="got Half without State, init, step, best, costs; add it"):
        Run.create(tmp_path / "run", toy_plan(method=Half()))
    assert not (tmp_path / "run").exists()


def test_limits_on_what_is_paid_end_a_run_that_asks_nothing(tmp_path: Path) -> None:
    idle = whole(tmp_path / "idle", toy_plan(method=Idle(), limits=Limits(calls=100)))
    assert (idle.records[-1].step, idle.stopped) == (5, "nothing was left to ask in 5 steps")
    asked = whole(tmp_path / "asked", toy_plan(method=Idle(), limits=Limits(calls=100, steps=8)))
    assert (asked.records[-1].step, asked.stopped) == (8, "8 steps done")


def test_the_referee_is_outside_the_budget(tmp_path: Path) -> None:
    run = whole(tmp_path / "run", toy_plan(method=Fickle(), limits=Limits(steps=3, calls=1)))
    assert len(run.records) == 4
    assert [record.usage.calls for record in run.records] == [0, 0, 0, 0]
    assert [record.referee_usage.calls for record in run.records] == [24, 12, 12, 12]


def test_the_run_ends_before_the_limit_on_calls_is_passed(tmp_path: Path) -> None:
    tap = Tap()
    with Run.create(tmp_path / "run", toy_plan(tapped(toy_model(), tap), limits=Limits(calls=60))) as run:
        records = list(run.until())
    paid = sum(record.usage.calls for record in records)
    assert 0 < paid <= 60
    assert "the limit of 60 calls would be passed" in run.stopped
    lines = [json.loads(line) for line in (tmp_path / "run" / "calls.jsonl").read_text().splitlines()]
    assert len(lines) == tap.given
    assert not list((tmp_path / "run" / "steps").glob("*.tmp"))


def test_a_limit_below_the_first_step_is_an_error(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", toy_plan(limits=Limits(calls=3))) as run, pytest.raises(BudgetSpent):
        list(run.until())
    with Run.open(tmp_path / "run", models={"task": toy_model()}) as run, pytest.raises(StateError, match="none"):
        run.finish()


def test_stops_and_limits_end_a_run_and_say_why(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", toy_plan(limits=Limits(steps=40))) as run:
        list(run.until(reached(0.25), no_gain(30)))
        assert run.stopped == "reached 0.25 on dev"
        assert run.records[-1].referee.mean >= 0.25 > run.records[-2].referee.mean
        done = len(run.records)
        assert list(run.until(reached(0.25))) == []
        assert len(list(run.until(lambda records: "enough" if len(records) == done + 2 else None))) == 2
        assert run.stopped == "enough"


def test_a_run_without_an_end_is_refused(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", toy_plan()) as run, pytest.raises(SpecError, match="needs a stop or a limit"):
        next(run.until())


def test_an_error_in_a_step_leaves_the_last_commit(tmp_path: Path) -> None:
    tap = Tap()
    with Run.create(tmp_path / "run", toy_plan(tapped(toy_model(), tap), limits=Limits(steps=9))) as run:
        run.advance()
        before = run.records
        tap.fail_at = tap.given + 5
        with pytest.raises(Exception, match="made to fail"):
            run.advance()
        assert run.records == before
        tap.fail_at = None
        assert run.advance().step == 1
        assert tap.given == sum(r.usage.calls + r.referee_usage.calls for r in run.records)


@dataclass(frozen=True)
class Needy(Adder):
    needs: ClassVar[dict[str, type]] = {"optimizer": object}


ROW = Example("x", "Level 1: what is 1 + 1?", "2")


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda p: replace(p, task=replace(p.task, seeds=("  ",))), SpecError, "an initial prompt that is not blank"),
        (lambda p: replace(p, task=replace(p.task, seeds=())), SpecError, "an initial prompt that is not blank"),
        (lambda p: replace(p, task=replace(p.task, dev=())), TaskError, "got none for dev"),
        (lambda p: replace(p, test=()), TaskError, "got none for test"),
        (lambda p: replace(p, test=(ROW, ROW)), TaskError, "got 'x' in test and test"),
        (lambda p: replace(p, test=p.task.dev), TaskError, "in dev and test"),
        (lambda p: replace(p, task=replace(p.task, template=Template("{input} {hint} {prompt}"))), TaskError, "hint"),
        (lambda p: replace(p, models={}), ModelError, "the role 'task' needs a model, got none"),
        (lambda p: replace(p, method=Needy()), ModelError, "the role 'optimizer' needs a model"),
        (lambda p: replace(p, method=Adder(suggest=lambda text, ctx: [])), SpecError, "plain values or components"),
    ],
)
def test_nothing_is_written_for_a_run_that_cannot_be(
    tmp_path: Path, spoil: Callable[[Plan], Plan], error: type[SteepestError], message: str
) -> None:
    tap = Tap(fail_at=0)
    with pytest.raises(error) as refused:
        Run.create(tmp_path / "run", spoil(toy_plan(tapped(toy_model(), tap))))
    assert message in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(StateError, match="empty or not there"):
            Run.create(path, toy_plan())
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    Run.create(tmp_path / "empty", toy_plan()).close()


def test_a_state_without_a_json_form_is_not_committed(tmp_path: Path) -> None:
    refused = pytest.raises(StateError, match="step 0: state: text: should be a valid string")
    with Run.create(tmp_path / "run", toy_plan(method=Wrong(), limits=Limits(steps=1))) as run, refused:
        run.advance()
    assert not list((tmp_path / "run" / "steps").iterdir())


@dataclass(frozen=True)
class Wrong(Fickle):
    def init(self, ctx: Context) -> Any:
        return self.State(3)  # type: ignore[arg-type]

    def best(self, state: Any) -> Scored:
        return Scored(Candidate("x"), {})


def test_a_row_that_does_not_fit_the_model_is_refused(tmp_path: Path) -> None:
    from test_whitebox import Numbers

    class Short(Numbers):
        context = 12

        def encode(self, text: str, before: str = "") -> list[int]:
            return [0] * len(text.split())

    plan = toy_plan()
    small = replace(plan, models={"task": Opened("short", Short())})
    with pytest.raises(SpecError, match=r"in the model's 12 tokens, got 13 with row 'toy-0'"):
        Run.create(tmp_path / "run", small)
    Short.context = 14
    Run.create(tmp_path / "run", small).close()


def test_two_roles_may_have_two_models(tmp_path: Path) -> None:
    taps = Tap(), Tap()
    models = {
        "task": Opened("scripted", tapped(Scripted(toy_answer, "one"), taps[0])),
        "optimizer": Opened("scripted", tapped(Scripted(toy_answer, "two"), taps[1])),
    }
    world = toy_world()
    plan = Plan(Adder(Ask(role="optimizer")), world.task, world.test, models, limits=Limits(steps=2))
    whole(tmp_path / "run", plan)
    assert taps[1].given == 2 * 3
    roles = {json.loads(line)["role"] for line in (tmp_path / "run" / "calls.jsonl").read_text().splitlines()}
    assert roles == {"task", "optimizer"}


def patchy(downs: set[str]) -> Scripted:
    """The toy model, which does not answer questions that end in one of `downs`."""

    def answer(request: Request) -> str | Response:
        asked = text_of(request.prompt).split("\n")[0]
        return Response("", 3, 0, "failed", "timeout") if asked[-3:-1].strip() in downs else toy_answer(request)

    return Scripted(answer, "toy")


def test_a_run_goes_on_past_a_few_unanswered_requests_and_tells_of_them(tmp_path: Path) -> None:
    run = whole(tmp_path / "run", toy_plan(patchy({"7"}), limits=Limits(steps=2)))
    unanswered = [record.counts.get("unanswered: task: timeout", 0) for record in run.records]
    assert unanswered[0] > 0
    assert all(0 < len(record.referee.scores) < len(run.task.dev) for record in run.records)
    told = load(tmp_path / "run" / "result.json")
    assert told["counts"]["unanswered: task: timeout"] == sum(unanswered)
    lines = [json.loads(line) for line in (tmp_path / "run" / "calls.jsonl").read_text().splitlines()]
    assert sum(line["response"]["finish"] == "failed" for line in lines) >= sum(unanswered)


def test_a_run_stopped_by_unanswered_requests_asks_for_these_alone_when_resumed(tmp_path: Path) -> None:
    plan = toy_plan(patchy({"7", "2"}), limits=Limits(steps=1), fail_on=0.0)
    with Run.create(tmp_path / "run", plan) as run, pytest.raises(ModelError, match="mostly: timeout.*fail_on"):
        run.advance()
    answered = (tmp_path / "run" / "calls.jsonl").read_text().count('"finish":"stop"')
    tap = Tap()
    with Run.open(tmp_path / "run", models={"task": tapped(toy_model(), tap)}) as run:
        list(run.until())
        run.finish()
    undisturbed = Tap()
    whole(tmp_path / "other", toy_plan(tapped(toy_model(), undisturbed), limits=Limits(steps=1)))
    assert tap.given == undisturbed.given - answered
    same = ("verdict", "test", "dev", "counts")
    results = [load(tmp_path / name / "result.json") for name in ("run", "other")]
    assert [results[0][name] for name in same] == [results[1][name] for name in same]


def test_resuming_may_allow_more_unanswered_requests(tmp_path: Path) -> None:
    model = patchy({"7", "2"})
    plan = toy_plan(model, fail_on=0.0, limits=Limits(steps=0))
    with Run.create(tmp_path / "run", plan) as run, pytest.raises(ModelError, match="unanswered"):
        run.advance()
    with Run.open(tmp_path / "run", models={"task": model}, fail_on=0.9) as run:
        assert run.advance().counts
    with pytest.raises(SpecError, match="a share of requests from 0 to 1, got 7"):
        Run.open(tmp_path / "run", models={"task": model}, fail_on=7)


def test_dev_rows_without_any_score_end_the_run(tmp_path: Path) -> None:
    down = Scripted(lambda request: Response("", 0, 0, "failed", "overloaded"), "down")
    plan = toy_plan(down, method=Fickle(), fail_on=1.0, limits=Limits(steps=1))
    with Run.create(tmp_path / "run", plan) as run, pytest.raises(ModelError, match="none of them.*task: overloaded"):
        run.advance()


def test_dollars_are_counted_by_role_and_limited(tmp_path: Path) -> None:
    models = {role: Opened("mine.py:Model", Scripted(toy_answer, role)) for role in ("task", "optimizer")}
    prices = {"task": Price(1.0, 2.0), "optimizer": Price(100.0, 400.0)}
    plan = toy_plan(method=Adder(Ask(role="optimizer")), models=models, prices=prices)
    run = whole(tmp_path / "run", replace(plan, limits=Limits(steps=2)))
    told = load(tmp_path / "run" / "result.json")
    parts = {role: Usage(**usage) for role, usage in told["accounts"].items()}
    assert {*parts} == {"task", "optimizer"}
    assert all(parts[role].dollars == pytest.approx(prices[role].of(parts[role])) for role in parts)
    assert told["usage"]["dollars"] == pytest.approx(sum(part.dollars for part in parts.values()))
    assert told["measuring"]["dollars"] > 0
    assert load(tmp_path / "run" / "run.json")["prices"]["optimizer"] == {"read": 100.0, "written": 400.0}
    limit = 0.7 * told["usage"]["dollars"]
    with Run.create(tmp_path / "limited", replace(plan, limits=Limits(dollars=limit))) as limited:
        records = list(limited.until())
    assert 0 < sum(record.usage.dollars for record in records) <= limit
    assert "needed next; continue with a higher limit on dollars" in limited.stopped
    assert len(records) < len(run.records)


def test_a_limit_on_dollars_needs_every_price(tmp_path: Path) -> None:
    models = {"task": Opened("/of/mine.py:Model", toy_model())}
    plan = toy_plan(models=models, limits=Limits(dollars=1.0))
    with pytest.raises(SpecError, match=r"got none for 'task' \(/of/mine.py:Model\).*--price task=0.15/0.60"):
        Run.create(tmp_path / "run", plan)
    with pytest.raises(SpecError, match="got 'taks'; did you mean 'task'"):
        Run.create(tmp_path / "run", replace(plan, prices={"taks": Price(1, 1)}))
    Run.create(tmp_path / "free", toy_plan(limits=Limits(dollars=1.0))).close()
    Run.create(tmp_path / "run", toy_plan(models=models, limits=Limits(steps=1))).close()
    with pytest.raises(SpecError, match="got none for 'task'"):
        Run.open(tmp_path / "run", models={"task": toy_model()}, limits=Limits(dollars=1.0))
