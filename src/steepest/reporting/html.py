"""The report of a run as one HTML page: no scripts, nothing loaded from anywhere, readable on paper."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from steepest.reporting.document import document, masthead, put
from steepest.reporting.figures import SHARES, gain_scale, interval_bar, tick_labels
from steepest.reporting.markup import NOTHING, Html, element, join, prose
from steepest.reporting.outcomes import outcomes_section
from steepest.reporting.read import Spec, Tables, read_run
from steepest.reporting.search import marked, returned, search_section
from steepest.reporting.statistics import p_text, percent
from steepest.reporting.words import (
    advice,
    command,
    effort,
    headline,
    lead,
    measure,
    players,
    points,
    reopened,
    resumption,
    test_name,
    unanswered,
)
from steepest.results import Estimate, Result
from steepest.types import Usage, money

_LANGUAGES = {"en", "zh"}
_MOST_ROWS = 200
"""Rows of a note that the page lists."""
_MARKS = {"better": "▲", "no_difference": "=", "worse": "▼", "": "…"}


def write(folder: Path) -> Path:
    """Write `folder`/report.html, whole or not at all, and return its path; StateError where it is no run folder."""
    return put(folder / "report.html", page(read_run(folder)))


def page(tables: Tables) -> str:
    """The page's text."""
    return document(
        f"{headline(tables.result)} {tables.folder.name}",
        _masthead(tables),
        _verdict(tables),
        _prompts(tables),
        outcomes_section(tables),
        search_section(tables),
        _notes(tables.spec),
        _proposals(tables),
        _cost(tables),
        _again(tables),
    )


def _masthead(tables: Tables) -> Html:
    spec = tables.spec
    searched = f"{spec.method['use']} on {spec.task['name']}"
    return masthead(searched, players(tables), f"seed {spec.seed}", spec.created[:10])


def _verdict(tables: Tables) -> Html:
    result = tables.result
    kind = result.verdict if result else ""
    mark = element("span", {"class": "mark", "aria-hidden": "true"}, _MARKS[kind])
    said = advice(tables)
    return element(
        "section",
        f"verdict {kind}",
        element("h1", "", mark, headline(result)),
        element("p", "lead", prose(lead(tables))),
        element("p", "lead", prose(said)) if said else NOTHING,
        _contest(tables, result) if result else element("pre", "command", resumption(tables.folder)),
    )


def _contest(tables: Tables, result: Result) -> Html:
    """Both accuracies and their difference, drawn."""
    test = result.test
    gains = gain_scale(test.difference.low, test.difference.high)
    changed = result.prompt.initial != result.prompt.best
    rows = [_estimate("Initial prompt", test.initial, "initial")]
    rows += [_estimate("New prompt", test.best, "best")] if changed else []
    rows += [element("div", "ruler", tick_labels(SHARES, signed=False))]
    if changed:
        found = test.difference
        spread = f"{points(found.low)} to {points(found.high)}"
        bar = interval_bar(gains, found.low, found.mean, found.high, "gain", zero=0.0)
        rows += [_drawn("Difference", bar, prose(f"{points(found.mean)} points"), prose(spread))]
        rows += [element("div", "ruler", tick_labels(gains, signed=True))]
    opened = reopened(result) or "The rows were opened once, at the end; nothing was chosen by them."
    note = f"Held-out {measure(tables)} with 95 % intervals. {opened}"
    if changed:
        note += f" Paired comparison: {test_name(tables)}, {p_text(test.p_value)}."
    return element("div", "contest", *rows, element("p", "about", prose(note)))


def _estimate(label: str, found: Estimate, kind: str) -> Html:
    bar = interval_bar(SHARES, found.low, found.mean, found.high, kind)
    return _drawn(label, bar, percent(found.mean), f"{100 * found.low:.1f} to {100 * found.high:.1f}")


def _drawn(label: str, bar: Html, number: str, spread: str) -> Html:
    return element(
        "div",
        "estimate",
        element("span", "label", label),
        bar,
        element("span", "value", element("b", "", number), element("small", "", spread)),
    )


def _prompts(tables: Tables) -> Html:
    chosen = returned(tables)
    initial = tables.result.prompt.initial if tables.result else tables.spec.prompt
    best = tables.result.prompt.best if tables.result else chosen.prompt if chosen else initial
    if initial == best:
        return element(
            "section",
            "",
            element("h2", "", "The prompt"),
            _panel("Initial prompt", join([initial]), "initial"),
        )
    name = "New prompt" if tables.result else "Best prompt so far"
    return element(
        "section",
        "",
        element("h2", "", "The prompt"),
        element(
            "div",
            "pair",
            _panel("Initial prompt", marked(initial, best, "removed"), "initial"),
            _panel(name, marked(initial, best, "added"), "best"),
        ),
        element(
            "p",
            "about",
            element("del", "", "removed"),
            " and ",
            element("ins", "", "added"),
            " words are marked.",
        ),
    )


def _panel(title: str, text: Html, kind: str) -> Html:
    return element("figure", f"panel {kind}", element("figcaption", "", title), element("blockquote", "prompt", text))


