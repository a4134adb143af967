"""The bundled tasks as rows: what `steepest run ... --task arithmetic` works on.

They are made from a seed, so fresh rows are there for the asking. Torch is needed for the model only.
"""

from __future__ import annotations

from steepest.bundled import world
from steepest.errors import TaskError, nearest
from steepest.tasks.answers import Choice, Number, Text, YesNo
from steepest.tasks.source import TaskSource
from steepest.tasks.task import Task, Template
from steepest.types import Example, content_id

EXTRACTOR = "Therefore, the final answer is"
LAYOUT = "{input} {prompt}"
MAX_TOKENS = 96


def source(name: str, seed: int = 0, train: int = 64, dev: int = 100, test: int = 300) -> TaskSource:
    """The bundled task `name` with so many rows, the same for the same seed; no question is in two splits.

    Raises TaskError for an unknown name.
    """
    if name not in world.TASKS:
        raise TaskError(f"there is no bundled task {name!r}; {nearest(name, world.TASKS)}")
    asked: set[str] = set()
    rows = {split: _rows(name, n, f"{seed}/{split}", asked) for split, n in _sizes(train, dev, test)}
    task = Task(
        name=name,
        train=rows["train"],
        dev=rows["dev"],
        template=Template(LAYOUT),
        metric=_metric(name, rows["train"]),
        extractor=EXTRACTOR,
        seeds=(world.NEUTRAL,),
        max_tokens=MAX_TOKENS,
    )
    return TaskSource(task, rows["test"], name)


def _sizes(train: int, dev: int, test: int) -> tuple[tuple[str, int], ...]:
    """Test first: its rows are the same whatever the sizes of the others."""
    return (("test", test), ("dev", dev), ("train", train))


def _rows(name: str, n: int, seed: str, asked: set[str]) -> tuple[Example, ...]:
    """`n` questions that were not asked before."""
    found = world.puzzles(name, n + len(asked), seed)
    fresh = [puzzle for puzzle in found if puzzle.question not in asked][:n]
    asked.update(puzzle.question for puzzle in fresh)
    return tuple(Example(content_id(p.question, p.answer), p.question, p.answer) for p in fresh)


def _metric(name: str, rows: tuple[Example, ...]) -> Number | Choice | YesNo | Text:
    """The kind of answer, by the task's labels; without labels, numbers or words by what the answers are."""
    labels = world.LABELS[name]
    if len(labels) == 2:
        return YesNo((labels[0], labels[1]), EXTRACTOR)
    if labels:
        return Choice(tuple(labels), EXTRACTOR)
    return Number(EXTRACTOR) if all(row.target.lstrip("-").isdigit() for row in rows) else Text(EXTRACTOR)
