"""A script that registers the messages as a prompt of MLflow's registry."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from steepest.errors import SpecError
from steepest.exporting.pieces import Turn, written
from steepest.exporting.rebuilding import OWN, Rebuilt, assignments, is_installed, literal, release, turns_said
from steepest.exporting.subject import Subject
from steepest.types import Example, Message

HEAD = '''"""Registers a measured prompt in MLflow; written by `steepest export`. Needs mlflow 3 or newer.

    python register_prompt.py [TRACKING_URI]
    messages = mlflow.genai.load_prompt(f"prompts:/{NAME}/1").format(input="...")

MLflow puts columns into the text one after the other, so a column that holds another one's slot is filled too.
"""

import sys

import mlflow

'''
BODY = """

def main(arguments):
    \"\"\"Register the prompt, at the tracking server that is named or configured.\"\"\"
    if arguments:
        mlflow.set_tracking_uri(arguments[0])
    prompt = mlflow.genai.register_prompt(name=NAME, template=TEMPLATE, commit_message=MESSAGE, tags=TAGS)
    print(f"registered {prompt.name}, version {prompt.version}")


if __name__ == "__main__":
    main(sys.argv[1:])
"""
_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][\w.]*)\s*\}\}")


def write(subject: Subject) -> Mapping[str, str]:
    """The script. SpecError where a text holds what MLflow would take for a slot."""
    provenance = json.dumps(subject.provenance, ensure_ascii=False)
    values: dict[str, Any] = {
        "NAME": re.sub(r"[^A-Za-z0-9_.-]", "-", f"{subject.info.task.name}-{subject.which}"),
        "TEMPLATE": [{"role": turn.role, "content": _content(turn)} for turn in subject.turns],
        "MESSAGE": f"{subject.which} prompt of a run of steepest",
        "TAGS": {
            "temperature": "0.0",
            "max_tokens": str(subject.source.task.max_tokens),
            "follow_up": json.dumps(subject.follow_up, ensure_ascii=False),
            "provenance": provenance,
        },
    }
    return {"register_prompt.py": HEAD + assignments(values) + BODY}


def rebuild(path: Path, subject: Subject, rows: Sequence[Example]) -> Rebuilt:
    """What MLflow makes of the file's template; without it, what a filler of our own makes of it."""
    template = literal(path, "TEMPLATE")
    columns = [subject.columns(row) for row in rows]
    if not is_installed("mlflow"):
        filled = [tuple(Message(turn["role"], _filled(turn["content"], row)) for turn in template) for row in columns]
        return Rebuilt(filled, OWN)
    prompts = import_module("mlflow.entities.model_registry.prompt_version")
    prompt = prompts.PromptVersion(name="prompt", version=1, template=template)
    return Rebuilt([turns_said(prompt.format(**row)) for row in columns], release("mlflow-skinny"))


def _content(turn: Turn) -> str:
    content = written(turn.pieces, str, lambda name: "{{ " + name + " }}")
    parts = _VARIABLE.split(content)
    pieces = tuple(part if at % 2 == 0 else (part,) for at, part in enumerate(parts) if part)
    if pieces != tuple(piece if isinstance(piece, str) else (piece.name,) for piece in turn.pieces if piece):
        raise SpecError(
            "MLflow takes {{ word }} for a slot and has no way to write it otherwise, got it in the text of the "
            f"{turn.role}'s turn; export to json or python instead"
        )
    return content


def _filled(content: str, row: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: row[match[1]], content)
