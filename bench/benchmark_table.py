"""What docs/tasks.md and docs/benchmarks.md say of the benchmarks, from their original files.

python bench/benchmark_table.py --data FOLDER         # FOLDER/gsm8k, FOLDER/bbh, ... hold the original files
python bench/benchmark_table.py --data FOLDER --write # put it into the two pages, between their marks
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from steepest.errors import TaskError
from steepest.tasks import benchmarks
from steepest.tasks.duplicates import Duplicates, find
from steepest.tasks.judge import Judge
from steepest.tasks.source import SPLITS, TaskSource

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {"table": "tasks.md", "duplicates": "tasks.md", "splits": "benchmarks.md"}
MOST_LABELS = 6


def main() -> None:
    """Print all of it, or write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    sources = {name: at_hand(name, asked.data) for name in benchmarks.names()}
    found = {"table": list(table(sources)), "duplicates": list(duplicates(sources)), "splits": list(splits())}
    for name, lines in found.items():
        text = "\n".join(lines)
        if asked.write:
            put(DOCS / PAGES[name], name, text)
        else:
            print(f"{text}\n")


def at_hand(name: str, data: Path) -> TaskSource | None:
    """The benchmark, where its files are there."""
    try:
        return benchmarks.load(name, data)
    except TaskError:
        return None


def put(page: Path, name: str, text: str) -> None:
    """Replace what stands between two marks."""
    before, mark, rest = page.read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- end of {name} -->")
    page.write_text(f"{before}{mark}\n{text}\n\n{end}{after}", encoding="utf-8")


def table(sources: dict[str, TaskSource | None]) -> Iterator[str]:
    """Rows, answers and coverage of each."""
    yield "| task | rows | answers | recovered |\n|---|---|---|---|"
    for name, source in sources.items():
        if source is not None:
            yield row(name, source)
        elif not name.startswith("mmlu/"):
            yield f"| `{name}` | - | {answers(name)} | - |"


def row(name: str, source: TaskSource) -> str:
    """A benchmark's row of the table."""
    counts = " / ".join(str(len(source.rows(split))) for split in SPLITS)
    return f"| `{name}` | {counts} | {answers(name)} | {recovered(source)} |"


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


def duplicates(sources: dict[str, TaskSource | None]) -> Iterator[str]:
    """The benchmarks in which rows of different splits are alike, or the same question has different answers."""
    yield "| task | rows | repeated | nearly repeated in another split | contradictions |\n|---|---|---|---|---|"
    looked = 0
    for name, source in sources.items():
        if source is None:
            continue
        looked += 1
        rows = sum(len(source.rows(split)) for split in SPLITS)
        all_found = doubles(source)
        counts = [len(part) for part in (all_found.repeats, all_found.near, all_found.contradictions)]
        if any(counts):
            yield f"| `{name}` | {rows} | {' | '.join(map(str, counts))} |"
    yield f"\nNone in the other tasks of the {looked} at hand."


def doubles(source: TaskSource) -> Duplicates:
    """Rows of a benchmark that repeat others."""
    shown = [slot for slot in source.task.template.slots if slot not in ("input", "prompt")]
    return find({split: source.rows(split) for split in SPLITS}, shown, {})


def splits() -> Iterator[str]:
    """How each benchmark is split, and why so."""
    for stem in benchmarks.stems():
        found = next(benchmarks.benchmark(name) for name in benchmarks.names() if name.split("/")[0] == stem)
        yield f"- **{stem}** ({found.cite}; licence: {found.licence}). {found.papers}"


if __name__ == "__main__":
    main()
