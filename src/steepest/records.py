"""What a run remembers of a step."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
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
    counts: Mapping[str, int] = field(default_factory=dict)
    """What the step tallied: replies that could not be used, by reason, and what else a method counts."""
    accounts: Mapping[str, Usage] = field(default_factory=dict)
    """`usage` by who was asked: a role, and "ROLE: KIND" for its white-box calls."""


def total_usage(records: Sequence[StepRecord]) -> Usage:
    """What the method paid in all these steps."""
    return sum((record.usage for record in records), Usage())


def total_accounts(records: Sequence[StepRecord]) -> dict[str, Usage]:
    """The same by who was asked."""
    totals: dict[str, Usage] = {}
    for record in records:
        for account, usage in record.accounts.items():
            totals[account] = totals.get(account, Usage()) + usage
    return dict(sorted(totals.items()))


def total_counts(records: Sequence[StepRecord]) -> dict[str, int]:
    """What all these steps tallied."""
    totals: Counter[str] = Counter()
    for record in records:
        totals.update(record.counts)
    return dict(sorted(totals.items()))


def elapsed(records: Sequence[StepRecord]) -> float:
    """Seconds of all these steps: the only clock a decision may read."""
    return math.fsum(record.seconds for record in records)


def winner(scored: Sequence[Scored]) -> Scored:
    """The highest mean; the earlier of equals. Means of nothing (NaN) win only over none.

    Where rows went unanswered, two are compared by those that both have: who leaves out the hard ones is not better.
    """
    best = scored[0]
    for rival in scored[1:]:
        common = best.scores.keys() & rival.scores.keys()
        before, after = (_on(each, common) if common else each.mean for each in (best, rival))
        if after > before or (math.isnan(before) and not math.isnan(after)):
            best = rival
    return best


def _on(scored: Scored, rows: AbstractSet[str]) -> float:
    """The mean over some of the rows."""
    return math.fsum(scored.scores[row] for row in rows) / len(rows)
