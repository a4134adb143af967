"""The benchmarks of the papers, one YAML file each, and how their rows are found and read.

A file says where the rows come from, under which licence, how the papers split them, how they are asked and what is
right; `tasks` in it are sub-tasks ("bbh/navigate"), whose keys replace those of the whole file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from steepest import codec
from steepest.errors import TaskError, nearest
from steepest.tasks.datasets import Read, Record, question_key
from steepest.tasks.duplicates import find
from steepest.tasks.formats import Format, Odd, asked, read_file
from steepest.tasks.judge import Judge
from steepest.tasks.metrics import extractor_of, gold_of, open_metric
from steepest.tasks.notes import Note, counted, skipped
from steepest.tasks.references import with_references
from steepest.tasks.source import TaskSource
from steepest.tasks.splitting import Shares, split_parts
from steepest.tasks.tables import library
from steepest.tasks.task import Metric, Task, Template
from steepest.types import Example, content_id

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Hub:
    """Where the rows are on the Hugging Face hub."""

    name: str
    config: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    """What the hub calls the benchmark's parts, where it calls them otherwise."""
    format: Format | None = None
    """Of the hub's columns, where they differ from those of the original files."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark as its YAML file has it; "{task}" in texts is the sub-task's name."""

    name: str
    about: str
    """What it asks, in a line."""
    source: str
    """Where the original files are."""
    licence: str
    cite: str
    files: Mapping[str, tuple[str, ...]]
    """For each part the patterns of its files' names; the first that is found counts."""
    splits: tuple[Shares, ...]
    """As the papers used it; the first whose parts are all there counts."""
    papers: str
    """What of the splits is the papers' and what is by hash."""
    folders: tuple[str, ...] = ()
    """Folders in which the files may be, inside the one that is given."""
    hub: Hub | None = None
    format: Format = Format()
    layout: str = "{input}\n{prompt}"
    answer: str | Mapping[str, Any] = "text"
    letters: int = 0
    """For a choice by option letters: how many there are; stands in for `answer`."""
    criteria: str = ""
    """For a judge; stands in for `answer`."""
    left_out: str = ""
    """Why rows with a target that is no label are left out; empty: they are errors."""
    prompt: tuple[str, ...] = ("Let's think step by step.",)
    max_tokens: int = 512
    notes: tuple[str, ...] = ()
    """What to know of the data."""

    @property
    def kind(self) -> str | Mapping[str, Any]:
        """What counts as right, as `open_metric` takes it."""
        if self.letters:
            return {"use": "choice", "labels": [f"({chr(65 + at)})" for at in range(self.letters)]}
        return {"judge": {"criteria": self.criteria}} if self.criteria else self.answer


# -- names ----------------------------------------------------------------------------------------------------------


def names() -> tuple[str, ...]:
    """All benchmarks and sub-tasks, "gsm8k", "bbh/navigate", "mmlu", ..."""
    return tuple(name for stem in stems() for name in _names(stem))


def stems() -> tuple[str, ...]:
    """The benchmarks, each with all its sub-tasks under one name."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def tasks_of(stem: str) -> tuple[str, ...]:
    """The names of a benchmark's sub-tasks; none where it has none."""
    return tuple(_content(stem).get("tasks", {}))


def _names(stem: str) -> Iterator[str]:
    content = _content(stem)
    if "tasks" not in content or "whole" in content:
        yield stem
    yield from (f"{stem}/{task}" for task in content.get("tasks", {}))


@cache
def _content(stem: str) -> Mapping[str, Any]:
    from ruamel.yaml import YAML

    content: dict[str, Any] = YAML(typ="safe", pure=True).load((_FOLDER / f"{stem}.yaml").read_text(encoding="utf-8"))
    return content


def benchmark(name: str) -> Benchmark:
    """What the YAML file says of a benchmark or sub-task. Raises TaskError for an unknown name."""
    stem, _, task = name.partition("/")
    known = stems()
    if stem not in known:
        raise TaskError(f"there is no benchmark {name!r}; {nearest(name, names())}")
    content = dict(_content(stem))
    tasks, whole = content.pop("tasks", {}), content.pop("whole", None)
    if task not in tasks and (task or (tasks and whole is None)):
        hint = nearest(name, _names(stem)) if task else f"name one of its tasks, such as {next(_names(stem))}"
        raise TaskError(f"there is no benchmark {name!r}; {hint}")
    content |= (tasks.get(task) or {}) if task else (whole or {})
    found: Benchmark = codec.decode(Benchmark, {"name": name, **_named(content, task or "*")}, stem, TaskError)
    return found


def _named(value: Any, task: str) -> Any:
    """With "{task}" filled in everywhere."""
    if isinstance(value, str):
        return value.replace("{task}", task)
    if isinstance(value, dict):
        return {key: _named(each, task) for key, each in value.items()}
    return [_named(each, task) for each in value] if isinstance(value, list) else value


# -- rows -----------------------------------------------------------------------------------------------------------


