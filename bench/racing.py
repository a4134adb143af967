"""Does racing choose as good a prompt as the papers' selections, with a third of their evaluations?

Simulated prompts whose accuracy is known: a prompt is right about a row with the probability sigmoid(skill + ease),
so that rows are easy or hard for all. For each method one selection as it stands in a step, at the paper's settings
and by `racing` within a third of the calls (for OPRO, GPO and PE2, whose scores must compare between steps, with the
winners asked all rows, and with what earlier prompts scored on the same rows, as these methods remember it). Quality is
the true accuracy of what is chosen; the difference is paired by world. Beside it stands what no selection can know to
do: to split as many calls by the true accuracies, so as to tell the best from the rest (optimal computing budget
allocation, Chen et al., 2000); where even that falls short, the calls do not suffice.

Settings were tuned on worlds from 0 on; the worlds reported on begin at FRESH.

    python bench/racing.py [--worlds 300] [--spread 0.5] [--tuning]
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from steepest.calls import CallLog
from steepest.context import Context, World
from steepest.ledger import UNLIMITED, Ledger
from steepest.parts.bandits import UCB
from steepest.parts.racing import Informed, Racing, merits
from steepest.parts.selection import Filter, Full, Pool, Select, Uniform, finalists, informed
from steepest.tasks.metrics import ExactMatch
from steepest.tasks.task import Task, Template
from steepest.types import Candidate, Example, Scored, Usage

EASE = 1.5
"""Standard deviation of the rows' ease, in logits."""
TRUTH = [3.0 * EASE * (i - 100) / 100 for i in range(201)]
"""Ease at which a prompt's true accuracy is found, weighted by the normal density."""


@dataclass(frozen=True)
class Case:
    """One selection of a method."""

    name: str
    prompts: int
    rows: int
    keep: int
    paper: Select
    racing: Racing
    is_final: bool = False
    """Whether what is kept is asked all rows."""
    earlier: int = 0
    """Prompts of earlier steps that were asked all rows."""


CASES = (
    Case("ape (filter)", 51, 50, 10, Filter(), Racing(budget=366)),
    Case("ape, preset code", 91, 50, 9, Uniform(1820), Racing(budget=606)),
    Case("protegi", 36, 100, 4, UCB(c=2.0), Racing(budget=682)),
    Case("opro", 8, 100, 1, Full(), Racing(budget=225), True, 20),
    Case("gpo", 8, 150, 1, Full(), Racing(budget=334), True, 6),
    Case("pe2", 16, 150, 2, Full(), Racing(budget=700), True, 8),
    Case("gradsum, 12 dev rows", 12, 12, 3, Full(), Racing(budget=48)),
)
FRESH = 1_000_000
"""The first world that nothing was tuned on."""


def sigmoid(x: float) -> float:
    """The logistic function."""
    return 1 / (1 + math.exp(-x))


def accuracy(skill: float) -> float:
    """A prompt's true accuracy."""
    weights = [math.exp(-0.5 * (ease / EASE) ** 2) for ease in TRUTH]
    return sum(w * sigmoid(skill + ease) for w, ease in zip(weights, TRUTH, strict=True)) / sum(weights)


class Asked:
    """A world of prompts and rows that counts what is asked."""

    def __init__(self, case: Case, seed: int, spread: float) -> None:
        dice = random.Random(seed)
        self.skills = {f"prompt {i:03}": dice.gauss(0.5, spread) for i in range(case.prompts)}
        self.earlier = [f"earlier {i:03}" for i in range(case.earlier)]
        skills = self.skills | {text: dice.gauss(0.5, spread) for text in self.earlier}
        self.examples = [Example(f"row {i}", f"row {i}", "yes") for i in range(case.rows)]
        ease = {row.id: dice.gauss(0, EASE) for row in self.examples}
        self.right = {
            (text, row): float(dice.random() < sigmoid(skill + ease[row]))
            for text, skill in skills.items()
            for row in ease
        }
        self.pairs: set[tuple[str, str]] = set()

    def score(self, candidates: Sequence[Candidate], examples: Sequence[Example]) -> list[Scored]:
        """Answers, counted once each."""
        self.pairs |= {(candidate.text, row.id) for candidate in candidates for row in examples}
        return self.known(candidates, examples)

    def known(self, candidates: Sequence[Candidate], examples: Sequence[Example]) -> list[Scored]:
        """The same, asked before."""
        return [Scored(each, {row.id: self.right[each.text, row.id] for row in examples}) for each in candidates]


@dataclass(frozen=True)
class Chosen:
    """What a selection found, and what it asked."""

    first: float
    """True accuracy of the first."""
    kept: float
    """Mean true accuracy of all that are kept."""
    calls: int


