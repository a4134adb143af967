"""Bandits to select in: prompts named after arms, rows that each arm gets right with its own probability."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from steepest.calls import CallLog
from steepest.context import Context, World
from steepest.ledger import UNLIMITED, Ledger
from steepest.models.scripted import Scripted, text_of
from steepest.tasks.metrics import ExactMatch
from steepest.tasks.task import Task, Template
from steepest.types import Candidate, Example, Request, Response, Usage


@dataclass
class Bandit:
    """What each arm gives, and which (arm, row) pairs were asked, batch by batch."""

    chances: Mapping[str, float]
    rows: int = 60
    seed: int = 0
    failing: frozenset[tuple[str, str]] = frozenset()
    """(arm, row) pairs that get no answer."""
    id: str = "bandit"
    batches: list[list[tuple[str, str]]] = field(default_factory=list)

    @property
    def examples(self) -> list[Example]:
        return [Example(f"row {i}", f"row {i}", "yes") for i in range(self.rows)]

    @property
    def candidates(self) -> list[Candidate]:
        return [Candidate(arm) for arm in self.chances]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return [pair for batch in self.batches for pair in batch]

    def asked(self, arm: str) -> list[str]:
        """Rows that an arm was asked, in order."""
        return [row for each, row in self.pairs if each == arm]

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        self.batches.append([self._pair(request) for request in requests])
        yield from Scripted(self._answer).generate(requests)

    def _pair(self, request: Request) -> tuple[str, str]:
        row, _, arm = text_of(request.prompt).partition("\n")
        return arm, row

    def _answer(self, request: Request) -> str | Response:
        arm, row = self._pair(request)
        if (arm, row) in self.failing:
            return Response("", finish="failed")
        return "yes" if random.Random(f"{self.seed} {arm} {row}").random() < self.chances[arm] else "no"


@contextmanager
def context_of(bandit: Bandit, step: int = 1) -> Iterator[Context]:
    """A context, new to everything, in which the task's model is the bandit."""
    examples = tuple(bandit.examples)
    task = Task("bandit", examples, examples, Template("{input}\n{prompt}"), ExactMatch())
    with tempfile.TemporaryDirectory() as folder, CallLog(Path(folder) / "calls.jsonl") as log:
        world = World(task, {"task": bandit}, log, bandit.seed, lambda event: None, fail_on=1.0)
        yield Context(world, Ledger(log, step, UNLIMITED, Usage()))


def arms(*chances: float) -> dict[str, float]:
    """Arms of equally long names."""
    return {f"arm {i:02}": chance for i, chance in enumerate(chances)}
