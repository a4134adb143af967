"""Does `steepest diagnose` rank tasks by what searches then gain on them? The bundled tasks, with the bundled model.

Diagnoses every task, searches each with two methods under a small budget, and gives Spearman's rank correlation between
the diagnosed headroom and the gain on held-out rows, mean over the searches. The bundled model plays every role.

    nice python bench/diagnose_ranks.py --out runs/diagnose-ranks        # the table of docs/diagnose.md

Searches are those of `steepest compare`: the same command goes on where it was cut short, and asks nothing again.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import time
from datetime import date
from pathlib import Path

from scipy.stats import spearmanr

import steepest
from steepest.bundled import world
from steepest.diagnosing.findings import Diagnosis
from steepest.reporting.comparison import MethodComparison


def main() -> None:
    """Diagnose, search, print the table and the correlations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/diagnose-ranks"))
    parser.add_argument("--tasks", nargs="+", default=list(world.TASKS))
    parser.add_argument("--methods", nargs="+", default=["opro:small", "protegi:small"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    started = time.time()
    found = {task: steepest.diagnose(data=task, out=args.out / "diagnoses" / task) for task in args.tasks}
    middle = time.time()
    searched = steepest.compare(
        args.methods,
        data=args.tasks,
        seeds=args.seeds,
        calls=args.calls,
        workers=args.workers,
        out=args.out / "searches",
    )
    print(f"{platform.machine()}, {os.cpu_count()} cores, {date.today().isoformat()}: ", end="")
    print(f"{middle - started:.0f} s to diagnose, {time.time() - middle:.0f} s to search\n")
    table(found, searched)


def table(found: dict[str, Diagnosis], searched: MethodComparison) -> None:
    """Task by task, and the correlations."""
    gains = {task: [c.best.mean - c.initial.mean for c in searched.found if c.cell.task == task] for task in found}
    mean = {task: math.fsum(each) / len(each) for task, each in gains.items()}
    print(
        "| task | initial | prompts differ, p | headroom | verdict | gain of searches | each |\n|---" + "|---" * 6 + "|"
    )
    for task in sorted(found, key=lambda task: -found[task].headroom.gain):
        told = found[task]
        each = ", ".join(f"{100 * gain:+.1f}" for gain in gains[task])
        print(
            f"| {task} | {100 * told.initial.score.mean:.1f} | {told.spread.p_value:.4f} "
            f"| {100 * told.headroom.gain:.1f} | {told.verdict} | {100 * mean[task]:+.1f} | {each} |"
        )
    tasks = list(found)
    measures = {
        "headroom": [found[task].headroom.gain for task in tasks],
        "what the initial prompt lacks": [1 - found[task].initial.score.mean for task in tasks],
        "spread between prompts": [found[task].spread.prompts for task in tasks],
        "best prompt tried, minus the initial one": [
            found[task].best.score.mean - found[task].initial.score.mean for task in tasks
        ],
    }
    print(f"\n| rank correlation with the gain, {len(tasks)} tasks | rho | p |\n|---|---|---|")
    for name, values in measures.items():
        rho = spearmanr(values, [mean[task] for task in tasks])
        print(f"| {name} | {rho.statistic:.2f} | {rho.pvalue:.3f} |")
    labels = dict.fromkeys(cell.cell.contender for cell in searched.found)
    by_method = [
        [
            next(c.best.mean - c.initial.mean for c in searched.found if c.cell.task == t and c.cell.contender == m)
            for t in found
        ]
        for m in labels
    ]
    if len(by_method) == 2:
        print(f"\nThe two methods' gains (first seed) agree by rho {spearmanr(*by_method).statistic:.2f}.")
    calls = [told.usage.calls for told in found.values()]
    print(f"\n{min(calls):,} to {max(calls):,} calls a diagnosis; {len(searched.found)} searches.")


if __name__ == "__main__":
    main()
