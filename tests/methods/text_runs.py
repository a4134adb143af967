"""Text methods followed step by step on the toy world, with what they asked the optimizer and what they recorded."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steepest.calls import CallLog
from steepest.context import Context, World
from steepest.ledger import UNLIMITED, Ledger
from steepest.models.scripted import Scripted, text_of
from steepest.tasks.task import Task
from steepest.testing.toy import HELPFUL, IDLE, toy_model, toy_world
from steepest.types import Request, Usage

WORDS = HELPFUL + IDLE


def written(request: Request) -> str:
    """An optimizer that answers in tags: words by the seed, or fixed remarks."""
    asked, seed = text_of(request.prompt), request.seed or 0
    if "<reason>" in asked:
        return "<reason>It says nothing of the units.</reason>"
    if "<summary>" in asked:
        return "<summary>Short prompts help.</summary>"
    return f"<prompt>Add {WORDS[seed % 10]} {WORDS[seed // 10 % 10]} {WORDS[seed // 100 % 10]}</prompt>"


def models() -> dict[str, Scripted]:
    return {"task": toy_model(), "optimizer": Scripted(written, "optimizer")}


@dataclass
class Followed:
    """A run of some steps."""

    states: list[Any] = field(default_factory=list)
    contexts: list[Context] = field(default_factory=list)
    asked: list[list[Request]] = field(default_factory=list)
    """Of the optimizer, by step; step 0 is init."""

    def messages(self, step: int) -> list[str]:
        """What the optimizer was asked in a step, each text once."""
        return list(dict.fromkeys(text_of(request.prompt) for request in self.asked[step]))


def follow(
    method: Any,
    steps: int,
    task: Task | None = None,
    answer: Callable[[Request], str] = written,
    task_model: Any = None,
) -> Followed:
    """Run `method` for so many steps; `answer` plays the optimizer."""
    found, requests = Followed(), list[Request]()

    def remembered(request: Request) -> str:
        requests.append(request)
        return answer(request)

    roles = {"task": task_model or toy_model(), "optimizer": Scripted(remembered, "optimizer")}
    with tempfile.TemporaryDirectory() as folder, CallLog(Path(folder) / "calls.jsonl") as log:
        world = World(task or toy_world().task, roles, log, 0, lambda event: None)
        for step in range(steps + 1):
            ctx = Context(world, Ledger(log, step, UNLIMITED, Usage()))
            requests.clear()
            found.states.append(method.step(found.states[-1], ctx) if step else method.init(ctx))
            found.contexts.append(ctx)
            found.asked.append(list(requests))
    return found
