"""The most calls that GReaTer makes: every white-box result is a call, every sampled or greedy answer another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steepest.costs import Costs, per_row
from steepest.tasks.task import Task

if TYPE_CHECKING:
    from steepest.methods.greater import Greater

_DRAWS = 6
_DEPTH = 5
"""Unions are of so many draws; agreement looks so many times deeper than k. See `Greater._likely`."""


def most_calls(greater: Greater, task: Task) -> Costs:
    """By the settings and the task alone; where no sample tells right from wrong, edits are scored by new samples."""
    rows = min(greater.rows, len(task.train))
    # A token is at least a byte; one more for a mark at the beginning. Prompts grow up to max_length.
    longest = max(greater.max_length, len(task.seeds[0].encode()) + 1)
    places = longest if greater.positions == "all" else 1
    by_samples = greater.select in ("expected", "importance")
    drawn = rows * greater.samples if by_samples or greater.gradient == "sampled" else 0
    edits = places * max(greater.k, 2 * greater.mu) * _DRAWS * _DEPTH if greater.shortlist == "all" else greater.mu
    # A new place is filled by one more proposal; the edits of several positions together are scored apart.
    searching = drawn + places + 1 + rows + 1
    scoring = _scoring(greater, task, rows, edits) + _scoring(greater, task, rows, 1)
    return Costs({"task": _scoring(greater, task, rows, 1)}, {"task": searching + scoring})


def _scoring(greater: Greater, task: Task, rows: int, prompts: int) -> int:
    """What it takes to score so many prompts at once."""
    if greater.select == "metric":
        return per_row(task) * rows * prompts
    if greater.select in ("expected", "importance"):
        return max(1, rows * greater.samples * prompts)
    return rows * prompts * greater.reasoning + 1
