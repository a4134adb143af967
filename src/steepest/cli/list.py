"""`steepest list`: what there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

KINDS = ("methods", "parts", "models", "tasks", "runs")


def command(
    kind: Annotated[str, typer.Argument(metavar="methods|parts|models|tasks|runs", help="What to list.")],
    runs: Annotated[Path, typer.Option(metavar="FOLDER", help="Where run folders are.")] = Path("runs"),
) -> None:
    """List methods, their parts, models, tasks or runs."""
    from steepest.errors import SpecError, nearest
    from steepest.reporting.text import clean

    if kind not in KINDS:
        raise SpecError(f"there is no list of {kind!r}; {nearest(kind, KINDS)}")
    listed = {"methods": _methods, "parts": _parts, "models": _models, "tasks": _tasks}
    rows = list(listed[kind]() if kind != "runs" else _runs(runs))
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        typer.echo(clean(f"{name:<{width}}  {text}".rstrip()))


def _methods() -> Iterator[Sequence[str]]:
    from steepest import spec

    yield from _described(spec.names())


def _parts() -> Iterator[Sequence[str]]:
    from steepest import spec

    yield from _described(spec.parts())


def _described(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Components with the first lines of their docstrings."""
    from steepest import spec

    for name in names:
        yield name, (spec.locate(name).__doc__ or "").strip().partition("\n")[0]


def _models() -> Iterator[Sequence[str]]:
    from steepest.models.opening import NAMES

    yield from NAMES.items()


def _tasks() -> Iterator[Sequence[str]]:
    from steepest import bundled
    from steepest.tasks import benchmarks
    from steepest.tasks.loading import BUNDLED

    for name in BUNDLED:
        source = bundled.source(name, train=1, dev=1, test=1)
        yield name, f"e.g. {source.test[0].input}"
    for stem in benchmarks.stems():
        tasks = benchmarks.tasks_of(stem)
        if stem in benchmarks.names():
            yield stem, benchmarks.benchmark(stem).about
        if tasks:
            yield f"{stem}/NAME", f"{len(tasks)} tasks: {', '.join(tasks)}"
    yield "file.yaml", "a task file of your own"


def _runs(runs: Path) -> Iterator[Sequence[str]]:
    from steepest.cli.ending import standing
    from steepest.reporting.read import read_run

    for path in sorted(runs.glob("*/run.json")):
        yield str(path.parent), standing(read_run(path.parent))
