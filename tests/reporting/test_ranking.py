from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from steepest.reporting.ranking import (
    Gap,
    cliques,
    critical_difference,
    expected_optimism,
    friedman,
    gap,
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


def test_the_variance_is_that_of_a_crossed_table() -> None:
    # Three seeds x 40 rows, by the expected mean squares of a two-way layout worked out in plain sums.
    rng = np.random.default_rng(4)
    table = rng.random((3, 40)) * 0.2 + rng.random(40) * 0.3 + np.array([[0.1], [0.2], [0.3]])
    rows = [table[:, i].sum() / 3 for i in range(40)]
    seeds = [table[i].sum() / 40 for i in range(3)]
    mean = sum(seeds) / 3
    for_rows, for_seeds = 3 * sum((r - mean) ** 2 for r in rows) / 39, 40 * sum((s - mean) ** 2 for s in seeds) / 2
    rest = sum((table[s, r] - rows[r] - seeds[s] + mean) ** 2 for s in range(3) for r in range(40)) / 78
    variance = (for_rows + for_seeds - rest) / 120
    freedom = (for_rows + for_seeds - rest) ** 2 / (for_rows**2 / 39 + for_seeds**2 / 2 + rest**2 / 78)
    alone = mean * (1 - mean) / variance
    centre = (alone * mean + 2) / (alone + 4)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(centre * (1 - centre) / (alone + 4))
    found = pooled_interval([[scores(row) for row in table]])
    assert (found.low, found.high) == pytest.approx((max(0, centre - half), min(1, centre + half)))


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
    alike = pooled_interval([[scores([0.5] * 9)]])
    assert alike.low < 0.5 < alike.high


def against_nothing(*tasks: Sequence[Sequence[float]]) -> Gap:
    """Runs whose scores are these against runs that score 0."""
    return gap(
        [[scores(run) for run in task] for task in tasks],
        [[scores([0.0] * len(run)) for run in task] for task in tasks],
    )


UP, SOME, NONE = [1.0] * 60 + [0.0] * 40, [1.0] * 5 + [0.0] * 45, [0.0] * 100


def test_a_gap_of_like_seeds_is_that_of_the_rows() -> None:
    # Five rows gained and none lost: 2 / 2^5, however many seeds say the same.
    for seeds in (5, 8):
        found = against_nothing([SOME] * seeds)
        assert (found.difference, found.p_value) == (pytest.approx(0.1), pytest.approx(2 / 32))


def test_a_gap_of_like_rows_is_that_of_the_runs() -> None:
    # Of the ways to share out six runs, C(6, 3) = 20, two are as extreme.
    assert against_nothing([UP] * 3).p_value == pytest.approx(2 / 20)
    assert against_nothing([UP] * 3, [UP] * 3).p_value == pytest.approx(2 / 400)
    assert against_nothing(*[[UP] * 3] * 5).p_value < 2e-4


def test_a_gap_counts_the_seeds_that_differ() -> None:
    assert against_nothing([UP] * 8).p_value < 2e-3
    assert against_nothing([UP, NONE, UP, NONE] * 2).p_value > 0.02


def test_with_one_seed_tasks_are_the_units() -> None:
    assert against_nothing(*[[UP]] * 5).p_value == pytest.approx(2 / 32)
    assert against_nothing(*[[UP]] * 6).p_value == pytest.approx(2 / 64)


def test_no_gap_where_nothing_differs_or_is_known() -> None:
    alike = against_nothing([NONE] * 3)
    assert (alike.difference, alike.p_value) == (0.0, 1.0)
    assert gap([], []).p_value == gap([[{}, {}]], [[{}, {}]]).p_value == gap([[]], [[]]).p_value == 1.0


def test_the_winners_curse_grows_with_candidates_and_shrinks_with_rows() -> None:
    rng = np.random.default_rng(0)
    few = [scores(rng.random(50) < 0.5) for _ in range(3)]
    many = [*few, *(scores(rng.random(50) < 0.5) for _ in range(20))]
    larger = [scores(rng.random(1000) < 0.5) for _ in range(3)]
    assert expected_optimism(few[:1]) == pytest.approx(0, abs=0.01)
    assert expected_optimism(many) > expected_optimism(few) > expected_optimism(larger) > 0
    assert math.isnan(expected_optimism([])) and math.isnan(expected_optimism([{"a": 1.0}, {"b": 1.0}]))
