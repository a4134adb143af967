from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from steepest.reporting.ranking import (
    cliques,
    critical_difference,
    expected_optimism,
    friedman,
    holm,
    pooled_interval,
)
from steepest.reporting.statistics import interval


def scores(values: object) -> dict[str, float]:
    return {f"{i}": float(value) for i, value in enumerate(np.asarray(values))}


def test_holm_by_hand() -> None:
    # In order 4 * 0.005, 3 * 0.01, 2 * 0.03, 1 * 0.04, none below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0] and holm([]) == []


def test_friedman_is_scipys_ties_included() -> None:
    rng = np.random.default_rng(2)
    blocks = rng.integers(0, 4, (9, 5)) / 4
    found, reference = friedman(blocks.tolist()), stats.friedmanchisquare(*blocks.T)
    assert (found.statistic, found.p_value) == pytest.approx((reference.statistic, reference.pvalue))
    assert sum(found.ranks) == pytest.approx(15) and found.blocks == 9


def test_the_best_has_rank_one_and_equals_share() -> None:
    assert friedman([[0.9, 0.5, 0.1], [0.8, 0.8, 0.2]]).ranks == (1.25, 1.75, 3.0)
    alike = friedman([[0.5, 0.5], [0.7, 0.7]])
    assert (alike.statistic, alike.p_value) == (0.0, 1.0)


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (10, 3.164)])
def test_critical_values_are_those_of_demsars_table(k: int, q: float) -> None:
    assert critical_difference(k, 1) == pytest.approx(q * math.sqrt(k * (k + 1) / 6), rel=5e-4)


def test_demsars_example() -> None:
    # Four algorithms on 14 data sets (JMLR 7, 2006, section 3.2.3).
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    ranks = (3.143, 2.000, 2.893, 1.964)
    # C4.5+m+cf and C4.5+m differ from C4.5 at 0.10 (1.12), not at 0.05.
    assert cliques(ranks, critical_difference(4, 14)) == [(3, 1, 2, 0)]
    assert cliques(ranks, critical_difference(4, 14, alpha=0.10)) == [(3, 1, 2), (2, 0)]


def test_groups_are_the_largest_ones_only() -> None:
    assert cliques([1.0, 1.5, 2.0, 4.0, 4.2], 0.8) == [(0, 1), (1, 2), (3, 4)]
    assert cliques([1.0, 3.0], 0.5) == []


def test_one_task_and_seed_is_nearly_wilsons_interval() -> None:
    row = [1.0] * 30 + [0.0] * 70
    found, alone = pooled_interval([[scores(row)]]), interval(row)
    assert found.mean == pytest.approx(0.3) and found.n == 100
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high), abs=0.006)


def test_seeds_that_agree_add_nothing_and_seeds_that_differ_widen() -> None:
    row = np.arange(100) < 60
    alone = pooled_interval([[scores(row)]])
    assert pooled_interval([[scores(row)] * 3]) == alone
    apart = pooled_interval([[scores(np.arange(100) < k) for k in (30, 60, 90)]])
    assert apart.high - apart.low > 3 * (alone.high - alone.low)


def test_all_right_still_leaves_doubt_and_nothing_is_not_known() -> None:
    found = pooled_interval([[scores([1.0] * 50)]])
    assert found.mean == found.high == 1.0 and 0.89 < found.low < 0.94
    many = pooled_interval([[scores([1.0] * 50)]] * 4)
    assert many.high == 1.0 and many.low > found.low
    none = pooled_interval([[{}]])
    assert math.isnan(none.mean) and (none.low, none.high, none.n) == (0.0, 1.0, 0)
    assert pooled_interval([[scores([0.5] * 9)]]).low == 0.5


@pytest.mark.slow
def test_pooled_intervals_cover_the_truth() -> None:
    rng = np.random.default_rng(1)
    hits = {"one seed": 0, "three seeds": 0}
    for _ in range(2000):
        tasks = []
        for base in (0.3, 0.7):
            hard = rng.beta(6 * base, 6 * (1 - base), 60)
            tasks.append((base, [scores(rng.random(60) < hard) for _ in range(3)]))
        found = pooled_interval([seeds[:1] for _, seeds in tasks])
        hits["one seed"] += found.low <= 0.5 <= found.high
        found = pooled_interval([seeds for _, seeds in tasks])
        hits["three seeds"] += found.low <= 0.5 <= found.high
    assert 0.93 <= hits["one seed"] / 2000 <= 0.97
    assert hits["three seeds"] / 2000 >= 0.93


@pytest.mark.slow
def test_pooled_intervals_count_the_luck_of_the_search() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(2000):
        luck = rng.normal(0, 0.1, 4)
        found = pooled_interval([[scores(rng.random(80) < 0.5 + each) for each in luck]])
        hits += found.low <= 0.5 <= found.high
    assert hits / 2000 >= 0.93


def test_the_winners_curse_grows_with_candidates_and_shrinks_with_rows() -> None:
    rng = np.random.default_rng(0)
    few = [scores(rng.random(50) < 0.5) for _ in range(3)]
    many = [*few, *(scores(rng.random(50) < 0.5) for _ in range(20))]
    larger = [scores(rng.random(1000) < 0.5) for _ in range(3)]
    assert expected_optimism(few[:1]) == pytest.approx(0, abs=0.01)
    assert expected_optimism(many) > expected_optimism(few) > expected_optimism(larger) > 0
    assert math.isnan(expected_optimism([])) and math.isnan(expected_optimism([{"a": 1.0}, {"b": 1.0}]))
