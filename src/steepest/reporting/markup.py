"""HTML that cannot be broken by its content: text is cleaned and escaped unless it was built here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape

from steepest.reporting.text import clean

_VOID = frozenset({"meta", "input", "br", "line", "circle", "rect", "path"})


class Html(str):
    """Markup made by `element`; everything else is text."""

    __slots__ = ()


Attributes = Mapping[str, str | float]
NOTHING = Html("")
_SIGNS = re.compile(r"(?<![\w.])-(?=\d)")


def element(name: str, attributes: Attributes | str = "", *children: str) -> Html:
    """One element. A plain string in place of the attributes is the class."""
    named: Attributes = {"class": attributes} if isinstance(attributes, str) else attributes
    opening = "".join(
        f' {key}="{escape(clean(f"{value:g}" if isinstance(value, float) else str(value)))}"'
        for key, value in named.items()
        if value != ""
    )
    if name in _VOID:
        return Html(f"<{name}{opening}>" if name in {"meta", "input", "br"} else f"<{name}{opening}/>")
    return Html(f"<{name}{opening}>{join(children)}</{name}>")


def join(parts: Iterable[str]) -> Html:
    """Text and markup, one after the other."""
    return Html("".join(part if isinstance(part, Html) else escape(clean(part), quote=False) for part in parts))


def prose(text: str) -> str:
    """Our own words, set with care: true minus signs, and no line break between a number and its sign."""
    return _SIGNS.sub("\u2212", text.replace(" %", "\u00a0%").replace("p < ", "p\u00a0<\u00a0"))
