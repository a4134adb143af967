"""Which candidates go on, by racing: the same rows for all, and nobody is asked on once the rows say he is behind.

Sources: Hoeffding races, Maron & Moore, "Hoeffding races: accelerating model selection search", NIPS 1993; races on
shared instances in growing blocks, F-Race, Birattari et al., "A racing algorithm for configuring metaheuristics",
GECCO 2002; a bound that holds at every look, by spending its error over them, as in Mnih, Szepesvari & Audibert,
"Empirical Bernstein stopping", ICML 2008; halving within a budget, Sequential Halving, Karnin, Koren & Somekh, ICML
2013; means shrunk by how much is known, best linear unbiased prediction, Henderson, "Best linear unbiased estimation
and prediction under a selection model", Biometrics 1975. Rules common to all selectors are in parts/selection.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steepest.context import Context
from steepest.parts.selection import Pool, check_budget, check_shares, in_order
from steepest.types import Candidate, Example, Scored

SHRINK = 20
"""Rows whose weight the mean of all candidates has in a candidate's merit: right where prompts differ by some eight
points."""
ROW_SHRINK = 2
"""The same of candidates in a row's ease."""
SWEEPS = 8
"""Alternations between merits and eases; they change little after three."""


@dataclass(frozen=True)
class Racing:
    """All candidates on the same rows, in growing blocks; who is behind is asked no more, and the rest goes on.

    With a budget, the better half goes on after each round, until one is left. A round gets a part of the budget that
    grows with the root of how many are in it: an equal part each, as in Sequential Halving, would ask a crowd one or
    two rows and the last two far more than they need. Candidates compete by `merits`, which compare who was asked
    little with who was asked much; by them, too, the `keep` best are chosen in the end. For methods that
    remember what earlier candidates scored on the same rows, rows on which these differed come first (see `informed`).

    Without a budget, evidence decides alone, in blocks that grow by `growth`, with a look after each. A candidate goes
    when it is behind each of the `keep` leaders by a paired test on the rows that both answered, at the level `delta` /
    (candidates * looks). By the union bound, one that belongs among the best is dropped so with a probability of at
    most `delta` in the whole race, whatever is looked at and when. The test flips the signs of the differences, which
    is exact where the two are equally good row by row up to chance: for right and wrong it is the binomial sign test,
    McNemar's; for graded scores Hoeffding's bound of the same (conservative). The race ends when no more than `keep`
    are left or the rows end. `delta` = 0 is infinite patience: the choice of Full.
    """

    budget: int | None = None
    """Evaluations; none for all candidates on all examples at most."""
    block: int = 10
    """Examples before the first look, where there is no budget."""
    growth: float = 1.5
    """By how much the examples asked so far grow from look to look."""
    delta: float = 0.1
    """Chance that a candidate which belongs among the best is dropped by evidence, where there is no budget."""

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
        return self.choose(Pool(candidates, examples, ctx, self.budget), keep)

    def choose(self, pool: Pool, keep: int) -> list[Scored]:
        """The `keep` best of a pool, best first."""
        return self._by_evidence(pool, keep) if self.budget is None else self._within_budget(pool, keep)

    def informed(self, known: Sequence[Scored]) -> Informed:
        """See `Learns`."""
        return Informed(self, tuple(known))

    def evaluations(self, candidates: int, examples: int, keep: int) -> int:
        """See `Select`."""
        if self.budget is None:
            return candidates * examples
        check_shares(self.budget, candidates)
        return min(self.budget, candidates * examples)

    def certain(self, candidates: int, examples: int) -> int:
        """See `Foresees`."""
        if self.budget is None:
            return min(self.block, examples)
        # Where the budget is more than can be asked, fewer may be asked less: they share fewer evaluations.
        return min(_portion(min(self.budget, n * examples), _halvings(n)) for n in range(1, candidates + 1))

    def _within_budget(self, pool: Pool, keep: int) -> list[Scored]:
        """Halving, until one is left."""
        alive, sizes = pool.arms, _halvings(len(pool.arms))
        for at, size in enumerate(sizes):
            pool.ask(alive[:size], _portion(pool.left, sizes[at:]))
            alive = self._by_merit(pool, alive[:size])
        return [pool.scored(arm) for arm in self._by_merit(pool, pool.arms)[:keep]]

    def _by_merit(self, pool: Pool, arms: Sequence[int]) -> list[int]:
        """Arms, best first; where merits are equal, as all selectors rank."""
        merit = merits([pool.scored(arm).scores for arm in pool.arms])
        return sorted(pool.ranked(arms), key=lambda arm: -merit[arm])

    def _by_evidence(self, pool: Pool, keep: int) -> list[Scored]:
        """Until no more than `keep` are left, or the rows end."""
        alive, looks = pool.arms, self._looks(pool.rows)
        for look, rows in enumerate(looks):
            if look:
                alive = self._going_on(pool, alive, keep, len(pool.arms) * len(looks))
                if self.delta and len(alive) <= keep:
                    break
            pool.ask(alive, rows)
        return pool.best(alive, keep)

    def _looks(self, examples: int) -> list[int]:
        """Examples asked before each look."""
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


