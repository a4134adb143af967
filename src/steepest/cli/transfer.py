"""`steepest transfer`: prompts that runs found, with other models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steepest.cli.options import Json, Judge, Options, RayCells, Replicas
from steepest.cli.stopping import INTERRUPTED, stoppable


@stoppable()
def command(  # noqa: PLR0913  # size: the options of the command, which typer reads from the parameters
    run: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of finished runs.")],
    model: Annotated[list[str], typer.Option(metavar="MODEL", help="Answers the rows; may be repeated.")],
    split: Annotated[str, typer.Option(metavar="SPLIT", help="train, dev or test.")] = "test",
    rows: Annotated[int | None, typer.Option(metavar="N", help="Only so many rows of the split.")] = None,
    judge: Judge = None,
    option: Options = [],  # noqa: B006  # typer copies it
    replicas: Replicas = None,
    ray_address: RayCells = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where everything is kept.")] = Path("runs/transfer"),
    json: Json = False,
) -> None:
    """Measure prompts that were found with one model on others.

    The initial prompt is a line of its own. The same command asks nothing again.
    """
    from steepest.cli.rows import options_of, spread
    from steepest.cli.tables import say_transfer
    from steepest.comparing.transferring import FILE, transfer
    from steepest.reporting.text import escaped

    try:
        options = options_of(spread(option, replicas, ray_address if replicas else None))
        found = transfer(
            run, model, split=split, rows=rows, judge=judge, options=options, ray_address=ray_address, out=out
        )
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if json:
        typer.echo(escaped((out / FILE).read_text(encoding="utf-8").rstrip("\n")))
    else:
        say_transfer(found)
