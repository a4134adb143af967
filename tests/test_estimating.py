from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from steepest.context import Context
from steepest.costs import Costs
from steepest.errors import ModelError
from steepest.estimating import forecast, with_judge
from steepest.ledger import Price
from steepest.models.opening import Opened
from steepest.plan import Plan
from steepest.tasks.judge import Judge
from steepest.testing.taps import Tap, tapped
from steepest.testing.toy import toy_model
from steepest.types import Usage
from testing_methods import Asker, toy_plan


def asker_plan(**changes: Any) -> Plan:
    models = {role: Opened(role, tapped(toy_model(), Tap(fail_at=0))) for role in ("task", "optimizer")}
    return toy_plan(**{"method": Asker(), "models": models, **changes})


def test_calls_are_the_methods_bound_and_measuring_comes_on_top(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    found = forecast(asker_plan())
    parts = {part.role: part for part in found.search}
    assert (parts["task"].init, parts["task"].step) == (8, 4 * 4 + 8)
    assert (parts["optimizer"].init, parts["optimizer"].step) == (0, 3)
    assert [(part.role, part.init, part.step) for part in found.measuring] == [("task", 24, 12)]
    assert [(part.role, part.init, part.step) for part in found.test] == [("task", 80, 0)]
    assert parts["optimizer"].total(10).calls == 30
    assert list(tmp_path.iterdir()) == []


def test_tokens_are_those_of_a_rehearsal_and_dollars_follow_from_them() -> None:
    found = forecast(asker_plan(prices={"optimizer": Price(100.0, 1000.0)}))
    optimizer = next(part for part in found.search if part.role == "optimizer")
    assert found.message == "Which word would help here?\nAnswer the question."
    read = round(len(found.message) / 4)
    assert optimizer.request == Usage(1, read, 32, dollars=(100 * read + 32_000) / 1e6)
    total = optimizer.total(10)
    assert (total.prompt_tokens, total.output_tokens) == (30 * read, 30 * 32)
    assert total.dollars == 30 * optimizer.request.dollars
    task = next(part for part in found.search if part.role == "task")
    assert task.request is not None and task.request.dollars == 0.0


def test_what_cannot_be_rehearsed_has_calls_only() -> None:
    class Refusing(Asker):
        def init(self, ctx: Context) -> Any:
            raise ModelError("no")

    class Huge(Asker):
        def costs(self, task: Any) -> Costs:
            return Costs({"task": 1_000_000}, {"optimizer": 1})

    for method in (Refusing(), Huge()):
        found = forecast(asker_plan(method=method))
        assert [part.request for part in found.search] == [None, None] and found.message == ""
        assert found.test[0].request is not None and 15 < found.test[0].request.prompt_tokens < 20


def test_a_judge_is_asked_at_most_twice_for_each_answer() -> None:
    task = asker_plan().task
    judged = replace(task, metric=Judge("It is short."))
    costs = Costs({"task": 5}, {"task": 7, "optimizer": 1})
    assert with_judge(costs, task) == costs
    assert with_judge(costs, judged) == Costs({"task": 5, "judge": 10}, {"task": 7, "optimizer": 1, "judge": 14})
    told = Costs({"task": 5, "judge": 1}, {"task": 7})
    assert with_judge(told, judged) == told
