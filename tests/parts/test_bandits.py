from __future__ import annotations

import math
from collections import Counter

import pytest
from bandit_world import Bandit, arms, context_of
from hypothesis import given, settings
from hypothesis import strategies as st

from steepest.parts.bandits import UCB, UCBE, SuccessiveHalving, SuccessiveRejects
from steepest.parts.selection import Select
from steepest.types import Scored


def select(how: Select, bandit: Bandit, keep: int) -> list[Scored]:
    with context_of(bandit) as ctx:
        return how(bandit.candidates, bandit.examples, keep, ctx)


def table(bandit: Bandit) -> dict[str, list[float]]:
    """What each arm scores on each example, in the shared order."""
    with context_of(bandit) as ctx:
        order = ctx.rng("select").sample(bandit.examples, bandit.rows)
        return {s.candidate.text: list(s.scores.values()) for s in ctx.score(bandit.candidates, order)}


@pytest.mark.parametrize("how", [UCB(320, samples=8), UCBE(320, samples=8)])
def test_sixty_arms_in_five_rounds_of_eight_are_all_heard_however_bad(how: Select) -> None:
    # A score of 0 for arms never asked would rank them level with, or above, everything that was asked.
    bandit = Bandit(arms(*[0.0] * 60), 30)
    found = select(how, bandit, 60)
    assert all(scored.n >= 1 for scored in found)
    assert len(bandit.pairs) == 320


def test_the_second_round_does_not_ask_the_first_eight_arms_again() -> None:
    bandit = Bandit(arms(*[0.1] * 28, *[0.9] * 8), 100)
    select(UCB(2048), bandit, 4)
    first, second = ({arm for arm, _ in batch} for batch in bandit.batches[:2])
    assert first == set(bandit.chances)
    assert second == set(list(bandit.chances)[28:])


@pytest.mark.parametrize(("n", "budget", "samples", "each"), [(4, 400, 5, 5), (10, 100, 32, 5), (10, 12, 32, 1)])
def test_the_first_round_takes_at_most_half_of_the_budget(n: int, budget: int, samples: int, each: int) -> None:
    bandit = Bandit(arms(*[0.5] * n), 50)
    select(UCB(budget, samples), bandit, 1)
    assert Counter(arm for arm, _ in bandit.batches[0]) == dict.fromkeys(bandit.chances, each)


def test_the_bonus_sends_questions_to_arms_asked_less() -> None:
    chances = arms(0.9, 0.5, 0.5, 0.1)

    def asked(how: Select) -> list[int]:
        bandit = Bandit(chances, 100)
        select(how, bandit, 1)
        return [len(bandit.asked(arm)) for arm in chances]

    curious = asked(UCB(200, samples=5, arms=1, c=100.0))
    assert max(curious) - min(curious) <= 5
    greedy = asked(UCB(200, samples=5, arms=1, c=0.0))
    assert greedy == [100, *greedy[1:]] and greedy[3] == 5
    balanced = asked(UCB(200, samples=5, arms=1))
    assert balanced[0] == max(balanced) and balanced[3] == min(balanced) < balanced[0]
    assert asked(UCBE(200, samples=5, arms=1, a=0.0)) == greedy
    assert max(asked(UCBE(200, samples=5, arms=1, a=1e6))) <= 55


def naive_ucb(outcomes: dict[str, list[float]], how: UCB) -> dict[str, int]:
    """UCB by its formula, one arm after the other: how much each is asked."""
    asked = dict.fromkeys(outcomes, how.samples)
    left, t = how.budget - how.samples * len(outcomes), 2
    while left:
        index = {
            arm: sum(outcomes[arm][:n]) / n + how.c * (math.log(t) / n) ** 0.5
            for arm, n in asked.items()
            if n < len(outcomes[arm])
        }
        chosen = sorted(index, key=lambda arm: (-index[arm], arm))[: how.arms]
        for arm in chosen:
            step = min(how.samples, left, len(outcomes[arm]) - asked[arm])
            asked[arm] += step
            left -= step
        t += 1
    return asked


@pytest.mark.parametrize("seed", range(20))
def test_ucb_asks_as_its_formula_says(seed: int) -> None:
    how = UCB(40, samples=3, arms=1, c=1.0)
    bandit = Bandit(arms(0.3, 0.8, 0.5, 0.7, 0.6, 0.2), 40, seed)
    expected = naive_ucb(table(Bandit(bandit.chances, 40, seed)), how)
    select(how, bandit, 2)
    assert {arm: len(bandit.asked(arm)) for arm in bandit.chances} == expected


