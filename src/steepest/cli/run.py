"""`steepest run`: search for a better prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from steepest.cli.options import (
    Answer,
    Calls,
    Criteria,
    Data,
    DataDir,
    Description,
    Dollars,
    Embedder,
    FailOn,
    Id,
    Input,
    Json,
    Judge,
    Language,
    Layout,
    MaxTokens,
    Model,
    Optimizer,
    Options,
    Patience,
    Prices,
    RayAddress,
    Replicas,
    Seconds,
    SkipBadRows,
    Steps,
    Target,
    TaskName,
    Tokens,
)
from steepest.cli.stopping import stoppable


@stoppable()
def command(  # noqa: PLR0913  # size: the options of the command, which typer reads from the parameters
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="NAME[:PRESET][,SETTING=VALUE]...; see `steepest list methods`.")
    ],
    task: TaskName = None,
    data: Data = None,
    data_dir: DataDir = None,
    input: Input = None,
    target: Target = None,
    id: Id = None,
    layout: Layout = None,
    answer: Answer = None,
    criteria: Criteria = None,
    description: Description = None,
    language: Language = None,
    max_tokens: MaxTokens = None,
    skip_bad_rows: SkipBadRows = False,
    model: Model = "bundled",
    optimizer: Optimizer = None,
    judge: Judge = None,
    embedder: Embedder = None,
    option: Options = [],  # noqa: B006  # typer copies it
    replicas: Replicas = None,
    ray_address: RayAddress = None,
    prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="Initial prompt [the task's own].")] = None,
    set: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="Setting of the method, e.g. mu=5.")] = [],  # noqa: B006
    seed: Annotated[int, typer.Option(metavar="N", help="Of everything random.")] = 0,
    steps: Steps = None,
    calls: Calls = None,
    tokens: Tokens = None,
    dollars: Dollars = None,
    seconds: Seconds = None,
    patience: Patience = None,
    price: Prices = [],  # noqa: B006
    fail_on: FailOn = None,
    runs: Annotated[Path, typer.Option(metavar="FOLDER", help="Where run folders are made.")] = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost at most; do nothing.")] = False,
    json: Json = False,
) -> None:
    """Search for a better prompt and test it.

    The rows are split into train, dev and test; the test rows are opened once, at the end, and decide the verdict.
    Without any limit the search ends after 30 steps; with any, once every dev row is right.
    """
    from steepest import api, spec
    from steepest.cli.ending import told
    from steepest.cli.forecast import say_forecast
    from steepest.cli.rows import from_options, options_of, prices_from, spread
    from steepest.context import FAIL_ON
    from steepest.engine import Run
    from steepest.errors import SpecError
    from steepest.ledger import Limits
    from steepest.reporting.text import clean
    from steepest.roles import cast, open_models, prices_of
    from steepest.runfolder import free_folder

    columns: dict[str, Any] = {"input": input, "target": target, "id": id, "layout": layout, "answer": answer}
    columns |= {"criteria": criteria, "description": description, "language": language, "max_tokens": max_tokens}
    columns |= {"data_dir": data_dir and str(data_dir), "skip_bad_rows": skip_bad_rows or None}
    option = spread(option, replicas, ray_address)
    method, own = spec.written(method)
    set = [*own, *set]
    built = spec.build(spec.with_settings(method, set))
    source = from_options(task, data, columns, prompt)
    limits = Limits(steps, calls, tokens, seconds, patience, dollars)
    named = {"model": model, "optimizer": optimizer, "judge": judge, "embedder": embedder}
    given: dict[str, Any] = {"method": method, "task": task, "data": data and str(data), **columns, **named}
    given |= {"option": option, "prompt": prompt, "set": set, "seed": seed, "steps": steps, "calls": calls}
    given |= {"tokens": tokens, "dollars": dollars, "seconds": seconds, "patience": patience, "price": price}
    passed = {name: value for name, value in {**given, "fail_on": fail_on}.items() if value not in (None, [])}
    by_role = {"task" if role == "model" else role: name for role, name in named.items()}
    models = open_models(by_role, options_of(option))
    roles = cast(built.needs, source.task, models)
    prices = prices_of(prices_from(price), roles)
    plan = api.make_plan(built, source, roles, seed, limits, passed, prices, FAIL_ON if fail_on is None else fail_on)
    for note in source.notes:
        typer.echo(clean(f"note: {note}"), err=True)
    if dry_run and json:
        raise SpecError("--json prints a result, got --dry-run, which has none; leave one out")
    if dry_run:
        say_forecast(plan)
        return
    with (
        free_folder(runs, method, source.task.name) as folder,
        told(folder, json),
        api.watching() as observers,
        Run.create(folder, plan, observers) as run,
    ):
        api.carry_out(run)
