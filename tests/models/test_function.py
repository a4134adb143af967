from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import wraps
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest

import steepest
from steepest.errors import ModelError, SpecError
from steepest.models import Generates, open_model
from steepest.models.function import Function
from steepest.roles import open_models
from steepest.testing.contract import GeneratesContract
from steepest.testing.toy import toy_answer, toy_model, toy_world
from steepest.types import Message, Request, Response
from testing_methods import Adder, Asker

WORLD = toy_world(20, 20, 40)
ROWS = [{"input": e.input, "target": e.target} for e in (*WORLD.task.train, *WORLD.task.dev, *WORLD.test)]
HERE = Path(__file__).resolve()
down: list[bool] = []
seen: list[Request] = []


def ask(request: Request) -> str:
    if down:
        raise TimeoutError("nobody\nthere")
    return toy_answer(request)


def written(request: Request) -> str:
    seen.append(request)
    return toy_answer(request)


def tried_again(function: Any) -> Any:
    @wraps(function)
    def call(request: Request) -> Any:
        return function(request)

    return call


def optimized(folder: Path, **changed: Any) -> steepest.Result:
    arguments = {"data": ROWS, "model": ask, "method": Adder(), "answer": "exact_match", "steps": 3, "quiet": True}
    return steepest.optimize("Say it.", runs=folder / "runs", **{**arguments, **changed})


def raises(request: Request) -> str:
    raise ValueError("no")


class TestFunction(GeneratesContract):
    @pytest.fixture
    def model(self) -> Generates:
        return Function(ask, "ask")

    @pytest.fixture
    def broken(self) -> Generates:
        return Function(raises, "raises")


class TestFunctionInThreads(GeneratesContract):
    @pytest.fixture
    def model(self) -> Generates:
        return Function(ask, "ask", 3)

    @pytest.fixture
    def broken(self) -> Generates:
        return Function(raises, "raises", 3)


def test_questions_are_asked_at_once_and_never_more_than_that() -> None:
    together, most = Barrier(3, timeout=60), 0
    under_way: list[str] = []

    def waits(request: Request) -> str:
        nonlocal most
        under_way.append("")
        most = max(most, len(under_way))
        together.wait()  # only comes back when three are there
        under_way.pop()
        return str(request.prompt)

    asked = [Request(f"q{n}") for n in range(12)]
    answers = dict(Function(waits, "waits", 3).generate(asked))
    assert {n: answer.text for n, answer in answers.items()} == {n: f"q{n}" for n in range(12)} and most == 3


def test_what_was_under_way_comes_before_the_error() -> None:
    failed = Event()

    def fails(request: Request) -> str:
        if request.prompt == "q0":
            failed.set()
            raise ValueError("no")
        assert failed.wait(60)
        return "yes"

    found = list[int]()
    with pytest.raises(ModelError, match="ValueError: no"):
        for index, _ in Function(fails, "fails", 3).generate([Request(f"q{n}") for n in range(9)]):
            found.append(index)
    assert {1, 2} <= {*found} and 0 not in found


@pytest.mark.parametrize("concurrency", [0, True, "4", 2.0])
def test_how_many_at_once_is_a_number(concurrency: Any) -> None:
    with pytest.raises(ModelError, match="concurrency is a whole number from 1 on"):
        open_models({"task": ask}, {"concurrency": concurrency})


def test_a_run_in_threads_is_that_of_one_thread(tmp_path: Path) -> None:
    result = optimized(tmp_path, options={"concurrency": 5})
    assert (result.prompt, result.test) == (optimized(tmp_path).prompt, optimized(tmp_path).test)
    told = json.loads((result.folder / "run.json").read_text())["models"]["task"]
    assert told["options"] == {"concurrency": 5}
    with pytest.raises(ModelError, match="no option 'concurency'; did you mean 'concurrency'"):
        optimized(tmp_path, options={"concurency": 5})


def test_a_function_answers_a_run_under_its_own_name(tmp_path: Path) -> None:
    result = optimized(tmp_path)
    same = optimized(tmp_path, model=toy_model())
    assert (result.prompt, result.test, result.usage.tokens) == (same.prompt, same.test, same.usage.tokens)
    assert result.models == {"task": f"{HERE}:ask"}


