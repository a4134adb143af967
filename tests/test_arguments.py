"""What callers pass to the package in place of something else: one line that says what it must be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import steepest
from steepest.arguments import checked
from steepest.errors import SpecError, SteepestError
from steepest.testing.toy import toy_world

WRONG: dict[str, list[Any]] = {
    "prompt": [0.15, ("a",), b"x"],
    "model": [None, 5, {"task": "scripted"}, object()],
    "optimizer": [0.5, []],
    "embedder": [{}],
    "method": [3, [], object()],
    "input": [1, ["question"], {"a": 1}],
    "target": [2.5, []],
    "layout": [7, ("{input}",)],
    "answer": [0.01, ("a", "b"), [1]],
    "description": [b"x"],
    "language": [True],
    "max_tokens": ["64", [1]],
    "skip_bad_rows": ["yes", 1],
    "seed": ["0", 1.5, True],
    "steps": ["3", 2.5, True, [3]],
    "calls": ["100"],
    "tokens": [b"1"],
    "dollars": ["5", (1,)],
    "seconds": [[]],
    "patience": ["x"],
    "price": [0.15, "0.15/0.60", (1,), (1, 2, 3), ("a", "b"), {"task": 1}, {"task": ("a", "b")}],
    "fail_on": ["0.2", (0.2,)],
    "options": [5, "a=b", {1: 2}],
    "runs": [0.5, ["runs"]],
    "quiet": ["no"],
    "preset": [[]],
}


def rows() -> list[dict[str, str]]:
    world = toy_world(4, 4, 4)
    return [{"input": e.input, "target": e.target} for e in (*world.task.train, *world.task.dev, *world.test)]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_kind_of_argument_is_refused(
    name: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = {"prompt": "Answer.", "data": rows(), "model": "scripted", "method": "opro", "answer": "exact_match"}
    with pytest.raises(SteepestError) as refused:
        steepest.optimize(**{**good, "steps": 0, "quiet": True, name: value})
    assert "\n" not in str(refused.value) and ";" in str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "given"),
    [
        (steepest.resume, {"folder": 5}),
        (steepest.resume, {"folder": "runs/x", "steps": "5"}),
        (steepest.evaluate, {"prompt": 5, "data": "arithmetic"}),
        (steepest.evaluate, {"data": "arithmetic", "split": 5}),
        (steepest.compare, {"data": "arithmetic", "seeds": "3"}),
        (steepest.diagnose, {"data": "arithmetic", "calls": 0.5}),
        (steepest.export, {"folder": 3}),
        (steepest.transfer, {"runs": "runs/x", "models": ["bundled"]}),
        (steepest.transfer, {"runs": ["runs/x"], "models": "bundled"}),
        (steepest.compare, {"data": "arithmetic", "methods": 5}),
        (steepest.compare, {"data": "arithmetic", "grids": "gpo-control"}),
        (steepest.open_model, {"name": 5}),
    ],
)
def test_every_function_of_the_package_says_so(call: Any, given: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="must be .*, got .*; correct it"):
        call(**given)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: steepest.optimize("Answer."), "optimize: missing a required argument: 'data'; see help"),
        (lambda: steepest.optimize("Answer.", rows()), "too many positional arguments"),
        (lambda: steepest.resume("runs/x", model="bundled"), "unexpected keyword argument 'model'"),
        (lambda: steepest.compare([5], data="arithmetic", calls=100), "got int without State"),
        (lambda: steepest.compare("opro", data=5, calls=100), "rows are a list of dicts"),
    ],
)
def test_a_call_that_cannot_be_meant_is_refused(call: Any, said: str) -> None:
    with pytest.raises(SteepestError, match=said):
        call()


def test_what_fits_is_passed_on() -> None:
    @checked
    def told(a: str | None, b: float = 0.5, *, c: str | Path = "x", d: Sequence[str] = (), **more: Any) -> Any:
        return a, b, c, d, more

    assert told(None, 3, c=Path("y"), d=["z"], e=6) == (None, 3, Path("y"), ["z"], {"e": 6})
    assert told("a") == ("a", 0.5, "x", (), {})
