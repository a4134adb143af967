"""What `compare` and `transfer` say at the end, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from steepest.reporting import comparison_words, matrix
from steepest.reporting.comparison import MethodComparison
from steepest.reporting.comparison_page import number
from steepest.reporting.matrix import Transfer
from steepest.reporting.statistics import percent
from steepest.reporting.text import clean
from steepest.reporting.words import points
from steepest.types import money

_WIDE = 240


def say_comparison(found: MethodComparison) -> None:
    """The leaderboard, what it rests on, and where the rest is."""
    console = _console()
    console.print(_text(comparison_words.headline(found)), style="bold")
    for said in (comparison_words.lead(found), *comparison_words.caveats(found)):
        console.print(_text(said))
    console.print()
    heads = ("method", "mean score", "95 % interval", "rank", "against initial", "against others", "calls", "tokens")
    is_priced = any(line.dollars for line in found.standings)
    rows = []
    for line in found.standings:
        initial = " / ".join(str(line.verdicts[name]) for name in ("better", "no_difference", "worse"))
        others = f"{line.wins} / {line.ties} / {line.losses}"
        costs = [f"{line.calls:,.0f}", f"{line.tokens:,.0f}", *([money(line.dollars)] if is_priced else [])]
        score = [percent(line.accuracy.mean), comparison_words.span(line.accuracy), number(line.rank)]
        rows.append([line.contender, *score, initial, others, *costs, points(line.optimism)])
    initial_score = [percent(found.initial.mean), comparison_words.span(found.initial)]
    rows.append(["initial prompt", *initial_score, *[""] * (len(heads) - 2 + is_priced)])
    console.print(_table([*heads, *(["dollars"] if is_priced else []), "dev - held-out"], rows))
    console.print()
    console.print(_text("against initial: better / same / worse; against others: won / tied / lost, by paired tests"))
    for each in found.failed:
        console.print(_text(f"failed     {each.cell}: {each.error}"))
    console.print(_text(f"report     {found.folder / 'compare.html'}"))


def say_transfer(found: Transfer) -> None:
    """The matrix."""
    console = _console()
    console.print(_text(matrix.headline(found)), style="bold")
    console.print()
    rows = []
    for index, prompt in enumerate(found.prompts):
        entries = [found.entry(index, model) for model in found.models]
        cells = [("* " if matrix.is_shown(entry) else "") + "\n".join(matrix.texts(entry)) for entry in entries]
        rows.append([prompt.label, prompt.task, prompt.model, *cells])
    console.print(_table(["prompt", "task", "found with", *found.models], rows))
    console.print()
    console.print(_text("*: differs from the initial prompt, after Holm's correction over the table"))
    console.print(_text(f"asked      {found.asked:,} requests; others were known"))
    console.print(_text(f"report     {found.folder / 'transfer.html'}"))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column, head in enumerate(heads):
        table.add_column(_text(head), justify="right" if column else "left", no_wrap=not column)
    for row in rows:
        table.add_row(*(_text(cell) for cell in row))
    return table


def _console() -> Console:
    """In a file, tables are as wide as they need."""
    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=_WIDE)


def _text(line: str) -> Text:
    return Text(clean(line))
