"""How often the 95 % intervals hold the truth, and how often like prompts are told apart: by enumeration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from steepest.reporting.statistics import interval, paired_test, verdict


def rows(*counts: tuple[float, float, int]) -> tuple[dict[str, float], dict[str, float]]:
    """Rows scored (a, b), each so many times."""
    pairs = [(a, b) for a, b, n in counts for _ in range(n)]
    return {f"{i}": a for i, (a, _) in enumerate(pairs)}, {f"{i}": b for i, (_, b) in enumerate(pairs)}


@pytest.mark.parametrize("n", [40, 100, 300])
def test_intervals_of_accuracies_cover_as_they_say(n: int) -> None:
    found = [interval([1.0] * k + [0.0] * (n - k)) for k in range(n + 1)]
    shares = np.linspace(0.05, 0.95, 181)
    held = np.array([[f.low <= p <= f.high for f in found] for p in shares])
    coverage = np.array([stats.binom.pmf(np.arange(n + 1), n, p) @ h for p, h in zip(shares, held, strict=True)])
    assert 0.94 <= coverage.mean() <= 0.96 and coverage.min() > 0.90


@pytest.mark.slow
@pytest.mark.parametrize(("gained", "lost"), [(0.10, 0.10), (0.25, 0.10), (0.30, 0.05)])
def test_intervals_of_differences_cover_as_they_say(gained: float, lost: float, n: int = 60) -> None:
    covered = total = 0.0
    for up in range(n + 1):
        for down in range(n + 1 - up):
            chance = stats.multinomial.pmf([up, down, n - up - down], n, [gained, lost, 1 - gained - lost])
            if chance < 1e-7:
                continue
            test = paired_test(*rows((0.0, 1.0, up), (1.0, 0.0, down), (1.0, 1.0, n - up - down)))
            covered += chance * (test.low <= gained - lost <= test.high)
            total += chance
    assert total > 0.999 and 0.93 <= covered / total <= 0.97


def test_like_prompts_are_called_better_less_than_one_time_in_forty() -> None:
    # With answers that vary: of n discordant rows each is gained or lost by the toss of a coin.
    for n in (1, 5, 6, 9, 17, 30, 40):
        wrong = sum(
            stats.binom.pmf(k, n, 0.5)
            for k in range(n + 1)
            if verdict(paired_test(*rows((0.0, 1.0, k), (1.0, 0.0, n - k)))) == "better"
        )
        assert wrong <= 0.025


def test_the_same_prompt_is_never_called_better() -> None:
    a, _ = rows((0.0, 0.0, 12), (1.0, 1.0, 30), (0.4, 0.4, 3))
    assert verdict(paired_test(a, a)) == "no_difference"
