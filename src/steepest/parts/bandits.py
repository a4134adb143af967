"""Which candidates go on, by fixed-budget bandits: evaluations go where they tell the good from the best.

An arm is a candidate; pulling it means asking it examples. Rules common to all selectors are in parts/selection.py.

Sources: UCB-E and Successive Rejects, Audibert & Bubeck, "Best arm identification in multi-armed bandits", COLT 2010;
Sequential Halving, Karnin, Koren & Somekh, "Almost optimal exploration in multi-armed bandits", ICML 2013; their use
on prompts, ProTeGi (arXiv 2305.03495, section on selection).

Deviations from ProTeGi's published code, common to all: cumulative means instead of those of the last sample; one
example order instead of a new sample per round (which fails where there are fewer examples than a sample holds); a
budget that holds (its Successive Rejects spends 2.9 times as much at 36 prompts, 4 kept and 2,048 evaluations);
returned scores are means, never ranks of elimination.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from steepest.context import Context
from steepest.parts.selection import Pool, check_budget, check_shares
from steepest.types import Candidate, Example, Scored


@dataclass(frozen=True)
class UCB:
    """Upper confidence bounds: each round asks the arms that could still be the best, as far as is known.

    A first round asks every arm; each later round t = 2, 3, ... asks the `arms` of largest

        mean_i + c * sqrt(ln t / n_i),        n_i the examples that arm i was asked.

    ProTeGi's code counts t from 0, so that its second round has ln 1 = 0, no bonus, and pulls the same arms again;
    here the first round is t = 1. t counts rounds, as there; to count evaluations instead (UCB1, APE's code) is to
    explore more, like a larger c.

    Both published codes seed no more arms than fit a round; APE's gives those never asked the score 0, which beats
    every log-likelihood. Here every arm is asked first, `samples` examples each or, where that would take more than
    half of the budget, as many as half of it buys (at least one).
    """

    budget: int = 2048
    """Evaluations; ProTeGi's code spends 8 rounds of 8 prompts on 32 examples."""
    samples: int = 32
    """Examples per pull."""
    arms: int = 8
    """Arms per round (ProTeGi's paper: one)."""
    c: float = 1.0
    """Weight of what is not known yet (ProTeGi's code: 1, paper: 2)."""

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        check_budget(self.budget)
        _check_pulls(self.samples, self.arms, self.c)

    def __call__(
        self, candidates: Sequence[Candidate], examples: Sequence[Example], keep: int, ctx: Context
    ) -> list[Scored]:
        """See `Select`."""
        pool = Pool(candidates, examples, ctx, self.budget)
        _explore(pool, self.samples, self.arms, lambda t, n: self.c * math.sqrt(math.log(t) / n))
        return pool.best(pool.arms, keep)

    def evaluations(self, candidates: int, examples: int, keep: int) -> int:
        """See `Select`."""
        check_shares(self.budget, candidates)
        return min(self.budget, candidates * examples)

    def certain(self, candidates: int, examples: int) -> int:
        """See `Foresees`."""
        return _seeding(self.samples, min(self.budget, candidates * examples), candidates)


@dataclass(frozen=True)
class UCBE:
    """UCB-E: upper confidence bounds for finding the best arm rather than for pulling it often.

    As UCB, with the bonus sqrt(a / n_i), which does not grow with time. The best `a` by theory is
    25/36 * (budget - arms) / H, H the sum over arms of 1 / gap^2 to the best one: of the order of 1 for some tens of
    prompts that differ by a few points. ProTeGi's code has c * sqrt(c / n_i), which is a = c^3 = 1 by default.
    """

    budget: int = 2048
    """Evaluations; ProTeGi's code spends 8 rounds of 8 prompts on 32 examples."""
    samples: int = 32
    """Examples per pull."""
    arms: int = 8
    """Arms per round."""
    a: float = 1.0
    """How much is explored."""

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        check_budget(self.budget)
        _check_pulls(self.samples, self.arms, self.a)

    def __call__(
        self, candidates: Sequence[Candidate], examples: Sequence[Example], keep: int, ctx: Context
    ) -> list[Scored]:
        """See `Select`."""
        pool = Pool(candidates, examples, ctx, self.budget)
        _explore(pool, self.samples, self.arms, lambda t, n: math.sqrt(self.a / n))
        return pool.best(pool.arms, keep)

    def evaluations(self, candidates: int, examples: int, keep: int) -> int:
        """See `Select`."""
        check_shares(self.budget, candidates)
        return min(self.budget, candidates * examples)

    def certain(self, candidates: int, examples: int) -> int:
        """See `Foresees`."""
        return _seeding(self.samples, min(self.budget, candidates * examples), candidates)


@dataclass(frozen=True)
class SuccessiveRejects:
    """Successive Rejects: ask all that remain, drop the worst, and again until `keep` remain.

    The schedule of the source for N arms, stopped early: in phase k every arm that remains has been asked

        n_k = ceil( (budget - N) / (logbar(N) * (N + 1 - k)) ),      logbar(N) = 1/2 + sum_{i=2..N} 1/i.

    ProTeGi's code counts only the arms to be dropped in N, asks at least 4 examples a phase and judges by the last
    phase alone. Where there is nothing to drop, all are asked alike.
    """

    budget: int = 2048
    """Evaluations; stopping at `keep` leaves a part of them unspent."""

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        check_budget(self.budget)

    def __call__(
        self, candidates: Sequence[Candidate], examples: Sequence[Example], keep: int, ctx: Context
    ) -> list[Scored]:
        """See `Select`."""
        pool = Pool(candidates, examples, ctx, self.budget)
        alive = pool.arms
        for n in self._phases(len(alive), keep):
            pool.ask(alive, n - pool.asked[alive[0]])
            alive = pool.ranked(alive)[: max(keep, len(alive) - 1)]
        return pool.best(alive, keep)

    def evaluations(self, candidates: int, examples: int, keep: int) -> int:
        """See `Select`."""
        check_shares(self.budget, candidates)
        total, before = 0, 0
        for dropped, n in enumerate(self._phases(candidates, keep)):
            total += (candidates - dropped) * (min(n, examples) - before)
            before = min(n, examples)
        return total

    def _phases(self, candidates: int, keep: int) -> list[int]:
        """n_k by phase; at least 1, which a budget of one evaluation per arm rounds down to 0."""
        if candidates <= keep:
            return [self.budget // candidates] if candidates else []
        logbar = 0.5 + math.fsum(1 / i for i in range(2, candidates + 1))
        spare = (self.budget - candidates) / logbar
        return [max(1, math.ceil(spare / (candidates + 1 - k))) for k in range(1, candidates - keep + 1)]


@dataclass(frozen=True)
class SuccessiveHalving:
    """Sequential Halving: the budget is split evenly over ceil(log2 N) rounds, and each keeps the better half.

    Never fewer than `keep` remain; rounds after that add to the evidence of those that do. Karnin et al. judge by
    the round's own samples, ProTeGi's code drops everything below the mean and may end with fewer than it needs.
    """

    budget: int = 2048
    """Evaluations."""

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        check_budget(self.budget)

    def __call__(
        self, candidates: Sequence[Candidate], examples: Sequence[Example], keep: int, ctx: Context
    ) -> list[Scored]:
        """See `Select`."""
        pool = Pool(candidates, examples, ctx, self.budget)
        alive = pool.arms
        rounds = max(1, (len(alive) - 1).bit_length())
        for _ in range(rounds if alive else 0):
            # At least one example each, so that no arm is dropped unheard where the budget is small.
            pool.ask(alive, max(1, self.budget // (len(alive) * rounds)))
            alive = pool.ranked(alive)[: max(keep, math.ceil(len(alive) / 2))]
        return pool.best(alive, keep)

    def evaluations(self, candidates: int, examples: int, keep: int) -> int:
        """See `Select`."""
        check_shares(self.budget, candidates)
        return min(self.budget, candidates * examples)


def _explore(pool: Pool, samples: int, arms: int, bonus: Callable[[int, int], float]) -> None:
    """Ask every arm, then round by round those of largest mean + bonus(round, examples asked), for all the budget."""
    everyone = pool.arms
    pool.ask(everyone, _seeding(samples, pool.left, len(everyone)))
    t = 1

    def index(arm: int) -> float:
        """Largest for the arms to ask; those that never answered wait until the others are through."""
        mean = pool.scored(arm).mean
        return -math.inf if math.isnan(mean) else mean + bonus(t, pool.asked[arm])

    while pool.left and (candidates := [arm for arm in everyone if pool.open(arm)]):
        t += 1
        order = sorted(candidates, key=index, reverse=True)
        # Rounds that will ask all that are left, whatever is answered, need not wait for one another.
        rounds = pool.left // (samples * len(order)) if len(order) <= arms else 0
        t += max(0, rounds - 1)
        pool.ask(order[: min(arms, max(1, pool.left // samples))], samples * max(1, rounds))


def _seeding(samples: int, budget: int, arms: int) -> int:
    """Examples that every arm is asked first."""
    return max(1, min(samples, budget // (2 * max(arms, 1))))


def _check_pulls(samples: int, arms: int, weight: float) -> None:
    if samples < 1 or arms < 1:
        raise ValueError(f"samples and arms must be at least 1, got {samples} and {arms}; leave them out for 32 and 8")
    if not weight >= 0:
        raise ValueError(f"the weight of the bonus must be at least 0, got {weight}; leave it out for 1")
