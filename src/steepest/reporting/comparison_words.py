"""What a comparison says: its conclusion and its caveats, as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count

from steepest.reporting.comparison import MethodComparison, Pair
from steepest.reporting.statistics import Interval, p_text, percent
from steepest.reporting.words import plural

ALPHA = 0.05


def headline(found: MethodComparison) -> str:
    """Who leads, and whether that means anything."""
    if not found.standings:
        return "No cell has a result yet."
    leader = found.standings[0]
    if len(found.standings) == 1:
        return f"{leader.contender}: {percent(leader.accuracy.mean)}."
    rest = len(found.standings) - 1
    beaten = len(_beaten_by(found, leader.contender))
    if beaten == rest:
        return f"{leader.contender} is the best of {len(found.standings)}."
    if beaten:
        return f"{leader.contender} leads, and is better than {beaten} of {rest}."
    return "No method is shown to be the best."


def lead(found: MethodComparison) -> str:
    """What the headline rests on."""
    if not found.standings:
        return ""
    first = found.standings[0]
    text = f"{first.contender} has the highest mean score, {within(first.accuracy)}; "
    text += f"the initial prompts {within(found.initial)}."
    if len(found.standings) > 1:
        text += f" {_significant(found)}"
    return text


def caveats(found: MethodComparison) -> Iterator[str]:
    """What to hold against it."""
    if found.failed:
        yield (
            f"{plural(len(found.failed), 'cell')} of {len(found.setup.cells):,} without a result; means are over what "
            "there is, pairs over what both finished, and ranks over what everybody finished."
        )
    tasks, seeds = len(found.setup.tasks), len(found.setup.seeds)
    if found.pairs and _least(tasks, seeds, len(found.pairs)) >= ALPHA:
        needed = next(n for n in count(seeds) if _least(tasks, n, len(found.pairs)) < ALPHA)
        yield (
            f"{plural(seeds, 'seed')} on {plural(tasks, 'task')} cannot tell any of {plural(len(found.pairs), 'pair')} "
            f"apart after correction, however large the difference: searches have luck. {needed} seeds can."
        )
    if len(found.setup.tasks) == 1 and len(found.standings) > 1:
        yield "One task says nothing about others."


def _least(tasks: int, seeds: int, pairs: int) -> float:
    """The smallest adjusted p-value that exchanging runs can give."""
    ways: int = math.comb(2 * seeds, seeds) ** tasks
    return 2 * pairs / ways


def within(interval: Interval) -> str:
    """A mean with its interval."""
    return f"{percent(interval.mean)} ({span(interval)})"


def span(interval: Interval) -> str:
    """An interval in percent."""
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def _significant(found: MethodComparison) -> str:
    shown = [pair for pair in found.pairs if pair.adjusted < ALPHA]
    if not shown:
        return f"None of {plural(len(found.pairs), 'pair')} differs significantly after Holm's correction."
    said = ", ".join(_pair(pair) for pair in shown[:6])
    more = f", and {plural(len(shown) - 6, 'pair')} more" if len(shown) > 6 else ""
    return f"After Holm's correction {len(shown)} of {plural(len(found.pairs), 'pair')} differ: {said}{more}."


def _pair(pair: Pair) -> str:
    better, worse = (pair.first, pair.second) if pair.difference > 0 else (pair.second, pair.first)
    return f"{better} over {worse} by {100 * abs(pair.difference):.1f} points ({p_text(pair.adjusted)})"


def _beaten_by(found: MethodComparison, label: str) -> list[str]:
    """Contenders over which `label` is significantly better."""
    beaten = []
    for pair in found.pairs:
        if pair.adjusted < ALPHA and label in (pair.first, pair.second):
            gain = pair.difference if pair.first == label else -pair.difference
            beaten += [pair.second if pair.first == label else pair.first] if gain > 0 else []
    return beaten
