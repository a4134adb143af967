"""A small method on text, for the tests of the engine: adds a word at a time and keeps what helps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from steepest.context import Context
from steepest.costs import Costs
from steepest.models import Generates
from steepest.models.opening import Opened
from steepest.plan import Plan
from steepest.tasks.task import Task
from steepest.testing.contract import MethodCase
from steepest.testing.toy import toy_model, toy_world
from steepest.types import Candidate, Scored, Trial


class Suggest(Protocol):
    def __call__(self, text: str, ctx: Context) -> list[str]: ...


@dataclass(frozen=True)
class Ask:
    """Words that the optimizer model says at temperature 1."""

    n: int = 3
    question: str = "Which word would help here?"
    role: str = "task"

    def __call__(self, text: str, ctx: Context) -> list[str]:
        answers = ctx.generate(self.role, [f"{self.question}\n{text}"], temperature=1.0, n=self.n)
        return list(dict.fromkeys(answer.text for answer in answers))


@dataclass(frozen=True)
class Adder:
    """Adds the suggested word that scores best on a minibatch, if it scores better than none."""

    suggest: Suggest = field(default_factory=Ask)
    batch: int = 4
    tags: tuple[str, ...] = ()

    needs: ClassVar[Mapping[str, type]] = {"task": Generates}
    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"wide": {"batch": 8}}

    @dataclass(frozen=True, slots=True)
    class State:
        best: Scored
        tried: tuple[str, ...] = ()
        gap: float = math.nan

    def init(self, ctx: Context) -> State:
        return self.State(ctx.score([Candidate(ctx.task.seeds[0])], ctx.task.train)[0])

    def step(self, state: State, ctx: Context) -> State:
        old = state.best.candidate
        rows = ctx.rng("minibatch").sample(list(ctx.task.train), min(self.batch, len(ctx.task.train)))
        words = self.suggest(old.text, ctx)
        children = [Candidate(f"{old.text} {word}", (old.id,), "add") for word in words]
        before, *after = ctx.score([old, *children], rows)
        winner = max(after, key=lambda scored: scored.mean)
        gain = winner.mean > before.mean
        for word, scored in zip(words, after, strict=True):
            kept = gain and scored is winner
            ctx.note(Trial(-1, "", word, 0, math.nan, before.mean, scored.mean, kept))
        best = ctx.score([winner.candidate], ctx.task.train)[0] if gain else state.best
        return self.State(best, (*state.tried, *words), winner.mean - before.mean)

    def best(self, state: State) -> Scored:
        return state.best

    def costs(self, task: Task) -> Costs:
        rows = len(task.train)
        role = self.suggest.role if isinstance(self.suggest, Ask) else "task"
        words = self.suggest.n if isinstance(self.suggest, Ask) else 3
        of_task = (1 + words) * min(self.batch, rows) + rows
        step = {"task": of_task, role: words} if role != "task" else {"task": of_task + words}
        return Costs({"task": rows}, step)


@dataclass(frozen=True)
class Asker(Adder):
    """The same, with an optimizer of its own."""

    suggest: Suggest = field(default_factory=lambda: Ask(role="optimizer"))

    needs: ClassVar[Mapping[str, type]] = {"task": Generates, "optimizer": Generates}


def toy_case() -> MethodCase:
    world = toy_world(train=4, dev=8, test=8)
    return MethodCase(Adder(), world.task, world.test, lambda: {"task": toy_model()}, steps=3, gain=0.2)


def toy_plan(model: Any = None, **changes: Any) -> Plan:
    world = toy_world()
    models = {"task": Opened("scripted", model or toy_model())}
    return Plan(**{"method": Adder(), "task": world.task, "test": world.test, "models": models, **changes})
