"""`steepest trust`: have a run folder that came from elsewhere do what it names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A run folder.")],
    name: Annotated[
        list[str], typer.Argument(metavar="NAME", help="Code, or KEY_VARIABLE@URL: all that the folder names.")
    ] = [],  # noqa: B006  # typer copies it
) -> None:
    """Have a run folder that came from elsewhere do what it names.

    Without names, says which code it has run, and which servers asked with which key. Naming all of that lets `resume`,
    `eval` and the other commands go on with the folder, as with those that you made; until run.json is changed.
    """
    import shlex

    from steepest import trusting
    from steepest.reporting.text import clean
    from steepest.runfolder import RunFolder

    run = RunFolder(folder)
    run.info()  # or it is no run
    told = run.told()
    named = trusting.named(told.json)
    if not named:
        typer.echo("names no code of its own and no server; there is nothing to trust")
    elif name:
        trusting.allow(folder, told.data, named, name)
        typer.echo("trusted")
    elif trusting.is_trusted(told.data):
        typer.echo(clean(f"trusted, names {', '.join(named)}"))
    else:
        for each in named:
            typer.echo(clean(each))
        again = shlex.join(["steepest", "trust", str(folder), *named])
        typer.echo(clean(f"not trusted; if you want all of that: {again}"))
