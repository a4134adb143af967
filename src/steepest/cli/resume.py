"""`steepest resume`: go on with a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steepest.cli.options import (
    Calls,
    Dollars,
    FailOn,
    Json,
    Options,
    Patience,
    RayAddress,
    Replicas,
    Seconds,
    Steps,
    Tokens,
)
from steepest.cli.stopping import stoppable


@stoppable()
def command(  # noqa: PLR0913  # size: the options of the command, which typer reads from the parameters
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A run folder.")],
    steps: Steps = None,
    calls: Calls = None,
    tokens: Tokens = None,
    dollars: Dollars = None,
    seconds: Seconds = None,
    patience: Patience = None,
    fail_on: FailOn = None,
    option: Options = [],  # noqa: B006  # typer copies it
    replicas: Replicas = None,
    ray_address: RayAddress = None,
    json: Json = False,
) -> None:
    """Go on with a run where it stopped.

    Limits count from its beginning and replace those it was given. No finished model call is made again; requests
    that went unanswered are. Options of models replace those they were given, where the answers stay the same.
    """
    from steepest import api
    from steepest.cli.ending import code_of, told
    from steepest.cli.rows import options_of, spread
    from steepest.reporting.text import clean

    for name in code_of(folder):
        typer.echo(clean(f"note: runs {name}, which {folder / 'run.json'} names"), err=True)
    with told(folder, json):
        limits = {"steps": steps, "calls": calls, "tokens": tokens, "dollars": dollars, "patience": patience}
        options = options_of(spread(option, replicas, ray_address))
        api.resume(folder, **limits, seconds=seconds, fail_on=fail_on, options=options)  # type: ignore[arg-type]
