"""Values to JSON and back: the only place where data from outside is checked.

Frozen dataclasses are written field by field and read through pydantic: strictly, unknown keys refused. Numbers
that JSON lacks are written as the strings "NaN", "Infinity" and "-Infinity", so every file is standard JSON.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from steepest.errors import SpecError, SteepestError

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

JSON = Any
"""What `json.loads` returns."""

_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
_LINE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def encode(value: object) -> JSON:
    """`value` as plain JSON data; TypeError for what has no JSON form, which is a programmer's mistake."""
    # Every call of a run comes through here several times: exact types first, then what is looked up or tried.
    kind: Any = type(value)
    if kind is str or kind is int or value is None or kind is bool:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _not_finite(value)
    if isinstance(value, dict):
        return {_key(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if (names := _fields(kind)) is not None:
        return {name: encode(getattr(value, name)) for name in names}
    return _uncommon(value)


def decode(kind: Any, data: JSON, what: str, error: type[SteepestError] = SpecError) -> Any:
    """`data` as a value of type `kind`; `what` names it in the one-line `error`."""
    try:
        text = json.dumps(data)
    except TypeError:  # of YAML, such as dates
        raise error(
            f"{what} must be of text, numbers, lists and mappings, got {shortened(data)}; put other things in quotes"
        ) from None
    return read(kind, text, what, error)


def read(kind: Any, text: str | bytes, what: str, error: type[SteepestError] = SpecError) -> Any:
    """The same from JSON text."""
    from pydantic import ValidationError

    adapter = _adapter(kind)
    try:
        return adapter.validate_json(text, strict=True, extra="forbid")
    except ValidationError as refused:
        if sentence := _sentence(refused, strict=True):
            raise error(f"{what}: {sentence}") from None
    try:
        return adapter.validate_json(text, extra="forbid")
    except ValidationError as refused:
        raise error(f"{what}: {_sentence(refused)}") from None


def dumps(value: object) -> str:
    """`value` as JSON on one line."""
    return line(encode(value))


def line(data: JSON) -> str:
    """JSON data on one line."""
    return _LINE.encode(data)


def canonical(data: JSON) -> str:
    """JSON data as text that does not depend on the order of keys, for hashing."""
    return _CANONICAL.encode(data)


@lru_cache(maxsize=256)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


@lru_cache(maxsize=256)
def _fields(kind: Any) -> tuple[str, ...] | None:
    """Names of a dataclass's fields; None for any other type."""
    return tuple(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


def _uncommon(value: object) -> JSON:
    """The same for other kinds of text, whole numbers, mappings and sequences."""
    if isinstance(value, (str, int)):
        return value
    if isinstance(value, Mapping):
        return {_key(key): encode(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [encode(item) for item in value]
    raise TypeError(f"only dataclasses, mappings, sequences, numbers and text have a JSON form, got {value!r}")


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _is_not_finite(value: object) -> bool:
    return isinstance(value, str) and value in _NOT_FINITE


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"keys of JSON objects are text, got {key!r}")
    return key


def _sentence(refused: ValidationError, strict: bool = False) -> str:
    """The first of pydantic's complaints as one line: where, the rule, the value.

    A strict reading also complains of numbers written as words; these are left to the second reading.
    """
    problems = refused.errors(include_url=False)
    problem = next((p for p in problems if not (strict and _is_not_finite(p["input"]))), None)
    if problem is None:
        return ""
    place = _place(problem["loc"])
    if problem["type"] == "unexpected_keyword_argument":
        return f"there is no field {place!r}; remove it or correct its name"
    if problem["type"] == "missing":
        return f"the field {place!r} is missing"
    rule = problem["msg"][0].lower() + problem["msg"][1:]
    if problem["type"] == "json_invalid":
        return rule
    where = f"{place}: " if place else ""
    return f"{where}{rule.removeprefix('input ')}, got {shortened(problem['input'])}"


def shortened(value: object) -> str:
    """A value as it is written, or the beginning of that."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _place(location: Iterable[str | int]) -> str:
    """("a", "rows", 2) as "a.rows[2]"."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")
