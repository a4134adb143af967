"""Names to components and back: {"use": "greater", "mu": 3} <-> Greater(mu=3).

A component is a frozen dataclass of plain fields and further components. Names are looked up in the literal table
below, then among the entry points of the group "steepest", then as "file.py:Class" or "module:Class".
"""

from __future__ import annotations

import ast
import dataclasses
import typing
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from types import NoneType, UnionType
from typing import Any, Protocol

from steepest import codec
from steepest.errors import SpecError, nearest
from steepest.objects import find_object, name_of

METHODS: Mapping[str, str] = {
    "greater": "steepest.methods.greater:Greater",
    "ape": "steepest.methods.ape:APE",
    "protegi": "steepest.methods.protegi:ProTeGi",
    "opro": "steepest.methods.opro:OPRO",
    "pe2": "steepest.methods.pe2:PE2",
    "gpo": "steepest.methods.gpo:GPO",
    "gradsum": "steepest.methods.gradsum:GradSum",
}

PARTS: Mapping[str, str] = {
    # Select
    "full": "steepest.parts.selection:Full",
    "uniform": "steepest.parts.selection:Uniform",
    "filter": "steepest.parts.selection:Filter",
    "ucb": "steepest.parts.bandits:UCB",
    "ucb-e": "steepest.parts.bandits:UCBE",
    "successive-rejects": "steepest.parts.bandits:SuccessiveRejects",
    "successive-halving": "steepest.parts.bandits:SuccessiveHalving",
    "racing": "steepest.parts.racing:Racing",
    # Schedule
    "constant": "steepest.parts.schedules:Constant",
    "linear": "steepest.parts.schedules:Linear",
    "cosine": "steepest.parts.schedules:Cosine",
    # Recall
    "recent": "steepest.parts.memory:Recent",
    "important": "steepest.parts.memory:Important",
    "relevant": "steepest.parts.memory:Relevant",
    # Embedder
    "tfidf": "steepest.parts.embedding:CharTfidf",
    "sentence-transformer": "steepest.parts.embedding:SentenceTransformer",
    "endpoint-embeddings": "steepest.parts.embedding:EndpointEmbeddings",
}
"""Parts of methods, by the protocol they serve."""

Spec = Mapping[str, Any]

_WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None, "none": None}


def names() -> list[str]:
    """All method names that need no colon: built in, then of installed packages."""
    return [*METHODS, *sorted(_entries())]


def parts() -> list[str]:
    """All names of built-in parts: selectors, schedules, memories, embedders."""
    return list(PARTS)


def locate(name: str) -> type[Any]:
    """The component class called `name`; SpecError with the nearest name where there is none."""
    builtin = {**METHODS, **PARTS}
    if ":" in name or name in builtin:
        found = find_object(builtin.get(name, name), SpecError)
    else:
        entries = _entries()
        if name not in entries:
            hint = nearest(name, [*builtin, *entries])
            raise SpecError(f"there is no method or part called {name!r}; {hint} (or write file.py:Class)")
        found = entries[name].load()
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        raise SpecError(f"a component must be a frozen dataclass, got {found!r} for {name}; decorate it as one")
    return found


def written(text: str) -> tuple[str, list[str]]:
    """The name in METHOD[:PRESET][,NAME=VALUE]..., and the settings, of which the preset is the first."""
    head, *settings = _pieces(text)
    name, colon, preset = head.rpartition(":")
    # In file.py:Class and module:Class the first colon belongs to the name.
    is_preset = bool(colon) and (name in names() or ":" in name)
    return (name, [f"preset={preset}", *settings]) if is_preset else (head, settings)


def build(spec: str | Spec) -> Any:
    """The component that a name or a nested spec describes; every key is checked, defaults fill the rest."""
    given: Spec = {"use": spec} if isinstance(spec, str) else spec
    if "use" not in given:
        raise SpecError(f"a component's spec needs the key 'use' with its name, got {dict(given)!r}")
    name = given["use"]
    if not isinstance(name, str):
        raise SpecError(f"a component's name must be text, got {name!r}")
    return _make(locate(name), {key: value for key, value in given.items() if key != "use"}, name)


