from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar

from steepest.reporting.statistics import (
    Interval,
    PairedTest,
    interval,
    p_text,
    paired_test,
    percent,
    rows_needed,
    sentence,
    verdict,
)


def pairs(both: int, gained: int, lost: int, neither: int) -> tuple[dict[str, float], dict[str, float]]:
    table = [(1, 1)] * both + [(0, 1)] * gained + [(1, 0)] * lost + [(0, 0)] * neither
    return {f"{i}": float(a) for i, (a, _) in enumerate(table)}, {f"{i}": float(b) for i, (_, b) in enumerate(table)}


# Wilson's interval, worked by hand: centre (p + z²/2n)/(1 + z²/n), half z/(1 + z²/n) sqrt(pq/n + z²/4n²).
@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (5, 10, 0.23659, 0.76341),
        (81, 263, 0.25527, 0.36621),
        (15, 148, 0.06237, 0.16053),
        (0, 20, 0.0, 0.16113),
    ],
)
def test_binary_scores_get_wilsons_interval(right: int, n: int, low: float, high: float) -> None:
    found = interval([1.0] * right + [0.0] * (n - right))
    assert (found.mean, found.n) == (right / n, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=2e-4)
    reference = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_all_right_still_leaves_doubt() -> None:
    found = interval([1.0] * 50)
    assert found.high == 1.0 and 0.92 < found.low < 0.94


def test_no_scores_mean_nothing_is_known() -> None:
    found = interval([])
    assert math.isnan(found.mean) and (found.low, found.high, found.n) == (0.0, 1.0, 0)
    assert paired_test({"a": 1.0}, {"b": 1.0}) == PairedTest(1.0, 0.0, -1.0, 1.0, 0)


def test_graded_scores_get_the_bca_bootstrap() -> None:
    values = np.random.default_rng(3).beta(2, 5, 60)
    found = interval(values.tolist())
    reference = stats.bootstrap((values,), np.mean, method="BCa", n_resamples=20_000, rng=np.random.default_rng(0))
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(reference.confidence_interval.low, abs=3e-3)
    assert found.high == pytest.approx(reference.confidence_interval.high, abs=3e-3)
    assert interval(values.tolist()) == found


@pytest.mark.parametrize("n", [1, 2, 7, 50])
def test_equal_graded_scores_leave_open_what_wilsons_interval_leaves_open(n: int) -> None:
    found, share = interval([0.4] * n), 1.0 - interval([1.0] * n).low
    assert (found.low, found.high) == pytest.approx((0.4 - 0.4 * share, 0.4 + 0.6 * share))
    a, b = {f"{i}": 0.25 for i in range(n)}, {f"{i}": 0.75 for i in range(n)}
    test = paired_test(a, b)
    assert (test.low, test.high) == pytest.approx((0.5 - 1.5 * share, 0.5 + 0.5 * share))


def test_few_graded_scores_get_students_interval() -> None:
    values = [0.2, 0.35, 0.4, 0.55]
    found, reference = interval(values), stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high))
    assert interval([0.1, 0.9]) == Interval(0.5, 0.0, 1.0, 2)


def test_ties_among_resampled_means_are_seen_whatever_the_last_bits() -> None:
    # The same scores, shifted so that sums are not exact: the interval moves by the shift.
    plain = [0.0, 0.25, 0.5, 0.75, 0.5] * 4
    found, shifted = interval(plain), interval([value + 0.1 for value in plain])
    assert (shifted.low - 0.1, shifted.high - 0.1) == pytest.approx((found.low, found.high), abs=1e-9)


def test_many_rows_are_resampled_in_small_blocks() -> None:
    values = np.random.default_rng(1).uniform(size=3001)
    found = interval(values.tolist())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / math.sqrt(3001), rel=0.05)


@pytest.mark.slow
def test_intervals_cover_the_truth_about_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(7)
    kinds = {
        "binary": lambda: (rng.random(80) < 0.3).astype(float),
        "graded": lambda: rng.beta(2, 4, 40),
    }
    truth = {"binary": 0.3, "graded": 1 / 3}
    for kind, draw in kinds.items():
        found = [interval(draw().tolist()) for _ in range(200)]
        assert 0.90 <= np.mean([f.low <= truth[kind] <= f.high for f in found]) <= 0.99, kind


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (5, 0), (6, 0), (3, 9), (10, 10), (40, 21), (300, 100)])
def test_mcnemar_is_the_exact_binomial(gained: int, lost: int) -> None:
    found = paired_test(*pairs(20, gained, lost, 7))
    expected = stats.binomtest(min(gained, lost), gained + lost).pvalue if gained + lost else 1.0
    assert found.p_value == pytest.approx(min(1.0, expected), rel=1e-9)
    assert found.difference == pytest.approx((gained - lost) / found.n)


def test_mcnemar_by_hand() -> None:
    # 1 of 8 discordant rows lost: 2 (1 + 8) / 256.
    assert paired_test(*pairs(1, 7, 1, 12)).p_value == pytest.approx(18 / 256)


def slow_score_statistic(gained: int, lost: int, n: int, difference: float) -> float:
    """The score test of a paired difference with the nuisance share found by maximising the likelihood."""

    def unlikely(share: float) -> float:
        parts = [(gained, share + difference), (lost, share), (n - gained - lost, 1 - 2 * share - difference)]
        return -sum(k * math.log(p) if k else 0.0 for k, p in parts)

    bounds = (max(0.0, -difference) + 1e-12, (1 - difference) / 2 - 1e-12)
    share = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    return (gained - lost - n * difference) / math.sqrt(n * (2 * share + difference - difference**2))


