"""What is exported of a run: a prompt as the messages that were scored, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from steepest import codec
from steepest.answering import EXTRACTION_TOKENS
from steepest.errors import SpecError, StateError, nearest
from steepest.exporting.pieces import Turn, turns_of
from steepest.records import StepRecord
from steepest.reporting.read import HeldOut, Tables, read_run
from steepest.runfolder import RunFolder, RunInfo
from steepest.tasks.source import TaskSource, restore_task
from steepest.types import Example

WHICH = ("best", "initial")
HELD = ("dev", "test")


@dataclass(frozen=True, slots=True)
class Subject:
    """A run's prompt with everything around it."""

    prompt: str
    which: str
    turns: tuple[Turn, ...]
    source: TaskSource
    """The run's task, metric and rows."""
    rows: Sequence[Example]
    """For formats that hold rows."""
    info: RunInfo
    tables: Tables

    @property
    def decoding(self) -> Mapping[str, Any]:
        """How every row was answered."""
        return {"temperature": 0.0, "max_tokens": self.source.task.max_tokens, "stop": []}

    @property
    def follow_up(self) -> Mapping[str, Any] | None:
        """What the reply is made to go on with where no answer could be found in it; None where the task has none."""
        text = self.source.task.extractor
        return {"text": text, "max_tokens": EXTRACTION_TOKENS} if text else None

    @property
    def metric(self) -> dict[str, Any]:
        """The metric as run.json has it."""
        return dict(self.info.task.metric)

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the prompt comes from, and its scores with their 95 % intervals."""
        result, spec = self.tables.result, self.tables.spec
        told: dict[str, Any] = {
            "run": self.tables.folder.resolve().name,
            "steepest": spec.steepest,
            "created": spec.created,
            "method": spec.method["use"],
            "task": self.info.task.name,
            "models": {role: model.name for role, model in self.info.models.items()},
            "seed": spec.seed,
            "prompt": self.which,
            "finished": result is not None,
        }
        if result is not None:
            told |= {"verdict": result.verdict, "sentence": result.sentence}
            told |= {split: codec.encode(getattr(result, split)) for split in ("test", "dev")}
        elif (winner := self.tables.winner) is not None and self.which == "best":
            told["dev"] = {"best": {name: codec.encode(getattr(winner.dev, name)) for name in ("mean", "low", "high")}}
        return told

    def columns(self, example: Example) -> dict[str, str]:
        """What the row puts into the slots, by name."""
        return self.source.task.template.columns_used(self.prompt, example)

    def recorded(self, split: str) -> dict[str, float]:
        """The run's own scores of this prompt on the rows of "dev" or "test", by the ids of rows; may be empty."""
        if split == "test":
            return dict(_scores(self.tables.rows, self.which))
        steps = sorted((self.tables.folder / "steps").glob("*.json"), reverse=True)
        referees = (codec.read(StepRecord, path.read_bytes(), str(path), StateError).referee for path in steps)
        return next((dict(each.scores) for each in referees if each.candidate.text == self.prompt), {})


def _scores(rows: Sequence[HeldOut], which: str) -> Mapping[str, float]:
    said = {row.id: (row.best if which == "best" else row.initial).score for row in rows}
    return {name: score for name, score in said.items() if score is not None}


def subject_of(folder: Path, which: str = "best", split: str = "dev", to_ask: bool = False) -> Subject:
    """The best prompt of a run, so far if it is unfinished, or the one it began with. Raises StateError, SpecError.

    Where its models are to be asked and its metric used, `to_ask`, the user must have named them, see `trusting`.
    """
    for what, known, got in (("prompt", WHICH, which), ("split of held rows", HELD, split)):
        if got not in known:
            raise SpecError(f"a {what} is {' or '.join(known)}, got {got!r}; {nearest(got, known)}")
    tables, source = read_run(folder), restore_task(folder, to_ask)
    prompt = tables.spec.prompt if which == "initial" else _best(tables)
    run = RunFolder(folder)
    info = run.info()
    if to_ask:
        info = replace(info, models=run.own_models(info.models))
    return Subject(prompt, which, turns_of(source.task.template, prompt), source, source.rows(split), info, tables)


def _best(tables: Tables) -> str:
    if tables.result is not None:
        return tables.result.prompt.best
    return tables.winner.prompt if tables.winner else tables.spec.prompt