def test_a_run_of_a_function_is_resumed_without_asking_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"got TimeoutError: nobody there from '.*:ask'; put that right") as told:
        monkeypatch.setattr(sys.modules[__name__], "down", [True])
        optimized(tmp_path)
    assert "\n" not in str(told.value) and isinstance(told.value.__cause__, TimeoutError)
    monkeypatch.undo()
    (folder,) = (tmp_path / "runs").iterdir()
    assert steepest.resume(folder, quiet=True).test == optimized(tmp_path).test


def test_a_function_plays_any_role_and_is_told_how_to_sample(tmp_path: Path) -> None:
    seen.clear()
    result = optimized(tmp_path, optimizer=written, method=Asker(), steps=1)
    assert result.models == {"task": f"{HERE}:ask", "optimizer": f"{HERE}:written"}
    assert seen and all(request.temperature > 0 and request.seed is not None for request in seen)


def test_a_request_gives_its_messages_as_chat_interfaces_take_them() -> None:
    assert Request("Hi.").messages == [{"role": "user", "content": "Hi."}]
    begun = Request((Message("user", "Hi."), Message("assistant", "So")))
    assert begun.messages == [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "So"}]


def test_a_function_may_say_what_it_used_and_what_got_no_answer() -> None:
    said = [Response("a", 7, 1), Response("", finish="failed", reason="busy")]
    answers = Function(lambda request: said[int(request.prompt == "second")], "x")
    assert [answer for _, answer in answers.generate([Request("first"), Request("second")])] == said


def test_a_decorated_function_keeps_its_own_name() -> None:
    assert open_models({"task": decorated})["task"].name == f"{HERE}:decorated"


@tried_again
def decorated(request: Request) -> str:
    return "yes"


def test_a_function_in_a_file_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def shout(request):\n    return request.prompt.upper()\n")
    model = open_model(f"{tmp_path / 'mine.py'}:shout")
    assert [answer.text for _, answer in model.generate([Request("a")])] == ["A"]
    with pytest.raises(ModelError, match="has no option 'word'; known: concurrency"):
        open_model(f"{tmp_path / 'mine.py'}:shout", word="x")


def test_a_function_that_needs_nothing_makes_a_model(tmp_path: Path) -> None:
    text = "from steepest.models.scripted import Scripted\n\n\ndef make(word='yes'):\n    return Scripted(id=word)\n"
    (tmp_path / "mine.py").write_text(text)
    assert open_model(f"{tmp_path / 'mine.py'}:make").id == "yes"
    assert open_model(f"{tmp_path / 'mine.py'}:make", word="no").id == "no"


def test_a_function_of_two_things_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def both(request, more):\n    return ''\n")
    with pytest.raises(ModelError, match=r"takes one request, got '.*both' with \(request, more\)"):
        open_model(f"{tmp_path / 'mine.py'}:both")


def no_request() -> str:
    return ""


def maybe(request: Request | None = None) -> str:
    return ""


async def later(request: Request) -> str:
    return ""


def nothing(request: Request) -> None: ...


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (lambda request: "", SpecError, "must stand at the top level .* got .*<lambda>"),
        (no_request, ModelError, "takes one request, got .*no_request' with"),
        (maybe, ModelError, "takes one request, got .*maybe' with"),
        (later, ModelError, "returns text, got .*later', which is async"),
        (nothing, ModelError, "returns text, got NoneType from .*nothing'; return a str"),
        (str.upper, SpecError, "a name, a function or an object with `id` and `generate`"),
    ],
)
def test_functions_that_cannot_answer_are_refused(
    tmp_path: Path, model: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as refused:
        optimized(tmp_path, model=model)
    assert "\n" not in str(refused.value)


NOTEBOOK = """
import steepest
from steepest.testing.toy import toy_answer, toy_world

def ask(request):
    return toy_answer(request)

world = toy_world(20, 20, 40)
rows = [{"input": e.input, "target": e.target} for e in (*world.task.train, *world.task.dev, *world.test)]
begun = steepest.optimize("Say it.", data=rows, model=ask, method="testing_methods:Adder", steps=1, quiet=True,
                          answer="exact_match")
print(begun.models, steepest.resume(begun.folder, steps=2, quiet=True).steps)
"""


def test_a_function_that_was_typed_in_is_found_where_it_was(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-"], input=NOTEBOOK, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.stdout.strip() == "{'task': '__main__:ask'} 2", done.stderr
