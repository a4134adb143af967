"""`steepest run`: search for a better prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from steepest.cli.options import (
    Answer,
    Calls,
    Data,
    Id,
    Input,
    Json,
    Layout,
    MaxTokens,
    Model,
    Options,
    Patience,
    Seconds,
    Steps,
    Target,
    TaskName,
    Tokens,
)


def command(  # noqa: PLR0913  # size: the options of the command, which typer reads from the parameters
    method: Annotated[str, typer.Argument(metavar="METHOD", help="See `steepest list methods`.")],
    task: TaskName = None,
    data: Data = None,
    input: Input = None,
    target: Target = None,
    id: Id = None,
    layout: Layout = None,
    answer: Answer = None,
    max_tokens: MaxTokens = None,
    model: Model = "bundled",
    option: Options = [],  # noqa: B006  # typer copies it
    prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="Initial prompt [the task's own].")] = None,
    set: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="Setting of the method, e.g. mu=5.")] = [],  # noqa: B006
    seed: Annotated[int, typer.Option(metavar="N", help="Of everything random.")] = 0,
    steps: Steps = None,
    calls: Calls = None,
    tokens: Tokens = None,
    seconds: Seconds = None,
    patience: Patience = None,
    runs: Annotated[Path, typer.Option(metavar="FOLDER", help="Where run folders are made.")] = Path("runs"),
    json: Json = False,
) -> None:
    """Search for a better prompt and test it.

    The rows are split into train, dev and test; the test rows are opened once, at the end, and decide the verdict.
    Without any limit the search ends after 30 steps; with any, once every dev row is right.
    """
    from steepest import api, spec
    from steepest.cli.ending import told
    from steepest.cli.rows import from_options, options_of
    from steepest.engine import Run
    from steepest.ledger import Limits

    columns = {"input": input, "target": target, "id": id, "layout": layout, "answer": answer, "max_tokens": max_tokens}
    built = spec.build(spec.with_settings(method, set))
    source = from_options(task, data, columns)
    source = source if prompt is None else source.with_prompt(prompt)
    limits = Limits(steps, calls, tokens, seconds, patience)
    given: dict[str, Any] = {"method": method, "task": task, "data": data and str(data), **columns}
    given |= {"model": model, "option": option, "prompt": prompt, "set": set, "seed": seed}
    given |= {"steps": steps, "calls": calls, "tokens": tokens, "seconds": seconds, "patience": patience}
    passed = {name: value for name, value in given.items() if value not in (None, [])}
    plan = api.make_plan(built, source, api.opened_model(model, options_of(option)), seed, limits, passed)
    folder = api.free_folder(runs, method, source.task.name)
    for note in source.notes:
        typer.echo(f"note: {note}", err=True)
    with told(folder, json), api.watching() as observers, Run.create(folder, plan, observers) as run:
        api.carry_out(run)
