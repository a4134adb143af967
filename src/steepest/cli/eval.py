"""`steepest eval`: how good one prompt is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
    Options,
    RayAddress,
    Replicas,
    SkipBadRows,
    Target,
    TaskName,
)


def command(  # noqa: PLR0913  # size: the options of the command, which typer reads from the parameters
    folder: Annotated[Path | None, typer.Argument(metavar="FOLDER", help="A run, for its best prompt.")] = None,
    prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="Prompt [the run's best, the task's own].")] = None,
    split: Annotated[str, typer.Option(metavar="SPLIT", help="train, dev or test.")] = "test",
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Model [the run's own, bundled].")] = None,
    judge: Judge = None,
    option: Options = [],  # noqa: B006  # typer copies it
    replicas: Replicas = None,
    ray_address: RayAddress = None,
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
    json: Json = False,
) -> None:
    """Measure one prompt on the rows of a split.

    Gives the mean score with its 95 % interval.
    """
    import json as writer

    from steepest.cli.ending import best_prompt, say_measured
    from steepest.cli.rows import from_options, options_of, spread
    from steepest.evaluating import measure
    from steepest.objects import refuse_carried
    from steepest.reporting.read import read_run
    from steepest.reporting.text import escaped
    from steepest.roles import open_models
    from steepest.runfolder import RunFolder

    columns: dict[str, Any] = {"input": input, "target": target, "id": id, "layout": layout, "answer": answer}
    columns |= {"criteria": criteria, "description": description, "language": language, "max_tokens": max_tokens}
    columns |= {"data_dir": data_dir and str(data_dir), "skip_bad_rows": skip_bad_rows or None}
    tables = read_run(folder) if folder else None
    alone = folder is not None and task is None and data is None
    if tables and prompt is None:
        prompt = best_prompt(tables)
    source = from_options(str(folder) if alone else task, data, columns, prompt)
    options, named = options_of(spread(option, replicas, ray_address)), {"task": model, "judge": judge}
    if folder:
        run = RunFolder(folder)
        refuse_carried([[each.name, each.options] for each in run.info().models.values()], folder)
        missing = {role for role, given in named.items() if given is None and (role == "task" or alone)}
        for role, each in run.own_models(missing).items():
            own = {name if role == "task" else f"{role}.{name}": value for name, value in each.options.items()}
            named[role], options = each.name, {**own, **options}
    models = open_models({**named, "task": named["task"] or "bundled"}, options)
    measured = measure(source.task.seeds[0], source, split, models)
    if json:
        typer.echo(escaped(writer.dumps(measured.to_json(), ensure_ascii=False, indent=1)))
    else:
        say_measured(measured)
