"""Rows that a gain needs: against enumeration, and against simulation with the very test that decides."""

from __future__ import annotations

import math

import numpy as np
import pytest

from steepest.diagnosing.power import POWER, mcnemar_power, rows_for
from steepest.reporting.statistics import paired_test, verdict


def is_better(gained: int, lost: int, rows: int) -> bool:
    """What the verdict of a run would say."""
    signs = [1.0] * gained + [-1.0] * lost + [0.0] * (rows - gained - lost)
    first = {str(i): float(sign < 0) for i, sign in enumerate(signs)}
    second = {str(i): float(sign > 0) for i, sign in enumerate(signs)}
    return verdict(paired_test(first, second)) == "better"


@pytest.mark.parametrize(("rows", "gain", "discordance"), [(7, 0.5, 0.7), (9, 0.6, 0.6), (12, 0.3, 0.6)])
def test_power_is_the_sum_over_everything_that_can_happen(rows: int, gain: float, discordance: float) -> None:
    up, down = (discordance + gain) / 2, (discordance - gain) / 2
    total = 0.0
    for gained in range(rows + 1):
        for lost in range(rows + 1 - gained):
            ways = math.comb(rows, gained) * math.comb(rows - gained, lost)
            odds = ways * up**gained * down**lost * (1 - up - down) ** (rows - gained - lost)
            total += odds * is_better(gained, lost, rows)
    assert mcnemar_power(rows, gain, discordance) == pytest.approx(total, abs=1e-12)


def test_power_is_what_simulated_runs_show() -> None:
    rng = np.random.default_rng(9)
    rows, gain, found = 120, 0.12, {}
    drawn = rng.multinomial(rows, [0.19, 0.07, 0.74], size=4_000)
    for gained, lost, _ in drawn.tolist():
        found.setdefault((gained, lost), is_better(gained, lost, rows))
    share = np.mean([found[gained, lost] for gained, lost, _ in drawn.tolist()])
    assert mcnemar_power(rows, gain, 0.26) == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("gain", [0.02, 0.05, 0.1, 0.2])
@pytest.mark.parametrize("churn", [0.01, 0.1, 0.3])
def test_the_rows_that_are_named_are_enough_and_few_less_are_not(gain: float, churn: float) -> None:
    rows = rows_for(gain, churn)
    assert mcnemar_power(rows, gain, churn + gain) >= POWER
    assert mcnemar_power(round(0.9 * rows) - 3, gain, churn + gain) < POWER


def test_smaller_gains_and_more_churn_take_more_rows() -> None:
    by_gain = [rows_for(gain, 0.1) for gain in (0.02, 0.05, 0.1, 0.2)]
    assert by_gain == sorted(by_gain, reverse=True) and by_gain[0] > 20 * by_gain[-1]
    by_churn = [rows_for(0.1, churn) for churn in (0.01, 0.1, 0.3)]
    assert by_churn == sorted(by_churn)
    assert rows_for(1.0, 0.2) >= 6


def test_graded_scores_go_by_the_variance_of_the_difference() -> None:
    rows, rng = rows_for(0.05, 0.04, is_binary=False), np.random.default_rng(0)
    seen = []
    for _ in range(400):
        gaps = 0.05 + 0.2 * rng.standard_normal(rows)
        seen.append(gaps.mean() / (gaps.std(ddof=1) / math.sqrt(rows)) > 1.98)
    assert np.mean(seen) == pytest.approx(POWER, abs=0.06)
