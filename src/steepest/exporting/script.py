"""A Python file that needs no package: `build(row)` gives the messages."""

from __future__ import annotations

import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from platform import python_version

from steepest.exporting.pieces import Turn, as_data
from steepest.exporting.rebuilding import Rebuilt, assignments, turns_said
from steepest.exporting.subject import Subject
from steepest.types import Example

HEAD = '''"""The messages of a prompt whose score was measured; written by `steepest export`. Needs no package.

    messages = build({COLUMNS})

DECODING is how the rows were answered. Where FOLLOW_UP is not None and no answer could be found in the output, the
model was asked to go on with `follow_up(messages, output)`.
"""

'''
BUILD = '''

def build(row):
    """The messages that ask a row, a mapping of column names to text."""
    return [{"role": t["role"], "content": "".join(_text(piece, row) for piece in t["content"])} for t in MESSAGES]


def _text(piece, row):
    value = piece if isinstance(piece, str) else row[piece["slot"]]
    if not isinstance(value, str):
        raise TypeError(f"columns are text, got {type(value).__name__} in {piece['slot']!r}; convert it first")
    return value


def follow_up(messages, output):
    """The messages that ask for the answer alone, after an output in which none could be found."""
    gap = " " if output and not output[-1].isspace() else ""
    return [*messages, {"role": "assistant", "content": output + gap + FOLLOW_UP["text"]}]
'''


def literals_of(subject: Subject, turns: Sequence[Turn]) -> str:
    """What an exported Python file holds of a prompt, as literals."""
    return assignments(
        {
            "MESSAGES": as_data(turns),
            "DECODING": dict(subject.decoding),
            "FOLLOW_UP": subject.follow_up,
            "PROVENANCE": subject.provenance,
        }
    )


def write(subject: Subject) -> Mapping[str, str]:
    """The file."""
    return {"prompt.py": HEAD.replace("{COLUMNS}", '{"input": "..."}') + literals_of(subject, subject.turns) + BUILD}


def rebuild(path: Path, subject: Subject, rows: Sequence[Example]) -> Rebuilt:
    """The messages that the file's `build` makes."""
    build = runpy.run_path(str(path))["build"]
    return Rebuilt([turns_said(build(subject.columns(row))) for row in rows], f"Python {python_version()}")
