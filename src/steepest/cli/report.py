"""`steepest report`: write a run's report again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A run folder.")]) -> None:
    """Write a run's report and print its path.

    The run may be unfinished. The report is report.html in its folder.
    """
    from steepest.reporting import html
    from steepest.reporting.text import clean

    typer.echo(clean(str(html.write(folder))))
