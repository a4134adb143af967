"""The prompt alone, and everything about it as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from steepest.exporting.pieces import as_data, fill, from_data
from steepest.exporting.rebuilding import OWN, Rebuilt
from steepest.exporting.subject import Subject
from steepest.types import Example


def write_text(subject: Subject) -> Mapping[str, str]:
    """The prompt, to the byte."""
    return {"prompt.txt": subject.prompt}


def rebuild_text(path: Path, subject: Subject, rows: Sequence[Example]) -> Rebuilt:
    """The prompt in the file, in the layout of the run's task."""
    prompt = path.read_bytes().decode("utf-8")
    return Rebuilt([subject.source.task.template.render(prompt, row) for row in rows], OWN)


def write_json(subject: Subject) -> Mapping[str, str]:
    """Messages with slots, decoding, and where the prompt comes from."""
    data = {
        "format": 1,
        "prompt": subject.prompt,
        "messages": as_data(subject.turns),
        "decoding": subject.decoding,
        "follow_up": subject.follow_up,
        "metric": subject.metric,
        "provenance": subject.provenance,
    }
    return {"prompt.json": json.dumps(data, ensure_ascii=False, indent=1) + "\n"}


def rebuild_json(path: Path, subject: Subject, rows: Sequence[Example]) -> Rebuilt:
    """The messages in the file, filled."""
    turns = from_data(json.loads(path.read_bytes())["messages"])
    return Rebuilt([fill(turns, subject.columns(row)) for row in rows], OWN)
