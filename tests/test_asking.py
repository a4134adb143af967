"""Questions that are under way together: whatever answers first, the same run, within the same limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from scrambled import Scrambled, answer
from steepest import spec
from steepest.calls import CallLog
from steepest.context import Context, World
from steepest.engine import Run
from steepest.errors import BudgetSpent, ModelError
from steepest.events import CallsAnswered, Event
from steepest.ledger import UNLIMITED, Ledger, Limits
from steepest.lots import Overlaps
from steepest.models.opening import Opened
from steepest.models.scripted import Scripted
from steepest.plan import Plan
from steepest.tasks.judge import Judge
from steepest.tasks.task import Judgement, Task
from steepest.testing.toy import toy_world
from steepest.types import Candidate, Example, Request, Response, Usage
from testing_methods import Adder

METHODS: dict[str, dict[str, Any]] = {
    "ape": {"induce": {"sets": 2, "n": 3}, "least": 2},
    "protegi": {"beam": 2, "select": {"use": "ucb", "budget": 60, "samples": 3, "arms": 3}},
    "opro": {"samples": 4},
    "pe2": {"beam": 2, "proposals": 2},
    "gpo": {"candidates": 4},
    "gradsum": {"beam": 2, "candidates": 2, "rows": 5},
    "gradsum judged": {"beam": 2, "candidates": 2, "rows": 9, "gradient_words": 50},
    "gradsum unsummed": {"beam": 2, "candidates": 2, "rows": 5, "summarize": False, "gradient_temperature": 0.5},
    "opro by racing": {"samples": 4, "keep": 1, "select": {"use": "racing", "budget": 20}},
    "pe2 by racing": {"beam": 2, "proposals": 2, "select": {"use": "racing", "budget": 16}},
    "gpo by racing": {"candidates": 4, "select": {"use": "racing", "budget": 16}},
    "protegi by racing": {"beam": 2, "select": {"use": "racing", "budget": 40}},
}


def build(name: str) -> Any:
    return spec.build({"use": name.split()[0], **METHODS[name]})


def run(path: Path, name: str, model: Any, **limits: Any) -> Run:
    world = toy_world(train=10, dev=8, test=6)
    task = replace(world.task, metric=Judge("Right sums.")) if "judged" in name else world.task
    models = {role: Opened("", model) for role in ("task", "optimizer", "judge")}
    plan = Plan(build(name), task, world.test, models, 0, Limits(**{"steps": 2, **limits}))
    with Run.create(path, plan) as searching:
        for _ in searching.until():
            pass
    return searching


def states(of: Run) -> list[str]:
    return [repr((record.state, record.best, record.usage, record.counts, record.accounts)) for record in of.records]


@pytest.mark.parametrize("name", METHODS)
def test_no_run_depends_on_which_answer_comes_first(name: str, tmp_path: Path) -> None:
    alone = run(tmp_path / "alone", name, Scripted(answer))
    for seed in range(2):
        model = Scrambled(seed)
        assert isinstance(model, Overlaps)
        together = run(tmp_path / str(seed), name, model)
        assert states(together) == states(alone)
        keys = [line for line in (tmp_path / str(seed) / "calls.jsonl").read_text().splitlines()]
        assert len(keys) == len(model.given) == len(set(map(repr, model.given))), "a call was made twice"
        assert model.cancelled == 0


@pytest.mark.parametrize("name", [name for name in METHODS if "racing" in name])
def test_racing_costs_no_more_than_the_method_says(name: str, tmp_path: Path) -> None:
    of = run(tmp_path / "run", name, Scripted(answer))
    costs = of.method.costs(of.task)
    for record in of.records:
        most = costs.step if record.step else costs.init
        assert all(usage.calls <= most.get(role, 0) for role, usage in record.accounts.items())


@pytest.mark.parametrize("name", ["protegi", "opro", "pe2", "gradsum"])
def test_stages_are_under_way_together(name: str, tmp_path: Path) -> None:
    model = Scrambled()
    run(tmp_path / "run", name, model)
    assert model.peak > 1


@pytest.mark.parametrize("limit", ["calls", "tokens"])
@pytest.mark.parametrize("name", ["protegi", "gradsum", "gradsum judged"])
def test_limits_hold_and_end_the_run_where_they_did(name: str, limit: str, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", name, Scripted(answer)).records
    paid = [getattr(record.usage, limit) for record in whole]
    for i, most in enumerate((paid[0] + paid[1] // 2, sum(paid[:2]), sum(paid) - 1)):
        alone = run(tmp_path / f"alone-{i}", name, Scripted(answer), **{limit: most})
        for seed in range(2):
            model = Scrambled(seed)
            together = run(tmp_path / f"{seed}-{i}", name, model, **{limit: most})
            assert states(together) == states(alone)
            measured = sum((record.referee_usage for record in together.records), Usage())
            given = [dict(Scripted(answer).generate([request]))[0] for request in model.given]
            tokens = sum(each.prompt_tokens + each.output_tokens for each in given)
            assert (len(given) - measured.calls if limit == "calls" else tokens - measured.tokens) <= most


Open = Callable[..., Context]


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Open]:
    with CallLog(tmp_path / "calls.jsonl") as log:

        def opened(model: Any, tell: Callable[[Event], None] = lambda _: None, limits: Limits = UNLIMITED) -> Context:
            world = World(toy_world().task, {"task": model, "optimizer": model}, log, 0, tell)
            return Context(world, Ledger(log, 1, limits, Usage()))

        yield opened


def test_an_interruption_cancels_what_is_under_way(context: Open) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, CallsAnswered):
            raise KeyboardInterrupt

    model = Scrambled()
    ctx = context(model, interrupt)
    batch = ctx.batch("optimizer", temperature=1.0)
    batch.add(["Say something.", "Say it again."])
    with pytest.raises(KeyboardInterrupt):
        ctx.score([Candidate("Add.")], ctx.task.dev)
    assert model.cancelled == 2


def test_an_error_ends_all_that_is_under_way(context: Open) -> None:
    model = Scrambled(fail_at=0)
    ctx = context(model)
    other = ctx.batch("optimizer")
    other.add(["Say something."])
    with pytest.raises(ModelError, match="is down"):
        ctx.score([Candidate("Add.")], ctx.task.dev)
    assert model.cancelled == 2
    for again in (other.answers, lambda: ctx.score([Candidate("Add.")], ctx.task.dev)):
        with pytest.raises(ModelError, match="end with the first error of its models"):
            again()


def test_an_error_of_the_methods_own_cancels_what_nobody_waited_for(context: Open) -> None:
    model = Scrambled()
    with pytest.raises(ZeroDivisionError), context(model) as ctx:
        ctx.scoring([Candidate("Add.")], ctx.task.dev)
        1 / 0  # noqa: B018
    assert model.cancelled == 1


@pytest.mark.parametrize("row", ["toy-10", "toy-18"], ids=["dev", "test"])
def test_an_error_while_a_prompt_is_measured_cancels_what_is_under_way(
    row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule, model = Task.rule, Scrambled()

    def failing(task: Task, example: Example, output: str) -> Judgement:
        return rule(task, example, output if example.id != row else str(1 / 0))

    monkeypatch.setattr(Task, "rule", failing)
    world = toy_world(train=10, dev=8, test=6)
    plan = Plan(Adder(), world.task, world.test, {"task": Opened("", model)}, 0, Limits(steps=0))
    with Run.create(tmp_path / "run", plan) as searching, pytest.raises(ZeroDivisionError):
        list(searching.until())
        searching.finish()
    assert model.cancelled == 1


def test_what_nobody_waited_for_is_paid_and_written_down(context: Open) -> None:
    model = Scrambled()
    with context(model) as ctx:
        ctx.scoring([Candidate("Add.")], ctx.task.dev)
    assert model.cancelled == 0
    assert ctx.usage.calls == len(ctx.task.dev)


def test_nothing_is_asked_beyond_a_limit_while_others_are_under_way(context: Open) -> None:
    model = Scrambled()
    ctx = context(model, limits=Limits(calls=5))
    first, second = ctx.batch("optimizer"), ctx.batch("optimizer")
    first.add(["One.", "Two.", "Three."])
    second.add(["Four.", "Five.", "Six."])
    assert [first.answer(i).finish for i in range(3)] == ["stop"] * 3
    with pytest.raises(BudgetSpent, match="limit of 5 calls"):
        second.answer(0)
    assert len(model.given) == 3


def test_what_is_asked_twice_while_under_way_is_paid_once(context: Open) -> None:
    model = Scrambled()
    ctx = context(model)
    one, two = ctx.batch("task"), ctx.batch("task")
    one.add(["Same?"])
    two.add(["Same?", "Other?"])
    assert two.answer(0) == one.answer(0)
    two.answer(1)
    assert (len(model.given), ctx.usage.calls) == (2, 2)


def test_models_that_do_not_overlap_get_everything_that_has_gathered_at_once(context: Open) -> None:
    asked: list[int] = []

    class Counting:
        id = "counting"

        def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
            asked.append(len(requests))
            return Scripted(answer).generate(requests)

    ctx = context(Counting())
    begun = [ctx.scoring([Candidate(text)], ctx.task.dev) for text in ("One.", "Two.", "Three.")]
    assert not asked
    assert [next(each).n for each in begun] == [12] * 3
    assert asked == [36]


def test_too_many_failures_of_a_batch_that_grew_end_the_step(context: Open) -> None:
    class Failing(Scrambled):
        def begin(
            self,
            requests: Sequence[Request],
            answered: Callable[[int, Response], None],
            failed: Callable[[BaseException], None],
        ) -> Callable[[], None]:
            heard: SimpleQueue[int] = SimpleQueue()
            for index in range(len(requests)):
                answered(index, Response("", finish="failed", reason="HTTP 500"))
            return lambda: heard.put(0)

    ctx = context(Failing())
    batch = ctx.batch("optimizer")
    for text in "abcdef":
        batch.add([text])
    with pytest.raises(ModelError, match="6 of 6"):
        batch.answers()
