"""Several methods on several tasks: ranks, tests for many comparisons at once, intervals over tasks, rows and seeds.

Friedman's test and Nemenyi's critical difference as in Demšar (JMLR 7, 2006); Holm's correction (Scand. J. Statist. 6,
1979). Everything is deterministic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from steepest.reporting.statistics import Interval, sign_flip

_SEED = 20241201
_RESAMPLES = 400
_EXCHANGES = 20_000
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


@dataclass(frozen=True, slots=True)
class Gap:
    """How two treatments differ, with the luck of rows and of seeds."""

    difference: float
    """Mean over tasks of the mean over rows and seeds."""
    p_value: float
    """Two-sided."""


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

    Tasks are fixed and weigh the same. Rows and seeds are random and crossed, since all seeds answer the same rows.
    Each task's variance is turned into a number of independent rows, on which Agresti and Coull's interval stands;
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


def gap(first: Sequence[Sequence[Scores]], second: Sequence[Sequence[Scores]]) -> Gap:
    """The test of first minus second; each holds, for each task, the scores of each seed.

    Seeds of one task answer the same rows, so they are not independent of each other. The p-value is the largest of
    three: of Student's t with the variance of `pooled_interval`, which counts the luck of rows and of searches; of
    flipping the signs of rows, for t promises too much where few of them differ; and of exchanging runs within tasks,
    for t does so where a search either succeeds or fails and a few seeds happen to agree. With one seed, t and the rows
    say nothing of searches, and runs are exchanged over tasks (Demšar 2006).
    """
    from scipy.stats import t

    tables = [table for sides in zip(first, second, strict=True) if (table := _both(*sides)).size]
    if not tables:
        return Gap(0.0, 1.0)
    apart = [table[0] - table[1] for table in tables]
    difference = math.fsum(float(table.mean()) for table in apart) / len(apart)
    by_runs = _exchanged([table.mean(axis=2) for table in tables])
    if min(len(table) for table in apart) < 2:
        return Gap(difference, by_runs)
    p_value = max(by_runs, sign_flip(np.concatenate([table.mean(axis=0) / table.shape[1] for table in apart])))
    parts = [_variance(table) for table in apart]
    variance = math.fsum(part.variance for part in parts)
    if variance > 0:
        freedom = variance**2 / math.fsum(part.variance**2 / part.freedom for part in parts)
        p_value = max(p_value, 2 * float(t.sf(abs(difference) * len(parts) / math.sqrt(variance), freedom)))
    return Gap(difference, p_value)


def _both(first: Sequence[Scores], second: Sequence[Scores]) -> _Floats:
    """Two sides x seeds x the rows that all have."""
    return _table([*first, *second]).reshape(2, len(first), -1) if first else np.zeros(0)


def _exchanged(tasks: Sequence[_Floats]) -> float:
    """Two-sided p-value if the runs of a task, two sides x seeds, could as well be the other side's."""
    sums = np.zeros(1)
    rng = np.random.default_rng(_SEED)
    is_small = math.prod(math.comb(runs.size, runs.shape[1]) for runs in tasks) <= _EXCHANGES
    for runs in tasks:
        values, seeds = runs.ravel(), runs.shape[1]
        if is_small:
            drawn = np.array([values[list(chosen)].sum() for chosen in combinations(range(values.size), seeds)])
            sums = (sums[:, None] + drawn / seeds - values.mean()).ravel()
        else:
            drawn = rng.permuted(np.tile(values, (_EXCHANGES, 1)), axis=1)[:, :seeds].sum(axis=1)
            sums = sums + drawn / seeds - values.mean()
    observed = sum(float(runs[0].mean() - runs.mean()) for runs in tasks)
    extreme = np.abs(sums) >= abs(observed) - 1e-9
    return float(extreme.mean()) if is_small else float((1 + extreme.sum()) / (1 + _EXCHANGES))


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
    of = _variance(rows)
    raw = of.variance
    largest = mean * (1 - mean)
    extra = _PSEUDO / tasks
    # Of scores that are all alike nothing but their number speaks.
    alone = largest / raw if raw > 0 else float(n)
    centre = (alone * mean + extra / 2) / (alone + extra)
    return _Part(mean, centre, centre * (1 - centre) / (alone + extra), of.freedom, n)


@dataclass(frozen=True, slots=True)
class _Variance:
    """Of a mean over rows and seeds."""

    variance: float
    freedom: float


def _variance(rows: _Floats) -> _Variance:
    """By mean squares of seeds x rows (Cornfield, Tukey 1956): what is of rows and what is of seeds, less the noise
    that both hold; never less than one of them alone."""
    seeds, n = rows.shape
    mean, by_row, by_seed = rows.mean(), rows.mean(axis=0), rows.mean(axis=1)
    rest = rows - by_row - by_seed[:, None] + mean
    for_rows, for_seeds = max(n - 1, 1), max(seeds - 1, 1)
    of_rows = float(np.sum((by_row - mean) ** 2)) / for_rows / n
    of_seeds = float(np.sum((by_seed - mean) ** 2)) / for_seeds / seeds
    of_both = float(np.sum(rest**2)) / (for_rows * for_seeds) / (n * seeds)
    variance = max(of_rows + of_seeds - of_both, of_rows, of_seeds)
    squares = of_rows**2 / for_rows + of_seeds**2 / for_seeds + of_both**2 / (for_rows * for_seeds)
    return _Variance(variance, variance**2 / squares if squares > 0 else float(for_rows))


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
