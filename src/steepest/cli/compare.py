"""`steepest compare`: methods side by side under one budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steepest.cli.options import Dollars, Embedder, Json, Judge, Model, Optimizer, Options, Prices, RayCells, Replicas
from steepest.cli.stopping import INTERRUPTED, stoppable

GRIDS = "greater-ablation, gradsum-summary, gpo-direction, gpo-control, protegi-selectors, pe2-components"


@stoppable()
def command(  # noqa: PLR0913  # size: the options of the command, which typer reads from the parameters
    method: Annotated[
        list[str],
        typer.Argument(metavar="METHOD", help="NAME[:PRESET][,SETTING=VALUE]..., e.g. opro:small,samples=4."),
    ] = [],  # noqa: B006  # typer copies it
    task: Annotated[
        list[str],
        typer.Option(metavar="NAME", help="Bundled task, task file, data file or run folder; may be repeated."),
    ] = [],  # noqa: B006
    grid: Annotated[list[str], typer.Option(metavar="NAME[:PRESET]", help=f"An ablation: {GRIDS}.")] = [],  # noqa: B006
    seeds: Annotated[int, typer.Option(metavar="N", help="Searches of each method on each task.")] = 3,
    calls: Annotated[int | None, typer.Option(metavar="N", help="Calls of each search, never passed.")] = None,
    tokens: Annotated[int | None, typer.Option(metavar="N", help="Tokens of each search.")] = None,
    dollars: Dollars = None,
    price: Prices = [],  # noqa: B006
    prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="Initial prompt [each task's own].")] = None,
    model: Model = "bundled",
    optimizer: Optimizer = None,
    judge: Judge = None,
    embedder: Embedder = None,
    option: Options = [],  # noqa: B006
    replicas: Replicas = None,
    ray_address: RayCells = None,
    workers: Annotated[int | None, typer.Option(metavar="N", help="Searches at once [by cores and models].")] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where everything is kept.")] = Path("runs/comparison"),
    json: Json = False,
) -> None:
    """Compare methods on tasks, each with several seeds, under one budget.

    The same command goes on where it was cut short. Exit code 1 where some search failed.
    """
    from steepest.cli.rows import options_of, prices_from, spread
    from steepest.cli.tables import say_comparison
    from steepest.comparing.comparison import compare
    from steepest.comparing.setup import FILE
    from steepest.reporting.text import escaped

    try:
        found = compare(
            method,
            data=task,
            grids=grid,
            seeds=seeds,
            calls=calls,
            tokens=tokens,
            dollars=dollars,
            prompt=prompt,
            model=model,
            optimizer=optimizer,
            judge=judge,
            embedder=embedder,
            options=options_of(spread(option, replicas, ray_address if replicas else None)),
            price=prices_from(price),
            workers=workers,
            ray_address=ray_address,
            out=out,
        )
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if json:
        typer.echo(escaped((out / FILE).read_text(encoding="utf-8").rstrip("\n")))
    else:
        say_comparison(found)
    if found.failed:
        raise typer.Exit(1)