def describe(component: Any) -> dict[str, Any]:
    """The full spec of a component, defaults included: `build(describe(c)) == c`."""
    kind = type(component)
    return {"use": _short_name(kind), **_fields(component)}


def with_settings(spec: str | Spec, assignments: Sequence[str]) -> dict[str, Any]:
    """`spec` changed by settings such as "mu=5" or "select.budget=300", each read as its field's type demands."""
    changed: dict[str, Any] = {"use": spec} if isinstance(spec, str) else dict(spec)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise SpecError(f"a setting is written name=value, got {assignment!r}; for example mu=3")
        kind = locate(changed["use"])
        changed = _assign(kind, changed, path.strip().split("."), text.strip(), changed["use"])
    return changed


def _pieces(text: str) -> list[str]:
    """Split at commas, save those within a value that is a list."""
    pieces: list[str] = []
    for piece in text.split(","):
        if pieces and "=" not in piece:
            pieces[-1] += f",{piece}"
        else:
            pieces.append(piece)
    return [piece.strip() for piece in pieces]


def _make(kind: type[Any], given: Mapping[str, Any], where: str) -> Any:
    hints = _hints(kind)
    given = _with_preset(kind, given, where)
    for key in given:
        _known(key, hints, where)
    values = {key: _value(hints[key], value, f"{where}: {key}") for key, value in given.items()}
    for field in dataclasses.fields(kind):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if field.init and required and field.name not in values:
            raise SpecError(f"{where} needs a value for {field.name!r}, got none; set {field.name}=...")
    try:
        return kind(**values)
    except ValueError as refused:
        raise SpecError(f"{where}: {refused}") from refused


