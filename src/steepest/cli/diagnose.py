"""`steepest diagnose`: whether a search is worth its cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steepest.cli.options import (
    Answer,
    Criteria,
    Data,
    DataDir,
    Description,
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
    Prices,
    SkipBadRows,
    Target,
    TaskName,
)

if TYPE_CHECKING:
    from steepest.diagnosing.findings import Diagnosis


def command(  # noqa: PLR0913  # size: the options of the command, which typer reads from the parameters
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
    option: Options = [],  # noqa: B006  # typer copies it
    prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="Initial prompt [the task's own].")] = None,
    calls: Annotated[int, typer.Option(metavar="N", help="The most model calls; they decide how many rows.")] = 1000,
    repeats: Annotated[int, typer.Option(metavar="N", help="Sample the initial prompt's answers N times, too.")] = 0,
    temperature: Annotated[float, typer.Option(metavar="T", help="Of these.")] = 0.7,
    price: Prices = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where it is kept [runs/diagnose-TASK].")] = None,
    json: Json = False,
) -> None:
    """Say in minutes whether a search is worth its cost.

    Tries very different prompts on some dev rows: do prompts matter here, what might a search gain, how many rows does
    it take to show it, which method fits. The same command asks nothing again.
    """
    from steepest.cli.rows import from_options, options_of, prices_from
    from steepest.diagnosing.diagnosis import FILE, diagnosed
    from steepest.diagnosing.measuring import Budget
    from steepest.reporting.text import clean, escaped
    from steepest.roles import open_models

    columns: dict[str, Any] = {"input": input, "target": target, "id": id, "layout": layout, "answer": answer}
    columns |= {"criteria": criteria, "description": description, "language": language, "max_tokens": max_tokens}
    columns |= {"data_dir": data_dir and str(data_dir), "skip_bad_rows": skip_bad_rows or None}
    source = from_options(task, data, columns, prompt)
    for note in source.notes:
        typer.echo(clean(f"note: {note}"), err=True)
    models = open_models({"task": model, "optimizer": optimizer, "judge": judge}, options_of(option))
    found = diagnosed(source, models, Budget(calls, repeats, temperature), prices_from(price), out)
    if json:
        typer.echo(escaped((found.folder / FILE).read_text(encoding="utf-8").rstrip("\n")))
    else:
        _say(found)


def _say(found: Diagnosis) -> None:
    """For people: the verdict first, then what it rests on."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from steepest.diagnosing.page import NAME
    from steepest.diagnosing.telling import facts, parts, refusals
    from steepest.reporting.text import clean

    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console = Console(highlight=False, soft_wrap=True, width=240)
    console.print(Text(clean(found.sentence), "bold"))
    for said in (*found.cautions, f"Method: {found.advice.method or 'none'}; {found.advice.why}."):
        console.print(Text(clean(said)))
    for part in parts(found):
        console.print(Text(f"\n{part.title}", "bold"))
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=any(part.heads))
        for column, head in enumerate(part.heads):
            table.add_column(head, justify="right" if column and head != "text" else "left", no_wrap=not column)
        for row in part.rows:
            table.add_row(*(Text(clean(cell)) for cell in row))
        console.print(table)
        if part.about:
            console.print(Text(part.about, "dim"))
    console.print()
    for said in refusals(found):
        console.print(Text(clean(f"cannot run {said}")))
    console.print(Text(clean(f"asked      {facts(found)}")))
    console.print(Text(clean(f"report     {found.folder / NAME}")))
