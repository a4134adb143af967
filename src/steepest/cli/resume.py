"""`steepest resume`: go on with a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steepest.cli.options import Calls, Json, Patience, Seconds, Steps, Tokens


def command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A run folder.")],
    steps: Steps = None,
    calls: Calls = None,
    tokens: Tokens = None,
    seconds: Seconds = None,
    patience: Patience = None,
    json: Json = False,
) -> None:
    """Go on with a run where it stopped.

    Limits count from its beginning and replace those it was given. No finished model call is made again.
    """
    from steepest import api
    from steepest.cli.ending import told

    with told(folder, json):
        api.resume(folder, steps=steps, calls=calls, tokens=tokens, seconds=seconds, patience=patience)
