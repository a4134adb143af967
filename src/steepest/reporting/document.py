"""A page of its own: no scripts, nothing loaded from anywhere, readable on paper."""

from __future__ import annotations

import os
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from steepest.errors import StateError
from steepest.reporting.markup import Html, element

_POLICY = "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
"""No script, nothing loaded, and no style but the page's own, known by its hash."""


def document(title: str, *content: Html, styles: tuple[str, ...] = ("report.css",)) -> str:
    """The page's text: a heading in the browser, and `content` in its main part."""
    style = "".join(files("steepest.reporting").joinpath(name).read_text("utf-8") for name in styles)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    head = element(
        "head",
        "",
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY.format(digest=digest)}),
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
    """Write a page, whole or not at all, and return its path; StateError where the folder takes none."""
    unfinished = path.with_name(f"{path.name}.tmp")
    try:
        unfinished.unlink(missing_ok=True)  # a link that came with the folder would lead the page elsewhere
        unfinished.write_text(text, "utf-8")
        os.replace(unfinished, path)
    except OSError as refused:
        raise StateError(
            f"a page needs a place to be written, got {path} ({refused.strerror}); put that right and write it again"
        ) from None
    return path
