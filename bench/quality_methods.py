"""How much of the gap do the seven methods close on the bundled tasks, with the bundled model in every role?

Every method searches from the neutral instruction with the same budget of calls, on the same rows, with the same
seeds; initial, best and ceiling (the best instruction known for the task) are then measured on fresh rows.

    python bench/quality_methods.py --out runs/methods               # the table of docs/papers.md
    python bench/quality_methods.py --quick                          # two tasks, one seed, a small budget

Text methods run with `preset=small`, sized for such a budget; GReaTer with its defaults. Cells are run folders: an
interrupted table goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from steepest import api, spec
from steepest.bundled import source, world
from steepest.engine import Limits, Run
from steepest.evaluating import measure
from steepest.models.opening import opened
from steepest.reporting.statistics import interval
from steepest.stops import reached

METHODS: Mapping[str, dict[str, Any]] = {
    "greater": {"use": "greater"},
    **{name: {"use": name, "preset": "small"} for name in ("ape", "protegi", "opro", "pe2", "gpo", "gradsum")},
    "no errors": {"use": "protegi", "preset": "small", "error_groups": 0, "paraphrases": 4},
    "no past": {"use": "opro", "preset": "small", "trajectory": 0},
}
"""The seven methods, and two controls: ProTeGi's search that only says the same in other words, and OPRO's that is
shown no earlier prompts."""
CLOSED = 0.5
"""The share of a gap from which it counts as closed."""


@dataclass(frozen=True)
class Cell:
    """One search."""

    task: str
    method: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its run folder."""
        return f"{self.method.replace(' ', '-')}-{self.task}-{self.seed}"


@dataclass(frozen=True)
class Settings:
    """What all cells share."""

    out: str
    calls: int
    dev: int
    fresh: int


@dataclass(frozen=True)
class Spent:
    """What a search asked of the models, the referee's and the test's questions left out, and what was unusable."""

    calls: int
    tokens: int
    replies: int
    unusable: int
    steps: int


def search(cell: Cell, settings: Settings) -> None:
    """Run a cell to its result, from wherever it stands."""
    folder = Path(settings.out) / cell.name
    if (folder / "result.json").is_file():
        return
    model = opened("bundled", {"threads": 1})
    if (folder / "run.json").is_file():
        run = Run.open(folder, models=dict.fromkeys(("task", "optimizer", "judge"), model.model))
    else:
        rows = source(cell.task, seed=cell.seed, dev=settings.dev, test=settings.fresh)
        method = spec.build(METHODS[cell.method])
        run = Run.create(
            folder, api.make_plan(method, rows, {"task": model}, cell.seed, Limits(calls=settings.calls), {})
        )
    with run:
        for _ in run.until(reached(1.0)):
            pass
        run.finish()


def ceiling(task: str, seed: int, settings: Settings) -> float:
    """Accuracy of the best instruction known for a task, on the rows that the cells are tested on."""
    rows = source(task, seed=seed, dev=settings.dev, test=settings.fresh)
    return measure(world.BEST[task], rows, "test", {"task": opened("bundled", {"threads": 1})}).score.mean


