"""What a run remembers of a step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from steepest.types import Scored, Trial, Usage


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A committed step, as in steps/*.json."""

    step: int
    """0 is the method's `init`."""
    state: Any
    """The method's `State` after the step."""
    best: Scored
    """The method's incumbent, with the scores by which the method chose it."""
    referee: Scored
    """The same candidate on all dev rows: what curves and "best so far" go by."""
    trials: tuple[Trial, ...]
    usage: Usage
    """What the method paid; counts against limits."""
    referee_usage: Usage
    """What measuring paid; counts against nothing."""
    seconds: float
    """Of this step, referee included; after a crash, of the part that was done again."""


def total_usage(records: Sequence[StepRecord]) -> Usage:
    """What the method paid in all these steps."""
    return sum((record.usage for record in records), Usage())


def elapsed(records: Sequence[StepRecord]) -> float:
    """Seconds of all these steps: the only clock a decision may read."""
    return math.fsum(record.seconds for record in records)


def winner(scored: Sequence[Scored]) -> Scored:
    """The highest mean; the earlier of equals. Means of nothing (NaN) win only over none."""
    best = scored[0]
    for rival in scored[1:]:
        if rival.mean > best.mean or (math.isnan(best.mean) and not math.isnan(rival.mean)):
            best = rival
    return best
