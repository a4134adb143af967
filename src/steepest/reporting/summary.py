"""The verdict of a run as a few lines of plain text, for the terminal."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap

from steepest.reporting.read import Tables, read_run
from steepest.reporting.statistics import p_text, percent
from steepest.reporting.text import clean, one_line
from steepest.reporting.words import (
    advice,
    difference,
    effort,
    headline,
    lead,
    measure,
    resumption,
    test_name,
)
from steepest.results import Estimate, Result

WIDTH = 100


def summary(folder: Path) -> str:
    """What the report says first, without a final line end; StateError where `folder` is no run folder."""
    tables = read_run(folder)
    spec = tables.spec
    result = tables.result
    body = _contest(tables, result) if result else [*wrap(lead(tables), WIDTH), "", f"  {resumption(tables)}"]
    said = wrap(advice(tables), WIDTH)
    about = f"{spec.method['use']} on {spec.task['name']}, model {spec.models['task']['name']}, seed {spec.seed}"
    cost = f"{effort(tables)} {tables.search.calls:,} calls, {tables.search.tokens:,} tokens."
    blocks = [[headline(result)], body, said, [one_line(about, WIDTH), *wrap(clean(cost), WIDTH)]]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _contest(tables: Tables, result: Result) -> list[str]:
    test = result.test
    lines = [
        f"Held-out {measure(tables)}, with 95 % intervals:",
        _estimate("initial", test.initial, result.prompt.initial),
    ]
    if result.prompt.initial == result.prompt.best:
        return lines
    return [
        *lines,
        _estimate("new", test.best, result.prompt.best),
        f"  {'change':<8}{difference(test)}; {test_name(tables)}, {p_text(test.p_value)}",
    ]


def _estimate(name: str, found: Estimate, prompt: str) -> str:
    numbers = f"{percent(found.mean):>7}  ({100 * found.low:.1f} to {100 * found.high:.1f}, {found.n:,} rows)"
    start = f"  {name:<8}{numbers}  "
    return start + one_line(prompt, max(20, WIDTH - len(start)))
