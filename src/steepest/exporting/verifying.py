"""Whether an exported file still asks what the run asked, and whether the model still answers it as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from steepest.errors import SpecError
from steepest.evaluating import measure
from steepest.exporting import format_named
from steepest.exporting.rebuilding import Rebuilt
from steepest.exporting.subject import Subject, subject_of
from steepest.models.opening import Opened
from steepest.objects import refuse_carried
from steepest.reporting.statistics import percent
from steepest.roles import open_models
from steepest.tasks.source import TaskSource
from steepest.tasks.task import Template
from steepest.types import Example, Message

_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Verified:
    """An export, checked."""

    by: str
    """What rebuilt the messages from the file."""
    split: str
    n: int
    """Rows that were asked."""
    recorded: float
    """Mean score of these rows in the run."""
    measured: float
    """The same with the rebuilt messages; NaN where they differ and nothing was asked."""
    difference: str
    """What differs, on one line; empty where nothing does."""


@dataclass(frozen=True, slots=True)
class _AsExported(Template):
    """Messages of an exported file in place of a layout's."""

    messages: Mapping[str, tuple[Message, ...]] = field(default_factory=dict)
    """By the ids of rows."""

    def render(self, prompt: str, example: Example) -> tuple[Message, ...]:
        return self.messages[example.id]


def verify(
    folder: Path, to: str, path: Path, *, which: str = "best", split: str = "dev", rows: int | None = None
) -> Verified:
    """Rebuild the messages of a run's rows from an exported file, and ask the run's models with them once more.

    Nothing is asked where the messages differ from the run's. SpecError where the run has no scores to compare with.
    """
    subject = subject_of(folder, which, split, to_ask=True)
    if rows is not None and rows < 1:
        raise SpecError(f"rows to verify are at least 1, got {rows}; leave it out for all")
    recorded = subject.recorded(split)
    asked = [row for row in subject.rows if row.id in recorded][:rows]
    if not asked:
        raise SpecError(f"the run has no scores of its {which} prompt on {split} rows; give another split")
    mean = sum(recorded[row.id] for row in asked) / len(asked)
    rebuilt = format_named(to).rebuild(path, subject, asked)
    if difference := _difference(subject, asked, rebuilt):
        return Verified(rebuilt.by, split, len(asked), mean, float("nan"), difference)
    score = measure(subject.prompt, _asking(subject, asked, rebuilt, split), split, _models(subject)).score
    same = abs(score.mean - mean) < _SAME and score.n == len(asked)
    was, is_now = f"{percent(mean)} on {len(asked):,}", f"{percent(score.mean)} on {score.n:,}"
    difference = "" if same else f"the score differs: {was} {split} rows in the run, {is_now} now"
    return Verified(rebuilt.by, split, len(asked), mean, score.mean, difference)


def _difference(subject: Subject, rows: Sequence[Example], rebuilt: Rebuilt) -> str:
    """The first row that is asked something else than in the run."""
    template = subject.source.task.template
    for row, messages in zip(rows, rebuilt.messages, strict=True):
        wanted = template.render(subject.prompt, row)
        if len(messages) != len(wanted):
            return f"row {row.id!r} is asked in {len(messages)} messages, {len(wanted)} in the run"
        for ours, theirs in zip(wanted, messages, strict=True):
            if ours != theirs:
                at = _parting(ours.content, theirs.content)
                shown = f"{theirs.content[at : at + 40]!r} where the run has {ours.content[at : at + 40]!r}"
                return f"row {row.id!r} is asked something else: in the {theirs.role}'s turn, {shown}"
    return ""


def _parting(one: str, other: str) -> int:
    """Where two texts begin to differ."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _asking(subject: Subject, rows: Sequence[Example], rebuilt: Rebuilt, split: str) -> TaskSource:
    """The run's task on these rows, asked with the rebuilt messages."""
    source = subject.source
    messages = {row.id: each for row, each in zip(rows, rebuilt.messages, strict=True)}
    old = source.task.template
    task = replace(source.task, template=_AsExported(old.layout, old.system, messages))
    if split == "dev":
        return replace(source, task=replace(task, dev=tuple(rows)))
    return replace(source, task=task, test=tuple(rows))


def _models(subject: Subject) -> Mapping[str, Opened]:
    """The run's own models for the roles that an evaluation has."""
    recorded = {role: model for role, model in subject.info.models.items() if role in ("task", "judge")}
    refuse_carried([[model.name, model.options] for model in recorded.values()], subject.tables.folder)
    options = {
        name if role == "task" else f"{role}.{name}": value
        for role, model in recorded.items()
        for name, value in model.options.items()
    }
    return open_models({role: model.name for role, model in recorded.items()}, options)
