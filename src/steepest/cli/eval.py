"""`steepest eval`: how good one prompt is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steepest.cli.options import Answer, Data, Id, Input, Json, Layout, MaxTokens, Options, Target, TaskName


def command(  # noqa: PLR0913  # size: the options of the command, which typer reads from the parameters
    folder: Annotated[Path | None, typer.Argument(metavar="FOLDER", help="A run, for its best prompt.")] = None,
    prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="Prompt [the run's best, the task's own].")] = None,
    split: Annotated[str, typer.Option(metavar="SPLIT", help="train, dev or test.")] = "test",
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Model [the run's own, bundled].")] = None,
    option: Options = [],  # noqa: B006  # typer copies it
    task: TaskName = None,
    data: Data = None,
    input: Input = None,
    target: Target = None,
    id: Id = None,
    layout: Layout = None,
    answer: Answer = None,
    max_tokens: MaxTokens = None,
    json: Json = False,
) -> None:
    """Measure one prompt on the rows of a split.

    Gives the mean score with its 95 % interval.
    """
    import json as writer

    from steepest import api
    from steepest.cli.ending import best_prompt, say_measured
    from steepest.cli.rows import from_options, options_of
    from steepest.evaluating import measure
    from steepest.reporting.read import read_run

    columns = {"input": input, "target": target, "id": id, "layout": layout, "answer": answer, "max_tokens": max_tokens}
    tables = read_run(folder) if folder else None
    alone = folder is not None and task is None and data is None
    source = from_options(str(folder) if alone else task, data, columns)
    options = options_of(option)
    if tables and model is None:
        recorded = tables.spec.models["task"]
        model, options = str(recorded["name"]), {**recorded["options"], **options}
    if tables and prompt is None:
        prompt = best_prompt(tables)
    opened = api.opened_model(model or "bundled", options)
    measured = measure(prompt or source.task.seeds[0], source, split, opened)
    if json:
        typer.echo(writer.dumps(measured.to_json(), ensure_ascii=False, indent=1))
    else:
        say_measured(measured)
