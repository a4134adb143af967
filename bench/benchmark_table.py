"""The table and the splits of docs/benchmarks.md, from the benchmarks' original files.

python bench/benchmark_table.py --data FOLDER         # FOLDER/gsm8k, FOLDER/bbh, ... hold the original files
"""

from __future__ import annotations

import argparse
from pathlib import Path

from steepest.errors import TaskError
from steepest.tasks import benchmarks
from steepest.tasks.judge import Judge
from steepest.tasks.source import TaskSource

MOST_LABELS = 6


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    print("| task | rows | answers | recovered |\n|---|---|---|---|")
    for name in benchmarks.names():
        try:
            source = benchmarks.load(name, data)
        except TaskError:
            rows, share = "-", "-"
        else:
            task = source.task
            rows, share = f"{len(task.train)} / {len(task.dev)} / {len(source.test)}", recovered(source)
        if rows != "-" or not name.startswith("mmlu/"):
            print(f"| `{name}` | {rows} | {answers(name)} | {share} |")
    print("\n## Splits\n")
    for stem in benchmarks.stems():
        found = next(benchmarks.benchmark(name) for name in benchmarks.names() if name.split("/")[0] == stem)
        print(f"- **{stem}** ({found.cite}; licence: {found.licence}). {found.papers}")


def answers(name: str) -> str:
    """What counts as an answer, in words."""
    kind = benchmarks.benchmark(name).kind
    if isinstance(kind, str):
        return kind
    if "judge" in kind:
        return "judge"
    labels = kind["labels"]
    return ", ".join(labels) if len(labels) <= MOST_LABELS else f"{labels[0]} to {labels[-1]}"


def recovered(source: TaskSource) -> str:
    """The share of right answers that are read out of "The answer is ..."."""
    metric = source.task.metric
    if isinstance(metric, Judge):
        return "-"
    rows = [*source.task.train, *source.task.dev, *source.test]
    right = sum(metric(row, f"Reasons.\nThe answer is {row.target}").score == 1 for row in rows)
    return f"{100 * right / len(rows):.1f} %"


if __name__ == "__main__":
    main()
