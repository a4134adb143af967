"""One prompt on some rows, outside of any run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from steepest import codec
from steepest.calls import CallLog
from steepest.context import Context, World
from steepest.errors import SpecError, nearest
from steepest.finishing import estimate, faults, spent
from steepest.ledger import UNLIMITED, Ledger
from steepest.models.opening import Opened
from steepest.reporting.statistics import percent
from steepest.reporting.text import clean
from steepest.results import Estimate, Faults, Spent, displayed
from steepest.roles import cast
from steepest.tasks.source import SPLITS, TaskSource
from steepest.types import Candidate, Usage


@dataclass(frozen=True, slots=True)
class Measured:
    """How good a prompt is on some rows."""

    prompt: str
    score: Estimate
    """Mean score, with its 95 % interval."""
    answers: Faults
    usage: Spent
    task: str
    model: str
    split: str
    notes: Sequence[str] = ()
    """What reading the rows brought up, a line each."""

    @property
    def sentence(self) -> str:
        """The score in words."""
        score = self.score
        reach = f"{100 * score.low:.1f} to {100 * score.high:.1f}"
        return f"{percent(score.mean)} ({reach}) on {score.n:,} {self.split} rows of {self.task}"

    def __str__(self) -> str:
        """The score, the prompt and the model, a line each."""
        return clean(f"{self.sentence}\nprompt: {self.prompt!r}\nmodel: {self.model}")

    _repr_pretty_ = displayed

    def to_json(self) -> codec.JSON:
        """Plain data, as `steepest eval --json` prints it."""
        return codec.encode(self)


def measure(prompt: str, source: TaskSource, split: str, models: Mapping[str, Opened]) -> Measured:
    """`prompt` on the rows of a split, greedily, judged by the task's model where no judge is given.

    Raises SpecError for an unknown split.
    """
    if split not in SPLITS:
        raise SpecError(f"a split is train, dev or test, got {split!r}; {nearest(split, SPLITS)}")
    started = time.perf_counter()
    players = {role: opened.model for role, opened in cast((), source.task, models).items()}
    with TemporaryDirectory() as folder, CallLog(Path(folder) / "calls.jsonl") as log:
        world = World(source.task, players, log, 0, lambda event: None)
        ctx = Context(world, Ledger(log, 0, UNLIMITED, Usage()), "finish")
        with ctx:
            evaluation = ctx.evaluate([Candidate(prompt)], source.rows(split))[0]
    return Measured(
        prompt=prompt,
        score=estimate(evaluation.scored),
        answers=faults(evaluation),
        usage=spent(ctx.usage, time.perf_counter() - started),
        task=source.task.name,
        model=models["task"].name,
        split=split,
        notes=tuple(map(str, source.notes)),
    )
