"""How much prompts differ: the variance of their scores, taken apart, and a test of whether it is more than chance.

Scores are a table with a line for each prompt and a column for each row, all prompts on the same rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SEED = 20241201
_RESAMPLES = 9_999
_CELLS = 2_000_000
"""So many scores are permuted at once."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How much several prompts differ on the same rows, in shares of the full score."""

    observed: float
    """Standard deviation of the prompts' mean scores."""
    chance: float
    """What it would be, about, if all prompts were alike: prompts answer single rows differently by luck alone."""
    prompts: float
    """What is left: standard deviation of the prompts' true mean scores."""
    rows: float
    """Standard deviation of the rows' true scores: some rows are harder than others."""
    rest: float
    """Standard deviation of what neither the prompt nor the row explains."""
    p_value: float
    """Probability of such a spread, or a wider one, if all prompts were alike; by permutation within rows."""


@dataclass(frozen=True, slots=True)
class Resampling:
    """How much one prompt differs from itself when its answers are drawn by dice."""

    repeats: int
    temperature: float
    mean: float
    observed: float
    """Standard deviation of the repeats' mean scores."""
    expected: float
    """The same, reckoned from how often repeats disagree about a row."""


def spread(scores: Floats) -> Spread:
    """The variance components of a table of scores, at least 2 by 2: prompts and rows random, a score in each cell."""
    k, n = scores.shape
    total = float(scores.mean())
    by_prompt, by_row = scores.mean(axis=1), scores.mean(axis=0)
    left = scores - by_prompt[:, None] - by_row[None, :] + total
    of_prompts, of_rows = n * float(by_prompt.var(ddof=1)), k * float(by_row.var(ddof=1))
    of_rest = float(np.sum(left**2)) / ((k - 1) * (n - 1))
    return Spread(
        observed=float(by_prompt.std(ddof=1)),
        chance=math.sqrt(of_rest / n),
        prompts=math.sqrt(max(0.0, of_prompts - of_rest) / n),
        rows=math.sqrt(max(0.0, of_rows - of_rest) / k),
        rest=math.sqrt(of_rest),
        p_value=permuted(scores),
    )


def permuted(scores: Floats) -> float:
    """p-value of "the prompts are alike": within each row, their scores could be exchanged.

    The statistic is the spread of the prompts' sums, which for 0/1 scores orders tables as Cochran's Q does. Exact
    where there are few tables, else by sampling them, which never rejects more often than it says.
    """
    from scipy.stats import permutation_test

    # A row on which all prompts agree is the same in every permutation.
    varied = scores[:, np.ptp(scores, axis=0) > 0]
    if varied.shape[1] == 0:
        return 1.0
    found = permutation_test(
        tuple(varied),
        _sums_apart,
        permutation_type="samples",
        n_resamples=_RESAMPLES,
        batch=max(1, _CELLS // varied.size),
        alternative="greater",
        vectorized=True,
        random_state=_SEED,
    )
    return float(found.pvalue)


def _sums_apart(*prompts: Floats, axis: int = -1) -> Floats:
    sums = np.stack([each.sum(axis=axis) for each in prompts])
    squares: Floats = np.sum(sums**2, axis=0)
    return squares


def resampling(scores: Floats, temperature: float) -> Resampling:
    """The same of one prompt's repeats, a line for each."""
    repeats, n = scores.shape
    within = float(scores.var(axis=0, ddof=1).mean())
    return Resampling(
        repeats=repeats,
        temperature=temperature,
        mean=float(scores.mean()),
        observed=float(scores.mean(axis=1).std(ddof=1)),
        expected=math.sqrt(within / n),
    )


def expected_maximum(count: int) -> float:
    """Mean of the largest of `count` standard normal numbers, about (Blom, 1958)."""
    from scipy.stats import norm

    return float(norm.ppf((count - 0.375) / (count + 0.25)))


@dataclass(frozen=True, slots=True)
class Headroom:
    """What a search might gain, by how much the prompts that were tried differ: a guess, no bound."""

    gain: float
    """Points above the initial prompt, as a share: the headroom score."""
    reach: float
    """The mean score that this leads to."""
    solvable: float
    """Share of the rows that at least one of the prompts got fully right."""


SEARCHED = 100
"""A search tries about so many prompts."""


def headroom(scores: Floats, found: Spread) -> Headroom:
    """The best of SEARCHED prompts that differ as much as these, against the first of these.

    Mean scores are drawn together by the share of their spread that is chance (best linear prediction), so that noise
    alone promises nothing; the prompts' true scores are taken for normal, which no score above 1 survives.
    """
    means = scores.mean(axis=1)
    centre = float(means.mean())
    share = found.prompts**2 / (found.prompts**2 + found.chance**2) if found.prompts > 0 else 0.0
    drawn = centre + share * (means - centre)
    reach = max(float(drawn.max()), centre + expected_maximum(SEARCHED) * found.prompts if found.prompts > 0 else 0.0)
    gain = max(0.0, min(1.0, reach) - float(drawn[0]))
    return Headroom(gain, float(drawn[0]) + gain, float(np.mean(scores.max(axis=0) >= 1.0)))


def churn(scores: Floats) -> float:
    """How unlike two prompts of equal worth answer single rows, by the mean over pairs; at least one row's worth.

    0/1 scores: the share of rows that only one of the two gets right, without those that their difference in means
    takes. Others: the variance of their difference on a row.
    """
    k, n = scores.shape
    apart = [scores[a] - scores[b] for a in range(k) for b in range(a + 1, k)]
    if is_binary(scores):
        churned = [float(np.mean(np.abs(each))) - abs(float(each.mean())) for each in apart]
    else:
        churned = [float(each.var()) for each in apart]
    return max(1 / float(n), math.fsum(churned) / len(churned))


def is_binary(scores: Floats) -> bool:
    """Whether every answer was either right or wrong."""
    return bool(np.all((scores == 0.0) | (scores == 1.0)))