@dataclass(frozen=True)
class Oracle:
    """Splits a budget by the true accuracies, and then goes by the answers alone."""

    budget: int
    known: Sequence[Scored]
    skills: Mapping[str, float]

    def __call__(
        self, candidates: Sequence[Candidate], examples: Sequence[Example], keep: int, ctx: Context
    ) -> list[Scored]:
        """See `Select`."""
        order = Informed(Racing(), tuple(self.known)).order(examples, ctx)
        pool = Pool(candidates, order, ctx, self.budget, True)
        for arm, rows in enumerate(self.split([accuracy(self.skills[each.text]) for each in candidates], len(order))):
            pool.ask([arm], rows)
        merit = merits([pool.scored(arm).scores for arm in pool.arms])
        return [pool.scored(arm) for arm in sorted(pool.arms, key=lambda arm: -merit[arm])[:keep]]

    def split(self, true: Sequence[float], rows: int) -> list[int]:
        """Rows for each candidate, so that the best is told from the others as surely as can be."""
        best = max(range(len(true)), key=true.__getitem__)
        weights = [1 / max(true[best] - each, 0.005) ** 2 for each in true]
        weights[best] = math.sqrt(sum(w * w for i, w in enumerate(weights) if i != best))
        shares = [1.0] * len(true)
        for _ in range(50):
            # What exceeds the rows that there are goes to the others.
            free = [i for i, share in enumerate(shares) if share < rows]
            left = self.budget - sum(shares)
            total = sum(weights[i] for i in free)
            for i in free:
                shares[i] = min(float(rows), shares[i] + left * weights[i] / total)
        return [int(share) for share in shares]

    def evaluations(self, candidates: int, examples: int, keep: int) -> int:
        """See `Select`."""
        return min(self.budget, candidates * examples)


def told(case: Case, way: str, asked: Asked) -> Select:
    """How is selected."""
    known = asked.known([Candidate(text) for text in asked.earlier], asked.examples)
    if way == "oracle":
        return Oracle(case.racing.budget or 0, known, asked.skills)
    return informed(case.racing, known) if way == "racing" else case.paper


def chosen(case: Case, way: str, seed: int, spread: float) -> Chosen:
    """One selection in one world."""
    asked = Asked(case, seed, spread)
    how = told(case, way, asked)
    task = Task("race", tuple(asked.examples), tuple(asked.examples), Template("{input}\n{prompt}"), ExactMatch())
    with tempfile.TemporaryDirectory() as folder, CallLog(Path(folder) / "calls.jsonl") as log:
        world = World(task, {}, log, seed, lambda event: None)
        ctx = Context(world, Ledger(log, 1, UNLIMITED, Usage())).scored_by(asked.score)
        candidates = [Candidate(text) for text in asked.skills]
        if case.is_final:
            found = sorted(finalists(how, candidates, asked.examples, case.keep, ctx), key=lambda s: -s.mean)[
                : case.keep
            ]
        else:
            found = how(candidates, asked.examples, case.keep, ctx)
    true = [accuracy(asked.skills[each.candidate.text]) for each in found]
    return Chosen(true[0], statistics.fmean(true), len(asked.pairs))


def interval(values: Sequence[float]) -> str:
    """Mean and 95 % interval, in points."""
    mean = 100 * statistics.fmean(values)
    half = 196 * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:+5.2f} [{mean - half:+.2f}, {mean + half:+.2f}]"


def compared(case: Case, worlds: range, spread: float) -> str:
    """One line of the table."""
    found = {way: [chosen(case, way, seed, spread) for seed in worlds] for way in ("paper", "racing", "oracle")}
    calls = {name: statistics.fmean(each.calls for each in of) for name, of in found.items()}

    def difference(way: str, what: Callable[[Chosen], float]) -> str:
        return interval([what(one) - what(other) for one, other in zip(found[way], found["paper"], strict=True)])

    return (
        f"| {case.name} | {calls['paper']:,.0f} | {calls['racing']:,.0f} | {calls['racing'] / calls['paper']:.0%} "
        f"| {statistics.fmean(each.first for each in found['paper']):.1%} "
        f"| {difference('racing', lambda each: each.first)} | {difference('racing', lambda each: each.kept)} "
        f"| {calls['oracle'] / calls['paper']:.0%} | {difference('oracle', lambda each: each.first)} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=300)
    parser.add_argument("--spread", type=float, default=0.5, help="standard deviation of prompts' skill, in logits")
    parser.add_argument("--tuning", action="store_true", help="the worlds on which settings may be tried")
    args = parser.parse_args()
    first = 0 if args.tuning else FRESH
    worlds = range(first, first + args.worlds)
    low, high = accuracy(0.5 - args.spread), accuracy(0.5 + args.spread)
    print(f"{args.worlds} worlds; two thirds of the prompts lie between {low:.0%} and {high:.0%}")
    print(
        "| selection | calls, paper | calls, racing | share | chosen, paper | racing: first | kept | oracle | first |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for case in CASES:
        print(compared(case, worlds, args.spread), flush=True)


if __name__ == "__main__":
    main()
