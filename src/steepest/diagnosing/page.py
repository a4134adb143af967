"""A diagnosis as one HTML page."""

from __future__ import annotations

from pathlib import Path

from steepest.diagnosing.findings import Diagnosis
from steepest.diagnosing.telling import facts, parts, refusals
from steepest.reporting.comparison_page import STYLES, section, table
from steepest.reporting.document import document, masthead, put
from steepest.reporting.markup import Html, element, prose

NAME = "diagnosis.html"
TEXTS = ("text",)
"""Heads of columns that hold words."""


def write(found: Diagnosis) -> Path:
    """Write diagnosis.html into the diagnosis's folder, and return its path."""
    return put(found.folder / NAME, page(found))


def page(found: Diagnosis) -> str:
    """The page's text."""
    return document(
        f"{found.task}: {found.sentence}",
        masthead(facts(found)),
        _conclusion(found),
        *(section(part.title, part.about, table(part.heads, part.rows, texts=TEXTS)) for part in parts(found)),
        _refusals(found),
        styles=STYLES,
    )


def _conclusion(found: Diagnosis) -> Html:
    advice = f"Method: {found.advice.method}; {found.advice.why}." if found.advice.method else f"{found.advice.why}."
    notes = [element("p", "about", prose(text)) for text in (*found.cautions, advice)]
    return element("section", "verdict", element("h1", "", prose(found.sentence)), *notes)


def _refusals(found: Diagnosis) -> Html:
    said = [element("p", "about", text) for text in refusals(found)]
    return element("section", "", *said)
