from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import pytest

from steepest.errors import ModelError
from steepest.models import Generates, open_model
from steepest.models.opening import opened
from steepest.models.scripted import Scripted, text_of
from steepest.types import Message, Request

MINE = """
from steepest.models.scripted import Scripted


class Mine(Scripted):
    __slots__ = ()

    def __init__(self, word="yes"):
        super().__init__(lambda request: word, f"mine {word}")


def shout(request):
    return request.prompt.upper()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path / "mine.py"


def test_a_scripted_model_answers_by_its_function(file: Path) -> None:
    model = open_model("scripted", answer=f"{file}:shout")
    assert isinstance(model, Generates)
    assert [(i, r.text) for i, r in model.generate([Request("a"), Request("b")])] == [(0, "A"), (1, "B")]


def test_without_a_function_it_says_the_last_line() -> None:
    request = Request((Message("system", "s t"), Message("user", "one\ntwo three")))
    ((_, response),) = open_model("scripted").generate([request])
    assert (response.text, response.prompt_tokens, response.output_tokens) == ("two three", 5, 2)
    assert text_of("plain") == "plain"


def test_a_scripted_model_is_asked_only_as_far_as_it_is_read() -> None:
    asked = []
    answers = Scripted(lambda request: asked.append(request.prompt) or "x").generate([Request("a"), Request("b")])
    next(answers)
    assert asked == ["a"]


def test_a_class_in_a_file_is_a_model(file: Path) -> None:
    found = opened(f"{file}:Mine", {"word": "no"})
    assert found.model.id == "mine no" and found.options == {"word": "no"} and found.name == f"{file}:Mine"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("bundeld", {}, "there is no model called 'bundeld'; did you mean 'bundled'?"),
        ("anthropic:claude", {}, "there is no model called 'anthropic:claude'"),
        ("scripted", {"anser": "x"}, "the model 'scripted' has no option 'anser'; did you mean 'answer'?"),
        ("nowhere.py:Model", {}, "there must be a Python file at "),
        ("{file}:Nobody", {}, "must define 'Nobody', which it does not"),
        ("{file}:Mine", {"wrod": 1}, "has no option 'wrod'; did you mean 'word'?"),
    ],
)
def test_unknown_names_and_options_are_refused(file: Path, name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError) as refused:
        open_model(name.format(file=file), **options)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_a_missing_torch_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without_torch(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("steepest.models.local"):
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return plain(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    for module in [m for m in sys.modules if m.startswith("steepest.models.local")]:
        monkeypatch.delitem(sys.modules, module)
    for name in ("bundled", "hf:./folder"):
        with pytest.raises(ModelError, match=r"needs torch, which is not installed; pip install 'steepest\[local\]'"):
            open_model(name)
