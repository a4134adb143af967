"""The report's account of the search: the dev curve, how the prompt became what it is, every edit that was tried."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from steepest.reporting.difference import difference
from steepest.reporting.figures import Scale, around, curve, interval_bar
from steepest.reporting.markup import NOTHING, Html, element, join, prose
from steepest.reporting.read import Attempt, Point, Tables, turns
from steepest.reporting.statistics import percent
from steepest.reporting.text import one_line
from steepest.reporting.words import measure, plural, points, state_of

SHOWN_TURNS = 12
SHOWN_ATTEMPTS = 400


def search_section(tables: Tables) -> Html:
    """All of it; nothing before the first step."""
    chosen = returned(tables)
    if chosen is None:
        return NOTHING
    about = (
        f"The dev score is the {measure(tables)} of the method's best prompt on all {plural(chosen.dev.n, 'dev row')}, "
        "with its 95 % interval. Dev rows choose the prompt that is returned, so these scores flatter it; "
        "the verdict rests on held-out rows alone."
    )
    return element(
        "section",
        "",
        element("h2", "", "The search"),
        element("p", "about", prose(about)),
        curve(tables.points, _initial_mean(tables), chosen, state_of(tables)),
        evolution(turns(tables.points), chosen, state_of(tables)),
        attempts_table(tables.attempts),
    )


def returned(tables: Tables) -> Point | None:
    """Where the returned prompt was first the incumbent; of an unfinished run, the best prompt so far."""
    if tables.result is None:
        return tables.winner
    best = tables.result.prompt.best
    return next((p for p in tables.points if p.prompt == best and p.dev.n), tables.winner)


def marked(old: str, new: str, keep: str) -> Html:
    """`new` with added words marked, or `old` with removed words, or both in one line ("both")."""
    pieces: list[str] = []
    for run in difference(old, new):
        if run.kind == "equal":
            pieces.append(run.text)
        elif keep in (run.kind, "both"):
            word = run.text.lstrip()
            pieces += [run.text[: len(run.text) - len(word)]]
            pieces += [element("ins" if run.kind == "added" else "del", "", word)] if word else []
    return join(pieces)


def evolution(history: Sequence[Point], chosen: Point, flag: str) -> Html:
    """The prompt's life, one line for each time it changed; nothing where it never did."""
    if len(history) < 2:
        return NOTHING
    scored = [point.dev for point in history if point.dev.n]
    scale = around(min(dev.low for dev in scored), max(dev.high for dev in scored))
    flags = [flag if point is chosen else "" for point in history]
    first = _turn(None, history[0], flags[0], scale)
    rest = [_turn(old, new, f, scale) for (old, new), f in zip(pairwise(history), flags[1:], strict=True)]
    shown, hidden = rest[: SHOWN_TURNS - 1], rest[SHOWN_TURNS - 1 :]
    more = element(
        "details",
        "",
        element("summary", "", plural(len(hidden), "more change")),
        element("ol", "turns", *hidden),
    )
    return join(
        [
            element("h3", "", "How the prompt became what it is"),
            element("ol", "turns", first, *shown),
            more if hidden else NOTHING,
        ]
    )


def _turn(before: Point | None, point: Point, flag: str, scale: Scale) -> Html:
    text = marked(before.prompt, point.prompt, "both") if before else join([point.prompt])
    change = points(point.dev.mean - before.dev.mean) if before else ""
    direction = "up" if change.startswith("+") else "down" if change.startswith("-") else ""
    return element(
        "li",
        "turn",
        element("span", "when", f"step {point.step}"),
        element("span", "prompt", text, element("span", "flag", flag) if flag else NOTHING),
        element("span", "score", percent(point.dev.mean), element("small", direction, prose(change))),
        interval_bar(scale, point.dev.low, point.dev.mean, point.dev.high, "best"),
    )


def attempts_table(attempts: Sequence[Attempt]) -> Html:
    """Every edit that was tried: where, its gradient rank, what was predicted and what it did."""
    if not attempts:
        return NOTHING
    shown = attempts[:SHOWN_ATTEMPTS]
    left_out = len(attempts) - len(shown)
    header = [element("th", {"scope": "col", "class": kind}, title) for kind, title in _COLUMNS]
    switch = element("input", {"type": "checkbox", "class": "accepted-only"})
    table = element(
        "table",
        "",
        element("thead", "", element("tr", "", *header)),
        element("tbody", "", *map(_attempt, shown)),
    )
    more = f"{left_out:,} further edits are in the folder's steps/*.json."
    return element(
        "details",
        "attempts",
        element("summary", "", f"Every edit that was tried ({len(attempts):,})"),
        element("p", "about", account(attempts)),
        element("label", "", switch, "accepted edits only"),
        element("div", "wide", table),
        element("p", "about", more) if left_out else NOTHING,
    )


_COLUMNS = (
    ("n", "Step"),
    ("n", "Place"),
    ("", "Edit"),
    ("n", "Gradient rank"),
    ("n", "Predicted loss change"),
    ("n", "Score before → after"),
    ("n", "Change"),
    ("", "Outcome"),
)


def account(attempts: Sequence[Attempt]) -> str:
    """How many edits were tried and accepted, and whether the gradient's favourites were among them."""
    accepted = [attempt.trial for attempt in attempts if attempt.trial.accepted]
    text = f"{plural(len(attempts), 'edit')} tried, {len(accepted):,} accepted."
    ranks = Counter(trial.rank for trial in accepted if trial.rank > 0)
    if ranks:
        parts = [f"rank {rank}: {count:,}" for rank, count in sorted(ranks.items())[:6]]
        text += f" Accepted by gradient rank (1 is steepest): {', '.join(parts)}."
    return text + " Scores are those the method chose by, on its own rows."


def _attempt(attempt: Attempt) -> Html:
    trial = attempt.trial
    change = trial.after - trial.before
    cells = [
        ("n", str(attempt.step)),
        ("n", str(trial.position + 1) if trial.position >= 0 else "–"),
        ("edit", _edit(trial.old, trial.new)),
        ("n", str(trial.rank) if trial.rank else "–"),
        ("n", _signed(trial.predicted)),
        ("n", f"{_plain(trial.before)} → {_plain(trial.after)}"),
        ("n up" if change > 0 else "n down" if change < 0 else "n", _signed(change)),
        ("", "accepted" if trial.accepted else "rejected"),
    ]
    return element(
        "tr",
        "accepted" if trial.accepted else "rejected",
        *(element("td", kind, text) for kind, text in cells),
    )


def _edit(old: str, new: str) -> Html:
    before, after = one_line(old, 80), one_line(new, 80)
    if before == after:
        before, after = old.replace(" ", "␣"), new.replace(" ", "␣")
    if not old:
        return join(["+ ", element("ins", "", after)])
    if not new:
        return join(["− ", element("del", "", before)])
    return join([element("del", "", before or "␣"), " → ", element("ins", "", after or "␣")])


def _plain(value: float) -> str:
    return "–" if math.isnan(value) else prose(f"{value:.3f}")


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else prose(f"{value:+.3f}")


def _initial_mean(tables: Tables) -> float | None:
    if tables.result is not None:
        return tables.result.dev.initial.mean
    own = (point.dev.mean for point in tables.points if point.prompt == tables.spec.prompt and point.dev.n)
    return next(own, None)
