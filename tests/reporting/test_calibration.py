"""How often the 95 % intervals hold the truth, and how often like prompts are told apart: by enumeration and by
simulation with a fixed seed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from steepest.reporting import ranking, statistics
from steepest.reporting.ranking import gap, holm, pooled_interval
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


@pytest.fixture
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for a share of many simulated intervals or tests, each of which may be off by a little."""
    monkeypatch.setattr(statistics, "_RESAMPLES", 1000)
    monkeypatch.setattr(statistics, "_FLIPS", 4000)
    monkeypatch.setattr(ranking, "_EXCHANGES", 4000)


GRADES = (0.0, 0.25, 0.5, 0.75, 1.0)
SIMULATED = 800
GAPS = 150


@pytest.mark.usefixtures("fewer_resamples")
@pytest.mark.parametrize(
    ("kind", "n"),
    [
        ("beta(2, 5)", 50),
        *(
            pytest.param(kind, n, marks=pytest.mark.slow)
            for kind in ("beta(2, 5)", "beta(8, 2)", "grades")
            for n in (20, 50, 100, 300)
            if (kind, n) != ("beta(2, 5)", 50)
        ),
    ],
)
def test_intervals_of_graded_scores_cover_as_they_say(kind: str, n: int) -> None:
    rng = np.random.default_rng(n)
    shares = [0.1, 0.1, 0.1, 0.2, 0.5]
    draws, truth = {
        "beta(2, 5)": (rng.beta(2, 5, (SIMULATED, n)), 2 / 7),
        "beta(8, 2)": (rng.beta(8, 2, (SIMULATED, n)), 8 / 10),
        "grades": (rng.choice(GRADES, (SIMULATED, n), p=shares), float(np.dot(GRADES, shares))),
    }[kind]
    found = [interval(row.tolist()) for row in draws]
    assert 0.93 <= np.mean([f.low <= truth <= f.high for f in found]) <= 0.97


@pytest.mark.slow
@pytest.mark.usefixtures("fewer_resamples")
@pytest.mark.parametrize("n", [50, 200])
def test_intervals_of_graded_differences_cover_as_they_say(n: int) -> None:
    rng = np.random.default_rng(1000 + n)
    means = stats.beta(2, 2).expect(lambda h: (2 + 5 * h) / (6 + 5 * h) - (1 + 5 * h) / (5 + 5 * h))
    truth, hits = float(means), 0
    for _ in range(SIMULATED):
        hard = rng.beta(2, 2, n)
        first, second = rng.beta(1 + 5 * hard, 4), rng.beta(2 + 5 * hard, 4)
        test = paired_test(*rows(*((a, b, 1) for a, b in zip(first, second, strict=True))))
        hits += test.low <= truth <= test.high
    assert 0.93 <= hits / SIMULATED <= 0.97


HIT_OR_MISS = -1.0


class World:
    """Methods of the same worth on tasks whose rows are drawn anew."""

    def __init__(self, seed: int, luck: float, is_fixed: bool) -> None:
        self._rng, self._luck, self._is_fixed = np.random.default_rng(seed), luck, is_fixed

    def task(self, methods: int, seeds: int, n: int) -> list[list[dict[str, float]]]:
        """For each method and seed row -> score: every search finds a prompt, or a method has one prompt of its own."""
        hard = self._rng.beta(2, 2, n)
        return [self._seeds(hard, seeds) for _ in range(methods)]

    def _seeds(self, hard: np.ndarray, seeds: int) -> list[dict[str, float]]:
        if self._is_fixed:
            return [self._scores(hard)] * seeds
        if self._luck == HIT_OR_MISS:
            return [self._scores(hard * 0.5 + luck / 2) for luck in self._rng.integers(0, 2, seeds)]
        return [self._scores(hard + luck) for luck in self._rng.normal(0, self._luck, seeds)]

    def _scores(self, chances: np.ndarray) -> dict[str, float]:
        return {f"{i}": float(right) for i, right in enumerate(self._rng.random(len(chances)) < chances)}


WORLDS = {"own prompt": (0.0, True), "no luck": (0.0, False), "some luck": (0.05, False), "much luck": (0.15, False)}
WORLDS |= {"hit or miss": (HIT_OR_MISS, False)}


@pytest.mark.usefixtures("fewer_resamples")
@pytest.mark.parametrize(
    ("world", "tasks", "seeds"),
    [
        ("own prompt", 2, 3),
        *(
            pytest.param(world, *size, marks=pytest.mark.slow)
            for world in WORLDS
            for size in [(1, 6), (2, 2), (8, 1), *([] if world == "own prompt" else [(2, 3)])]
        ),
    ],
)
def test_methods_of_one_worth_are_told_apart_at_most_one_time_in_twenty(world: str, tasks: int, seeds: int) -> None:
    drawn = World(tasks * 10 + seeds, *WORLDS[world])
    wrong = 0
    for _ in range(GAPS):
        pairs = [drawn.task(2, seeds, 60) for _ in range(tasks)]
        wrong += gap([pair[0] for pair in pairs], [pair[1] for pair in pairs]).p_value < 0.05
    assert wrong / GAPS <= 0.05 + 2 * (0.05 * 0.95 / GAPS) ** 0.5


@pytest.mark.slow
@pytest.mark.usefixtures("fewer_resamples")
@pytest.mark.parametrize("world", WORLDS)
def test_seven_methods_of_one_worth_hardly_ever_differ_anywhere(world: str) -> None:
    drawn = World(7, *WORLDS[world])
    wrong = 0
    for _ in range(60):
        tasks = [drawn.task(7, 5, 60) for _ in range(2)]
        pairs = [(a, b) for a in range(7) for b in range(a)]
        gaps = [gap([task[a] for task in tasks], [task[b] for task in tasks]) for a, b in pairs]
        wrong += min(holm([found.p_value for found in gaps])) < 0.05
    assert wrong <= 6  # 5 % of 60, and two standard errors


# One seed says nothing of the luck of a search, and three that succeed or fail may agree by chance.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "seeds"), [("own prompt", 1), ("own prompt", 3), ("no luck", 1), ("some luck", 3), ("much luck", 5)]
)
def test_pooled_intervals_cover_as_they_say(world: str, seeds: int) -> None:
    drawn = World(seeds, *WORLDS[world])
    found = [pooled_interval([drawn.task(1, seeds, 80)[0] for _ in range(2)]) for _ in range(1000)]
    assert 0.93 <= np.mean([f.low <= 0.5 <= f.high for f in found]) <= 0.97
