"""Intervals and the paired test that decide a verdict.

Everything here is deterministic: resampling uses a fixed seed, ids are taken in sorted order, and binomial
tails are summed in whole numbers. 95 % intervals throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["better", "no_difference", "worse"]

_Floats = NDArray[np.float64]
_NORMAL = NormalDist()
_Z = _NORMAL.inv_cdf(0.975)
_SEED = 20241201
_RESAMPLES = 10_000
_FLIPS = 50_000
_ENUMERABLE = 14
_CELLS = 2_000_000
_FEW = 8
"""Below so many rows a bootstrap sees too little of what the next rows may be."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean score with its 95 % interval."""

    mean: float
    """NaN when nothing was scored."""
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class PairedTest:
    """How two prompts differ on the same rows."""

    p_value: float
    """Two-sided, under the hypothesis that the two prompts are alike."""
    difference: float
    """Mean of b - a over the common rows."""
    low: float
    """95 % interval of the difference."""
    high: float
    n: int
    """Rows scored under both."""


@dataclass(frozen=True, slots=True)
class _Limits:
    low: float
    high: float


def interval(scores: Sequence[float]) -> Interval:
    """Mean and 95 % interval of scores in [0, 1].

    Wilson's score interval where every score is 0 or 1, else the BCa bootstrap (Efron 1987) with levels widened for
    few rows (Hesterberg, Am. Stat. 69, 2015), and Student's t below 8 rows. Scores that are all alike leave open what
    Wilson's interval leaves open: that some rows are different. Without scores nothing is known: the mean is NaN and
    the interval [0, 1].
    """
    if not scores:
        return Interval(math.nan, 0.0, 1.0, 0)
    values = np.asarray(scores, dtype=np.float64)
    mean = math.fsum(scores) / len(scores)
    limits = _wilson(mean, len(scores)) if _is_binary(values) else _graded(values, 0.0)
    return Interval(mean, limits.low, limits.high, len(scores))


def paired_test(a: Mapping[str, float], b: Mapping[str, float]) -> PairedTest:
    """Compare b with a on the rows that both scored.

    0/1 scores: exact McNemar test (the binomial on discordant rows) and Tango's score interval (1998).
    Others: the sign-flip permutation test, and the interval of graded scores for the mean difference. Without common
    rows nothing is known: p 1, interval [-1, 1].
    Of test and interval the test is the stricter on few rows; the verdict goes by it alone.
    """
    ids = sorted(a.keys() & b.keys())
    if not ids:
        return PairedTest(1.0, 0.0, -1.0, 1.0, 0)
    first = np.array([a[i] for i in ids], dtype=np.float64)
    second = np.array([b[i] for i in ids], dtype=np.float64)
    differences = second - first
    mean = math.fsum(differences) / len(ids)
    if _is_binary(first) and _is_binary(second):
        gained, lost = int(np.sum(differences > 0)), int(np.sum(differences < 0))
        limits, p_value = _tango(gained, lost, len(ids)), _mcnemar(gained, lost)
    else:
        limits, p_value = _graded(differences, -1.0), sign_flip(differences)
    return PairedTest(p_value, mean, limits.low, limits.high, len(ids))


def sign_flip(differences: _Floats) -> float:
    """Two-sided p-value of the sum of `differences`, if the sign of each were chance: by enumeration up to 14 that are
    not 0, sampled above."""
    moved = differences[differences != 0]
    if not len(moved):
        return 1.0
    # Sums of the same numbers in another order may differ in the last bits and still are ties.
    bound = abs(float(moved.sum())) - 1e-9 * float(np.abs(moved).sum())
    if len(moved) <= _ENUMERABLE:
        masks = np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved)) & 1
        return float(np.mean(np.abs((1 - 2 * masks) @ moved) >= bound))
    rng = np.random.default_rng(_SEED)
    hits = sum(
        int(np.sum(np.abs((1 - 2 * rng.integers(0, 2, (k, len(moved)), dtype=np.int8)) @ moved) >= bound))
        for k in _chunks(_FLIPS, len(moved))
    )
    return (1 + hits) / (1 + _FLIPS)


def verdict(test: PairedTest, alpha: float = 0.05) -> Verdict:
    """What the test allows to be said of b."""
    if test.p_value >= alpha:
        return "no_difference"
    return "better" if test.difference > 0 else "worse"