def load(name: str, data_dir: str | Path | None = None, skip_bad: bool = False) -> TaskSource:
    """A benchmark as a task: from the original files in `data_dir`, else from the hub. Raises TaskError.

    With `skip_bad`, rows that are not of the format are left out and named in the notes.
    """
    chosen = benchmark(name)
    shares, form, parts = _hub(chosen) if data_dir is None else _local(chosen, Path(data_dir))
    notes: list[Note] = []
    if shares != chosen.splits[0]:
        missing = ", ".join(part for part in chosen.splits[0].parts if part not in shares.parts)
        took = ", ".join(shares.parts)
        notes.append(Note(f"no {missing} rows at hand: all splits are from {took}, unlike the papers'"))
    metric = open_metric(chosen.kind)
    read = {part: _read(records, chosen, form, metric, skip_bad, notes) for part, records in parts.items()}
    template = Template(chosen.layout)
    shown = [slot for slot in template.slots if slot not in ("input", "prompt")]
    split = split_parts(read, shares, lambda example: question_key(example, shown))
    task = Task(
        name=name.replace("/", "-"),
        train=split.train,
        dev=split.dev,
        template=template,
        metric=metric,
        extractor=extractor_of(metric),
        seeds=chosen.prompt,
        max_tokens=chosen.max_tokens,
        description=chosen.about,
    )
    origin = name if data_dir is None else f"{name} from {Path(data_dir).resolve()}"
    places = {id: place for part in read.values() for id, place in part.place_of().items()}
    doubles = find({"train": split.train, "dev": split.dev, "test": split.test}, shown, places)
    return TaskSource(task, split.test, origin, (*notes, *split.notes, *doubles.notes()))


def _read(
    rows: Iterable[Record], chosen: Benchmark, form: Format, metric: Metric | Judge, skip_bad: bool, notes: list[Note]
) -> Read:
    """The rows of a part; why others were left out is added to the notes."""
    examples: list[Example] = []
    places: list[str] = []
    odd: defaultdict[str, list[str]] = defaultdict(list)
    faults: list[str] = []
    for record in rows:
        try:
            examples.append(_example(record, chosen, form, metric))
            places.append(record.place)
        except Odd as reason:
            odd[str(reason)].append(record.place)
        except TaskError as error:
            if not skip_bad:
                raise
            faults.append(str(error))
    notes += [Note(f"{counted(len(out))} left out, {reason}", tuple(out)) for reason, out in odd.items()]
    notes += skipped(faults)
    return Read(tuple(examples), tuple(places), tuple(faults))


def _example(record: Record, chosen: Benchmark, form: Format, metric: Metric | Judge) -> Example:
    row = asked(record, form)
    if not row.targets and not chosen.criteria:
        raise TaskError(f"{record.place}: the column {form.target!r} must not be empty; give the original file")
    target = row.targets[0] if row.targets else ""
    try:
        gold = gold_of(metric, target)
    except TaskError as error:
        if chosen.left_out:
            raise Odd(chosen.left_out) from None
        raise TaskError(f"{record.place}: {error}") from None
    meta = with_references(row.shown, row.targets[1:])
    return Example(content_id(row.input, *row.shown.values(), gold), row.input, gold, meta)


Found = tuple[Shares, Format, Mapping[str, Iterable[Record]]]
"""How to split, how to read, and the records of each part."""


def _local(chosen: Benchmark, folder: Path) -> Found:
    """The original files in a folder, or in one of the benchmark's folders inside it."""
    if not folder.is_dir():
        raise TaskError(f"--data-dir is a folder with the original files, got {str(folder)!r}; correct the path")
    roots = [*(folder / inner for inner in chosen.folders if (folder / inner).is_dir()), folder]
    for shares in chosen.splits:
        for root in roots:
            files = {part: _files(root, chosen.files[part]) for part in shares.parts}
            if all(files.values()):
                return shares, chosen.format, {part: _records(paths, chosen) for part, paths in files.items()}
    wanted = " and ".join(chosen.files[part][0] for part in chosen.splits[0].parts)
    there = sorted(path.name for root in roots for path in root.iterdir())[:8]
    raise TaskError(
        f"{chosen.name} is read from {wanted}, got a folder without, {str(folder)!r} ({', '.join(there) or 'empty'}); "
        f"the files are at {chosen.source}"
    )


def _files(root: Path, patterns: Sequence[str]) -> list[Path]:
    """The files of the first pattern that is found."""
    return next((found for pattern in patterns if (found := sorted(root.glob(pattern)))), [])


def _records(paths: Sequence[Path], chosen: Benchmark) -> Iterator[Record]:
    for path in paths:
        yield from read_file(path, chosen.format)


def _hub(chosen: Benchmark) -> Found:
    """The rows on the hub."""
    files = " and ".join(chosen.files[part][0] for part in chosen.splits[0].parts)
    if chosen.hub is None:
        raise TaskError(
            f"{chosen.name} is read from its original files, got no --data-dir; give a folder with {files} from "
            f"{chosen.source}"
        )
    hub = chosen.hub
    shares = next((s for s in chosen.splits if not hub.parts or set(s.parts) <= set(hub.parts)), chosen.splits[0])
    datasets = library("datasets", "hf", f"{chosen.name} comes from the hub unless --data-dir has {files}")

    def rows(part: str) -> Iterator[Record]:
        loaded = datasets.load_dataset(hub.name, hub.config or None, split=hub.parts.get(part, part))
        return (Record(f"{hub.name} {part}, row {number}", row) for number, row in enumerate(loaded, 1))

    return shares, hub.format or chosen.format, {part: rows(part) for part in shares.parts}
