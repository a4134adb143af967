"""What commands say at the end: the verdict first, what it rests on, what it cost, how to have it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from steepest.errors import BudgetSpent, ModelError
from steepest.objects import files_named, refuse_carried
from steepest.reporting import words
from steepest.reporting.difference import difference
from steepest.reporting.read import Tables, read_run
from steepest.reporting.statistics import p_text, percent
from steepest.reporting.text import clean, escaped
from steepest.results import Estimate, Faults, Result
from steepest.runfolder import RunFolder
from steepest.types import money

if TYPE_CHECKING:
    from steepest.evaluating import Measured

INTERRUPTED = 130
_STYLES = {"equal": "", "removed": "red strike", "added": "bold green"}
_PLAIN = {"equal": "{}", "removed": "[-{}-]", "added": "{{+{}+}}"}


@contextmanager
def told(folder: Path, as_json: bool) -> Iterator[None]:
    """Around a run: says its result at the end, or how to go on where it was cut short."""
    try:
        yield
    except KeyboardInterrupt:
        if (folder / "run.json").is_file():
            typer.echo(f"interrupted; go on with: {clean(words.resumption(folder))}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except (ModelError, BudgetSpent) as error:
        if (folder / "run.json").is_file():
            raise type(error)(f"{error}; go on with: {words.resumption(folder)}") from error
        raise
    if as_json:
        typer.echo(escaped((folder / "result.json").read_text(encoding="utf-8").rstrip("\n")))
    else:
        say_result(folder)


def code_of(folder: Path) -> Sequence[str]:
    """Files of code that a run names, in the order in which it does; going on with it runs them, see `trusting`."""
    run = RunFolder(folder)
    info = run.info()
    named = [info.method, [[model.name, model.options] for model in info.models.values()], info.task.metric]
    refuse_carried(named, folder)
    run.own_info(info.models)
    return list(dict.fromkeys(files_named(named)))


def say_result(folder: Path) -> None:
    """A finished run, for people."""
    tables = read_run(folder)
    result = tables.result
    assert result is not None, "the run is finished"
    console = Console(highlight=False, soft_wrap=True)
    console.print(_text(words.headline(result), "bold"))
    said = (words.lead(tables), words.advice(tables), words.reopened(result))
    console.print(_text(" ".join(filter(None, said))))
    console.print()
    console.print(_prompts(result, console.is_terminal))
    console.print()
    console.print(_accuracies(tables, result))
    console.print()
    for line in _faults(result.answers.best, result.test.best.n):
        console.print(_text(line))
    if missing := words.unanswered(tables):
        console.print(_text(f"note       {missing}"))
    for note in result.notes:
        console.print(_text(f"note       {note}"))
    for label, text in (("cost", _cost(result)), ("models", words.players(tables)), ("replies", words.replies(tables))):
        if text:
            console.print(_text(f"{label:<11}{text}"))
    console.print(_text(f"steps      {words.effort(tables)}"))
    console.print(_text(f"report     {folder / 'report.html'}"))
    console.print(_text(f"prompt     {shlex.join(['steepest', 'show', str(folder), '--prompt'])}"))
    console.print(_text(f"again      {words.command(tables)}"))


def say_measured(measured: Measured) -> None:
    """One prompt's score, for people."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(_text(measured.sentence))
    console.print(_text(f"prompt     {measured.prompt}"))
    console.print(_text(f"model      {measured.model}"))
    for line in _faults(measured.answers, measured.score.n):
        console.print(_text(line))
    for note in measured.notes:
        console.print(_text(f"note       {note}"))
    usage = measured.usage
    console.print(_text(f"cost       {usage.calls:,} calls, {usage.tokens:,} tokens, {words.duration(usage.seconds)}"))


def best_prompt(tables: Tables) -> str:
    """A run's result, or the best so far."""
    if tables.result is not None:
        return tables.result.prompt.best
    return tables.winner.prompt if tables.winner else tables.spec.prompt


def standing(tables: Tables) -> str:
    """Where a run stands."""
    result = tables.result
    if result is not None:
        change = f"{percent(result.test.initial.mean)} -> {percent(result.test.best.mean)}"
        return f"{result.verdict}, {change}: {' '.join(result.prompt.best.split())}"
    return f"{words.lead(tables)} Go on with: {words.resumption(tables.folder)}"


def _text(line: str, style: str = "") -> Text:
    return Text(clean(line), style)


def _prompts(result: Result, styled: bool) -> Table:
    """Both prompts, what changed marked by colour, or by brackets where there is none."""
    before, after = Text(), Text()
    for run in difference(clean(result.prompt.initial), clean(result.prompt.best)):
        text = run.text if styled or run.kind == "equal" else _bracketed(run.text, _PLAIN[run.kind])
        style = _STYLES[run.kind] if styled else ""
        if run.kind != "added":
            before.append(text, style)
        if run.kind != "removed":
            after.append(text, style)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("initial", before)
    grid.add_row("best", after)
    return grid


def _bracketed(text: str, form: str) -> str:
    """Brackets around the words, not around the white space at their ends."""
    words_only = text.strip()
    return text.replace(words_only, form.format(words_only), 1) if words_only else text


def _accuracies(tables: Tables, result: Result) -> Table:
    test = result.test
    table = Table(box=None, padding=(0, 3, 0, 0))
    for heading in ("held-out", words.measure(tables), "95 % interval", "rows"):
        table.add_column(heading, justify="left" if heading == "held-out" else "right", no_wrap=True)
    for name, found in (("initial", test.initial), ("best", test.best)):
        table.add_row(name, percent(found.mean), _interval(found), f"{found.n:,}")
    gap = test.difference
    table.add_row("difference", words.points(gap.mean), f"{words.points(gap.low)} to {words.points(gap.high)}", "")
    table.caption = f"{p_text(test.p_value)} ({words.test_name(tables)})"
    table.caption_justify = "left"
    return table


def _faults(faults: Faults, n: int) -> Iterator[str]:
    """What to look at before trusting a score."""
    if faults.truncated:
        yield f"note       {faults.truncated:,} of {n:,} answers were cut off at max_tokens"
    if faults.unextracted:
        yield f"note       in {faults.unextracted:,} of {n:,} answers no answer could be found"
    if faults.unanswered:
        yield f"note       {faults.unanswered:,} rows got no answer from the model and are not scored"
    if faults.unjudged:
        yield f"note       {faults.unjudged:,} answers got no rating from the judge and are not scored"


def _cost(result: Result) -> str:
    parts = []
    aims = (result.usage, "search"), (result.unfinished, "begin a step that did not fit"), (result.measuring, "measure")
    for spent, aim in aims:
        if spent is result.unfinished and not spent.calls:
            continue
        dollars = f" ({money(spent.dollars)})" if spent.dollars else ""
        parts.append(f"{spent.calls:,} calls and {spent.tokens:,} tokens{dollars} to {aim}")
    return ", ".join(parts)


def _score(found: Estimate) -> str:
    return f"{percent(found.mean)} ({_interval(found)})"


def _interval(found: Estimate) -> str:
    return f"{100 * found.low:.1f} to {100 * found.high:.1f}"
