"""`steepest show`: a method's settings, or where a run stands."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer


def command(
    name: Annotated[str, typer.Argument(metavar="METHOD|FOLDER", help="A method's name or a run folder.")],
    prompt: Annotated[bool, typer.Option("--prompt", help="Print the run's best prompt, and nothing else.")] = False,
) -> None:
    """Show a method's settings, or how a run went."""
    from steepest.errors import SpecError

    if Path(name).is_dir() or (len(Path(name).parts) > 1 and ":" not in name):
        _run(Path(name), prompt)
    elif prompt:
        raise SpecError(f"--prompt prints that of a run, got {name!r}, which is no run folder; leave it out")
    else:
        _method(name)


def _run(folder: Path, prompt_only: bool) -> None:
    from steepest.cli.ending import best_prompt, say_result, standing
    from steepest.reporting.read import read_run
    from steepest.reporting.text import clean

    tables = read_run(folder)
    if prompt_only:
        # Exact where it is read by a program; a terminal would obey what is hidden in it.
        best = best_prompt(tables)
        typer.echo(clean(best) if sys.stdout.isatty() else best, color=True)
    elif tables.result:
        say_result(folder)
    else:
        typer.echo(clean(standing(tables)))


def _method(name: str) -> None:
    from steepest import spec

    kind = spec.locate(spec.written(name)[0])
    typer.echo(f"{inspect.getdoc(kind)}\n\nSettings, changed by --set NAME=VALUE:\n")
    texts = dict(_field_texts(kind))
    for field in dataclasses.fields(kind):
        typer.echo(f"  {field.name}={_default(field)}")
        if field.name in texts:
            typer.echo(textwrap.fill(texts[field.name], 100, initial_indent="      ", subsequent_indent="      "))
    if presets := vars(kind).get("presets"):
        typer.echo("\nPresets, chosen by --set preset=NAME:\n")
        for preset, settings in presets.items():
            typer.echo(f"  {preset}: {json.dumps(settings, ensure_ascii=False)}")
    module = inspect.getdoc(inspect.getmodule(kind))
    typer.echo(f"\n{module}" if module else "")


def _field_texts(kind: type[Any]) -> Iterator[tuple[str, str]]:
    """The text under each field in the class's source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            yield field.target.id, " ".join(str(ast.literal_eval(text.value)).split())


def _default(field: dataclasses.Field[Any]) -> str:
    from steepest import spec

    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    if default is dataclasses.MISSING:
        return "(needs a value)"
    if isinstance(default, str):
        return default
    shown = spec.describe(default) if dataclasses.is_dataclass(default) else default
    return json.dumps(shown, ensure_ascii=False)