def main() -> None:
    """Search, measure, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/methods")
    parser.add_argument("--tasks", nargs="+", default=list(world.TASKS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--dev", type=int, default=50)
    parser.add_argument("--fresh", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if args.quick:
        args.tasks, args.seeds, args.calls, args.fresh = ["dates", "lies"], 1, 1000, 200
        args.out = f"{args.out}-quick"
    os.environ["OMP_NUM_THREADS"] = "1"
    settings = Settings(args.out, args.calls, args.dev, args.fresh)
    cells = [Cell(t, m, s) for s in range(args.seeds) for m in args.methods for t in args.tasks]
    keys = [(t, s) for t in args.tasks for s in range(args.seeds)]
    started = time.time()
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        searches = [pool.submit(search, cell, settings) for cell in cells]
        tops = pool.map(ceiling, *zip(*keys, strict=True), [settings] * len(keys))
        for future in searches:
            future.result()
        ceilings = dict(zip(keys, tops, strict=True))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {date.today().isoformat()}, ", end="")
    print(f"{args.calls:,} calls a search, {args.fresh} fresh rows, {time.time() - started:.0f} s\n")
    results = {cell: json.loads((Path(args.out) / cell.name / "result.json").read_text()) for cell in cells}
    accuracies(results, ceilings, args.methods)
    costs(results, ceilings, Path(args.out), args.methods)


def accuracies(results: Mapping[Cell, Any], ceilings: Mapping[tuple[str, int], float], methods: Sequence[str]) -> None:
    """Accuracy on fresh rows by task and method: mean, and each seed."""
    print("| task | initial | ceiling | " + " | ".join(methods) + " |")
    print("|---" * (3 + len(methods)) + "|")
    for task in dict.fromkeys(cell.task for cell in results):
        start = _mean([results[cell]["test"]["initial"]["mean"] for cell in results if cell.task == task])
        top = _mean([value for (name, _), value in ceilings.items() if name == task])
        found = [_best(results, task, method) for method in methods]
        texts = [f"{_mean(values):.2f} ({', '.join(f'{value:.2f}' for value in values)})" for values in found]
        print(f"| {task} | {start:.2f} | {top:.2f} | " + " | ".join(texts) + " |")


def costs(
    results: Mapping[Cell, Any], ceilings: Mapping[tuple[str, int], float], out: Path, methods: Sequence[str]
) -> None:
    """Per method: mean accuracy, gaps closed, verdicts, what was spent, what could not be used."""
    titles = ("method", "mean accuracy", "gaps closed by half", "better / none / worse", "steps", "calls", "tokens")
    print(f"\n| {' | '.join(titles)} | optimizer replies | unusable |")
    print("|---" * (len(titles) + 2) + "|")
    for method in methods:
        mine = [cell for cell in results if cell.method == method]
        shares = _shares(results, ceilings, method)
        mean = interval([results[cell]["test"]["best"]["mean"] for cell in mine])
        counts = Counter(results[cell]["verdict"] for cell in mine)
        verdicts = " / ".join(str(counts[name]) for name in ("better", "no_difference", "worse"))
        paid = [spent(out / cell.name) for cell in mine]
        replies, unusable = sum(each.replies for each in paid), sum(each.unusable for each in paid)
        print(
            f"| {method} | {mean.mean:.3f} ({mean.low:.3f} to {mean.high:.3f}) "
            f"| {sum(share >= CLOSED for share in shares)} of {len(shares)} | {verdicts} "
            f"| {_mean([each.steps for each in paid]):.1f} | {_mean([each.calls for each in paid]):,.0f} "
            f"| {_mean([each.tokens for each in paid]):,.0f} | {replies / len(paid):.0f} "
            f"| {100 * unusable / max(replies, 1):.0f} % |"
        )


def spent(folder: Path) -> Spent:
    """What a run paid, by its committed steps; unusable replies of the optimizer and the judge."""
    steps = [json.loads(path.read_text()) for path in sorted((folder / "steps").glob("*.json"))]
    with (folder / "calls.jsonl").open() as lines:
        asked = [call for call in map(json.loads, lines) if call["role"] != "task" and call["step"] < len(steps)]
    counts = Counter[str]()
    for step in steps:
        counts.update(step["counts"])
    return Spent(
        calls=sum(step["usage"]["calls"] for step in steps),
        tokens=sum(step["usage"]["prompt_tokens"] + step["usage"]["output_tokens"] for step in steps),
        replies=len(asked),
        unusable=sum(n for what, n in counts.items() if what.startswith("unusable: ")),
        steps=len(steps) - 1,
    )


def _shares(results: Mapping[Cell, Any], ceilings: Mapping[tuple[str, int], float], method: str) -> list[float]:
    """Share of the gap that a method closes, task by task, over all seeds; 0 where there is no gap of 5 points."""
    shares = []
    for task in dict.fromkeys(cell.task for cell in results):
        start = _mean([results[cell]["test"]["initial"]["mean"] for cell in results if cell.task == task])
        top = _mean([value for (name, _), value in ceilings.items() if name == task])
        gap = top - start
        shares.append((_mean(_best(results, task, method)) - start) / gap if gap >= 0.05 else 0.0)
    return shares


def _best(results: Mapping[Cell, Any], task: str, method: str) -> list[float]:
    return [results[c]["test"]["best"]["mean"] for c in results if (c.task, c.method) == (task, method)]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


if __name__ == "__main__":
    main()
