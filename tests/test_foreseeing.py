"""What is sent before its turn: as soon as it is known, never near a limit, and nothing that is not asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from scrambled import Scrambled, answer
from steepest.calls import CallLog
from steepest.context import Context, World
from steepest.engine import Run
from steepest.errors import ModelError
from steepest.ledger import UNLIMITED, Ledger, Limits
from steepest.models.opening import Opened
from steepest.models.scripted import Scripted, text_of
from steepest.parts.text import Replies, read_tagged
from steepest.plan import Plan
from steepest.spec import build
from steepest.tasks.judge import Judge
from steepest.testing.toy import toy_world
from steepest.types import Candidate, Outcome, Request, Response, Usage

Open = Callable[..., Context]
JUDGE = Judge("Right sums.")


@dataclass
class Backwards(Scrambled):
    """Answers each batch at once, its last request first."""

    says: Callable[[Request], str] = answer

    def begin(
        self,
        requests: Sequence[Request],
        answered: Callable[[int, Response], None],
        failed: Callable[[BaseException], None],
    ) -> Callable[[], None]:
        self.given += requests
        for index in reversed(range(len(requests))):
            answered(index, dict(Scripted(self.says).generate([requests[index]]))[0])
        return lambda: None


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Open]:
    with CallLog(tmp_path / "calls.jsonl") as log:

        def opened(model: Any, limits: Limits = UNLIMITED, most: int = 0, **changes: Any) -> Context:
            task = replace(toy_world(dev=6).task, **changes)
            models = {role: model for role in ("task", "optimizer", "judge")}
            world = World(task, models, log, 0, lambda event: None)
            return Context(world, Ledger(log, 1, limits, Usage(), most=most))

        yield opened


def rated(model: Scrambled) -> list[str]:
    """The rows about which the judge was asked first, in order."""
    asked = [text_of(each.prompt) for each in model.given if not each.temperature]
    return [text.partition("Level")[2].partition("?")[0] for text in asked if "<rating>" in text]


def test_a_judge_is_asked_about_an_answer_as_soon_as_it_is_there(context: Open) -> None:
    model = Backwards()
    ctx = context(model, metric=JUDGE)
    ctx.score([Candidate("Add.")], ctx.task.dev)
    rows = [example.input.partition("Level")[2].partition("?")[0] for example in ctx.task.dev]
    assert rated(model) == rows[::-1]


def test_what_the_judge_could_not_rate_is_asked_again_before_the_others_are_rated(context: Open) -> None:
    model = Backwards()
    ctx = context(model, metric=JUDGE)
    outcomes = ctx.evaluate([Candidate("Add.")], ctx.task.dev)[0].outcomes
    again = [each for each in model.given if each.temperature]
    assert again and all(each.score is not None for each in outcomes)
    assert len(model.given) == len(set(map(repr, model.given))) == ctx.usage.calls


def test_the_answer_behind_an_extractor_is_asked_for_as_soon_as_it_is_missing(context: Open) -> None:
    def mute(request: Request) -> str:
        last = request.prompt[-1]
        return "7" if not isinstance(last, str) and last.role == "assistant" else ""

    class Strict:
        def __call__(self, example: Any, output: str) -> Any:
            from steepest.tasks.task import Judgement

            return Judgement(float("7" in output), "7" if "7" in output else None)

    model = Backwards(says=mute)
    ctx = context(model, metric=Strict(), extractor="So the answer is")
    outcomes = ctx.evaluate([Candidate("Add.")], ctx.task.dev)[0].outcomes
    assert [each.answer for each in outcomes] == ["7"] * 6
    asked = ["".join(turn.content for turn in each.prompt) for each in model.given[6:]]
    assert [ctx.task.dev[-1 - i].input in text for i, text in enumerate(asked)] == [True] * 6


def test_outcomes_are_heard_of_as_they_come_and_given_in_order(context: Open) -> None:
    heard: list[tuple[int, Outcome]] = []
    ctx = context(Backwards())
    given = list(ctx.outcomes([Candidate("Add.")], ctx.task.dev, lambda at, outcome: heard.append((at, outcome))))
    assert [at for at, _ in heard] == [5, 4, 3, 2, 1, 0]
    assert [outcome for _, outcome in heard[::-1]] == given


@pytest.mark.parametrize(("limits", "most"), [(Limits(calls=17), 18), (Limits(tokens=7000), 18), (Limits(calls=99), 0)])
def test_nothing_is_foreseen_where_a_limit_may_be_near(limits: Limits, most: int, context: Open) -> None:
    model = Backwards()
    ctx = context(model, limits, most, metric=JUDGE)
    asked = ctx.outcomes([Candidate("Add.")], ctx.task.dev)
    first = next(asked)
    assert first.example == ctx.task.dev[0]
    rows = [example.input.partition("Level")[2].partition("?")[0] for example in ctx.task.dev]
    assert rated(model) == rows


def test_far_from_limits_things_are_foreseen(context: Open) -> None:
    model = Backwards()
    ctx = context(model, Limits(calls=18, tokens=10**6), 18, metric=JUDGE)
    ctx.score([Candidate("Add.")], ctx.task.dev)
    assert rated(model)[0] in ctx.task.dev[-1].input


def test_a_sampled_reply_that_was_foreseen_is_the_one_that_is_asked_for(context: Open) -> None:
    def asked(foresees: bool) -> tuple[list[list[str]], list[Request], int]:
        model = Scrambled()
        with context(model) as ctx:
            replies = Replies(ctx, "optimizer", lambda r: read_tagged(r, "prompt")[0], temperature=1.0)
            if foresees:
                replies.foresee(["One <prompt>.", "One <prompt>.", "Two <prompt>."])
            replies.add(["One <prompt>.", "One <prompt>.", "Two <prompt>."])
            found = replies.lists()
        return found, sorted(model.given, key=repr), ctx.usage.calls

    plain = asked(False)
    found, given, calls = asked(True)
    assert found == plain[0] and len(given) == 0 and calls == plain[2], "the journal knows them all"


def test_failures_of_what_was_foreseen_count_for_its_batch(context: Open) -> None:
    class Failing(Scrambled):
        def begin(
            self,
            requests: Sequence[Request],
            answered: Callable[[int, Response], None],
            failed: Callable[[BaseException], None],
        ) -> Callable[[], None]:
            for index in range(len(requests)):
                answered(index, Response("", finish="failed", reason="HTTP 500"))
            return lambda: None

    ctx = context(Failing())
    batch = ctx.batch("optimizer")
    batch.foresee(list("abcdef"))
    batch.add(list("abcdef"))
    with pytest.raises(ModelError, match="6 of 6"):
        batch.answers()


@pytest.mark.parametrize("is_there", [False, True])
def test_failures_of_what_was_foreseen_elsewhere_count_for_the_batch_that_asks(is_there: bool, context: Open) -> None:
    class NoJudge(Backwards):
        def begin(
            self,
            requests: Sequence[Request],
            answered: Callable[[int, Response], None],
            failed: Callable[[BaseException], None],
        ) -> Callable[[], None]:
            if "<rating>" not in text_of(requests[0].prompt):
                return super().begin(requests, answered, failed)
            for index in range(len(requests)):
                answered(index, Response("", finish="failed", reason="HTTP 500"))
            return lambda: None

    ctx = context(NoJudge(), metric=JUDGE)
    ctx.scoring([Candidate("Add.")], ctx.task.dev)
    if is_there:
        ctx.generate("optimizer", ["What else is known by then?"])
        ctx._asking.drain()
    with pytest.raises(ModelError, match="6 of 6"):
        ctx.score([Candidate("Add.")], ctx.task.dev)


def test_a_run_that_broke_off_anywhere_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    def plan(model: Any) -> Plan:
        world = toy_world(train=6, dev=5, test=4)
        task = replace(world.task, metric=JUDGE)
        models = {role: Opened("", model) for role in ("task", "optimizer", "judge")}
        method = build({"use": "gradsum", "beam": 2, "candidates": 2, "rows": 5, "gradient_words": 50})
        return Plan(method, task, world.test, models, 0, Limits(steps=2))

    def states(run: Run) -> list[str]:
        return [repr((record.state, record.best, record.usage, record.counts)) for record in run.records]

    with Run.create(tmp_path / "whole", plan(Scripted(answer))) as whole:
        assert len(list(whole.until())) == 3
    total = len((tmp_path / "whole" / "calls.jsonl").read_text().splitlines())
    for at in range(0, total, 7):
        folder = tmp_path / str(at)
        # The model refuses a whole batch once so many requests were sent: not always within the run.
        with Run.create(folder, plan(Scrambled(seed=at, fail_at=at))) as broken, pytest.raises(ModelError):
            list(broken.until())
        with Run.open(folder, models={role: Scrambled(at) for role in ("task", "optimizer", "judge")}) as resumed:
            list(resumed.until())
        assert states(resumed) == states(whole), at
        keys = [line.partition('"key"')[2][:24] for line in (folder / "calls.jsonl").read_text().splitlines()]
        assert len(keys) == len(set(keys)) == total, at
