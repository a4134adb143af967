"""How much of the gap does GReaTer close on the bundled tasks, and what in it does the work?

Every variant searches from the neutral instruction with the same token budget, on the same rows, with the same
seeds; initial, best and ceiling (the best instruction known for the task) are then measured on fresh rows.

    python bench/quality_greater.py --out runs/quality               # the table of docs/papers/greater.md
    python bench/quality_greater.py --quick                          # two tasks, one seed, a small budget

Cells are run folders: an interrupted table goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from steepest import spec
from steepest.bundled import source, world
from steepest.engine import Limits, Plan, Run
from steepest.evaluating import measure
from steepest.models.opening import opened
from steepest.reporting.statistics import PairedTest, interval, paired_test
from steepest.stops import reached

VARIANTS: dict[str, dict[str, Any]] = {
    "sampled": {},
    "answer": {"gradient": "answer"},
    "random": {"shortlist": "random"},
    "paper": {"preset": "paper"},
    "no reasoning": {"preset": "paper", "reasoning": False},
}
"""sampled: the default. answer, random: the same but for who picks the edits. paper, no reasoning: the paper's loop
and its ablation."""


@dataclass(frozen=True)
class Cell:
    """One search."""

    task: str
    variant: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its run folder."""
        return f"{self.variant.replace(' ', '-')}-{self.task}-{self.seed}"


@dataclass(frozen=True)
class Settings:
    """What all cells share."""

    out: str
    tokens: int
    steps: int
    fresh: int


def search(cell: Cell, settings: Settings) -> None:
    """Run a cell to its result, from wherever it stands."""
    folder = Path(settings.out) / cell.name
    if (folder / "result.json").is_file():
        return
    model = opened("bundled", {"threads": 1})
    if (folder / "run.json").is_file():
        run = Run.open(folder, models={"task": model.model})
    else:
        rows = source(cell.task, seed=cell.seed, test=settings.fresh)
        method = spec.build({"use": "greater", **VARIANTS[cell.variant]})
        limits = Limits(steps=settings.steps, tokens=settings.tokens)
        run = Run.create(folder, Plan(method, rows.task, rows.test, {"task": model}, cell.seed, limits))
    with run:
        for _ in run.until(reached(1.0)):
            pass
        run.finish()


def ceiling(task: str, seed: int, fresh: int) -> float:
    """Accuracy of the best instruction known for a task, on the rows that the cells are tested on."""
    rows = source(task, seed=seed, test=fresh)
    return measure(world.BEST[task], rows, "test", {"task": opened("bundled", {"threads": 1})}).score.mean


