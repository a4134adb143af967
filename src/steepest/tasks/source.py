"""A task together with what methods never see: its test rows, and where all of it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from steepest import codec, trusting
from steepest.errors import StateError
from steepest.objects import refuse_carried
from steepest.tasks.metrics import open_recorded
from steepest.tasks.notes import Note
from steepest.tasks.task import Language, Task, Template
from steepest.types import Example

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """What a run folder's run.json says of the task; the rows are beside it, in data/."""

    name: str
    layout: str
    system: str
    extractor: str
    metric: Mapping[str, Any]
    max_tokens: int
    seeds: tuple[str, ...]
    origin: str
    """Where the rows came from."""
    language: Language = "en"
    description: str = ""
    notes: tuple[Note, ...] = ()
    """What reading the data brought up."""


@dataclass(frozen=True, slots=True)
class TaskSource:
    """A task and its rows in three splits."""

    task: Task
    """With train and dev rows."""
    test: tuple[Example, ...]
    """Opened once, at the end of a run."""
    origin: str
    """What to give as a task or as data to have it again; "rows" where they were given from Python."""
    notes: tuple[Note, ...] = ()
    """What reading the data brought up: rows skipped, repeated, nearly repeated."""

    def with_prompt(self, prompt: str) -> TaskSource:
        """The same with another initial prompt."""
        return replace(self, task=replace(self.task, seeds=(prompt,)))

    def rows(self, split: str) -> Sequence[Example]:
        """The rows of "train", "dev" or "test"."""
        return {"train": self.task.train, "dev": self.task.dev, "test": self.test}[split]


def restore_task(folder: Path, to_score: bool = False) -> TaskSource:
    """The task of a run, from its folder alone: the very rows, metric and initial prompts. Raises StateError.

    Nothing that the folder names is run by reading it: a user's function is looked for when it is first needed. Where
    that will be, `to_score`, the user must have named it, see `trusting`.
    """
    run = folder / "run.json"
    content = _bytes(run)
    data = codec.read(dict[str, Any], content, f"{run} cannot be read, restore it", StateError)
    told: TaskInfo = codec.decode(TaskInfo, data.get("task"), f"{run}: task", StateError)
    refuse_carried(told.metric, folder)
    if to_score:
        trusting.check(folder, content, data, tuple(trusting.metric_named(data["task"])))
    rows = {split: _rows(folder / "data" / f"{split}.jsonl") for split in SPLITS}
    task = Task(
        name=told.name,
        train=rows["train"],
        dev=rows["dev"],
        template=Template(told.layout, told.system),
        metric=open_recorded(told.metric),
        extractor=told.extractor,
        seeds=told.seeds,
        max_tokens=told.max_tokens,
        language=told.language,
        description=told.description,
    )
    return TaskSource(task, rows["test"], str(folder.resolve()), told.notes)


def _rows(path: Path) -> tuple[Example, ...]:
    lines = _bytes(path).removesuffix(b"\n").split(b"\n")
    return tuple(codec.read(Example, line, f"{path} line {number}", StateError) for number, line in enumerate(lines, 1))


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise StateError(f"a run folder holds {path.name}, got none at {str(path)!r}; correct the path or copy it back")
    return path.read_bytes()
