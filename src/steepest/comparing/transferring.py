"""`steepest.transfer`: prompts found with one model, measured with others."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from steepest import codec
from steepest.arguments import checked
from steepest.calls import Call, CallLog
from steepest.comparing.on_ray import Cluster
from steepest.comparing.setup import ground_of, write
from steepest.context import Context, World
from steepest.errors import SpecError, StateError, nearest
from steepest.finishing import compare, estimate
from steepest.ledger import UNLIMITED, Ledger
from steepest.lock import Lock
from steepest.models.opening import Opened
from steepest.reporting import matrix
from steepest.reporting.comparison import CELLS
from steepest.reporting.matrix import Carried, Entry, Transfer
from steepest.reporting.ranking import holm
from steepest.reporting.read import Tables, read_run
from steepest.roles import cast, open_models
from steepest.runfolder import RunFolder
from steepest.tasks.judge import Judge
from steepest.tasks.source import SPLITS, TaskSource, restore_task
from steepest.types import Candidate, Example, Scored, Usage

FILE = "transfer.json"
JOURNAL = "calls.jsonl"


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
class Given:
    """What is to be measured with every model."""

    runs: tuple[Path, ...]
    split: str
    rows: int | None
    judge: Any
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """What was measured with one model."""

    model: str
    """Its name."""
    entries: tuple[Entry, ...]


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
    ray_address: str | None = None,
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
        ray_address: Have a Ray cluster measure the models side by side, HOST:PORT; all its machines must see `runs` and
            `out` under the same paths. "local" is a cluster of this machine.
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
    _check_different([model for model in models if isinstance(model, str)])
    origins = [_origin(Path(run)) for run in runs]
    lines, folder = list(_lines(origins)), Path(out)
    given = Given(tuple(Path(run).resolve() for run in runs), split, rows, judge, dict(options or {}))
    with Lock(folder):
        _check_own(folder)
        before = gather(folder)
        if ray_address is None:
            with CallLog(folder / JOURNAL) as log:
                columns = [_column(given, origins, model, log) for model in models]
        else:
            columns = _columns_on_ray(given, models, folder, ray_address)
        asked = gather(folder) - before
    names = tuple(column.model for column in columns)
    _check_different(names)
    entries = [entry for column in columns for entry in column.entries]
    found = Transfer(
        split, tuple(line.prompt for line in lines), names, tuple(_corrected(entries)), asked, folder=folder
    )
    write(folder / FILE, found.to_json())
    matrix.write(found)
    return found


def _check_own(folder: Path) -> None:
    """StateError where what workers left there may be something else: runs, or a folder to which a link leads."""
    cells = folder / CELLS
    for path in (cells, *sorted(cells.glob("*"))):
        if path.is_symlink():
            raise StateError(f"{path} must be a folder of the transfer, not a link; remove it, or name another folder")
    for path in (folder / "run.json", *sorted(cells.glob("*/run.json"))):
        if path.exists():
            raise StateError(
                f"a transfer needs a folder of its own, got {folder}, where {path.relative_to(folder)} is a run's; "
                "name another"
            )


def _check_different(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"models must differ, got {name!r} twice; leave one out")


def _columns_on_ray(given: Given, models: Sequence[Any], folder: Path, address: str) -> list[Column]:
    """Each model by a task of its own; all of them have ended when this returns."""
    if not all(isinstance(model, str) for model in models):
        raise SpecError("cells on Ray open their models by name, got an object; give names, or leave ray_address out")
    cluster = Cluster(address, [(model, given.options) for model in models])
    folders = {model: folder / CELLS / f"{number:03d}" for number, model in enumerate(models)}
    for each in folders.values():
        each.mkdir(parents=True, exist_ok=True)
        # Beside what it asks, a worker knows all that was asked before.
        shutil.copyfile(folder / JOURNAL, each / JOURNAL)
    tasks = [cluster.begin(measured_there, given, model, each.resolve()) for model, each in folders.items()]
    try:
        return cluster.results(tasks)
    finally:
        cluster.end(tasks)


def measured_there(given: Given, model: str, folder: Path) -> Column:
    """A column of the matrix, in a worker, with a journal of its own in `folder`."""
    with Lock(folder), CallLog(folder / JOURNAL) as log:
        return _column(given, [_origin(run) for run in given.runs], model, log)


def gather(folder: Path) -> int:
    """Take what workers have asked into the journal of `folder`, also what earlier ones left; the calls in it then."""
    with CallLog(folder / JOURNAL) as log:
        for path in sorted((folder / CELLS).glob(f"*/{JOURNAL}")):
            with Lock(path.parent):
                CallLog(path).close()  # cuts a torn line off
                for text in path.read_bytes().splitlines():
                    call: Call = codec.read(Call, text, f"{path} holds what is not a call; remove the line", StateError)
                    # What went unanswered there may be answered by a later line, or by another worker.
                    if not call.is_unanswered and log.get(call.key) is None:
                        log.append(call)
                shutil.rmtree(path.parent)
        return len(log)


def _column(given: Given, origins: Sequence[_Origin], model: Any, log: CallLog) -> Column:
    """All prompts with one model."""
    entries: list[Entry] = []
    opened = open_models({"task": model}, given.options)["task"]
    for digest, origin in {origin.digest: origin for origin in origins}.items():
        examples = origin.source.rows(given.split)[: given.rows]
        world = _world(origin, opened, given.judge, given.options, log)
        entries += _measured(list(_lines(origins)), digest, examples, world, opened.name)
    return Column(opened.name, tuple(entries))


def _origin(folder: Path) -> _Origin:
    tables = read_run(folder)
    if tables.result is None:
        raise StateError(f"a prompt is carried from a finished run, got {folder}, which has no result; resume it")
    source = restore_task(folder, to_score=True)
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
        players["judge"] = open_models({"task": judge}, options)["task"] if judge else _own_judge(origin.tables.folder)
    roles = {role: each.model for role, each in cast((), task, players).items()}
    return World(task, roles, log, 0, lambda event: None)


def _own_judge(folder: Path) -> Opened:
    run = RunFolder(folder)
    role = "judge" if "judge" in run.info().models else "task"
    recorded = run.own_models({role})[role]
    return open_models({"task": recorded.name}, recorded.options)["task"]


def _measured(
    lines: Sequence[_Line], digest: str, examples: Sequence[Example], world: World, model: str
) -> Iterator[Entry]:
    """All prompts of one task with one model, in one batch."""
    mine = [(index, line) for index, line in enumerate(lines) if line.digest == digest]
    texts = list(dict.fromkeys(line.prompt.text for _, line in mine))
    ctx = Context(world, Ledger(world.log, 0, UNLIMITED, Usage()), "finish")
    with ctx:
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
