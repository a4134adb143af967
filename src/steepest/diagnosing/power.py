"""How many rows it takes to show that a prompt is better by so many points."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from steepest.reporting.statistics import rows_needed

Floats = NDArray[np.float64]

POWER = 0.8
"""Four times in five."""
ALPHA = 0.05


def mcnemar_power(rows: int, gain: float, discordance: float) -> float:
    """Probability that the exact McNemar test on so many rows calls a prompt better that is better by `gain`.

    `discordance`: share of rows that one of the two prompts answers and the other does not; at least `gain`.
    """
    from scipy.stats import binom

    differing = np.arange(rows + 1)
    often: Floats = binom.pmf(differing, rows, discordance)
    up = (discordance + gain) / (2 * discordance)
    return float(np.sum(often * binom.cdf(_most_lost(differing), differing, 1 - up)))


def rows_for(gain: float, churn: float, is_binary: bool = True) -> int:
    """The fewest rows that show a true gain four times in five; `churn` as `spread.churn` says.

    0/1 scores: by the exact test. Others: by the normal approximation of a paired test.
    """
    if not is_binary:
        return rows_needed(gain, churn + gain**2, POWER)
    discordance = min(1.0, churn + gain)
    high = math.ceil(1.3 * rows_needed(gain, discordance, POWER)) + 20
    while mcnemar_power(high, gain, discordance) < POWER:
        high *= 2
    # Power rises with the rows, but for small teeth.
    low = 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if mcnemar_power(middle, gain, discordance) >= POWER else (middle + 1, high)
    return high


def _most_lost(differing: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of so many differing rows, the most that may be lost for the two-sided test to say better; -1 for none."""
    from scipy.stats import binom

    lost = np.asarray(binom.ppf(ALPHA / 2, differing, 0.5), dtype=np.int64)
    return np.where(2 * binom.cdf(lost, differing, 0.5) < ALPHA, lost, lost - 1)