@dataclass(frozen=True)
class Informed:
    """A race that begins with the rows on which earlier candidates differed."""

    race: Racing
    known: tuple[Scored, ...]

    def __call__(
        self, candidates: Sequence[Candidate], examples: Sequence[Example], keep: int, ctx: Context
    ) -> list[Scored]:
        """See `Select`."""
        return self.race.choose(Pool(candidates, self.order(examples, ctx), ctx, self.race.budget, True), keep)

    def evaluations(self, candidates: int, examples: int, keep: int) -> int:
        """See `Select`."""
        return self.race.evaluations(candidates, examples, keep)

    def certain(self, candidates: int, examples: int) -> int:
        """See `Foresees`."""
        return self.race.certain(candidates, examples)

    def order(self, examples: Sequence[Example], ctx: Context) -> list[Example]:
        """See `Orders`."""
        return sorted(in_order(examples, ctx), key=lambda row: -difference(row.id, self.known))


def difference(row: str, known: Sequence[Scored]) -> float:
    """How much earlier candidates differed on a row: the variance of their scores, where few are known closer to 1/4,
    its most.
    """
    scores = [each.scores[row] for each in known if row in each.scores]
    mean = math.fsum(scores) / len(scores) if scores else 0.0
    return (math.fsum((score - mean) ** 2 for score in scores) + 0.25) / (len(scores) + 1)


def merits(scores: Sequence[Mapping[str, float]]) -> list[float]:
    """What each candidate would score on a row of average ease, as far as is known: comparable between candidates that
    were asked different numbers of rows.

    A score is taken as the mean of all candidates, plus what this one adds, plus the row's ease, plus chance. The
    second and the third are shrunk towards nothing, the more so the fewer scores there are of them; all are fitted
    in turns.
    """
    rows: dict[str, list[int]] = {}
    for arm, each in enumerate(scores):
        for row in each:
            rows.setdefault(row, []).append(arm)
    weights = [len(each) / (len(each) + SHRINK) for each in scores]
    fitted, mean = [0.0] * len(scores), 0.0
    ease = dict.fromkeys(rows, 0.0)
    for _ in range(SWEEPS):
        alone = [
            math.fsum(score - ease[row] for row, score in each.items()) / len(each) if each else 0.0 for each in scores
        ]
        # Who was asked much has no more say in the mean for that: these are the better ones.
        mean = math.fsum(w * each for w, each in zip(weights, alone, strict=True)) / (math.fsum(weights) or 1.0)
        fitted = [mean + w * (each - mean) for w, each in zip(weights, alone, strict=True)]
        ease = {
            row: math.fsum(scores[arm][row] - fitted[arm] for arm in arms) / (len(arms) + ROW_SHRINK)
            for row, arms in rows.items()
        }
    return [each if known else -math.inf for each, known in zip(fitted, scores, strict=True)]


def _halvings(candidates: int) -> list[int]:
    """How many are asked in each round."""
    sizes = [candidates] if candidates else []
    while sizes and sizes[-1] > 2:
        sizes.append(math.ceil(sizes[-1] / 2))
    return sizes


def _portion(budget: int, sizes: Sequence[int]) -> int:
    """Examples that each of the first round is asked; at least one."""
    share = math.sqrt(sizes[0]) / math.fsum(map(math.sqrt, sizes))
    return max(1, int(budget * share) // sizes[0])


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
