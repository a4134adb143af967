from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from steepest import spec
from steepest.errors import SpecError
from testing_methods import Adder, Ask, Suggest

HERE = "testing_methods:Adder"


@dataclass(frozen=True)
class Shape:
    width: float = 1.0
    style: Literal["plain", "fancy"] = "plain"
    flag: bool = False
    limit: int | None = 4
    words: tuple[str, ...] = ("a",)
    sizes: tuple[int, ...] = (1, 2)
    label: str = "x"


@dataclass(frozen=True)
class Holder:
    shape: Shape
    parts: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Maybe:
    suggest: Suggest | None = None


@dataclass(frozen=True)
class Picky:
    n: int = 1

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n must be at least 1, got {self.n}; try 1")


@pytest.mark.parametrize(
    "component",
    [
        Adder(),
        Adder(Ask(n=5, question="?"), batch=2, tags=("a", "b")),
        Shape(0.5, "fancy", True, None, (), (3,)),
        Holder(Shape(2.0), (Ask(), Shape())),
        Maybe(),
        Maybe(Ask(n=2)),
    ],
)
def test_build_undoes_describe(component: Any) -> None:
    described = spec.describe(component)
    assert spec.build(json.loads(json.dumps(described))) == component


def test_every_listed_method_builds_from_its_name() -> None:
    for name in spec.METHODS:
        method = spec.build(name)
        assert spec.describe(method)["use"] == name
        assert spec.build(spec.describe(method)) == method


def test_a_description_names_every_default() -> None:
    assert spec.describe(Adder()) == {
        "use": HERE,
        "suggest": {"use": "testing_methods:Ask", "n": 3, "question": "Which word would help here?", "role": "task"},
        "batch": 4,
        "tags": [],
    }


def test_presets_come_before_what_is_given() -> None:
    assert spec.build({"use": HERE, "preset": "wide"}) == Adder(batch=8)
    assert spec.build({"use": HERE, "preset": "wide", "batch": 2}) == Adder(batch=2)


def test_a_class_in_a_file_is_found_and_found_again(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n\n"
        "@dataclass(frozen=True)\nclass Mine:\n    n: int = 6\n"
    )
    built = spec.build({"use": f"{file}:Mine", "n": 2})
    assert built.n == 2
    described = spec.describe(built)
    assert described == {"use": f"{file}:Mine", "n": 2}
    assert spec.build(described) == built


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("greter", "there is no method or part called 'greter'; did you mean 'greater'? (or write file.py:Class)"),
        ({"use": HERE, "bach": 3}, f"{HERE} has no setting 'bach'; did you mean 'batch'?"),
        ({"use": HERE, "batch": "four"}, f"{HERE}: batch: should be a valid integer, got 'four'"),
        ({"use": HERE, "preset": "wid"}, f"{HERE} has no preset 'wid'; did you mean 'wide'?"),
        ({"use": HERE, "suggest": 3}, f"{HERE}: suggest takes a component by name or spec, got 3"),
        ({"use": HERE, "suggest": {"use": "testing_methods:Ask", "m": 1}}, "testing_methods:Ask has no setting 'm'"),
        ({"batch": 3}, "a component's spec needs the key 'use' with its name, got {'batch': 3}"),
        ({"use": 3}, "a component's name must be text, got 3"),
        ("testing_methods:Nobody", "testing_methods must define 'Nobody', which it does not"),
        ("testing_methods:toy_case", "a component must be a frozen dataclass, got <function toy_case"),
        ("nowhere.at.all:X", "a name with a colon is file.py:Name or module:Name, got 'nowhere.at.all:X'"),
        ("./nowhere.py:X", "there must be a Python file at "),
        ({"use": "test_spec:Holder"}, "test_spec:Holder needs a value for 'shape', got none"),
        ({"use": "test_spec:Picky", "n": 0}, "test_spec:Picky: n must be at least 1, got 0; try 1"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(given: Any, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        spec.build(given)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_a_broken_file_is_named_with_its_error_and_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("1 / 0\n")
    before = set(sys.modules)
    with pytest.raises(SpecError, match=r"broken\.py cannot be run: ZeroDivisionError"):
        spec.locate(f"{file}:X")
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("width=2", Shape(width=2.0)),
        ("width=1e-3", Shape(width=0.001)),
        ("width=.5", Shape(width=0.5)),
        ("style=fancy", Shape(style="fancy")),
        ("flag=true", Shape(flag=True)),
        ("flag=False", Shape(flag=False)),
        ("limit=7", Shape(limit=7)),
        ("limit=none", Shape(limit=None)),
        ("words=b,c", Shape(words=("b", "c"))),
        ("words=b", Shape(words=("b",))),
        ("words=['b, c']", Shape(words=("b, c",))),
        ("sizes=5,6", Shape(sizes=(5, 6))),
        ("label=7", Shape(label="7")),
        ("label=true", Shape(label="true")),
        ("label=a=b", Shape(label="a=b")),
        ("label=", Shape(label="")),
    ],
)
def test_settings_are_read_as_their_field_demands(assignment: str, expected: Shape) -> None:
    assert spec.build(spec.with_settings("test_spec:Shape", [assignment])) == expected


def test_settings_reach_into_parts() -> None:
    changed = spec.with_settings(HERE, ["batch=2", "suggest.n=9", "suggest.question=Why?"])
    assert spec.build(changed) == Adder(Ask(n=9, question="Why?"), batch=2)
    assert spec.build(spec.with_settings(HERE, ["suggest.use=testing_methods:Ask"])) == Adder()
    assert spec.build(spec.with_settings(HERE, ["suggest=testing_methods:Ask", "suggest.n=1"])) == Adder(Ask(n=1))
    assert spec.build(spec.with_settings(HERE, ["preset=wide"])) == Adder(batch=8)
    assert spec.build(spec.with_settings("test_spec:Maybe", ["suggest=testing_methods:Ask"])) == Maybe(Ask())
    assert spec.build(spec.with_settings({"use": "test_spec:Maybe", "suggest": HERE}, ["suggest=none"])) == Maybe()
    held = spec.with_settings({"use": "test_spec:Holder", "shape": {}}, ["shape.width=3"])
    assert spec.build(held) == Holder(Shape(width=3.0))


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("batch", "a setting is written name=value, got 'batch'; for example mu=3"),
        ("bach=3", f"{HERE} has no setting 'bach'; did you mean 'batch'?"),
        ("batch=many", f"{HERE}: batch: should be a valid integer, got 'many'"),
        ("batch=2.5", f"{HERE}: batch: should be a valid integer"),
        ("batch.size=3", f"{HERE}: batch is a plain value without settings of its own, got 'batch.size'"),
        ("suggest.m=3", f"{HERE}: suggest has no setting 'm'"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(assignment: str, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        spec.with_settings(HERE, [assignment])
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_names_without_a_colon_are_listed() -> None:
    assert "greater" in spec.names()


def test_a_class_inside_a_function_could_not_be_found_again() -> None:
    @dataclass(frozen=True)
    class Hidden:
        n: int = 1

    with pytest.raises(SpecError, match="must stand at the top level of a file.*Hidden; move it there"):
        spec.describe(Hidden())


def test_a_component_is_no_plain_value() -> None:
    for settings in ({"mu": {"use": "greater"}}, {"select": {"use": "greater"}}):
        with pytest.raises(SpecError, match="takes no component, got 'greater'; give a plain value"):
            spec.build({"use": "greater", **settings})
