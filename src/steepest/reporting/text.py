"""Text from elsewhere, made fit to be shown: prompts, questions and model outputs may hold anything."""

from __future__ import annotations

import re

_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # control sequences: colours, cursor movements
    # Strings: titles, links. One does not hold the beginning of another, so none is read more than once.
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]?"  # everything else
)
_UNFIT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but for tab and line end
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"  # directions
)
_HALVES = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """`text` without terminal escape sequences, control characters and direction overrides.

    Line ends become "\\n"; halves of surrogate pairs, which no file can hold, become U+FFFD.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return _HALVES.sub("\ufffd", _UNFIT.sub("", _ESCAPE.sub("", lines)))


def escaped(json: str) -> str:
    """JSON text in which what `clean` takes out is written as escapes: the same data, fit to be shown."""
    return _HALVES.sub(_code, _UNFIT.sub(_code, json))


def _code(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def one_line(text: str, width: int) -> str:
    """`text` cleaned, white space collapsed, cut to `width` characters with an ellipsis."""
    flat = " ".join(clean(text).split())
    return flat if len(flat) <= width else flat[: width - 1].rstrip() + "…"
