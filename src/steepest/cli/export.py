"""`steepest export`: a run's prompt for other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

NAMES = "text, json, yaml, python, dspy, langchain, promptfoo, lm-eval, mlflow"
"""Those of `exporting.FORMATS`, which would bring half of the package with it."""


def command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A run.")],
    to: Annotated[str, typer.Option(metavar="FORMAT", help=f"{NAMES}.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="New file, or folder for yaml, promptfoo, lm-eval [standard output]."),
    ] = None,
    which: Annotated[str, typer.Option(metavar="PROMPT", help="best or initial.")] = "best",
    split: Annotated[str, typer.Option(metavar="SPLIT", help="Rows to export and to verify on, dev or test.")] = "dev",
    verify: Annotated[bool, typer.Option("--verify", help="Ask the run's model with the exported messages.")] = False,
    rows: Annotated[int | None, typer.Option(metavar="N", help="Verify on the first so many [all].")] = None,
) -> None:
    """Write a run's prompt as the messages that were scored, for other programs.

    With --verify, the exit code is 1 where the exported file asks or scores anything else than the run did.
    """
    from tempfile import TemporaryDirectory

    from steepest.errors import SpecError
    from steepest.exporting import export, format_named, store
    from steepest.reporting.text import clean

    form = format_named(to)
    if out is None and form.is_folder and not verify:
        raise SpecError(f"an export to {to} is a folder of files, got no place for it; name one with --out")
    exported = export(folder, to, out=out, which=which, split=split)
    if exported.path is not None:
        typer.echo(f"wrote      {clean(str(exported.path))}", err=True)
    elif not verify:
        # Exact where it is read by a program; a terminal would obey what is hidden in it.
        typer.echo(clean(exported.text) if sys.stdout.isatty() else exported.text, nl=False, color=True)
    if verify:
        with TemporaryDirectory() as place:
            path = exported.path or store(exported.files, Path(place), form.is_folder)
            _verified(folder, to, path, which, split, rows)


def _verified(folder: Path, to: str, path: Path, which: str, split: str, rows: int | None) -> None:
    from steepest.exporting.verifying import verify
    from steepest.reporting.statistics import percent
    from steepest.reporting.text import clean

    found = verify(folder, to, path, which=which, split=split, rows=rows)
    if found.difference:
        typer.echo(f"error: {' '.join(clean(found.difference).split())} (rebuilt by {found.by})", err=True)
        raise typer.Exit(1)
    score = f"{percent(found.measured)} on {found.n:,} {split} rows"
    typer.echo(f"verified   {score}, as in the run; rebuilt by {found.by}")
