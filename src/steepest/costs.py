"""What a method costs by its paper's formula, in model calls: an upper bound, known before anything is paid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from steepest.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Costs:
    """The most calls a method makes, role by role; calls that the journal can answer are fewer."""

    init: Mapping[str, int]
    """At step 0."""
    step: Mapping[str, int]
    """At each step after it."""


def per_row(task: Task) -> int:
    """The most task calls that one row under one prompt takes: the answer may be asked for once more."""
    return 2 if task.extractor else 1