def main() -> None:
    """Search, measure, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/quality")
    parser.add_argument("--tasks", nargs="+", default=list(world.TASKS))
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=300_000)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--fresh", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if args.quick:
        args.tasks, args.seeds, args.tokens, args.fresh = ["dates", "lies"], 1, 150_000, 200
        args.out = f"{args.out}-quick"
    os.environ["OMP_NUM_THREADS"] = "1"
    settings = Settings(args.out, args.tokens, args.steps, args.fresh)
    cells = [Cell(t, v, s) for s in range(args.seeds) for v in args.variants for t in args.tasks]
    started = time.time()
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        searches = [pool.submit(search, cell, settings) for cell in cells]
        keys = [(t, s) for t in args.tasks for s in range(args.seeds)]
        ceilings = pool.map(ceiling, *zip(*[(t, s, args.fresh) for t, s in keys], strict=True))
        for future in searches:
            future.result()
        best_known = dict(zip(keys, ceilings, strict=True))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {date.today().isoformat()}, ", end="")
    print(f"{args.tokens:,} tokens a search, {args.fresh} fresh rows, {time.time() - started:.0f} s\n")
    report(cells, args, best_known)
    speeds(cells, args, best_known)


def report(cells: Sequence[Cell], args: argparse.Namespace, best_known: dict[tuple[str, int], float]) -> None:
    """Accuracies by task and variant, share of the gap closed, and paired differences between variants."""
    results = {cell: json.loads((Path(args.out) / cell.name / "result.json").read_text()) for cell in cells}
    best = {cell: result["test"]["best"]["mean"] for cell, result in results.items()}
    initial = {cell: result["test"]["initial"]["mean"] for cell, result in results.items()}
    print("| task | initial | ceiling | " + " | ".join(args.variants) + f" | gap closed by {args.variants[0]} |")
    print("|---" * (4 + len(args.variants)) + "|")
    for task in args.tasks:
        start = _mean([initial[c] for c in cells if c.task == task])
        top = _mean([best_known[task, s] for s in range(args.seeds)])
        found = {v: [best[c] for c in cells if (c.task, c.variant) == (task, v)] for v in args.variants}
        texts = [f"{_mean(f):.2f} ({', '.join(f'{x:.2f}' for x in f)})" for f in found.values()]
        closed = (_mean(found[args.variants[0]]) - start) / (top - start) if top > start else math.nan
        print(f"| {task} | {start:.2f} | {top:.2f} | " + " | ".join(texts) + f" | {100 * closed:.0f} % |")
    print("\n| variant | mean accuracy | verdicts better / none / worse | steps | difference to the first |")
    print("|---|---|---|---|---|")
    for variant in args.variants:
        mine = {f"{c.task}/{c.seed}": best[c] for c in cells if c.variant == variant}
        first = {f"{c.task}/{c.seed}": best[c] for c in cells if c.variant == args.variants[0]}
        verdicts = [results[c]["verdict"] for c in cells if c.variant == variant]
        counts = " / ".join(str(verdicts.count(v)) for v in ("better", "no_difference", "worse"))
        steps = _mean([results[c]["steps"] for c in cells if c.variant == variant])
        gap = _difference(paired_test(first, mine)) if variant != args.variants[0] else ""
        mean = interval(list(mine.values()))
        print(f"| {variant} | {mean.mean:.3f} ({mean.low:.3f} to {mean.high:.3f}) | {counts} | {steps:.0f} | {gap} |")


def curve(folder: Path) -> list[tuple[int, float]]:
    """(tokens spent, best dev accuracy so far) after each step."""
    points: list[tuple[int, float]] = []
    tokens, best = 0, 0.0
    for path in sorted((folder / "steps").glob("*.json")):
        step = json.loads(path.read_text())
        tokens += step["usage"]["prompt_tokens"] + step["usage"]["output_tokens"]
        scores = step["referee"]["scores"].values()
        best = max(best, math.fsum(scores) / len(scores))
        points.append((tokens, best))
    return points


def speeds(cells: Sequence[Cell], args: argparse.Namespace, best_known: dict[tuple[str, int], float]) -> None:
    """What a budget buys: best dev accuracy after so many tokens, and tokens until 80 % of the gap is closed on dev.

    Tasks whose gap is below 5 points are left out.
    """
    budgets = [args.tokens // 6, args.tokens // 3, args.tokens * 2 // 3, args.tokens]
    print("\n| variant | " + " | ".join(f"dev at {b // 1000} k" for b in budgets) + " | 80 % of gap | median tokens |")
    print("|---" * (3 + len(budgets)) + "|")
    for variant in args.variants:
        at: list[list[float]] = [[] for _ in budgets]
        needed = []
        for cell in (c for c in cells if c.variant == variant):
            points, top = curve(Path(args.out) / cell.name), best_known[cell.task, cell.seed]
            start = points[0][1]
            if top - start < 0.05:
                continue
            for found, budget in zip(at, budgets, strict=True):
                found.append(max([a for t, a in points if t <= budget], default=start))
            needed.append(min((t for t, a in points if a >= start + 0.8 * (top - start)), default=math.inf))
        middle = sorted(needed)[len(needed) // 2]
        median = f"{middle:,.0f}" if middle < math.inf else "never"
        reached_by = sum(n < math.inf for n in needed)
        texts = " | ".join(f"{_mean(found):.3f}" for found in at)
        print(f"| {variant} | {texts} | {reached_by} of {len(needed)} searches | {median} |")


def _difference(test: PairedTest) -> str:
    return f"{test.difference:+.3f} ({test.low:+.3f} to {test.high:+.3f}; p = {test.p_value:.3g}, n = {test.n})"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


if __name__ == "__main__":
    main()
