"""A page of its own: no scripts, nothing loaded from anywhere, readable on paper."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from steepest.reporting.markup import Html, element

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def document(title: str, *content: Html, styles: tuple[str, ...] = ("report.css",)) -> str:
    """The page's text: a heading in the browser, and `content` in its main part."""
    style = "".join(files("steepest.reporting").joinpath(name).read_text("utf-8") for name in styles)
    head = element(
        "head",
        "",
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("title", "", title),
        Html(f"<style>{style}</style>"),
    )
    body = element("body", "", element("main", "", *content))
    return "<!doctype html>\n" + element("html", {"lang": "en"}, head, body) + "\n"


def masthead(*facts: str) -> Html:
    """The line at the top."""
    return element(
        "header", "", element("span", "brand", "Steepest"), element("span", "facts", " · ".join(filter(None, facts)))
    )


def put(path: Path, text: str) -> Path:
    """Write a page, whole or not at all, and return its path."""
    unfinished = path.with_name(f"{path.name}.tmp")
    unfinished.write_text(text, "utf-8")
    os.replace(unfinished, path)
    return path
