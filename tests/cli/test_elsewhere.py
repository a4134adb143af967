"""A run is resumed from any working folder, whatever relative paths it was begun with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Shell

from steepest.models.opening import opened

TESTS = Path(__file__).parents[1]
FILES = {
    "method.py": "from dataclasses import dataclass\nfrom testing_methods import Adder\n\n\n"
    "@dataclass(frozen=True)\nclass Mine(Adder):\n    pass\n",
    "answers.py": "from steepest.testing.toy import toy_answer as answer\n",
    "model.py": "from steepest.testing.toy import toy_model as Toy\n",
    "metric.py": "def exact(example, output):\n    return float(output == example.target)\n",
}


@pytest.mark.parametrize(
    "model",
    [("--model", "model.py:Toy"), ("--model", "scripted", "--option", "answer=answers.py:answer")],
    ids=["file", "scripted"],
)
def test_resumed_from_another_folder(shell: Shell, monkeypatch: pytest.MonkeyPatch, model: tuple[str, ...]) -> None:
    for name, text in FILES.items():
        (shell.folder / name).write_text(text)
    rows = ("--data", "toy.csv", "--input", "question", "--answer", "metric.py:exact")
    begun = shell("run", "method.py:Mine", *rows, *model, "--steps", "1")
    assert begun.code == 0, begun.err
    again = begun.out.splitlines()[-1]
    assert again.startswith("again      steepest run method.py:Mine --data toy.csv ")
    assert "metric.py:exact" in again and " ".join(model) in again and str(shell.folder) not in again
    elsewhere = shell.folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    resumed = shell("resume", shell.runs[0], "--steps", "2", "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.json["steps"] == 2
    assert shell("eval", shell.runs[0], "--json").json["score"] == resumed.json["test"]["best"]
    origin = json.loads((shell.runs[0] / "run.json").read_text())["task"]["origin"]
    assert origin == str(shell.folder / "toy.csv")


def test_a_models_folder_is_remembered_by_its_full_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path)
    asked = []

    def open_local(name: str) -> object:
        asked.append(name)
        return object()

    monkeypatch.setattr("steepest.models.opening._open_local", lambda name: open_local)
    assert opened("hf:./weights").name == f"hf:{tmp_path / 'weights'}"
    assert opened("hf:weights").name == f"hf:{tmp_path / 'weights'}"
    assert opened("hf:some/name").name == "hf:some/name"
    assert asked == [str(tmp_path / "weights")] * 2 + ["some/name"]
