"""Which candidates go on: all of them on all rows, on one shared sample, or stage by stage.

A budget is a number of single-example evaluations. It counts distinct pairs of candidate and example, whether or not
an earlier step has paid for them, and is never exceeded. Selectors that adapt to what they see are in
parts/bandits.py. Common to all:

- Examples stand in one order, drawn once; a candidate is asked a beginning of it. So later questions add to earlier
  ones, candidates with as much evidence are compared on the same rows, and the journal knows what was asked before.
- A candidate's score is its mean over everything it has answered. Unanswered is not wrong: it counts as asked, but
  not in the mean, and a candidate without any answer comes last.
- The same text twice is one candidate. Exactly `keep` come back, or all where there are fewer.
- Equal means: more evidence goes first, then the shorter text, then the one that stood earlier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from steepest.context import Context
from steepest.errors import SpecError
from steepest.types import Candidate, Example, Scored


class Select(Protocol):
    """Finds the best candidates by asking them examples."""

    def __call__(
        self, candidates: Sequence[Candidate], examples: Sequence[Example], keep: int, ctx: Context
    ) -> list[Scored]:
        """The `keep` best, best first, each with its scores on the examples it was asked."""
        ...

    def evaluations(self, candidates: int, examples: int, keep: int) -> int:
        """The most single-example evaluations that one call with so many makes: for estimates of cost."""
        ...


@runtime_checkable
class Foresees(Protocol):
    """A selector that knows how much each candidate will be asked at least."""

    def certain(self, candidates: int, examples: int) -> int:
        """Examples that every candidate is asked, the first ones of the order, where there are so many or fewer."""
        ...


@runtime_checkable
class Orders(Protocol):
    """A selector that asks examples in an order of its own."""

    def order(self, examples: Sequence[Example], ctx: Context) -> list[Example]:
        """The order in which it asks them."""
        ...


@runtime_checkable
class Learns(Protocol):
    """A selector to which it matters what earlier candidates scored."""

    def informed(self, known: Sequence[Scored]) -> Select:
        """The same selector, told what earlier candidates scored."""
        ...


def informed(select: Select, known: Sequence[Scored]) -> Select:
    """A selector told what earlier candidates scored, where that matters to it."""
    return select.informed(known) if isinstance(select, Learns) else select


def ask_ahead(select: Select, new: Sequence[Candidate], examples: Sequence[Example], most: int, ctx: Context) -> None:
    """Begin what a selection among at most so many candidates will ask of these in any case, without waiting."""
    if isinstance(select, Foresees) and new:
        order = select.order(examples, ctx) if isinstance(select, Orders) else in_order(examples, ctx)
        ctx.scoring(new, order[: select.certain(most, len(examples))])


def in_order(examples: Sequence[Example], ctx: Context) -> list[Example]:
    """The order in which a step's selection asks them."""
    return ctx.rng("select").sample(list(examples), len(examples))


