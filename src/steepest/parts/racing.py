"""Which candidates go on, by racing: the same rows for all, and nobody is asked on once the rows say he is behind.

Sources: Hoeffding races, Maron & Moore, "Hoeffding races: accelerating model selection search", NIPS 1993; races on
shared instances in growing blocks, F-Race, Birattari et al., "A racing algorithm for configuring metaheuristics",
GECCO 2002; a bound that holds at every look, by spending its error over them, as in Mnih, Szepesvari & Audibert,
"Empirical Bernstein stopping", ICML 2008; the split of a budget over rounds, Sequential Halving, Karnin, Koren &
Somekh, ICML 2013. Rules common to all selectors are in parts/selection.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from steepest.context import Context
from steepest.parts.selection import Pool, check_budget, check_shares
from steepest.types import Candidate, Example, Scored


@dataclass(frozen=True)
class Racing:
    """All candidates on the same rows, in growing blocks; who is behind is asked no more, and the rest goes on.

    A look follows each block. Two reasons drop a candidate:

    - Evidence: it is behind each of the `keep` leaders by a paired test on the rows that both answered, at the level
      `delta` / (candidates * looks). By the union bound, one that belongs among the best is dropped so with a
      probability of at most `delta` in the whole race, whatever is looked at and when. The test flips the signs of
      the differences, which is exact where the two are equally good row by row up to chance: for right and wrong it
      is the binomial sign test, McNemar's; for graded scores Hoeffding's bound of the same (conservative).
    - The budget, if there is one: it is split evenly over as many rounds as halvings lead to `keep`, and after each
      the better half goes on. What evidence saves in a round buys the others longer blocks. Without a budget, blocks
      grow by `growth` and evidence alone decides.

    The race ends when no more than `keep` are left, the rows end or the budget is spent. `delta` = 0 without a budget
    is infinite patience: the choice of Full.
    """

    budget: int | None = None
    """Evaluations; none for all candidates on all examples at most."""
    block: int = 10
    """Examples before the first look, where there is no budget."""
    growth: float = 1.5
    """By how much the examples asked so far grow from look to look."""
    delta: float = 0.1
    """Chance that a candidate which belongs among the best is dropped by evidence."""

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        if self.budget is not None:
            check_budget(self.budget)
        if self.block < 1 or not self.growth > 1:
            raise ValueError(
                f"block must be at least 1 and growth above 1, got {self.block} and {self.growth}; "
                "leave them out for 10 and 1.5"
            )
        if not 0 <= self.delta < 1:
            raise ValueError(f"delta is a probability below 1, got {self.delta}; leave it out for 0.1")

    def __call__(
        self, candidates: Sequence[Candidate], examples: Sequence[Example], keep: int, ctx: Context
    ) -> list[Scored]:
        """See `Select`."""
        pool = Pool(candidates, examples, ctx, self.budget)
        alive, looks = pool.arms, self._looks(len(pool.arms), len(examples), keep)
        for look, rows in enumerate(looks):
            if look:
                alive = self._going_on(pool, alive, keep, len(pool.arms) * len(looks))
                if self.delta and len(alive) <= keep:
                    break
            if self.budget is not None:
                if look:
                    alive = alive[: max(keep, math.ceil(len(alive) / 2))]
                rows = max(1, pool.left // (len(looks) - look) // len(alive))
            pool.ask(alive, rows)
        return pool.best(alive, keep)

    def evaluations(self, candidates: int, examples: int, keep: int) -> int:
        """See `Select`."""
        if self.budget is None:
            return candidates * examples
        check_shares(self.budget, candidates)
        return min(self.budget, candidates * examples)

    def certain(self, candidates: int, examples: int) -> int:
        """See `Foresees`."""
        rows = self._looks(candidates, examples, 1)
        return (
            rows[0]
            if self.budget is None
            else max(1, min(self.budget, candidates * examples) // len(rows) // candidates)
        )

    def _looks(self, candidates: int, examples: int, keep: int) -> list[int]:
        """Examples asked before each look; with a budget only their number counts, one for each halving."""
        if self.budget is not None:
            return [1] * max(1, math.ceil(math.log2(candidates / keep))) if candidates else []
        blocks, asked = [min(self.block, examples)], self.block
        while asked < examples:
            more = min(examples, math.ceil(asked * self.growth)) - asked
            blocks.append(more)
            asked += more
        return blocks

    def _going_on(self, pool: Pool, alive: Sequence[int], keep: int, tests: int) -> list[int]:
        """Those that evidence does not drop, best first."""
        order = pool.ranked(alive)
        leaders = [pool.scored(arm) for arm in order[:keep]]
        level = self.delta / tests
        behind = [
            arm for arm in order[keep:] if all(chance_of_lead(leader, pool.scored(arm)) <= level for leader in leaders)
        ]
        return [arm for arm in order if arm not in behind]


def chance_of_lead(one: Scored, other: Scored) -> float:
    """How probable so large a lead of `one` is at most, on the rows that both answered, where both are equally good.

    Every difference is as likely to have the other sign then.
    """
    shared = one.scores.keys() & other.scores.keys()
    differences = [d for row in sorted(shared) if (d := one.scores[row] - other.scores[row])]
    lead, squares = math.fsum(differences), math.fsum(d * d for d in differences)
    if lead <= 0:
        return 1.0
    if all(abs(d) == 1.0 for d in differences):
        n, wins = len(differences), sum(d > 0 for d in differences)
        return float(sum(math.comb(n, k) for k in range(wins, n + 1)) / 2**n)
    return math.exp(-lead * lead / (2 * squares))