def _with_preset(kind: type[Any], given: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """`given` over the settings of its preset, where it names one and the class offers any."""
    presets = vars(kind).get("presets", {})
    if "preset" not in given or "preset" in _hints(kind):
        return given
    name = given["preset"]
    if not isinstance(name, str) or name not in presets:
        raise SpecError(f"{where} has no preset {name!r}; {nearest(str(name), presets)}")
    return {**presets[name], **{key: value for key, value in given.items() if key != "preset"}}


def _value(hint: Any, value: Any, where: str) -> Any:
    if isinstance(value, Mapping) and "use" in value:
        component = build(value)
        if not _fits(component, hint):
            raise SpecError(f"{where} takes no component, got {value['use']!r}; give a plain value")
        return component
    if _takes_component(hint):
        if value is None and NoneType in typing.get_args(hint):
            return None
        if not isinstance(value, str):
            raise SpecError(f"{where} takes a component by name or spec, got {value!r}")
        return build(value)
    if isinstance(value, (list, tuple)) and any(isinstance(v, Mapping) and "use" in v for v in value):
        return tuple(_value(Protocol, item, where) for item in value)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return _make(hint, value, where)
    return codec.decode(hint, value, where)


def _fields(component: Any) -> dict[str, Any]:
    hints = _hints(type(component))
    return {name: _plain(getattr(component, name), hint) for name, hint in hints.items()}


def _plain(value: Any, hint: Any) -> Any:
    """A field's value as JSON; "use" is left out where the field's type already says the class."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value) if hint is type(value) else describe(value)
    if isinstance(value, (list, tuple)) and any(dataclasses.is_dataclass(item) for item in value):
        return [describe(item) for item in value]
    try:
        return codec.encode(value)
    except TypeError as refused:
        raise SpecError(f"a component's fields must be plain values or components: {refused}") from refused


def _assign(kind: type[Any], spec: Spec, path: Sequence[str], text: str, where: str) -> dict[str, Any]:
    hints, key = _hints(kind), path[0]
    if len(path) == 1 and (key == "use" or (key == "preset" and key not in hints)):
        return {key: text} if key == "use" else {**spec, key: text}
    _known(key, hints, where)
    if len(path) == 1:
        return {**spec, key: _parse(hints[key], text, f"{where}: {key}")}
    inner = spec.get(key, _default(kind, key))
    inner = {"use": inner} if isinstance(inner, str) and _takes_component(hints[key]) else inner
    if path[1:] == ["use"]:
        return {**spec, key: {"use": text}}
    if not isinstance(inner, Mapping):
        raise SpecError(f"{where}: {key} is a plain value without settings of its own, got {'.'.join(path)!r}")
    inner_kind = locate(inner["use"]) if "use" in inner else hints[key]
    return {**spec, key: _assign(inner_kind, inner, path[1:], text, f"{where}: {key}")}


def _parse(hint: Any, text: str, where: str) -> Any:
    """A setting's text as JSON data that fits `hint`: as it stands, as a literal, or as a list between commas."""
    if _takes_component(hint):
        return None if text.lower() == "none" and NoneType in typing.get_args(hint) else {"use": text}
    readings: list[Any] = [text, _literal(text), [_literal(item.strip()) for item in text.split(",")]]
    readings.append([item.strip() for item in text.split(",")])
    for reading in readings:
        try:
            codec.decode(hint, reading, where)
        except SpecError:
            continue
        return reading
    codec.decode(hint, _literal(text), where)
    raise AssertionError("the literal reading was refused a moment ago")


def _literal(text: str) -> Any:
    """A number, a quoted text, a list, true, false, null; otherwise the text itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        with warnings.catch_warnings():  # of text such as "5or 6", which is no literal
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text)
        return codec.encode(list(value) if isinstance(value, (tuple, set)) else value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # the latter for brackets without end
        return text


def _known(key: str, hints: Mapping[str, Any], where: str) -> None:
    if key not in hints:
        raise SpecError(f"{where} has no setting {key!r}; {nearest(key, hints) if hints else 'it has none at all'}")


def _hints(kind: type[Any]) -> dict[str, Any]:
    """Types of the fields that the constructor takes, in order."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}


def _default(kind: type[Any], key: str) -> Any:
    """A field's default as JSON; None where there is none."""
    field = next(field for field in dataclasses.fields(kind) if field.name == key)
    if field.default_factory is not dataclasses.MISSING:
        return _plain(field.default_factory(), _hints(kind)[key])
    return None if field.default is dataclasses.MISSING else _plain(field.default, _hints(kind)[key])


def _takes_component(hint: Any) -> bool:
    """Whether a field's type is a protocol, or a protocol or None."""
    if isinstance(hint, UnionType) or typing.get_origin(hint) is typing.Union:
        return any(_takes_component(each) for each in typing.get_args(hint))
    return isinstance(hint, type) and (hint is Protocol or Protocol in hint.__bases__)


def _fits(component: Any, hint: Any) -> bool:
    """Whether a field of that type may hold a component."""
    is_union = isinstance(hint, UnionType) or typing.get_origin(hint) is typing.Union
    kinds = [typing.get_origin(each) or each for each in (typing.get_args(hint) if is_union else (hint,))]
    return any(
        each is Any or _takes_component(each) or (isinstance(each, type) and isinstance(component, each))
        for each in kinds
    )


def _short_name(kind: type[Any]) -> str:
    """The name in the table or of an entry point where there is one, else "module:Class" or "file.py:Class"."""
    full = name_of(kind)
    for name, target in {**METHODS, **PARTS}.items():
        if target == full:
            return name
    return next((name for name, entry in _entries().items() if entry.value == full), full)


@lru_cache(maxsize=1)
def _entries() -> Mapping[str, EntryPoint]:
    """Entry points of installed packages, by name. Looking for them reads every package's metadata."""
    return {entry.name: entry for entry in entry_points(group="steepest")}