class Pool:
    """Candidates under comparison: how much each was asked, what it scored, and what is left of the budget."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        examples: Sequence[Example],
        ctx: Context,
        budget: int | None = None,
        is_ordered: bool = False,
    ) -> None:
        """`is_ordered`: whether examples stand in the order in which they are to be asked."""
        first: dict[str, Candidate] = {}
        for candidate in candidates:
            first.setdefault(candidate.text, candidate)
        self._candidates = list(first.values())
        self._order = list(examples) if is_ordered else in_order(examples, ctx)
        self._ctx = ctx
        self._scores: list[dict[str, float]] = [{} for _ in self._candidates]
        self.asked = [0 for _ in self._candidates]
        """Examples asked, by arm: the first so many of the shared order."""
        most = len(self._candidates) * len(self._order)
        if budget is not None:
            check_shares(budget, len(self._candidates))
        self.left = most if budget is None else min(budget, most)
        """Evaluations that may still be made."""

    @property
    def arms(self) -> list[int]:
        """All candidates, by number."""
        return list(range(len(self._candidates)))

    @property
    def rows(self) -> int:
        """How many examples there are."""
        return len(self._order)

    def open(self, arm: int) -> bool:
        """Whether there is an example it was not asked."""
        return self.asked[arm] < len(self._order)

    def scored(self, arm: int) -> Scored:
        """An arm with its scores so far."""
        return Scored(self._candidates[arm], self._scores[arm])

    def ask(self, arms: Sequence[int], count: int) -> None:
        """Ask each arm its next `count` examples: fewer where they run out, and all fewer where the budget does."""
        starts: dict[int, list[int]] = {}
        for arm in arms:
            starts.setdefault(self.asked[arm], []).append(arm)
        count = min(count, self.left // max(len(arms), 1))
        rows = {start: self._order[start : start + count] for start in starts}
        # All are begun before any is waited for.
        begun = {
            start: self._ctx.scoring([self._candidates[arm] for arm in group], rows[start])
            for start, group in starts.items()
        }
        for start, group in starts.items():
            for arm, answer in zip(group, begun[start], strict=True):
                self._scores[arm].update(answer.scores)
                self.asked[arm] += len(rows[start])
            self.left -= len(group) * len(rows[start])

    def ranked(self, arms: Sequence[int]) -> list[int]:
        """Arms, best first."""
        return sorted(sorted(arms), key=lambda arm: _standing(self.scored(arm)))

    def best(self, arms: Sequence[int], keep: int) -> list[Scored]:
        """The `keep` best of some arms, best first."""
        return [self.scored(arm) for arm in self.ranked(arms)[:keep]]


def ranked(scored: Sequence[Scored]) -> list[Scored]:
    """Best first: by mean, then more evidence, then the shorter text, then as they stood; without answers last."""
    return sorted(scored, key=_standing)


def _standing(scored: Scored) -> tuple[bool, float, int, int]:
    unknown = math.isnan(scored.mean)
    return unknown, 0.0 if unknown else -scored.mean, -scored.n, len(scored.candidate.text)


def check_budget(budget: int) -> None:
    """Refuse a budget that no selection could use."""
    if budget < 1:
        raise ValueError(f"budget must be at least 1, got {budget}; give some evaluations per candidate, such as 30")


def check_shares(budget: int, candidates: int) -> None:
    """Refuse a budget that does not buy one evaluation of each candidate."""
    if budget < candidates:
        raise SpecError(
            f"the budget of a selection must be at least one evaluation per candidate, got {budget} for "
            f"{candidates}; raise the budget or make fewer candidates"
        )


def most(select: Select, candidates: int, examples: int, keep: int) -> int:
    """The most evaluations of a call with so many candidates or fewer: shared among fewer, a budget may go further."""
    return max(select.evaluations(n, examples, keep) for n in range(candidates, 0, -1))


@dataclass(frozen=True)
class Full:
    """Every candidate on every example: the most dependable choice, and the most expensive."""

    def __call__(
        self, candidates: Sequence[Candidate], examples: Sequence[Example], keep: int, ctx: Context
    ) -> list[Scored]:
        """See `Select`."""
        pool = Pool(candidates, examples, ctx)
        pool.ask(pool.arms, len(examples))
        return pool.best(pool.arms, keep)

    def evaluations(self, candidates: int, examples: int, keep: int) -> int:
        """See `Select`."""
        return candidates * examples

    def certain(self, candidates: int, examples: int) -> int:
        """See `Foresees`."""
        return examples


@dataclass(frozen=True)
class Uniform:
    """Every candidate on one shared sample, as large as the budget allows: ProTeGi's baseline (arXiv 2305.03495)."""

    budget: int = 2048
    """Evaluations; ProTeGi's code spends 8 rounds of 8 prompts on 32 examples."""

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        check_budget(self.budget)

    def __call__(
        self, candidates: Sequence[Candidate], examples: Sequence[Example], keep: int, ctx: Context
    ) -> list[Scored]:
        """See `Select`."""
        pool = Pool(candidates, examples, ctx, self.budget)
        pool.ask(pool.arms, len(examples))
        return pool.best(pool.arms, keep)

    def evaluations(self, candidates: int, examples: int, keep: int) -> int:
        """See `Select`."""
        check_shares(self.budget, candidates)
        return candidates * min(self.budget // max(candidates, 1), examples)

    def certain(self, candidates: int, examples: int) -> int:
        """See `Foresees`."""
        return self.budget // candidates


@dataclass(frozen=True)
class Filter:
    """APE's adaptive filtering (arXiv 2211.01910): small subsets first, all examples for the few that remain.

    All candidates are asked a small subset; the better half is asked another one, without overlap; and so on until
    few remain or the examples run out. Those that remain are asked everything.

    The paper leaves subset size, threshold and final number open, and its code has no such thing. Here a stage
    keeps the better half by the mean over all subsets so far (the paper: a moving average), never fewer than `keep`.
    """

    subset: int = 10
    """Examples per stage."""
    final: int = 5
    """Candidates, or fewer, that are asked everything."""

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        if self.subset < 1 or self.final < 1:
            raise ValueError(
                f"subset and final must be at least 1, got {self.subset} and {self.final}; leave them out for 10 and 5"
            )

    def __call__(
        self, candidates: Sequence[Candidate], examples: Sequence[Example], keep: int, ctx: Context
    ) -> list[Scored]:
        """See `Select`."""
        pool = Pool(candidates, examples, ctx)
        alive = pool.arms
        for survivors in self._survivors(len(alive), len(examples), keep):
            pool.ask(alive, self.subset)
            alive = pool.ranked(alive)[:survivors]
        pool.ask(alive, len(examples))
        return pool.best(alive, keep)

    def evaluations(self, candidates: int, examples: int, keep: int) -> int:
        """See `Select`."""
        sizes = [candidates, *self._survivors(candidates, examples, keep)]
        filtering = self.subset * (len(sizes) - 1)
        return self.subset * sum(sizes[:-1]) + sizes[-1] * (examples - filtering)

    def certain(self, candidates: int, examples: int) -> int:
        """See `Foresees`."""
        return self.subset

    def _survivors(self, candidates: int, examples: int, keep: int) -> list[int]:
        """How many are left after each stage; a stage takes a whole subset."""
        sizes: list[int] = []
        size = candidates
        while size > max(self.final, keep) and self.subset * (len(sizes) + 1) <= examples:
            size = max(keep, math.ceil(size / 2))
            sizes.append(size)
        return sizes


def finalists(
    select: Select, candidates: Sequence[Candidate], examples: Sequence[Example], keep: int, ctx: Context
) -> list[Scored]:
    """Candidates scored on all examples, in their order: all of them by Full, otherwise those that a selection keeps.

    So that scores compare with those of other steps; what the selection asked already costs nothing.
    """
    if isinstance(select, Full):
        return ctx.score(candidates, examples)
    kept = {scored.candidate.id for scored in select(candidates, examples, keep, ctx)}
    return ctx.score([each for each in candidates if each.id in kept], examples)


def finalists_cost(select: Select, candidates: int, examples: int, keep: int) -> int:
    """The most evaluations that `finalists` makes."""
    if isinstance(select, Full):
        return candidates * examples
    return most(select, candidates, examples, keep) + min(keep, candidates) * examples
