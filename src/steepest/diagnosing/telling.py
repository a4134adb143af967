"""A diagnosis as headed tables of plain text, for the terminal and the page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from steepest.diagnosing.advising import answered
from steepest.diagnosing.findings import STEPS, Diagnosis, Tried
from steepest.diagnosing.power import POWER
from steepest.diagnosing.spread import SEARCHED
from steepest.reporting.statistics import p_text, percent
from steepest.reporting.text import one_line
from steepest.reporting.words import plural, points
from steepest.types import money

_WIDTH = 60


@dataclass(frozen=True, slots=True)
class Part:
    """One headed table, the first column names the row."""

    title: str
    about: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def parts(found: Diagnosis) -> Iterator[Part]:
    """What a verdict rests on, part by part."""
    yield _tried(found)
    yield _spread(found)
    if found.majority is not None:
        yield _majority(found)
    yield _needed(found)
    yield _methods(found)


def facts(found: Diagnosis) -> str:
    """What was asked, and what it cost."""
    players = "; ".join(f"{name} as {role}" for role, name in found.models.items())
    used = found.usage
    paid = f" ({money(used.dollars)})" if used.dollars else ""
    return (
        f"{found.task} with {players}: {plural(used.calls, 'call')} and {used.tokens:,} tokens{paid}, of them "
        f"{found.asked:,} now"
    )


def _tried(found: Diagnosis) -> Part:
    rows = tuple(_line(each) for each in found.tried)
    n = found.initial.score.n
    about = (
        f"On the same {plural(n, 'dev row')}, greedily. Adjusted: p of the paired test against the initial prompt, by "
        "Holm's method for all that were tried. Unread: no answer could be found."
    )
    heads = ("prompt", "mean score", "95 % interval", "against initial", "adjusted", "unread", "cut off", "text")
    return Part("Prompts", about, heads, rows)


def _line(each: Tried) -> tuple[str, ...]:
    score, asked = each.score, answered(each)
    against = (points(each.difference.mean), p_text(each.adjusted)) if each.name != "initial" else ("", "")
    shares = (percent(count / asked) for count in (each.answers.unextracted, each.answers.truncated))
    span = f"{100 * score.low:.1f} to {100 * score.high:.1f}"
    return (each.name, percent(score.mean), span, *against, *shares, one_line(each.text, _WIDTH) or "(none)")


def _spread(found: Diagnosis) -> Part:
    spread, room, again = found.spread, found.headroom, found.resampling
    rows = [
        ("between prompts, measured", _points(spread.observed)),
        ("of luck alone, if all were alike", _points(spread.chance)),
        ("between prompts, without the luck", _points(spread.prompts)),
        ("between rows", _points(spread.rows)),
        ("neither prompt nor row", _points(spread.rest)),
    ]
    if again is not None:
        label = f"initial prompt sampled {again.repeats} times at {again.temperature:g}"
        rows += [(f"{label}, measured", _points(again.observed)), (f"{label}, expected", _points(again.expected))]
    rows += [
        ("do prompts matter?", p_text(spread.p_value)),
        ("headroom: gain that a search might reach", _points(room.gain)),
        ("rows that at least one prompt got right", percent(room.solvable)),
    ]
    about = (
        "Standard deviations of mean scores, in points. The p-value is by permutation within rows. Headroom is what "
        f"the best of {SEARCHED} prompts that differ as much as these would have over the initial one."
    )
    return Part("Spread and headroom", about, ("", ""), tuple(rows))


def _majority(found: Diagnosis) -> Part:
    told = found.majority
    assert told is not None, "asked only where there is one"
    rows = (
        ("commonest answer", one_line(told.answer, _WIDTH)),
        ("its share of the train rows", percent(told.share)),
        ("different answers there", f"{told.kinds:,}"),
        ("score of always giving it", percent(told.score.mean)),
        ("initial prompt", f"{percent(found.initial.score.mean)} ({p_text(told.p_value)})"),
    )
    return Part("Always the same answer", "", ("", ""), rows)


def _needed(found: Diagnosis) -> Part:
    test = found.rows["test"]
    rows = []
    for each in found.needed:
        enough = "" if each.rows is None else "yes" if each.has_enough else f"no, {test:,} are there"
        number = "no room for it" if each.rows is None else f"{each.rows:,}"
        rows.append((f"{100 * each.gain:.0f} points", number, enough))
    about = (
        f"Test rows at which a true gain is shown {100 * POWER:.0f} times in 100, reckoned with how unlike these "
        f"prompts answer single rows ({percent(found.churn)})."
    )
    return Part("Rows for a gain", about, ("gain", "rows", "enough"), tuple(rows))


def _methods(found: Diagnosis) -> Part:
    heads = ("method", "calls", "tokens", *(("dollars",) if any(f.dollars is not None for f in found.methods) else ()))
    rows = []
    for fit in found.methods:
        tokens = "-" if fit.tokens is None else f"{fit.tokens:,}"
        dollars = "-" if fit.dollars is None else money(fit.dollars)
        cells = (fit.method, f"{fit.calls:,}", tokens, dollars)[: len(heads)]
        rows.append((fit.method, "cannot run", *[""] * (len(heads) - 2)) if fit.refused else cells)
    about = f"At most, in {plural(STEPS, 'step')}, measuring apart; --calls, --tokens and --dollars limit any of them."
    return Part("What a search costs", about, heads, tuple(rows))


def _points(share: float) -> str:
    return "not known" if math.isnan(share) else f"{100 * share:.1f}"


def refusals(found: Diagnosis) -> Sequence[str]:
    """Why methods cannot run."""
    return [f"{fit.method}: {fit.refused}" for fit in found.methods if fit.refused]
