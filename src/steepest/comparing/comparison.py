"""`steepest.compare`: methods on tasks with seeds, under one budget."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from steepest import cluster, codec
from steepest.api import Data, MethodLike, task_source
from steepest.arguments import checked
from steepest.comparing.cells import Workers, carry_out, make, not_made
from steepest.comparing.on_ray import Cluster
from steepest.comparing.setup import FILE, Asked, begin, plans_of, setup_of, write
from steepest.comparing.variants import variants
from steepest.errors import SpecError, StateError
from steepest.ledger import Limits
from steepest.models import WhiteBox
from steepest.models.opening import Opened
from steepest.plan import check
from steepest.reporting import comparison_page
from steepest.reporting.comparison import CELLS, Cell, MethodComparison, Setup, gather
from steepest.reporting.statistics import percent
from steepest.reporting.text import clean
from steepest.results import Result
from steepest.roles import PriceLike, open_models
from steepest.tasks.source import TaskSource

SERVERS = 4
"""Cells at once where models are behind servers."""


@checked
def compare(  # noqa: PLR0913  # size: one call is the whole interface, so its arguments are all there is to ask
    methods: str | Sequence[MethodLike] | Mapping[str, MethodLike] = (),
    *,
    data: Data | Sequence[Data],
    grids: Sequence[str] = (),
    seeds: int = 3,
    calls: int | None = None,
    tokens: int | None = None,
    dollars: float | None = None,
    prompt: str | None = None,
    model: Any = "bundled",
    optimizer: Any = None,
    judge: Any = None,
    embedder: Any = None,
    options: Mapping[str, Any] | None = None,
    price: PriceLike | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    out: str | Path = "runs/comparison",
    quiet: bool = False,
) -> MethodComparison:
    """Compare methods: each on each task with each seed, under the same limits and with the same models.

    Every cell is an ordinary run folder under `out`. The same call again goes on where it was cut short, even by
    `kill -9`: cells with a result are not run again, begun ones are resumed, failed ones are tried again.

        >>> found = steepest.compare(["greater", "opro:small"], data=["lies", "dates"], calls=2000)
        >>> [(line.contender, line.accuracy.mean) for line in found.standings]

    Args:
        methods: "NAME", "NAME:PRESET" or "NAME:PRESET,SETTING=VALUE,...", specs, methods themselves, or a mapping of
            labels to any of these.
        data: One task or several, each as `optimize` takes it.
        grids: Ablations by name, such as "pe2-components" or "protegi-selectors:small".
        seeds: So many, 0, 1, 2, ...; they decide the search, the rows stay the same.
        calls: Limit of each cell's search; at least one of `calls`, `tokens` and `dollars` is needed.
        tokens: The same in tokens.
        dollars: The same in dollars.
        prompt: The initial prompt; None: each task's own.
        model: As in `optimize`, like `optimizer`, `judge`, `embedder`, `options` and `price`.
        optimizer: The model that writes prompts.
        judge: The model that rates answers.
        embedder: The model that makes vectors of prompts.
        options: Of the models.
        price: Dollars per million tokens.
        workers: Cells at once: one per core for the bundled model, 4 for servers, otherwise 1. Models in this machine
            are opened once for each, models behind servers and given objects are shared by threads; a given model in
            memory serves one at a time.
        ray_address: Have cells carried out by a Ray cluster, HOST:PORT, as many at once as it has room for; all its
            machines must see `out` under the same path. "local" is a cluster of this machine.
        out: The folder.
        quiet: Say nothing on standard error.

    Returns:
        What was found, also in compare.json and compare.html: `standings`, `pairs`, `ranks`, `curves`, `found` (each
        cell), `failed`.
    """
    limits = Limits(calls=calls, tokens=tokens, dollars=dollars)
    chosen = variants([methods] if isinstance(methods, str) else methods, grids)
    asked = Asked(chosen, _sources(data, prompt), range(seeds), limits)
    named = {"task": model, "optimizer": optimizer, "judge": judge, "embedder": embedder}
    if ray_address is not None:
        _check_names(named)
        cluster.connect(ray_address)  # first, or a model with replicas would start a cluster here
    models = open_models(named, options)
    staff = _staff(workers, named, models, ray_address)
    folder, tell = Path(out), _teller(quiet)
    setup = _prepared(folder, asked, models, price)
    del models  # a large model is opened anew by the processes that need it
    errors = _carried_out(folder, setup, staff, tell)
    found = gather(folder, setup, errors)
    write(folder / FILE, found.to_json())
    comparison_page.write(found)
    return found


def _prepared(folder: Path, asked: Asked, models: Mapping[str, Opened], price: PriceLike | None) -> Setup:
    """The setup, written down, and a run folder for every cell."""
    plans = plans_of(folder, asked, models, price)
    setup = setup_of(asked, models, plans)
    missing = not_made(folder, plans)
    for plan in missing.values():
        check(plan)
    begin(folder, setup)
    make(folder, missing)
    return setup


def _carried_out(folder: Path, setup: Setup, staff: Workers, tell: Callable[[str], None]) -> dict[str, str]:
    """Folder name -> why its cell failed."""
    errors = {}
    done = sum((folder / CELLS / cell.folder / "result.json").is_file() for cell in setup.cells)
    tell(f"{len(setup.cells):,} cells, {done:,} done, {staff.count} at once, in {folder}")
    for ended in carry_out(folder, setup.cells, staff):
        done += not ended.error
        if ended.error:
            errors[ended.cell.folder] = ended.error
        tell(f"{done:,}/{len(setup.cells):,}  {ended.cell}: {ended.error or _outcome(folder, ended.cell)}")
    return errors


def _outcome(folder: Path, cell: Cell) -> str:
    path = folder / CELLS / cell.folder / "result.json"
    result: Result = codec.read(Result, path.read_bytes(), str(path), StateError)
    return f"{percent(result.test.initial.mean)} -> {percent(result.test.best.mean)}, {result.verdict}"


def _sources(data: Data | Sequence[Data], prompt: str | None) -> list[TaskSource]:
    several = isinstance(data, list | tuple) and not any(isinstance(each, Mapping) for each in data)
    given: Any = data if several else [data]
    return [task_source(each, {}, prompt) for each in given]


def _staff(
    count: int | None, named: Mapping[str, Any], models: Mapping[str, Opened], ray_address: str | None
) -> Workers:
    """Who carries cells out: processes where models can be opened by name, threads where they are shared."""
    if count is not None and count < 1:
        raise SpecError(f"the number of workers must be at least 1, got {count}; leave it out for a fitting one")
    given = [model for model in named.values() if model is not None]
    objects = {role: opened.model for role, opened in models.items()}
    if ray_address is not None:
        joined = Cluster(ray_address, [(each.name, each.options) for each in models.values()])
        return Workers(count or joined.room, cluster=joined)
    if not all(isinstance(model, str) for model in given):
        if (count or 1) > 1 and any(isinstance(model, WhiteBox) for model in given):
            raise SpecError(
                f"a model in memory serves one search at a time, got workers={count} and such a model; give its name, "
                'as "hf:./folder", so that each worker opens it, or leave workers out'
            )
        return Workers(count or 1, objects)
    if all(model.startswith("openai:") for model in given):
        return Workers(count or SERVERS, objects)
    is_small = all(model in ("bundled", "scripted") for model in given)
    return Workers(count or (os.cpu_count() or 1 if is_small else 1))


def _check_names(named: Mapping[str, Any]) -> None:
    if not all(isinstance(model, str) for model in named.values() if model is not None):
        raise SpecError("cells on Ray open their models by name, got an object; give names, or leave ray_address out")


def _teller(quiet: bool) -> Callable[[str], None]:
    """Writes a line on standard error, or nothing."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=quiet)
    return lambda line: console.print(Text(clean(line)))
