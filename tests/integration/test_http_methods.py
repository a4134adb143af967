from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from http_runs import approving, journal, proposing, small_task
from server import Served

import steepest
from models.endpoint.stub import running
from steepest import api, spec
from steepest.engine import Run
from steepest.events import CallsAnswered, Event
from steepest.ledger import Limits
from steepest.models.opening import opened
from steepest.plan import Plan
from steepest.roles import cast, open_models
from steepest.tasks.loading import TaskSpec, load_task
from steepest.types import Request

pytestmark = pytest.mark.slow

AT_ONCE = 4
"""Requests under way."""
SETTINGS: dict[str, Sequence[str]] = {
    "ape": (
        *("induce.sets=1", "induce.demos=2", "induce.n=3", "induce.max_tokens=32"),
        *("paraphrase.max_tokens=32", "select=full", "keep=0.5", "least=2"),
    ),
    "protegi": (
        *("minibatch=6", "errors_per_group=2", "gradients_per_group=1", "paraphrases=1", "max_successors=2"),
        *("beam=2", "select=full"),
    ),
    "opro": ("samples=2", "exemplars=2", "max_tokens=32"),
    "pe2": ("beam=1", "proposals=2", "reasoning_tokens=32"),
    "gpo": ("candidates=2", "exemplars=2", "batch=4", "max_tokens=32", "direction=prompt+performance+reflection"),
    "gradsum": ("beam=1", "rows=3", "candidates=2", "subset=3", "max_tokens=32"),
}


class Interruption:
    """Control-C, pressed once, when the first step after the beginning has had two answers."""

    def __init__(self) -> None:
        self.answers = 0

    def __call__(self, event: Event) -> None:
        self.answers += isinstance(event, CallsAnswered) and event.step == 1
        if self.answers == 2:
            raise KeyboardInterrupt


def planned(method: str, rows: TaskSpec, **models: str) -> Plan:
    chosen = spec.build(spec.with_settings(method, SETTINGS[method]))
    source = load_task(rows)
    options: dict[str, Any] = {"concurrency": AT_ONCE, "optimizer.concurrency": AT_ONCE}
    roles = cast(chosen.needs, source.task, open_models(models, options))
    return api.make_plan(chosen, source, roles, 0, Limits(steps=1), {})


def follow(plan: Plan, folder: Path, server: Served) -> list[dict[str, Any]]:
    """A run that is interrupted, resumed, finished and gone on with; every call that was answered is made once.

    Returns its journal.
    """
    with Run.create(folder, plan, [Interruption()]) as run, pytest.raises(KeyboardInterrupt):
        api.carry_out(run)
    cut, answered = journal(folder), server.answered
    assert any(call["step"] == 1 for call in cut) and not (folder / "result.json").exists()

    first = steepest.resume(folder, quiet=True)
    whole = journal(folder)
    assert whole[: len(cut)] == cut
    by_server = [call for call in whole[len(cut) :] if server.url in call["model"]]
    # What was under way at the interruption may have been answered to nobody.
    assert len(by_server) <= server.answered - answered <= len(by_server) + AT_ONCE
    assert first.steps == 1 and (folder / "report.html").is_file()
    assert first.test.best.n == first.test.initial.n == 5

    answered = server.answered
    again = steepest.resume(folder, quiet=True)
    assert server.answered == answered and journal(folder) == whole
    assert (again.prompt, again.test) == (first.prompt, first.test)

    second = steepest.resume(folder, steps=2, quiet=True)
    calls = journal(folder)
    assert second.steps == 2 and calls[: len(whole)] == whole
    assert server.answered - answered == sum(server.url in call["model"] for call in calls[len(whole) :])
    assert len({call["key"] for call in calls}) == len(calls)
    assert not any(call["response"]["finish"] == "failed" for call in calls)
    assert steepest.Result is type(second) and (folder / "result.json").is_file()
    return calls


@pytest.mark.parametrize("method", SETTINGS)
def test_methods_run_over_http_and_ask_nothing_twice(method: str, served: Served, tmp_path: Path) -> None:
    plan = planned(method, small_task(), task=served.model, optimizer=served.model)
    calls = follow(plan, tmp_path / "run", served)
    assert {call["role"] for call in calls} == {"task", "optimizer"}
    assert any(call["step"] == 1 for call in calls if call["role"] == "optimizer")


@pytest.mark.parametrize("method", SETTINGS)
def test_prompts_that_one_server_writes_are_scored_by_another(method: str, served: Served, tmp_path: Path) -> None:
    with running(proposing) as writers:
        plan = planned(method, small_task(), task=served.model, optimizer=f"openai:writer@{writers.url}")
        with Run.create(tmp_path / "run", plan) as run:
            result = api.carry_out(run)
    calls = journal(tmp_path / "run")
    assert result.steps == 1 and "dropped" not in result.counts
    assert len(writers.asked) == sum(call["role"] == "optimizer" for call in calls) > 0
    asked = "\n".join(json.dumps(call["request"]) for call in calls if call["role"] == "task")
    replies = [call["response"]["text"] for call in calls if call["role"] == "optimizer"]
    prompts = {text for reply in replies for text in re.findall("<prompt>(.*)</prompt>", reply)}
    assert any(prompt in asked for prompt in prompts)


def test_a_judge_is_asked_over_http_as_well(served: Served, tmp_path: Path) -> None:
    with running(approving) as judges:
        judge = f"openai:judge@{judges.url}"
        rows = small_task(criteria="The answer is a number.")
        plan = planned("gradsum", rows, task=served.model, optimizer=served.model, judge=judge)
        calls = follow(plan, tmp_path / "run", served)
    assert {call["role"] for call in calls} == {"task", "optimizer", "judge"}
    assert len(judges.asked) == sum(call["role"] == "judge" for call in calls)


def test_answers_are_those_of_the_same_model_in_this_process(served: Served) -> None:
    prompts = []
    for name in ("shuffled", "arithmetic", "dates", "boolean"):
        task = load_task(name).task
        prompts += [task.template.render(task.seeds[0], example) for example in task.dev[:5]]
    requests = [Request(prompt, 0.0, 48) for prompt in prompts]
    there = dict(opened(served.model).model.generate(requests))
    here = dict(opened(f"hf:{served.weights}").model.generate(requests))
    assert len(there) == 20 and there == here
