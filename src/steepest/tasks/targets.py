"""The right answers of all rows, looked at together: what kind they are, and which of them are odd."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from steepest import codec
from steepest.errors import TaskError
from steepest.tasks.answers import Choice, Number, YesNo, infer, labels_of
from steepest.tasks.datasets import Read, first_columns
from steepest.tasks.judge import Judge
from steepest.tasks.metrics import Answer, gold_of
from steepest.tasks.notes import Note, counted
from steepest.tasks.tables import Rows
from steepest.tasks.task import Metric

_NEARLY_ALL = 0.9
"""Share of targets of one kind from which the others are taken for mistakes, not for another kind."""


def settled(answer: Answer, targets: Sequence[str]) -> Answer:
    """The kind of answer that nearly all targets call for, so that the few others are found; `answer` where all do."""
    if answer not in ("auto", "yes_no"):
        return answer
    least = _NEARLY_ALL * len(targets)
    if answer == "auto" and least <= sum(isinstance(infer([target]), Number) for target in targets) < len(targets):
        return "number"
    counts = Counter(target.strip().casefold() for target in targets)
    two = dict(counts.most_common(2))
    common = [target for target in targets if target.strip().casefold() in two]
    if len(counts) > 2 and len(common) >= least and isinstance(kind := infer(common), YesNo):
        return {"use": "yes_no", "labels": list(kind.labels if answer == "auto" else labels_of(common))}
    return answer


def rare(read: Read, metric: Metric | Judge) -> list[Note]:
    """Labels that only one row has, where rows have 20 for each label: more often mistyped than meant."""
    if not isinstance(metric, Choice) or len(read.examples) < 20 * len(metric.labels):
        return []
    counts = Counter(example.target for example in read.examples)
    rows = zip(read.examples, read.places, strict=True)
    once = tuple(f"{place}: {example.target!r}" for example, place in rows if counts[example.target] == 1)
    return [Note(f"{counted(len(once), 'label')} in one row only, perhaps mistyped", once)] if once else []


def constant(read: Read, metric: Metric | Judge) -> list[Note]:
    """The right answer, where all rows have the same one: then a prompt that says it wins."""
    targets = {example.target for example in read.examples}
    if isinstance(metric, Judge) or len(targets) > 1 or "" in targets:
        return []
    return [Note(f"all rows have the same right answer, {codec.shortened(targets.pop())}: a prompt can just say it")]


def with_gold(read: Read, metric: Metric | Judge, data: str | Path | Rows, target: str, skip_bad: bool) -> Read:
    """The same with bare answers for targets; rows that have none are left out, or an error."""
    kept, faults = [], list(read.faults)
    for example, place in zip(read.examples, read.places, strict=True):
        try:
            kept.append((replace(example, target=gold_of(metric, example.target)), place))
        except TaskError as error:
            number = first_columns(data).index(target) + 1
            if not skip_bad:
                raise TaskError(f"{place}, column {number}: {error}") from None
            faults.append(f"{place}, column {number}: {error}")
    return Read(tuple(example for example, _ in kept), tuple(place for _, place in kept), tuple(faults))