def _notes(spec: Spec) -> Html:
    """What reading the rows brought up, each with its rows folded away; nothing where it brought up nothing."""
    notes = spec.task.get("notes", ())
    if not notes:
        return NOTHING
    return element("section", "", element("h2", "", "Notes on the rows"), *map(_note, notes))


def _note(note: Mapping[str, Any]) -> Html:
    rows = note.get("rows")
    if not rows:
        return element("p", "", prose(note["text"]))
    items = [element("li", "", row) for row in rows[:_MOST_ROWS]]
    more = len(rows) - _MOST_ROWS
    rest = element("p", "about", f"… {more:,} more in run.json") if more > 0 else NOTHING
    return element("details", "", element("summary", "", prose(note["text"])), element("ul", "about", *items), rest)


def _proposals(tables: Tables) -> Html:
    """What became of the replies that the search asked for; nothing where it counted none."""
    if not tables.counts:
        return NOTHING
    rows = [
        element("tr", "", element("th", {"scope": "row"}, name), element("td", "n", f"{n:,}"))
        for name, n in tables.counts.items()
    ]
    said = "Replies that could not be used, by reason, were asked for again; those dropped were given up."
    notes = [element("p", "about", prose(text)) for text in (said, unanswered(tables)) if text]
    table = element("div", "wide", element("table", "counts", element("tbody", "", *rows)))
    return element("section", "", element("h2", "", "Proposals"), *notes, table)


def _cost(tables: Tables) -> Html:
    measuring = tables.measuring
    parts = tables.accounts if len(tables.accounts) > 1 else {}
    rows = [
        ("The search", tables.search),
        *((f"of it {name}", used) for name, used in parts.items()),
        *((("A step that a limit cut off", tables.unfinished),) if tables.unfinished.calls else ()),
        ("Measuring on dev and held-out rows", measuring),
        ("Together", tables.search + tables.unfinished + measuring),
    ]
    is_priced = any(used.dollars for _, used in rows)
    columns = (*_AMOUNTS, *(["Dollars"] if is_priced else []))
    head = element("tr", "", element("td"), *(element("th", {"scope": "col", "class": "n"}, t) for t in columns))
    body = [
        element(
            "tr",
            "",
            element("th", {"scope": "row"}, name),
            *(element("td", "n", f"{n:,}") for n in _amounts(used)),
            element("td", "n", money(used.dollars)) if is_priced else NOTHING,
        )
        for name, used in rows
    ]
    return element(
        "section",
        "",
        element("h2", "", "What it cost"),
        element("p", "about", prose(effort(tables))),
        element("div", "wide", element("table", "cost", element("thead", "", head), element("tbody", "", *body))),
    )


_AMOUNTS = ("Calls", "Tokens read", "Tokens written", "Tokens")


def _amounts(used: Usage) -> list[int]:
    return [used.calls, used.prompt_tokens, used.output_tokens, used.tokens]


def _again(tables: Tables) -> Html:
    spec = tables.spec
    versions = [("steepest", spec.steepest), *((name, v) for name, v in spec.versions.items() if v)]
    facts = [
        ("Method", ", ".join(_assignments(_settings(spec.method)))),
        ("Rows", ", ".join(f"{n:,} {part}" for part, n in tables.sizes.items())),
        ("Models", "; ".join(f"{role}: {model['id']}" for role, model in spec.models.items())),
        ("Versions", ", ".join(f"{name} {version}" for name, version in versions)),
        ("Revision", spec.git or ""),
        ("Folder", tables.folder.name),
    ]
    items = [x for name, text in facts if text for x in (element("dt", "", name), element("dd", "", text))]
    return element(
        "section",
        "",
        element("h2", "", "To run it again"),
        element("pre", "command", command(tables)),
        element("dl", "facts", *items),
        _messages(spec),
    )


def _settings(value: Any) -> Any:
    """The settings of a method and of its parts, what they tell the optimizer left out."""
    if not isinstance(value, Mapping):
        return value
    return {name: _settings(each) for name, each in value.items() if not _is_wording(each)}


def _assignments(settings: Mapping[str, Any], under: str = "") -> Iterator[str]:
    """The settings of a method as --set takes them, those of its parts behind the part's name."""
    for name, value in settings.items():
        if name == "use":
            yield from [f"{under.removesuffix('.')}={value}"] if under else []
        elif isinstance(value, Mapping):
            yield from _assignments(value, f"{under}{name}.")
        else:
            yield f"{under}{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"


def _is_wording(value: Any) -> bool:
    """Whether a value is a message, or nothing but messages."""
    return _is_message(value) or (isinstance(value, Mapping) and bool(value) and all(map(_is_wording, value.values())))


def _is_message(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == _LANGUAGES and all(isinstance(v, str) for v in value.values())


def _told(value: Any, language: str, name: str = "") -> Iterator[tuple[str, str]]:
    """The messages in a method's settings by their place."""
    if _is_message(value):
        yield name, value[language]
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _told(each, language, f"{name}.{key}" if name else key)


def _messages(spec: Spec) -> Html:
    """What the optimizer is told, folded away."""
    told = _told(spec.method, spec.task.get("language", "en"))
    parts = [x for name, text in told for x in (element("dt", "", name), element("dd", "", text))]
    if not parts:
        return NOTHING
    return element("details", "", element("summary", "", "What the optimizer is told"), element("dl", "facts", *parts))
