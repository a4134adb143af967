"""Every method with settings, rows and models small enough for hundreds of runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from steepest.ledger import Limits
from steepest.methods.ape import APE
from steepest.methods.gpo import GPO
from steepest.methods.gradsum import GradSum
from steepest.methods.greater import Greater
from steepest.methods.opro import OPRO
from steepest.methods.pe2 import PE2
from steepest.methods.protegi import ProTeGi
from steepest.models.opening import Opened
from steepest.models.scripted import Scripted, text_of
from steepest.parts.bandits import UCB
from steepest.parts.selection import Filter
from steepest.parts.updates import Induce
from steepest.plan import Plan
from steepest.tasks.judge import Judge
from steepest.testing.toy import HELPFUL, IDLE, toy_model, toy_world
from steepest.types import Example, Request
from toy_whitebox import ToyWhiteBox, toy_task

WORDS = HELPFUL + IDLE
TAG = re.compile(r"<(prompt|reason|feedback|summary|rating)>")


def written(request: Request) -> str:
    """An optimizer and judge that answer in the last tag they are asked for, with words by the seed."""
    asked, seed = text_of(request.prompt), request.seed or 0
    tags = TAG.findall(asked)
    kind = tags[-1] if tags else ""
    if kind == "prompt":
        shown = re.findall(r"^Prompt: (.*)$", asked, re.MULTILINE)
        return f"<prompt>{shown[-1] if shown else 'Add'} {WORDS[seed % 10]} {WORDS[seed // 10 % 10]}</prompt>"
    if kind == "rating":
        a, b, said = map(int, re.search(r"what is (\d+) \+ (\d+)\?(?:\n.*)*?\nModel answer: (\d+)", asked).groups())
        return f"<explanation>The sum is checked.</explanation><rating>{int(a + b == said)}</rating>"
    if kind:
        return " ".join(
            f"<{kind}>It lacks {WORDS[(seed + i) % 10]}.</{kind}>" for i in range(4 if kind == "reason" else 1)
        )
    return "1. No, it is wrong. 2. It should name a word."


def textual() -> dict[str, Any]:
    return {"task": toy_model(), "optimizer": Scripted(written, "optimizer")}


def rated() -> dict[str, Any]:
    return {**textual(), "judge": Scripted(written, "judge")}


def white() -> dict[str, Any]:
    return {"task": ToyWhiteBox()}


@dataclass(frozen=True)
class World:
    """What a run is made of, its models made anew each time."""

    plan: Callable[[Mapping[str, Any]], Plan]
    models: Callable[[], dict[str, Any]]


def _text(method: Any, steps: int, rows: tuple[int, int, int] = (6, 6, 8)) -> World:
    def plan(models: Mapping[str, Any]) -> Plan:
        world = toy_world(*rows)
        return Plan(method, world.task, world.test, _opened(models), limits=Limits(steps=steps))

    return World(plan, textual)


def _judged(method: Any, steps: int) -> World:
    def plan(models: Mapping[str, Any]) -> Plan:
        world = toy_world(5, 5, 6)
        train, dev, test = (
            tuple(replace(row, target="") for row in rows) for rows in (world.task.train, world.task.dev, world.test)
        )
        task = replace(world.task, train=train, dev=dev, metric=Judge("1 if the sum is right, 0 if it is wrong."))
        return Plan(method, task, test, _opened(models), limits=Limits(steps=steps))

    return World(plan, rated)


def _white(method: Any, steps: int) -> World:
    def plan(models: Mapping[str, Any]) -> Plan:
        task, spare = toy_task(train=8, dev=10), toy_task(train=30, dev=0).train[18:]
        test = [Example(f"test{i}", row.input, row.target) for i, row in enumerate(spare)]
        return Plan(method, task, test, _opened(models), limits=Limits(steps=steps))

    return World(plan, white)


def _opened(models: Mapping[str, Any]) -> dict[str, Opened]:
    return {role: Opened("scripted", model) for role, model in models.items()}


_APE = APE(induce=Induce(sets=2, demos=2, n=3), select=Filter(subset=2, final=2), least=2)
_PROTEGI = ProTeGi(
    gradients_per_group=2, paraphrases=1, beam=2, max_successors=2, select=UCB(budget=40, samples=3, c=2.0)
)
_GRADSUM = GradSum(beam=2, rows=4, candidates=2, subset=4)

WORLDS: Mapping[str, World] = {
    "greater": _white(Greater(k=6, rows=8, margin=0.0, gradient="answer", samples=3), steps=4),
    "greater, sampled": _white(Greater(k=6, rows=8, margin=0.0, gradient="sampled", samples=3), steps=4),
    "ape": _text(_APE, steps=2, rows=(12, 8, 4)),
    "protegi": _text(_PROTEGI, steps=2),
    "opro": _text(OPRO(samples=4), steps=3, rows=(4, 4, 8)),
    "pe2": _text(PE2(beam=2, proposals=3), steps=3),
    "gpo": _text(GPO(candidates=4, batch=2, steps_planned=3), steps=3, rows=(4, 4, 8)),
    "gradsum": _text(_GRADSUM, steps=2, rows=(5, 5, 6)),
    "gradsum, judged": _judged(_GRADSUM, steps=2),
}
