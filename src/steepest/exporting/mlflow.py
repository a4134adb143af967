"""A script that registers the messages as a prompt of MLflow's registry."""

from __future__ import annotations

import json
import re
import runpy
import threading
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from steepest.exporting.pieces import fill_jinja, free_name, jinja_text, slots_in, with_names
from steepest.exporting.rebuilding import OWN, Rebuilt, alone, assignments, is_installed, literal, release, turns_said
from steepest.exporting.subject import Subject
from steepest.types import Example, Message

HEAD = '''"""Registers a measured prompt in MLflow; written by `steepest export`. Needs mlflow 3.9 or newer, and jinja2.

    python register_prompt.py [TRACKING_URI]
    messages = mlflow.genai.load_prompt(f"prompts:/{NAME}/1").format({COLUMNS})

Each message ends in a tag that says nothing: by it MLflow takes the template for Jinja's, in which every text can be
written, and fills it with the columns as they are.
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
    return prompt


if __name__ == "__main__":
    main(sys.argv[1:])
"""
_JINJA = "{% if true %}{% endif %}"
_TAKEN = {"not", "true", "false", "none", "True", "False", "None", "self", "allow_partial", "use_jinja_sandbox"}
"""Names that Jinja or MLflow's `format` has for something else."""


def write(subject: Subject) -> Mapping[str, str]:
    """The script."""
    turns = with_names(subject.turns, _variable)
    values: dict[str, Any] = {
        "NAME": re.sub(r"[^A-Za-z0-9_.-]", "-", f"{subject.info.task.name}-{subject.which}"),
        "TEMPLATE": [{"role": turn.role, "content": jinja_text(turn.pieces) + _JINJA} for turn in turns],
        "MESSAGE": f"{subject.which} prompt of a run of steepest",
        "TAGS": {
            "temperature": "0.0",
            "max_tokens": str(subject.source.task.max_tokens),
            "follow_up": json.dumps(subject.follow_up, ensure_ascii=False),
            "provenance": json.dumps(subject.provenance, ensure_ascii=False),
        },
    }
    names = ", ".join(f'{name}="..."' for name in slots_in(turns))
    return {"register_prompt.py": HEAD.replace("{COLUMNS}", names) + assignments(values) + BODY}


def rebuild(path: Path, subject: Subject, rows: Sequence[Example]) -> Rebuilt:
    """What comes of the prompt that the script registers, in a registry of its own; without MLflow, the template."""
    columns = [{_variable(name): value for name, value in subject.columns(row).items()} for row in rows]
    if not is_installed("mlflow"):
        template = [(turn["role"], turn["content"].removesuffix(_JINJA)) for turn in literal(path, "TEMPLATE")]
        return Rebuilt([tuple(Message(role, fill_jinja(text, row)) for role, text in template) for row in columns], OWN)
    with TemporaryDirectory() as place:
        # MLflow's other local registries need a database, so it wants to be told that a folder will do.
        settings = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_REGISTRY_URI": "", "MLFLOW_TRACKING_URI": place}
        script = path.resolve()
        with alone(Path(place), **settings), redirect_stdout(StringIO()):
            made = runpy.run_path(str(script))["main"]([])
            prompt = import_module("mlflow").genai.load_prompt(f"prompts:/{made.name}/{made.version}")
            # It goes on to write there from a thread of its own.
            for thread in threading.enumerate():
                if thread.name.startswith("link_prompt"):
                    thread.join()
            said = [turns_said(prompt.format(**row)) for row in columns]
    return Rebuilt(said, release("mlflow-skinny"))


def _variable(name: str) -> str:
    """A column's name in the template."""
    return free_name(name, _TAKEN)
