"""What `run --dry-run` says: the most that a run costs, role by role, and its first message to the optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from steepest.codec import encode
from steepest.estimating import Part, forecast
from steepest.plan import Plan, check
from steepest.reporting.text import clean
from steepest.types import Usage, money

_HEADINGS = ("at most", "model", "calls at step 0", "calls a step", "calls in all", "tokens a call", "tokens in all")
_TEXTS = 2
"""So many columns are words, the others numbers."""


def say_forecast(plan: Plan) -> None:
    """A run that was only planned, for people."""
    check(plan)
    found = forecast(plan)
    steps = plan.limits.steps
    console = Console(highlight=False, soft_wrap=True)
    console.print(_line("Dry run: no model was asked, nothing was written."))
    console.print()
    headings = [*_HEADINGS, *(["dollars"] if plan.prices else [])]
    table = [headings]
    for name, parts, times in (
        ("search", found.search, steps),
        ("measuring on dev", found.measuring, steps),
        ("test", found.test, 0),
    ):
        table += _rows(name, parts, times, bool(plan.prices))
    widths = [max(len(row[column]) for row in table) for column in range(len(headings))]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row[:_TEXTS], widths, strict=False)]
        cells += [cell.rjust(width) for cell, width in zip(row[_TEXTS:], widths[_TEXTS:], strict=True)]
        console.print(_line("  ".join(cells)))
    console.print()
    for text in _notes(plan, found.search):
        console.print(_line(text))
    if found.message:
        console.print(_line("\nThe first message to the optimizer, rehearsed with made-up answers:\n"))
        console.print(_line(found.message))


def _rows(name: str, parts: Sequence[Part], steps: int | None, is_priced: bool) -> Iterator[list[str]]:
    for part in parts:
        total = None if steps is None else part.total(steps)
        request = part.request
        cells = [f"{name}: {part.role}", part.model, f"{part.init:,}", f"{part.step:,}"]
        cells.append(f"{total.calls:,}" if total else "-")
        cells.append(f"{request.prompt_tokens:,} + {request.output_tokens:,}" if request else "-")
        cells.append(f"{total.tokens:,}" if total and request else "-")
        yield [clean(cell) for cell in [*cells, *([_dollars(total, request)] if is_priced else [])]]


def _dollars(total: Usage | None, request: Usage | None) -> str:
    return money(total.dollars) if total and request else "-"


def _notes(plan: Plan, search: Sequence[Part]) -> Iterator[str]:
    yield (
        "Calls are the method's bound; what was asked before costs nothing again, so runs make fewer. Tokens are about "
        "those of the first two steps read, plus the limit of an answer."
    )
    if any(part.request is None for part in search):
        yield "Where a call has no tokens, they depend on what the search finds."
    limits = {name: value for name, value in encode(plan.limits).items() if value is not None}
    yield "Limits of the search: " + ", ".join(f"{value:,} {name}" for name, value in limits.items()) + "."


def _line(text: str) -> Text:
    return Text(clean(text))