@pytest.mark.parametrize(("gained", "lost", "n"), [(7, 1, 21), (12, 30, 100), (1, 1, 30), (50, 3, 60), (2, 9, 500)])
def test_tangos_limits_are_where_the_score_test_turns(gained: int, lost: int, n: int) -> None:
    found = paired_test(*pairs(n - gained - lost, gained, lost, 0))
    assert slow_score_statistic(gained, lost, n, found.low) == pytest.approx(1.959964, abs=2e-4)
    assert slow_score_statistic(gained, lost, n, found.high) == pytest.approx(-1.959964, abs=2e-4)
    assert found.low < found.difference < found.high


def test_tangos_interval_without_discordant_rows_has_a_closed_form() -> None:
    found = paired_test(*pairs(30, 0, 0, 20))
    limit = 1.959964**2 / (50 + 1.959964**2)
    assert (found.p_value, found.difference) == (1.0, 0.0)
    assert (found.low, found.high) == pytest.approx((-limit, limit), abs=1e-6)


@pytest.mark.parametrize(("gained", "lost"), [(9, 0), (0, 9)])
def test_tangos_interval_at_the_edge(gained: int, lost: int) -> None:
    found = paired_test(*pairs(0, gained, lost, 0))
    assert abs(found.difference) == 1.0
    assert -1.0 <= found.low <= found.difference <= found.high <= 1.0
    assert min(abs(found.low), abs(found.high)) > 0.3


def slow_sign_flip(differences: list[float]) -> float:
    observed = abs(math.fsum(differences))
    sums = [
        abs(math.fsum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(s >= observed - 1e-9 for s in sums) / len(sums)


@pytest.mark.parametrize("n", [1, 3, 8, 10])
def test_few_graded_rows_are_enumerated(n: int) -> None:
    dice = random.Random(n)
    a = {f"{i}": dice.random() for i in range(n)}
    b = {f"{i}": min(1.0, a[f"{i}"] + dice.random() / 3) if i % 3 else a[f"{i}"] - 0.01 for i in range(n)}
    assert paired_test(a, b).p_value == pytest.approx(slow_sign_flip([b[i] - a[i] for i in a]))


def test_ties_in_the_sum_count_as_extreme() -> None:
    a, b = {"x": 0.1, "y": 0.1, "z": 0.1}, {"x": 0.2, "y": 0.2, "z": 0.2}
    assert paired_test(a, b).p_value == pytest.approx(2 / 8)


def test_many_graded_rows_are_sampled_close_to_the_truth() -> None:
    rng = np.random.default_rng(11)
    shift = rng.normal(0.05, 0.1, 16)
    a = {f"{i}": 0.5 for i in range(16)}
    b = {f"{i}": 0.5 + d for i, d in enumerate(shift)}
    exact = slow_sign_flip(shift.tolist())
    assert paired_test(a, b).p_value == pytest.approx(exact, abs=4 * math.sqrt(exact / 50_000) + 1e-4)


def test_rows_without_a_partner_are_left_out_and_order_does_not_matter() -> None:
    a, b = pairs(10, 8, 2, 10)
    longer = {**dict(reversed(b.items())), "extra": 1.0}
    assert paired_test(a, longer) == paired_test(a, b)


@pytest.mark.slow
def test_like_prompts_are_called_different_at_most_one_time_in_twenty() -> None:
    rng = np.random.default_rng(5)
    p_values = []
    for _ in range(200):
        a, b = rng.random((2, 30)) ** 2
        test = paired_test({f"{i}": x for i, x in enumerate(a)}, {f"{i}": x for i, x in enumerate(b)})
        p_values.append(test.p_value)
    assert 0.015 <= np.mean(np.array(p_values) < 0.05) <= 0.095


@pytest.mark.parametrize(
    ("p_value", "difference", "expected"),
    [
        (0.049, 0.1, "better"),
        (0.049, -0.1, "worse"),
        (0.05, 0.1, "no_difference"),
        (1.0, 0.0, "no_difference"),
    ],
)
def test_verdict(p_value: float, difference: float, expected: str) -> None:
    assert verdict(PairedTest(p_value, difference, -1.0, 1.0, 10)) == expected


def test_sentences_say_what_to_do() -> None:
    low, high = interval([0.0] * 30 + [1.0] * 10), interval([0.0] * 10 + [1.0] * 30)
    a, b = pairs(5, 25, 5, 5)
    up, down, same = paired_test(a, b), paired_test(b, a), paired_test(a, a)
    better, worse = sentence("better", low, high, up), sentence("worse", high, low, down)
    assert better.startswith("The new prompt is better: 75.0 % against 25.0 %") and "a gain of 50.0 points" in better
    assert worse.startswith("The new prompt is worse, keep your prompt: 25.0 % against 75.0 %")
    assert "a loss of 50.0 points" in worse and "interval 24.8 to 68.3" in worse
    assert sentence("no_difference", low, low, same).startswith("No real difference: keep your prompt")
    assert all("\n" not in text and text.endswith(".") for text in (better, worse))


def test_rows_needed_finds_the_gain_at_the_promised_rate() -> None:
    n = rows_needed(gain=0.10, discordance=0.30)
    assert n == 234  # (1.95996 sqrt(.3) + 0.84162 sqrt(.3 - .01))² / .01, rounded up
    rng = np.random.default_rng(0)
    counts = rng.multinomial(n, [0.20, 0.10, 0.70], size=500)
    z = (counts[:, 0] - counts[:, 1]) / np.sqrt(counts[:, 0] + counts[:, 1])
    assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.8, abs=0.06)


def test_numbers_as_people_read_them() -> None:
    assert [percent(0.875), percent(math.nan), p_text(0.0312), p_text(1e-9)] == [
        "87.5 %",
        "not known",
        "p = 0.0312",
        "p < 0.0001",
    ]
