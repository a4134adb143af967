"""Do whole searches end as well where racing selects with a third of the evaluations?

Each method searches with the bundled model for the same number of steps from the same prompt, on the same rows, with
the same seed: as its preset "small" selects, and by racing within a third of the evaluations that this takes. Accuracy
is that of the best prompt on fresh rows; differences are paired by task and seed.

    python bench/racing_searches.py [--out runs/racing] [--seeds 1] [--steps 3]

Cells are run folders: an interrupted table goes on where it stopped, and `--done` prints what there is.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from steepest import api, spec
from steepest.bundled import source, world
from steepest.engine import Limits, Run
from steepest.models.opening import opened

DEV, FRESH = 50, 300
BUDGETS: Mapping[str, int] = {"opro": 66, "gpo": 76, "pe2": 76, "protegi": 67}
"""Of a race; where all rows are asked of what it keeps, that comes on top: together a third of what `preset=small` asks
in a step: 8 prompts on 32 rows, 6 on 50, 6 on 50, and a bandit of 200."""
KEEP: Mapping[str, Mapping[str, Any]] = {"opro": {"keep": 1}, "pe2": {"keep": 1}}


@dataclass(frozen=True)
class Cell:
    """One search."""

    method: str
    task: str
    seed: int
    is_racing: bool

    @property
    def name(self) -> str:
        """Of its run folder."""
        return f"{self.method}-{self.task}-{self.seed}-{'racing' if self.is_racing else 'small'}"

    @property
    def spec(self) -> dict[str, Any]:
        """The method."""
        race = {"select": {"use": "racing", "budget": BUDGETS[self.method]}, **KEEP.get(self.method, {})}
        return {"use": self.method, "preset": "small", **(race if self.is_racing else {})}


def cells(methods: Sequence[str], seeds: int) -> Iterator[Cell]:
    """All searches, both of a pair after each other."""
    for seed in range(seeds):
        for task in world.TASKS:
            for method in methods:
                yield Cell(method, task, seed, False)
                yield Cell(method, task, seed, True)


def search(cell: Cell, out: Path, steps: int) -> None:
    """Run a cell to its result, from wherever it stands."""
    folder = out / cell.name
    if (folder / "result.json").is_file():
        return
    model = opened("bundled", {"threads": 1})
    if (folder / "run.json").is_file():
        run = Run.open(folder, models=dict.fromkeys(("task", "optimizer"), model.model))
    else:
        rows = source(cell.task, seed=cell.seed, dev=DEV, test=FRESH)
        method = spec.build(cell.spec)
        run = Run.create(folder, api.make_plan(method, rows, {"task": model}, cell.seed, Limits(steps=steps), {}))
    with run:
        for _ in run.until():
            pass
        run.finish()


def line(method: str, pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> str:
    """A row of the table."""
    before = statistics.fmean(small["test"]["initial"]["mean"] for small, _ in pairs)
    ends = [(small["test"]["best"]["mean"], race["test"]["best"]["mean"]) for small, race in pairs]
    asked = [statistics.fmean(of["accounts"]["task"]["calls"] for of in side) for side in zip(*pairs, strict=True)]
    differences = [100 * (race - small) for small, race in ends]
    half = 1.96 * statistics.stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else math.nan
    mean = statistics.fmean(differences)
    return (
        f"| {method} | {len(pairs)} | {asked[0]:,.0f} | {asked[1]:,.0f} | {asked[1] / asked[0]:.0%} | {before:.1%} "
        f"| {statistics.fmean(small for small, _ in ends):.1%} | {statistics.fmean(race for _, race in ends):.1%} "
        f"| {mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}] |"
    )


def main() -> None:
    """Search, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/racing")
    parser.add_argument("--methods", nargs="+", default=list(BUDGETS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--done", action="store_true", help="only what is there already")
    args = parser.parse_args()
    out, every = Path(args.out), list(cells(args.methods, args.seeds))
    for cell in every if not args.done else ():
        search(cell, out, args.steps)
    results = {
        cell: json.loads((out / cell.name / "result.json").read_text())
        for cell in every
        if (out / cell.name / "result.json").is_file()
    }
    print("| method | pairs | calls, small | calls, racing | share | initial | small | racing | difference, points |")
    print("|---|---|---|---|---|---|---|---|---|")
    for method in args.methods:
        pairs = [
            (results[cell], results[other])
            for cell, other in zip(every[::2], every[1::2], strict=True)
            if cell.method == method and cell in results and other in results
        ]
        if pairs:
            print(line(method, pairs))


if __name__ == "__main__":
    main()
