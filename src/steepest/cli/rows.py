"""What --task, --data and the options about columns mean, for the commands that take them."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from steepest.api import TOLD, task_source
from steepest.errors import SpecError
from steepest.roles import PriceLike
from steepest.tasks.loading import TaskSpec, is_task_file
from steepest.tasks.source import TaskSource


def from_options(task: str | None, data: Path | None, columns: Mapping[str, Any], prompt: str | None) -> TaskSource:
    """The task that exactly one of --task and --data names."""
    if (task is None) == (data is None):
        got = "neither" if task is None else "both"
        raise SpecError(f"give either --task NAME or --data FILE, got {got}; see `steepest list tasks`")
    given = {name: value for name, value in columns.items() if value is not None}
    for name in given:
        if data is not None and name == "data_dir":
            raise SpecError(f"--data-dir is for a benchmark given as --task, got --data {data}; leave one out")
        is_for_file = name == "answer" and task is not None and is_task_file(task)
        if data is None and not is_for_file and name not in (*TOLD, "data_dir", "skip_bad_rows"):
            option = "--" + name.replace("_", "-")
            raise SpecError(f"{option} says how to read --data, got --task {task}; leave it out or write a task file")
    if "layout" in given:
        given["layout"] = given["layout"].replace("\\n", "\n")
    return task_source(str(task) if data is None else TaskSpec(data), given, prompt)


def prices_from(pairs: Sequence[str]) -> PriceLike | None:
    """What --price says: READ/WRITTEN for all roles, ROLE=READ/WRITTEN for one."""
    if len(pairs) == 1 and "=" not in pairs[0]:
        return _price(pairs[0])
    by_role = {}
    for pair in pairs:
        role, equals, both = pair.partition("=")
        if not equals:
            raise SpecError(f"one price for all roles stands alone, got {pair!r} among several; write ROLE={pair}")
        by_role[role.strip()] = _price(both)
    return by_role or None


def _price(text: str) -> tuple[float, float]:
    read, _, written = text.partition("/")
    try:
        return float(read), float(written)
    except ValueError:
        raise SpecError(
            f"a price is READ/WRITTEN in dollars per million tokens, got {text!r}; for example 0.15/0.60"
        ) from None


def options_of(pairs: Sequence[str]) -> dict[str, Any]:
    """A model's options from NAME=VALUE, numbers and True/False read as such."""
    options = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise SpecError(f"an option is written NAME=VALUE, got {pair!r}; for example device=cpu")
        options[name.strip()] = _value(value.strip())
    return options


def spread(pairs: Sequence[str], replicas: int | None, ray_address: str | None) -> list[str]:
    """The same options, with what --replicas and --ray-address say of the task's model."""
    said = {"replicas": replicas, "ray_address": ray_address}
    return [*pairs, *(f"{name}={value}" for name, value in said.items() if value is not None)]


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, int | float) else text
