"""A promptfoo configuration: the messages as data, a prompt function that fills them, the rows as tests."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import copytree, which
from tempfile import TemporaryDirectory
from typing import Any

from steepest.errors import SpecError
from steepest.exporting.pieces import as_data, fill, from_data, yaml_text
from steepest.exporting.rebuilding import OWN, Rebuilt, turns_said
from steepest.exporting.scoring import FILE as SCORING
from steepest.exporting.scoring import PROMPTFOO, example_json, has_rule, scoring_file
from steepest.exporting.subject import Subject
from steepest.types import Example

FILE = "promptfooconfig.yaml"
_KEY = "OPENAI_API_KEY"
"""Where promptfoo looks for a key unless it is told."""
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
    """What promptfoo asks a model that only echoes; where it is not on the PATH, the messages of the folder, filled."""
    promptfoo = which("promptfoo")
    if promptfoo is None:
        turns = from_data(json.loads((path / "messages.json").read_bytes()))
        return Rebuilt([fill(turns, subject.columns(row)) for row in rows], OWN)
    with TemporaryDirectory() as place:
        copy = Path(copytree(path, Path(place) / "copy"))
        config = (copy / FILE).read_text(encoding="utf-8")
        # An echo has no score.
        (copy / FILE).write_text(re.sub(r"^defaultTest: .*\n", "", config, flags=re.MULTILINE), encoding="utf-8")
        evaluated = _echoed(promptfoo, copy)
    ids = [row["example"]["id"] for row in json.loads((path / "rows.json").read_bytes())]
    results = evaluated["results"]["results"]
    asked = {ids[each["vars"]["row"]]: turns_said(json.loads(each["response"]["output"])) for each in results}
    return Rebuilt([asked[row.id] for row in rows], f"promptfoo {evaluated['metadata']['promptfooVersion']}")


def _echoed(promptfoo: str, folder: Path) -> Any:
    """What `promptfoo eval` writes of an echo; it keeps nothing elsewhere, and asks no server."""
    options = ("--providers", "echo", "--no-cache", "--no-write", "--no-table", "--no-progress-bar")
    settings = {
        "PROMPTFOO_CONFIG_DIR": str(folder),
        "PROMPTFOO_DISABLE_TELEMETRY": "1",
        "PROMPTFOO_DISABLE_UPDATE": "1",
    }
    command = [promptfoo, "eval", *options, "--output", "said.json"]
    done = subprocess.run(command, cwd=folder, env=os.environ | settings, capture_output=True, text=True, check=False)
    written = folder / "said.json"
    if not written.exists():
        raise SpecError(f"promptfoo evaluates the export, got {done.stderr.strip()[-300:]!r}; run it in the folder")
    return json.loads(written.read_bytes())


def _provider(subject: Subject) -> dict[str, Any]:
    """The run's model, at its server and with its key, where promptfoo can ask it; else its echo, to be put right by
    hand: it has no keyring, and would render braces.
    """
    told = subject.info.models["task"]
    model, *named = re.split(r"@(?=https?://)", told.name.removeprefix("openai:"), maxsplit=1)
    url = str(told.options.get("url") or "".join(named)).partition(",")[0]
    key = str(told.options.get("key_env", _KEY))
    if not told.name.startswith("openai:") or "{" in model + url or not key.isidentifier():
        return {"id": "echo"}
    config: dict[str, Any] = {"temperature": 0, "max_tokens": subject.source.task.max_tokens}
    config |= {"apiBaseUrl": url} if url else {}
    config |= {"apiKeyEnvar": key} if key != _KEY else {}
    return {"id": f"openai:chat:{model}", "config": config}


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, indent=1) + "\n"
