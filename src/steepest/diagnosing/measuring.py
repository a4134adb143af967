"""Several prompts on the same dev rows, within a budget of calls and behind a journal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from steepest.calls import CallLog
from steepest.context import Context, World, require
from steepest.costs import per_row
from steepest.diagnosing.prompts import WRITTEN, Named, fixed, most_written, written
from steepest.diagnosing.spread import Floats
from steepest.errors import ModelError, SpecError, TaskError
from steepest.ledger import Ledger, Limits, Price
from steepest.models import Generates
from steepest.tasks.judge import Judge
from steepest.tasks.task import Task
from steepest.types import Candidate, Evaluation, Example, Message, Outcome, Usage

CALLS = 1000
"""The most calls, unless told otherwise: some 45 rows under 21 prompts."""
LEAST, MORE = 10, 5
"""Fewer rows tell nothing; fewer in addition are not worth another batch."""
EXTRACTED = 16
"""Limit of the answer alone, where a sampled output has none."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be asked."""

    calls: int = CALLS
    """The most model calls, of all roles together."""
    repeats: int = 0
    """So often the initial prompt's answers are sampled; 0 for never."""
    temperature: float = 0.7
    """At which they are."""

    def __post_init__(self) -> None:
        if self.repeats < 0 or self.repeats == 1:
            raise SpecError(f"a spread needs at least 2 repeats, got {self.repeats}; leave them out for none")
        if not self.temperature > 0:
            raise SpecError(f"repeats are sampled at a temperature above 0, got {self.temperature}; for example 0.7")


@dataclass(frozen=True, slots=True)
class Measured:
    """What was asked and answered."""

    prompts: tuple[Named, ...]
    evaluations: tuple[Evaluation, ...]
    """One for each prompt."""
    scores: Floats
    """[prompts, rows], of the rows that were scored under all prompts."""
    repeats: Floats | None
    """[repeats, rows] of the initial prompt."""
    usage: Usage


def measure(
    task: Task,
    models: Mapping[str, object],
    budget: Budget,
    log: CallLog,
    prices: Mapping[str, Price],
) -> Measured:
    """All prompts on as many dev rows as the budget allows, the same rows under each.

    The role "optimizer" writes some of the prompts. Raises SpecError where the budget is too small, before anything
    is asked.
    """
    for role in models:
        require(models, role, Generates)
    each = _checked(task, budget)
    world = World(task, models, log, 0, lambda event: None, prices)
    ctx = Context(world, Ledger(log, 0, Limits(calls=budget.calls), Usage(), prices=prices), "finish")
    waiting = list(task.dev)
    # More rows begin with the same ones, so a larger budget asks for the new ones only.
    ctx.rng("rows").shuffle(waiting)
    with ctx:
        prompts = (*fixed(task), *written(ctx))
        candidates = [Candidate(prompt.text) for prompt in prompts]
        outcomes: list[list[Outcome]] = [[] for _ in prompts]
        repeats = np.empty((budget.repeats, 0))
        # What a row takes at most is reserved, and mostly not needed: so there is room for more rows, and again.
        while waiting and (count := (budget.calls - ctx.usage.calls) // each(len(prompts))) >= MORE:
            rows, waiting = waiting[:count], waiting[count:]
            for known, evaluation in zip(outcomes, ctx.evaluate(candidates, rows), strict=True):
                known += evaluation.outcomes
            if budget.repeats:
                repeats = np.hstack([repeats, _sampled(ctx, prompts[0].text, rows, budget)])
    evaluations = tuple(Evaluation(*both) for both in zip(candidates, outcomes, strict=True))
    return Measured(prompts, evaluations, _table(evaluations), repeats if budget.repeats else None, ctx.usage)


def _checked(task: Task, budget: Budget) -> Callable[[int], int]:
    """The most calls that one row takes under so many prompts; SpecError where the budget is too small for LEAST."""
    if len(task.dev) < LEAST:
        raise TaskError(f"a diagnosis needs at least {LEAST} dev rows, got {len(task.dev)}; give more rows")
    once = per_row(task) + (2 if isinstance(task.metric, Judge) else 0)
    prompts = len(list(fixed(task))) + WRITTEN
    needed = most_written(task) + LEAST * once * (prompts + budget.repeats)
    if budget.calls < needed:
        raise SpecError(
            f"{prompts} prompts on at least {LEAST} rows may take {needed:,} calls, got a limit of {budget.calls:,}; "
            "allow as many"
        )
    return lambda count: once * (count + budget.repeats)


def _table(evaluations: Sequence[Evaluation]) -> Floats:
    scored = [evaluation.scored.scores for evaluation in evaluations]
    rows = [outcome.example.id for outcome in evaluations[0].outcomes]
    common = [row for row in rows if all(row in scores for scores in scored)]
    if len(common) < LEAST:
        raise ModelError(
            f"at least {LEAST} rows must be scored under every prompt, got {len(common)} of {len(rows)}; "
            "see that the model answers"
        )
    return np.array([[scores[row] for row in common] for scores in scored], dtype=np.float64)


def _sampled(ctx: Context, prompt: str, rows: Sequence[Example], budget: Budget) -> Floats:
    """Scores of sampled answers, the answer alone asked for where there is none, as in `Context.evaluate`."""
    task, n = ctx.task, budget.repeats
    asked = [task.template.render(prompt, row) for row in rows]
    answers = ctx.generate("task", asked, temperature=budget.temperature, n=n)
    texts = [answer.text for answer in answers]
    owners = [(row, rendered) for row, rendered in zip(rows, asked, strict=True) for _ in range(n)]
    if task.extractor:
        lacking = [
            i
            for i, answer in enumerate(answers)
            if answer.finish != "failed" and task.rule(owners[i][0], texts[i]).answer is None
        ]
        begun = {i: f"{texts[i]} {task.extractor}".lstrip() for i in lacking}
        again = [(*owners[i][1], Message("assistant", begun[i])) for i in lacking]
        for i, more in zip(lacking, ctx.generate("task", again, max_tokens=EXTRACTED), strict=True):
            texts[i] = begun[i] + more.text
    scores = [
        math.nan if answer.finish == "failed" else task.rule(row, text).score
        for answer, text, (row, _) in zip(answers, texts, owners, strict=True)
    ]
    table = np.array(scores, dtype=np.float64).reshape(len(rows), n).T
    return table[:, ~np.isnan(table).any(axis=0)]
