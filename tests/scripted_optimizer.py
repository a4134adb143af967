"""A context in which a function answers every role, and what was asked is kept."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from steepest.calls import CallLog
from steepest.context import Context, World
from steepest.ledger import UNLIMITED, Ledger, Limits
from steepest.models.scripted import Scripted, text_of
from steepest.tasks.metrics import ExactMatch
from steepest.tasks.task import Language, Task, Template
from steepest.types import Example, Request, Response, Usage

Answer = Callable[[Request], str | Response]


@dataclass
class Asked:
    """A model that answers by a function and remembers its batches."""

    answer: Answer
    id: str = "asked"
    batches: list[list[Request]] = field(default_factory=list)

    @property
    def requests(self) -> list[Request]:
        return [request for batch in self.batches for request in batch]

    @property
    def texts(self) -> list[str]:
        return [text_of(request.prompt) for request in self.requests]

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        self.batches.append(list(requests))
        yield from Scripted(self.answer).generate(requests)


def text_task(
    rows: int = 4, language: Language = "en", layout: str = "{input}\n{prompt}", seeds: Sequence[str] = ("Say it.",)
) -> Task:
    """Rows that ask for the opposite of a word."""
    pairs = [("hot", "cold"), ("high", "low"), ("wet", "dry"), ("fast", "slow"), ("big", "small"), ("old", "new")]
    found = [Example(f"row{i}", *pairs[i % len(pairs)], {"hint": f"hint {i}"}) for i in range(2 * rows)]
    template, seeds = Template(layout), tuple(seeds)
    return Task("opposites", found[:rows], found[rows:], template, ExactMatch(), seeds=seeds, language=language)


@contextmanager
def asking(model: object, task: Task | None = None, step: int = 1, limits: Limits = UNLIMITED) -> Iterator[Context]:
    """A context, new to everything, in which `model` plays every role."""
    roles = {"task": model, "optimizer": model, "judge": model}
    with tempfile.TemporaryDirectory() as folder, CallLog(Path(folder) / "calls.jsonl") as log:
        world = World(task or text_task(), roles, log, 0, lambda event: None)
        yield Context(world, Ledger(log, step, limits, Usage()))
