"""A toy world: a task and a scripted model whose answers depend on a few words of the prompt.

A row has a level from 1 to 4; the model is right about it when the prompt holds at least so many of the helpful
words. Asked anything else than a question of the task, the model says a word, helpful or not, by the seed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from steepest.models.scripted import Scripted, text_of
from steepest.tasks.metrics import ExactMatch
from steepest.tasks.task import Task, Template
from steepest.types import Example, Request

HELPFUL = ("carefully", "stepwise", "check", "units")
IDLE = ("blue", "quickly", "maybe", "thing", "soon", "often")
_QUESTION = re.compile(r"Level (\d): what is (\d+) \+ (\d+)\?")


@dataclass(frozen=True, slots=True)
class ToyWorld:
    """Rows, without the model."""

    task: Task
    test: Sequence[Example]


def toy_world(train: int = 8, dev: int = 12, test: int = 40) -> ToyWorld:
    """The toy task, with so many rows."""
    rows = [_row(n) for n in range(train + dev + test)]
    task = Task(
        name="toy",
        train=tuple(rows[:train]),
        dev=tuple(rows[train : train + dev]),
        template=Template("{input}\n{prompt}", system="You add numbers."),
        metric=ExactMatch(),
        seeds=("Answer the question.",),
        max_tokens=32,
    )
    return ToyWorld(task, tuple(rows[train + dev :]))


def toy_answer(request: Request) -> str:
    """What the toy model says."""
    asked = text_of(request.prompt)
    question = _QUESTION.search(asked)
    if question is None:
        words = HELPFUL + IDLE
        return words[(request.seed or 0) % len(words)]
    level, a, b = (int(part) for part in question.groups())
    prompt = asked[question.end() :]
    skill = sum(word in prompt.split() for word in HELPFUL)
    return str(a + b if skill >= level else a + b + 1)


def toy_model() -> Scripted:
    """The toy model."""
    return Scripted(toy_answer, "toy")


def _row(n: int) -> Example:
    a, b = 3 + 7 * n % 50, 2 + 5 * n % 40
    return Example(f"toy-{n}", f"Level {1 + n % 4}: what is {a} + {b}?", str(a + b))
