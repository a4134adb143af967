"""What a caller passes to the package's functions, checked by their annotations before anything else is done."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from steepest.errors import SpecError

_P = ParamSpec("_P")
_R = TypeVar("_R")

_WORDS: Mapping[Any, str] = {
    str: "text",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    Path: "a path",
    Mapping: "a mapping",
    Sequence: "a list",
}
"""Kinds that can be checked, in words. What a parameter takes besides is up to the function."""


def checked(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """`function`, which raises SpecError for an argument of another kind than its annotation says."""
    signature = inspect.signature(function)

    @wraps(function)
    def call(*given: _P.args, **named: _P.kwargs) -> _R:
        hints = get_type_hints(function)
        for name, value in _bound(function.__name__, signature, given, named).items():
            if signature.parameters[name].kind is not inspect.Parameter.VAR_KEYWORD:
                hint = hints[name]
                _check(name, value, get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,))
        return function(*given, **named)

    return call


def _bound(
    function: str, signature: inspect.Signature, given: tuple[Any, ...], named: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Parameter -> what was passed for it; SpecError where they do not go together."""
    try:
        return signature.bind(*given, **named).arguments
    except TypeError as refused:
        raise SpecError(f"{function}: {refused}; see help(steepest.{function})") from None


def _check(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    kinds = [get_origin(each) or each for each in allowed if each is not type(None)]
    if not all(kind in _WORDS for kind in kinds) or (value is None and len(kinds) < len(allowed)):
        return
    if not any(_fits(value, kind) for kind in kinds):
        words = " or ".join(_WORDS[kind] for kind in kinds)
        raise SpecError(f"{name} must be {words}, got {value!r:.80}; correct it")


def _fits(value: Any, kind: Any) -> bool:
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    return isinstance(value, kind) and not (kind is Sequence and isinstance(value, str))