def sentence(verdict: Verdict, initial: Interval, best: Interval, test: PairedTest) -> str:
    """The verdict in one plain sentence, with the numbers it rests on."""
    numbers = f"{percent(best.mean)} against {percent(initial.mean)} for the initial prompt"
    rows = f"on {test.n:,} held-out rows"
    sign = -1 if verdict == "worse" else 1
    low, high = sorted((100 * sign * test.low, 100 * sign * test.high))
    evidence = f"95 % interval {low:.1f} to {high:.1f}; {p_text(test.p_value)}"
    size = f"{100 * sign * test.difference:.1f} points ({evidence})"
    match verdict:
        case "better":
            return f"The new prompt is better: {numbers} {rows}, a gain of {size}."
        case "worse":
            return f"The new prompt is worse, keep your prompt: {numbers} {rows}, a loss of {size}."
        case "no_difference":
            return f"No real difference: keep your prompt ({numbers} {rows}; {p_text(test.p_value)})."


def rows_needed(gain: float, discordance: float, power: float = 0.8) -> int:
    """Rows at which a true gain would be found at the 5 % level with the given power (Connor 1987).

    `discordance` is the share of rows that one prompt answers and the other does not; it is at least `gain`.
    """
    z_power = _NORMAL.inv_cdf(power)
    spread = math.sqrt(discordance - gain**2)
    return math.ceil((_Z * math.sqrt(discordance) + z_power * spread) ** 2 / gain**2)


def percent(share: float) -> str:
    """A share as people read it: 0.875 -> "87.5 %"; NaN -> "not known"."""
    return "not known" if math.isnan(share) else f"{100 * share:.1f} %"


def p_text(p_value: float) -> str:
    """A p-value to three significant digits, small ones as a bound."""
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.3g}"


def _is_binary(values: _Floats) -> bool:
    return bool(np.all((values == 0.0) | (values == 1.0)))


def _wilson(share: float, n: int) -> _Limits:
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return _Limits(0.0 if share == 0 else centre - half, 1.0 if share == 1 else centre + half)


def _mcnemar(gained: int, lost: int) -> float:
    discordant = gained + lost
    tail: int = sum(math.comb(discordant, i) for i in range(min(gained, lost) + 1))
    return min(1.0, 2 * tail / (1 << discordant))


def _tango(gained: int, lost: int, n: int) -> _Limits:
    """Differences that the score test does not reject; the score falls as the difference grows."""

    def score(difference: float) -> float:
        # The likeliest share of lost rows if the true difference were this one.
        b: float = (2 * n - gained + lost) * difference - gained - lost
        c = -lost * difference * (1 - difference)
        share = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
        variance = n * (2 * share + difference * (1 - difference))
        distance = gained - lost - n * difference
        return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)

    observed = (gained - lost) / n
    return _Limits(_root(score, _Z, -1.0, observed), _root(score, -_Z, observed, 1.0))


def _root(falling: Callable[[float], float], level: float, low: float, high: float) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > level else (low, middle)
    return (low + high) / 2


def _graded(values: _Floats, least: float) -> _Limits:
    """Of the mean of values between `least` and 1."""
    from scipy.stats import t

    n, mean, spread = len(values), float(values.mean()), float(np.ptp(values))
    if spread < 1e-12:
        unseen = _Z**2 / (n + _Z**2)
        return _Limits(mean - unseen * (mean - least), mean + unseen * (1 - mean))
    z = float(t.ppf(0.975, n - 1))
    if n < _FEW:
        half = z * float(values.std(ddof=1)) / math.sqrt(n)
        return _Limits(max(least, mean - half), min(1.0, mean + half))
    return _bootstrap(values, z * math.sqrt(n / (n - 1)))


def _bootstrap(values: _Floats, z: float) -> _Limits:
    mean, residuals = float(values.mean()), values - values.mean()
    rng = np.random.default_rng(_SEED)
    means = np.concatenate(
        [values[rng.integers(0, len(values), (k, len(values)))].mean(axis=1) for k in _chunks(_RESAMPLES, len(values))]
    )
    # Means of the same numbers in another order may differ in the last bits and still are ties.
    is_tie = np.abs(means - mean) < 1e-12
    below = float(np.mean(~is_tie & (means < mean)) + np.mean(is_tie) / 2)
    bias = _NORMAL.inv_cdf(min(max(below, 0.5 / _RESAMPLES), 1 - 0.5 / _RESAMPLES))
    acceleration = float(np.sum(residuals**3)) / (6 * float(np.sum(residuals**2)) ** 1.5)

    def level(at: float) -> float:
        return _NORMAL.cdf(bias + (bias + at) / (1 - acceleration * (bias + at)))

    low, high = np.quantile(means, [level(-z), level(z)])
    return _Limits(float(low), float(high))


def _chunks(total: int, width: int) -> Iterator[int]:
    """Split `total` resamples of `width` rows so that each block stays small in memory."""
    size = max(1, _CELLS // width)
    for start in range(0, total, size):
        yield min(size, total - start)
