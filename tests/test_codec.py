from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steepest import codec
from steepest.errors import SpecError, StateError
from steepest.types import Candidate, Message, Request, Scored, Trial


@dataclass(frozen=True, slots=True)
class Inner:
    kind: Literal["a", "b"] = "a"
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Outer:
    inner: Inner
    rows: tuple[int, ...] = ()
    named: Mapping[str, float] = field(default_factory=dict)


def test_values_come_back_as_they_were() -> None:
    value = Outer(Inner("b", 0.25), (3, 1), {"x": 1.0})
    assert codec.decode(Outer, codec.encode(value), "it") == value
    request = Request((Message("user", "é\n\u2028"),), 0.5, 3, ("\n",), 9)
    assert codec.read(Request, codec.dumps(request), "it") == request


@given(st.floats(), st.text())
def test_any_number_and_text_come_back(number: float, text: str) -> None:
    trial = Trial(0, text, "NaN", 1, number, 0.0, 1.0, True)
    written = codec.dumps(trial)
    json.loads(written, parse_constant=lambda name: pytest.fail(f"{name} is not standard JSON"))
    assert repr(codec.read(Trial, written, "it")) == repr(trial)


def test_what_json_lacks_is_written_as_words() -> None:
    assert codec.dumps([math.nan, math.inf, -math.inf]) == '["NaN","Infinity","-Infinity"]'
    assert math.isnan(codec.decode(Scored, {"candidate": {"text": "a"}, "scores": {"i": "NaN"}}, "it").mean)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"inner": {}, "rwos": []}, "it: there is no field 'rwos'; remove it or correct its name"),
        ({"rows": []}, "it: the field 'inner' is missing"),
        ({"inner": {"kind": "c"}}, "it: inner.kind: should be 'a' or 'b', got 'c'"),
        ({"inner": {}, "rows": [1, "2"]}, "it: rows[1]: should be a valid integer, got '2'"),
        ({"inner": {}, "named": {"x": True}}, "it: named.x: should be a valid number, got True"),
        ({"inner": {}, "rows": ["NaN"]}, "it: rows[0]: should be a valid integer, "),
        ([], "it: should be an object, got []"),
    ],
)
def test_errors_are_one_line_with_place_rule_and_value(data: Any, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        codec.decode(Outer, data, "it")
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_torn_text_is_an_error_of_the_kind_asked_for() -> None:
    with pytest.raises(StateError, match=r"^x\.json: invalid JSON"):
        codec.read(Candidate, '{"text":', "x.json", StateError)


@pytest.mark.parametrize("value", [b"bytes", {1: 2}, {"k": object()}, Outer])
def test_what_has_no_json_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        codec.encode(value)


def test_canonical_text_does_not_depend_on_the_order_of_keys() -> None:
    assert codec.canonical({"a": 1, "b": [2]}) == codec.canonical({"b": [2], "a": 1})
