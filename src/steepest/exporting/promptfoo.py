"""A promptfoo configuration: the messages as data, a prompt function that fills them, the rows as tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from steepest.exporting.pieces import as_data, fill, from_data, yaml_text
from steepest.exporting.rebuilding import OWN, Rebuilt
from steepest.exporting.scoring import FILE as SCORING
from steepest.exporting.scoring import PROMPTFOO, example_json, has_rule, scoring_file
from steepest.exporting.subject import Subject
from steepest.types import Example

FILE = "promptfooconfig.yaml"
HEAD = """\
# Written by `steepest export`. In this folder: npx promptfoo eval
# Outputs in which no answer can be found are not asked about again, as the run did where its task has an extractor.
"""
PROMPT = """\
// The messages of messages.json, filled with a row of rows.json, or with variables named as its columns.
// Rows and texts come from files and not through variables of the configuration, because promptfoo renders those:
// it would read templates, file names and trailing line ends in them.
const fs = require("fs");
const path = require("path");

const read = (name) => JSON.parse(fs.readFileSync(path.join(__dirname, name), "utf8"));

// promptfoo renders what this returns once more; and stops at the end of a comment that has not begun.
const literal = (text) => text.replace(/\\{(?=[{%#])|#(?=\\})/g, (found) => `{{ "${found}" }}`);

module.exports = async function ({ vars }) {
  const row = vars.row === undefined ? vars : read("rows.json")[vars.row].shown;
  return read("messages.json").map((turn) => ({
    role: turn.role,
    content: literal(turn.content.map((piece) => (typeof piece === "string" ? piece : row[piece.slot])).join("")),
  }));
};
"""


def write(subject: Subject) -> Mapping[str, str]:
    """The configuration, the messages, the function that fills them, the rows, and the scores of a rule."""
    values: dict[str, Any] = {
        "description": f"steepest: {subject.which} prompt of a run",
        "prompts": ["file://prompt.cjs"],
        "providers": [_provider(subject)],
        "tests": [{"vars": {"row": at}} for at, _ in enumerate(subject.rows)],
    }
    if has_rule(subject):
        values["defaultTest"] = {"assert": [{"type": "python", "value": f"file://{SCORING}"}]}
    files = {
        FILE: HEAD + yaml_text(values),
        "prompt.cjs": PROMPT,
        "messages.json": _json(as_data(subject.turns)),
        "rows.json": _json([{"shown": subject.columns(row), "example": example_json(row)} for row in subject.rows]),
    }
    return files | ({SCORING: scoring_file(subject, PROMPTFOO)} if has_rule(subject) else {})


def rebuild(path: Path, subject: Subject, rows: Sequence[Example]) -> Rebuilt:
    """The messages in the folder, filled as its prompt function does. promptfoo itself is no Python package."""
    turns = from_data(json.loads((path / "messages.json").read_bytes()))
    return Rebuilt([fill(turns, subject.columns(row)) for row in rows], OWN)


def _provider(subject: Subject) -> dict[str, Any]:
    """The run's model where promptfoo can ask it; else its echo, to be put right by hand."""
    name = subject.info.models["task"].name
    if not name.startswith("openai:"):
        return {"id": "echo"}
    model, _, url = name.removeprefix("openai:").rpartition("@http")
    config: dict[str, Any] = {"temperature": 0, "max_tokens": subject.source.task.max_tokens}
    return {
        "id": f"openai:chat:{model or url}",
        "config": {**config, "apiBaseUrl": f"http{url}"} if model else config,
    }


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, indent=1) + "\n"
