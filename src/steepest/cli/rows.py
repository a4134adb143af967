"""What --task, --data and the options about columns mean, for the commands that take them."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from steepest.errors import SpecError
from steepest.tasks.loading import TaskSpec, load_task
from steepest.tasks.source import TaskSource


def from_options(task: str | None, data: Path | None, columns: Mapping[str, Any]) -> TaskSource:
    """The task that exactly one of --task and --data names."""
    if (task is None) == (data is None):
        got = "neither" if task is None else "both"
        raise SpecError(f"give either --task NAME or --data FILE, got {got}; see `steepest list tasks`")
    given = {name: value for name, value in columns.items() if value is not None}
    if data is None and given:
        option = "--" + next(iter(given)).replace("_", "-")
        raise SpecError(f"{option} says how to read --data, got --task {task}; leave it out or write a task file")
    if data is None:
        return load_task(str(task))
    if "layout" in given:
        given["layout"] = given["layout"].replace("\\n", "\n")
    return load_task(TaskSpec(data, **given))


def options_of(pairs: Sequence[str]) -> dict[str, Any]:
    """A model's options from NAME=VALUE, numbers and True/False read as such."""
    options = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise SpecError(f"an option is written NAME=VALUE, got {pair!r}; for example device=cpu")
        options[name.strip()] = _value(value.strip())
    return options


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, int | float) else text