def test_questions_are_not_spent_on_an_arm_that_never_answers() -> None:
    bandit = Bandit(arms(0.5, 0.5, 0.5), 40, failing=frozenset(("arm 01", f"row {i}") for i in range(40)))
    select(UCB(60, samples=4, arms=1), bandit, 1)
    assert len(bandit.asked("arm 01")) == 4


def naive_rejects(outcomes: dict[str, list[float]], budget: int, keep: int) -> tuple[list[str], int]:
    """Successive Rejects as in the source, phase by phase on whole tables: survivors, and what they all cost."""
    k_arms = len(outcomes)
    logbar = 1 / 2
    for i in range(2, k_arms + 1):
        logbar += 1 / i
    alive, seen = list(outcomes), dict.fromkeys(outcomes, 0)
    for k in range(1, k_arms - keep + 1):
        n_k = max(1, math.ceil((budget - k_arms) / logbar / (k_arms + 1 - k)))
        for arm in alive:
            seen[arm] = min(n_k, len(outcomes[arm]))
        means = {arm: sum(outcomes[arm][:n_k]) / seen[arm] for arm in alive}
        # The worst goes; of equally bad ones the youngest, names being equally long and evidence equal.
        alive.remove(min(reversed(alive), key=lambda arm: means[arm]))
    return alive, sum(seen.values())


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 9), st.integers(1, 8), st.integers(9, 90), st.integers(0, 50))
def test_successive_rejects_is_the_textbook_s_stopped_at_keep(n: int, keep: int, budget: int, seed: int) -> None:
    keep = min(keep, n - 1)
    bandit = Bandit(arms(*(0.3 + 0.5 * i / n for i in range(n))), 14, seed)
    survivors, cost = naive_rejects(table(Bandit(bandit.chances, 14, seed)), budget, keep)
    found = select(SuccessiveRejects(budget), bandit, keep)
    assert {scored.candidate.text for scored in found} == set(survivors)
    assert len(bandit.pairs) == cost == SuccessiveRejects(budget).evaluations(n, 14, keep) <= budget


def test_successive_rejects_spends_what_the_textbook_does() -> None:
    # ProTeGi's setting; its published code spends 5,878 there, and 3,755 of 900.
    assert SuccessiveRejects(2048).evaluations(36, 10_000, 4) == 1602
    assert SuccessiveRejects(900).evaluations(36, 10_000, 4) <= 900
    assert SuccessiveRejects(2048).evaluations(36, 10_000, 1) <= 2048


def test_with_nothing_to_reject_all_are_asked_alike() -> None:
    bandit = Bandit(arms(0.2, 0.9, 0.5), 30)
    found = select(SuccessiveRejects(62), bandit, 3)
    assert [scored.n for scored in found] == [20, 20, 20]
    assert len(bandit.pairs) == SuccessiveRejects(62).evaluations(3, 30, 3) == 60


def test_halving_splits_the_budget_evenly_and_keeps_the_better_half() -> None:
    bandit = Bandit(arms(*(i / 11 for i in range(11))), 500)
    found = select(SuccessiveHalving(880), bandit, 1)
    sizes = [len({arm for arm, _ in batch}) for batch in bandit.batches]
    assert sizes == [11, 6, 3, 2]
    assert [len(batch) for batch in bandit.batches] == [220, 6 * (220 // 6), 3 * (220 // 3), 220]
    assert found[0].n == 20 + 36 + 73 + 110


def test_halving_never_keeps_fewer_than_asked_and_goes_on_asking_them() -> None:
    bandit = Bandit(arms(*(i / 36 for i in range(36))), 1000)
    found = select(SuccessiveHalving(2048), bandit, 4)
    sizes = [len({arm for arm, _ in batch}) for batch in bandit.batches]
    assert sizes == [36, 18, 9, 5, 4, 4]
    assert len(found) == 4 and len({scored.n for scored in found}) == 1


def test_halving_hears_every_arm_where_the_budget_is_one_each() -> None:
    bandit = Bandit(arms(0.0, 0.0, 0.0, 0.0, 1.0), 30)
    found = select(SuccessiveHalving(5), bandit, 2)
    assert [scored.n for scored in found] == [1, 1]
    assert found[0].candidate.text == "arm 04"
    assert len(bandit.pairs) == 5
