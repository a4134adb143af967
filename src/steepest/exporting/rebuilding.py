"""Messages made again from an exported file: what shows that the file is faithful."""

from __future__ import annotations

import ast
import os
import pprint
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from steepest.types import Message

OWN = "steepest's own filler"
_ALONE = {
    "DO_NOT_TRACK": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_OFFLINE": "1",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""What keeps libraries from asking servers of their own while they fill a template."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The messages of some rows, in order, and what made them of the file."""

    messages: Sequence[tuple[Message, ...]]
    by: str
    """A library with its version, or OWN where it is not installed."""


def is_installed(module: str) -> bool:
    """Whether a library is there."""
    return find_spec(module) is not None


@contextmanager
def alone(folder: Path, **settings: str) -> Iterator[None]:
    """A block that is run in `folder`, whose libraries ask no server, under further environment variables."""
    before = dict(os.environ)
    os.environ.update(_ALONE | settings)
    try:
        with chdir(folder):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def release(package: str) -> str:
    """A package with its version."""
    return f"{package} {version(package)}"


def turns_said(messages: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    """Messages in the form that servers take, as ours."""
    return tuple(Message(message["role"], message["content"]) for message in messages)


def assignments(values: Mapping[str, Any]) -> str:
    """Python source that assigns plain data to names: literals only, so nothing in them is ever executed."""
    shown = {name: pprint.pformat(value, width=110, sort_dicts=False) for name, value in values.items()}
    return "\n".join(f"{name} = {text}" for name, text in shown.items()) + "\n"


def literal(path: Path, name: str) -> Any:
    """The literal that a Python file assigns to `name`, without running the file."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return ast.literal_eval(node.value)
    raise ValueError(f"an exported file assigns {name}, got none in {path}; export it again")
