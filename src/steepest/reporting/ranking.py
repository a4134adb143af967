"""Several methods on several tasks: ranks, tests for many comparisons at once, intervals over tasks, rows and seeds.

Friedman's test and Nemenyi's critical difference as in Demšar (JMLR 7, 2006); Holm's correction (Scand. J. Statist. 6,
1979). Everything is deterministic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steepest.reporting.statistics import Interval

_SEED = 20241201
_RESAMPLES = 400
_PSEUDO = 4.0
"""Imagined rows, half of them right, over all tasks together (Agresti, Coull 1998)."""

Scores = Mapping[str, float]
"""Row -> score."""
_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Friedman:
    """Whether several treatments differ, by their ranks within blocks."""

    statistic: float
    """Chi-square, corrected for ties."""
    p_value: float
    ranks: tuple[float, ...]
    """Mean rank of each treatment; 1 is best."""
    blocks: int


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted by Holm's step-down method: those below 0.05 hold together at the 5 % level."""
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = least
    return adjusted


def friedman(blocks: Sequence[Sequence[float]]) -> Friedman:
    """Friedman's test of blocks, each with one score per treatment, higher better. Equal scores share their ranks."""
    from scipy.stats import chi2, rankdata

    scores = np.asarray(blocks, dtype=np.float64)
    ranks = np.asarray(rankdata(-scores, axis=1), dtype=np.float64)
    n, k = ranks.shape
    spread = float(np.sum(ranks**2)) - n * k * (k + 1) ** 2 / 4
    between = float(np.sum((ranks.sum(axis=0) - n * (k + 1) / 2) ** 2))
    statistic = (k - 1) * between / spread if spread > 1e-9 else 0.0
    return Friedman(statistic, float(chi2.sf(statistic, k - 1)), tuple(ranks.mean(axis=0).tolist()), n)


def critical_difference(treatments: int, blocks: int, alpha: float = 0.05) -> float:
    """How far two mean ranks must lie apart to differ, by Nemenyi's test."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - alpha, treatments, math.inf)) / math.sqrt(2)
    return q * math.sqrt(treatments * (treatments + 1) / (6 * blocks))


def cliques(ranks: Sequence[float], critical: float) -> list[tuple[int, ...]]:
    """The largest groups of treatments, best first, whose mean ranks all lie within the critical difference."""
    order = sorted(range(len(ranks)), key=ranks.__getitem__)
    groups: list[tuple[int, ...]] = []
    end = 0
    for start, first in enumerate(order):
        last = max(i for i in range(start, len(order)) if ranks[order[i]] - ranks[first] < critical or i == start)
        if last > start and last >= end + bool(groups):
            groups.append(tuple(order[start : last + 1]))
            end = last
    return groups


def pooled_interval(tasks: Sequence[Sequence[Scores]]) -> Interval:
    """Mean over tasks of the mean over rows and seeds, with its 95 % interval; `n` counts rows. `tasks` holds, for each
    task, the scores of each seed.

    Tasks are fixed and weigh the same. Rows and seeds are random and crossed, since all seeds answer the same rows, so
    their parts of the variance add up; what both have in common counts twice, which errs on the wide side. Each
    task's variance is turned into a number of independent rows, on which Agresti and Coull's interval stands;
    Student's t, by Satterthwaite's degrees of freedom, pays for few seeds. Rows that some seed has no score for are
    left out.
    """
    from scipy.stats import t

    parts = [_task(seeds, len(tasks)) for seeds in tasks]
    if not parts or any(part.n == 0 for part in parts):
        return Interval(math.nan, 0.0, 1.0, 0)
    mean, centre = (math.fsum(values) / len(parts) for values in zip(*((p.mean, p.centre) for p in parts), strict=True))
    variance = math.fsum(part.variance for part in parts)
    freedom = variance**2 / math.fsum(p.variance**2 / p.freedom for p in parts) if variance > 0 else math.inf
    half = float(t.ppf(0.975, freedom)) * math.sqrt(variance) / len(parts) if variance > 0 else 0.0
    low, high = min(mean, max(0.0, centre - half)), max(mean, min(1.0, centre + half))
    return Interval(mean, low, high, sum(part.n for part in parts))


@dataclass(frozen=True, slots=True)
class _Part:
    """What one task contributes."""

    mean: float
    centre: float
    variance: float
    """Of the mean."""
    freedom: float
    n: int


def _task(seeds: Sequence[Scores], tasks: int) -> _Part:
    rows = _table(seeds)
    n, mean = rows.shape[1], float(rows.mean()) if rows.size else math.nan
    if n == 0:
        return _Part(mean, mean, 0.0, 1.0, 0)
    of = _variances(rows)
    raw = of.rows + of.seeds
    largest = mean * (1 - mean)
    extra = _PSEUDO / tasks
    if raw <= 0 < largest:
        # Graded scores that are all alike.
        return _Part(mean, mean, 0.0, 1.0, n)
    alone = n if largest <= 0 else largest / raw
    centre = (alone * mean + extra / 2) / (alone + extra)
    freedom = float(max(n - 1, 1))
    if of.seeds > 0:
        freedom = raw**2 / (of.rows**2 / freedom + of.seeds**2 / (len(rows) - 1))
    return _Part(mean, centre, centre * (1 - centre) / (alone + extra), freedom, n)


@dataclass(frozen=True, slots=True)
class _Variance:
    """Of a mean over rows and seeds: what each of the two adds."""

    rows: float
    seeds: float


def _variances(rows: _Floats) -> _Variance:
    seeds, n = rows.shape
    of_rows = float(rows.mean(axis=0).var(ddof=1)) / n if n > 1 else 0.0
    of_seeds = float(rows.mean(axis=1).var(ddof=1)) / seeds if seeds > 1 else 0.0
    return _Variance(of_rows, of_seeds)


def expected_optimism(candidates: Sequence[Scores]) -> float:
    """By how much the dev score of the best of these candidates is expected to flatter it: the winner's curse.

    Rows are drawn anew with replacement, the winner is chosen on them, and its score there is held against its score
    on all rows (Efron's bootstrap of optimism, JASA 78, 1983). NaN without rows that all candidates have a score for.
    """
    rows = _table(candidates)
    if not rows.size:
        return math.nan
    rng = np.random.default_rng(_SEED)
    n = rows.shape[1]
    weights = rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES) / n
    drawn = weights @ rows.T
    chosen = drawn.argmax(axis=1)
    return float(np.mean(drawn[np.arange(_RESAMPLES), chosen] - rows.mean(axis=1)[chosen]))


def _table(scores: Sequence[Scores]) -> _Floats:
    """One line for each mapping, over the rows that all of them have."""
    common = sorted(set.intersection(*(set(each) for each in scores))) if scores else []
    values = [[each[row] for row in common] for each in scores]
    return np.array(values, dtype=np.float64).reshape(len(scores), len(common))
