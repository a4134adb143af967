"""`steepest.transfer`: prompts found with one model, measured with others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from steepest.arguments import checked
from steepest.calls import CallLog
from steepest.comparing.setup import ground_of, write
from steepest.context import Context, World
from steepest.errors import SpecError, StateError, nearest
from steepest.finishing import compare, estimate
from steepest.ledger import UNLIMITED, Ledger
from steepest.lock import Lock
from steepest.models.opening import Opened
from steepest.reporting import matrix
from steepest.reporting.matrix import Carried, Entry, Transfer
from steepest.reporting.ranking import holm
from steepest.reporting.read import Tables, read_run
from steepest.roles import cast, open_models
from steepest.tasks.judge import Judge
from steepest.tasks.source import SPLITS, TaskSource, restore_task
from steepest.types import Candidate, Example, Scored, Usage

FILE = "transfer.json"


@dataclass(frozen=True, slots=True)
class _Origin:
    """A run whose prompt is carried."""

    tables: Tables
    source: TaskSource
    digest: str

    @property
    def initial(self) -> str:
        return self.tables.spec.prompt

    @property
    def found(self) -> str:
        assert self.tables.result is not None, "only finished runs are read"
        return self.tables.result.prompt.best


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the matrix with what it takes to measure it."""

    prompt: Carried
    digest: str
    initial: str


@checked
def transfer(
    runs: Sequence[str | Path],
    models: Sequence[Any],
    *,
    split: str = "test",
    rows: int | None = None,
    judge: Any = None,
    options: Mapping[str, Any] | None = None,
    out: str | Path = "runs/transfer",
) -> Transfer:
    """Measure the prompts that runs found with other models: a matrix of prompts and models, with intervals.

    Each run's prompt is measured on that run's own rows; its initial prompt is a line of its own. Answers are kept
    in a journal under `out`, so that the same call, or one with more models or runs, asks nothing twice.

        >>> found = steepest.transfer(["runs/lies"], ["bundled", "hf:Qwen/Qwen3-0.6B"])
        >>> found.entry(1, "bundled").score.mean

    Args:
        runs: Folders of finished runs.
        models: As `optimize` takes them.
        split: "train", "dev" or "test".
        rows: So many rows of the split, the first; all unless given.
        judge: Rates answers where a task needs it; each run's own unless given.
        options: Of every model.
        out: The folder.

    Returns:
        The matrix, also in transfer.json and transfer.html.
    """
    if split not in SPLITS:
        raise SpecError(f"a split is train, dev or test, got {split!r}; {nearest(split, SPLITS)}")
    if rows is not None and rows < 1:
        raise SpecError(f"the number of rows must be at least 1, got {rows}; leave it out for all")
    if not runs or not models:
        raise SpecError("a transfer needs runs and models, got none of one of them; name at least one of each")
    origins = [_origin(Path(run)) for run in runs]
    lines = list(_lines(origins))
    sources = {origin.digest: origin for origin in origins}
    folder = Path(out)
    names: list[str] = []
    entries: list[Entry] = []
    with Lock(folder), CallLog(folder / "calls.jsonl") as log:
        before = len(log)
        for model in models:
            opened = open_models({"task": model}, options)["task"]
            if opened.name in names:
                raise SpecError(f"models must differ, got {opened.name!r} twice; leave one out")
            names.append(opened.name)
            for digest, origin in sources.items():
                examples = origin.source.rows(split)[:rows]
                world = _world(origin, opened, judge, options, log)
                entries += _measured(lines, digest, examples, world, opened.name)
        asked = len(log) - before
    prompts = tuple(line.prompt for line in lines)
    found = Transfer(split, prompts, tuple(names), tuple(_corrected(entries)), asked, folder=folder)
    write(folder / FILE, found.to_json())
    matrix.write(found)
    return found


def _origin(folder: Path) -> _Origin:
    tables = read_run(folder)
    if tables.result is None:
        raise StateError(f"a prompt is carried from a finished run, got {folder}, which has no result; resume it")
    source = restore_task(folder)
    return _Origin(tables, source, ground_of(source).digest)


def _lines(origins: Sequence[_Origin]) -> Iterator[_Line]:
    """Task by task: each initial prompt once, then what the runs found."""
    for digest in dict.fromkeys(origin.digest for origin in origins):
        mine = [origin for origin in origins if origin.digest == digest]
        task = mine[0].source.task.name
        for prompt in dict.fromkeys(origin.initial for origin in mine):
            yield _Line(Carried("initial", task, prompt, ""), digest, prompt)
        for origin in mine:
            model = str(origin.tables.spec.models["task"]["name"])
            yield _Line(Carried(origin.tables.folder.name, task, origin.found, model), digest, origin.initial)


def _world(origin: _Origin, opened: Opened, judge: Any, options: Mapping[str, Any] | None, log: CallLog) -> World:
    """The task with this model, and with the run's own judge unless another is given."""
    task = origin.source.task
    players = {"task": opened}
    if isinstance(task.metric, Judge):
        recorded = origin.tables.spec.models.get("judge", origin.tables.spec.models["task"])
        own = {"task": judge or recorded["name"]}
        players["judge"] = open_models(own, options if judge else recorded["options"])["task"]
    roles = {role: each.model for role, each in cast((), task, players).items()}
    return World(task, roles, log, 0, lambda event: None)


def _measured(
    lines: Sequence[_Line], digest: str, examples: Sequence[Example], world: World, model: str
) -> Iterator[Entry]:
    """All prompts of one task with one model, in one batch."""
    mine = [(index, line) for index, line in enumerate(lines) if line.digest == digest]
    texts = list(dict.fromkeys(line.prompt.text for _, line in mine))
    ctx = Context(world, Ledger(world.log, 0, UNLIMITED, Usage()), "finish")
    evaluations = ctx.evaluate([Candidate(text) for text in texts], examples)
    scored: dict[str, Scored] = {text: each.scored for text, each in zip(texts, evaluations, strict=True)}
    for index, line in mine:
        here = scored[line.prompt.text]
        if line.prompt.is_initial:
            yield Entry(index, model, estimate(here))
        else:
            both = compare(scored[line.initial], here)
            yield Entry(index, model, both.best, both.difference, both.p_value)


def _corrected(entries: Sequence[Entry]) -> Iterator[Entry]:
    adjusted = iter(holm([entry.p_value for entry in entries if entry.p_value is not None]))
    for entry in entries:
        yield entry if entry.p_value is None else replace(entry, adjusted=next(adjusted))
