"""How much prompts differ: against enumeration and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import chi2

from steepest.diagnosing import spread as module
from steepest.diagnosing.spread import (
    Floats,
    Spread,
    churn,
    expected_maximum,
    headroom,
    is_binary,
    permuted,
    resampling,
    spread,
)


def alike(rng: np.random.Generator, prompts: int, rows: int) -> Floats:
    """Right or wrong answers to rows of very different difficulty, under prompts that are alike."""
    odds = rng.beta(0.4, 0.4, rows)
    return (rng.random((prompts, rows)) < odds).astype(np.float64)


def enumerated(scores: Floats) -> float:
    """The p-value, by going through every way to exchange scores within rows."""
    columns = [set(itertools.permutations(column)) for column in scores.T]
    weights = [list(itertools.permutations(column)) for column in scores.T]
    assert all(columns)
    least = float(np.sum(scores.sum(axis=1) ** 2)) - 1e-9
    tables = itertools.product(*weights)
    hits = [float(np.sum(np.array(table).sum(axis=0) ** 2)) >= least for table in tables]
    return sum(hits) / len(hits)


@pytest.mark.parametrize("seed", range(6))
def test_the_test_is_the_enumerated_one_where_there_are_few_tables(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 2, (3, 5)).astype(np.float64) if seed % 2 else rng.random((3, 5)).round(1)
    assert permuted(scores) == pytest.approx(enumerated(scores))


def test_large_tables_agree_with_cochrans_q() -> None:
    rng = np.random.default_rng(3)
    for effect in (0.0, 0.04, 0.08):
        scores = alike(rng, 6, 150)
        scores[0] = np.maximum(scores[0], rng.random(150) < effect)
        sums, totals, k = scores.sum(axis=1), scores.sum(axis=0), len(scores)
        q = (k - 1) * k * float(np.sum((sums - sums.mean()) ** 2)) / float(np.sum(totals * (k - totals)))
        assert permuted(scores) == pytest.approx(float(chi2.sf(q, k - 1)), abs=0.03)


def test_alike_prompts_are_called_different_at_most_one_time_in_twenty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RESAMPLES", 199)
    rng = np.random.default_rng(11)
    found = [permuted(alike(rng, 7, 30)) < 0.05 for _ in range(400)]
    # 20 are expected at most; 36 or more would come once in two thousand times.
    assert sum(found) < 36
    assert permuted(np.ones((4, 9))) == permuted(np.tile(rng.random(9), (4, 1))) == 1.0


def test_a_difference_that_is_there_is_found() -> None:
    rng = np.random.default_rng(5)
    scores = alike(rng, 7, 60)
    scores[3] = 1.0
    assert permuted(scores) < 0.001


def test_components_are_those_that_were_put_in() -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(200):
        table = 0.5 + 0.1 * rng.standard_normal((8, 1)) + 0.2 * rng.standard_normal((1, 40))
        found.append(spread_without_test(table + 0.3 * rng.standard_normal((8, 40))))
    assert math.sqrt(np.mean([each.prompts**2 for each in found])) == pytest.approx(0.1, rel=0.06)
    assert math.sqrt(np.mean([each.rows**2 for each in found])) == pytest.approx(0.2, rel=0.06)
    assert math.sqrt(np.mean([each.rest**2 for each in found])) == pytest.approx(0.3, rel=0.02)
    assert found[0].chance == pytest.approx(found[0].rest / math.sqrt(40))


def spread_without_test(scores: Floats) -> Spread:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "permuted", lambda scores: 1.0)
        return spread(scores)


def test_repeats_of_one_prompt_spread_as_expected() -> None:
    rng = np.random.default_rng(2)
    found = [resampling(alike(rng, 5, 40), 0.7) for _ in range(300)]
    observed = math.sqrt(np.mean([each.observed**2 for each in found]))
    assert observed == pytest.approx(math.sqrt(np.mean([each.expected**2 for each in found])), rel=0.07)


def test_the_expected_maximum_is_that_of_draws() -> None:
    rng = np.random.default_rng(0)
    for count in (7, 100):
        assert expected_maximum(count) == pytest.approx(
            rng.standard_normal((20_000, count)).max(axis=1).mean(), abs=0.02
        )


def test_headroom_promises_nothing_by_noise_and_much_by_differences() -> None:
    rng = np.random.default_rng(4)
    promised = []
    for _ in range(50):
        scores = alike(rng, 10, 60)
        promised.append(headroom(scores, spread_without_test(scores)).gain)
    assert np.median(promised) < 0.05
    scores = np.zeros((4, 50))
    scores[2, :30] = scores[3, :40] = 1.0
    found = headroom(scores, spread_without_test(scores))
    assert found.gain > 0.8 and found.reach <= 1.0 and found.solvable == 0.8
    flipped = scores[::-1]
    assert headroom(flipped, spread_without_test(flipped)).gain < found.gain


def test_a_perfect_prompt_has_no_headroom() -> None:
    scores = np.zeros((3, 20))
    scores[0] = 1.0
    assert headroom(scores, spread_without_test(scores)).gain < 0.05
    same = np.ones((3, 20))
    assert headroom(same, spread_without_test(same)).gain == 0.0


def test_churn_leaves_out_what_the_difference_explains() -> None:
    a = np.array([1, 1, 1, 0, 0, 0, 0, 0, 1, 1.0])
    b = np.array([0, 0, 0, 1, 0, 0, 0, 0, 1, 1.0])
    assert churn(np.stack([a, b])) == pytest.approx(0.2)
    assert churn(np.stack([a, a])) == pytest.approx(0.1)
    graded = np.array([[0.5, 0.2, 0.9], [0.1, 0.4, 0.9]])
    assert churn(graded) == pytest.approx(max(1 / 3, float((graded[0] - graded[1]).var())))
    assert is_binary(np.stack([a, b])) and not is_binary(graded)
