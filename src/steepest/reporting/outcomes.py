"""The report's account of the held-out rows: which the new prompt fixed, which it broke, what could not be judged."""

from __future__ import annotations

import math
from collections.abc import Sequence

from steepest.reporting.figures import shares_bar
from steepest.reporting.markup import NOTHING, Html, element, join
from steepest.reporting.read import Answer, HeldOut, Tables
from steepest.reporting.text import one_line
from steepest.reporting.words import plural
from steepest.results import Result
from steepest.types import content_id

SAMPLE = 8
LONGEST = 3000


def outcomes_section(tables: Tables) -> Html:
    """All of it; nothing before the run is finished."""
    result = tables.result
    if result is None:
        return NOTHING
    if result.prompt.initial == result.prompt.best:
        return element("section", "", element("h2", "", "Held-out rows"), _faults(result))
    fixed = [row for row in tables.rows if row.gain > 0]
    broken = [row for row in tables.rows if row.gain < 0]
    words = ("better", "worse") if tables.graded else ("fixed", "broken")
    return element(
        "section",
        "",
        element("h2", "", "Held-out rows, before and after"),
        _shares(tables, len(fixed), len(broken)),
        _sample(fixed, words[0]),
        _sample(broken, words[1]),
        _faults(result),
    )


def _shares(tables: Tables, fixed: int, broken: int) -> Html:
    scored = [row for row in tables.rows if not math.isnan(row.gain)]
    same = [row for row in scored if row.gain == 0]
    right = sum(row.best.score == 1.0 for row in same)
    if tables.graded:
        parts = [("fixed", fixed, "scored higher"), ("right", len(same), "scored the same")]
        parts += [("broken", broken, "scored lower")]
    else:
        parts = [("fixed", fixed, "fixed"), ("right", right, "right under both")]
        parts += [("wrong", len(same) - right, "wrong under both"), ("broken", broken, "broken")]
    legend = [element("li", kind, element("b", "", f"{count:,}"), f" {text}") for kind, count, text in parts]
    return join([shares_bar([(kind, count) for kind, count, _ in parts]), element("ul", "legend", *legend)])


def _sample(rows: Sequence[HeldOut], word: str) -> Html:
    if not rows:
        return NOTHING
    # By hash of the id: any rows, and the same ones each time.
    shown = sorted(rows, key=lambda row: content_id(row.id))[:SAMPLE]
    title = f"Rows {word}" + (f": {len(shown)} of {len(rows):,}" if len(shown) < len(rows) else f": {len(rows)}")
    return element("div", "sample", element("h3", "", title), *map(_row, shown))


def _row(row: HeldOut) -> Html:
    answers = element(
        "span",
        "answers",
        element("del" if row.gain > 0 else "span", "", _short(row.initial)),
        " → ",
        element("ins" if row.gain > 0 else "del", "", _short(row.best)),
    )
    question = one_line(row.input, 160)
    whole = element("dl", "", element("dt", "", "Question"), element("dd", "", _cut(row.input)))
    return element(
        "details",
        "row",
        element("summary", "", element("span", "question", question), answers),
        whole if question != row.input else NOTHING,
        element("dl", "", element("dt", "", "Expected"), element("dd", "", _cut(row.target))),
        element("div", "pair", _output("Initial prompt", row.initial), _output("New prompt", row.best)),
    )


def _output(title: str, answer: Answer) -> Html:
    said = {"stop": "", "length": ", cut off at the token limit", "failed": ", no answer came"}[answer.finish]
    score = "not scored" if answer.score is None else f"score {answer.score:g}"
    return element(
        "figure",
        "",
        element("figcaption", "", element("b", "", title), f" · {score}{said}"),
        element("pre", "", _cut(answer.output)),
        element("p", "about", f"Why: {_cut(answer.explanation)}") if answer.explanation else NOTHING,
    )


def _short(answer: Answer) -> str:
    return "no answer found" if answer.answer is None else one_line(answer.answer, 40) or "(empty)"


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}\n… {len(text) - LONGEST:,} more characters in test.jsonl"


def _faults(result: Result) -> Html:
    sides = [("Initial prompt", result.answers.initial), ("New prompt", result.answers.best)]
    if result.prompt.initial == result.prompt.best:
        sides = sides[:1]
    kinds = [
        ("no answer could be found in the output", [side.unextracted for _, side in sides]),
        ("cut off at the token limit", [side.truncated for _, side in sides]),
        ("the model gave no answer; not scored", [side.unanswered for _, side in sides]),
        ("the judge gave no rating; not scored", [side.unjudged for _, side in sides]),
    ]
    if not any(any(counts) for _, counts in kinds):
        return element("p", "about", "Every output ended by itself and held an answer.")
    heads = (element("th", {"scope": "col", "class": "n"}, title) for title, _ in sides)
    rows = [
        element("tr", "", element("th", {"scope": "row"}, text), *(element("td", "n", f"{n:,}") for n in counts))
        for text, counts in kinds
    ]
    asked = result.test.initial.n + result.answers.initial.unanswered + result.answers.initial.unjudged
    return join(
        [
            element("h3", "", f"Outputs that need a second look, of {plural(asked, 'row')}"),
            element(
                "table",
                "faults",
                element("thead", "", element("tr", "", element("td"), *heads)),
                element("tbody", "", *rows),
            ),
        ]
    )
