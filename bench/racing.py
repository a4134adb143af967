"""Does racing choose as good a prompt as the papers' selections, with a third of their evaluations?

Simulated prompts whose accuracy is known: a prompt is right about a row with the probability sigmoid(skill + ease),
so that rows are easy or hard for all. For each method one selection as it stands in a step, at the paper's settings
and by `racing` within a third of the calls (for OPRO, GPO and PE2, whose scores must compare between steps, with the
winners asked all rows). Quality is the true accuracy of what is chosen; the difference is paired by world.

    python bench/racing.py [--worlds 300] [--spread 0.5]
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from steepest.calls import CallLog
from steepest.context import Context, World
from steepest.ledger import UNLIMITED, Ledger
from steepest.parts.bandits import UCB
from steepest.parts.racing import Racing
from steepest.parts.selection import Filter, Full, Select, Uniform, finalists
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


CASES = (
    Case("ape (filter)", 51, 50, 10, Filter(), Racing(budget=300)),
    Case("ape, preset code", 91, 50, 9, Uniform(1820), Racing(budget=600)),
    Case("protegi", 36, 100, 4, UCB(c=2.0), Racing(budget=682)),
    Case("opro", 8, 100, 1, Full(), Racing(budget=220), True),
    Case("gpo", 8, 150, 1, Full(), Racing(budget=330), True),
    Case("pe2", 16, 150, 2, Full(), Racing(budget=640), True),
    Case("gradsum, 12 dev rows", 12, 12, 3, Full(), Racing(budget=48)),
)


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
        self.examples = [Example(f"row {i}", f"row {i}", "yes") for i in range(case.rows)]
        ease = {row.id: dice.gauss(0, EASE) for row in self.examples}
        self.right = {
            (text, row): float(dice.random() < sigmoid(skill + ease[row]))
            for text, skill in self.skills.items()
            for row in ease
        }
        self.pairs: set[tuple[str, str]] = set()

    def score(self, candidates: Sequence[Candidate], examples: Sequence[Example]) -> list[Scored]:
        """Answers, counted once each."""
        self.pairs |= {(candidate.text, row.id) for candidate in candidates for row in examples}
        return [Scored(each, {row.id: self.right[each.text, row.id] for row in examples}) for each in candidates]


@dataclass(frozen=True)
class Chosen:
    """What a selection found, and what it asked."""

    first: float
    """True accuracy of the first."""
    kept: float
    """Mean true accuracy of all that are kept."""
    calls: int


def chosen(case: Case, how: Select, seed: int, spread: float) -> Chosen:
    """One selection in one world."""
    asked = Asked(case, seed, spread)
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


def compared(case: Case, worlds: int, spread: float) -> str:
    """One line of the table."""
    ways: Mapping[str, Select] = {"paper": case.paper, "racing": case.racing}
    found = {name: [chosen(case, how, seed, spread) for seed in range(worlds)] for name, how in ways.items()}
    pairs = list(zip(found["racing"], found["paper"], strict=True))
    calls = {name: statistics.fmean(each.calls for each in of) for name, of in found.items()}
    return (
        f"| {case.name} | {calls['paper']:,.0f} | {calls['racing']:,.0f} | {calls['racing'] / calls['paper']:.0%} "
        f"| {statistics.fmean(each.first for each in found['paper']):.1%} "
        f"| {interval([racing.first - paper.first for racing, paper in pairs])} "
        f"| {interval([racing.kept - paper.kept for racing, paper in pairs])} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=300)
    parser.add_argument("--spread", type=float, default=0.5, help="standard deviation of prompts' skill, in logits")
    args = parser.parse_args()
    low, high = accuracy(0.5 - args.spread), accuracy(0.5 + args.spread)
    print(f"{args.worlds} worlds; two thirds of the prompts lie between {low:.0%} and {high:.0%}")
    print("| selection | calls, paper | calls, racing | share | chosen, paper | first: racing - paper, points | kept |")
    print("|---|---|---|---|---|---|---|")
    for case in CASES:
        print(compared(case, args.worlds, args.spread), flush=True)


if __name__ == "__main__":
    main()
