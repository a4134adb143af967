"""What bad input gets: one line on standard error, exit code 2, and nothing written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from commands import METHOD, MODEL, Shell, toy_rows, write_rows

from steepest import trusting


def refused(shell: Shell, message: str, *arguments: str | Path) -> None:
    before = {path: path.read_bytes() for path in shell.folder.rglob("*") if path.is_file()}
    said = shell(*arguments)
    assert said.code == 2
    assert said.out == ""
    assert re.fullmatch(r"error: [^\n]+\n", said.err), said.err
    assert re.search(message, said.err), said.err
    assert {path: path.read_bytes() for path in shell.folder.rglob("*") if path.is_file()} == before
    assert not (shell.folder / "runs").exists() or before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "toi.csv"), r"must exist, got 'toi\.csv'; did you mean 'toy\.csv'"),
        (("--data", "toy.xlsx"), r"must be one of \.csv"),
        (("--data", "toy.csv", "--input", "qestion"), "no column 'qestion'; did you mean 'question'"),
        (("--data", "empty.csv", "--input", "question"), "got 0 in empty.csv"),
        (("--data", "one.csv", "--input", "question"), "got 1 in one.csv"),
        (("--data", "blank.csv", "--input", "question"), "line 3, column 2: the column 'target' must not be empty"),
        (("--data", "twice.csv", "--input", "question", "--id", "id"), "line 3: ids must differ, got 'x'"),
        (("--data", "few.csv", "--input", "question"), "at least 2 rows"),
        (
            ("--data", "toy.csv", "--input", "question", "--layout", "{input}"),
            r"needs \{prompt\} exactly once, found 0",
        ),
        (
            ("--data", "toy.csv", "--input", "question", "--layout", "{prompt}"),
            r"rows must enter through \{input\}",
        ),
        (("--data", "toy.csv", "--input", "question", "--layout", "{input}{prompt}{hint}"), "no column 'hint'"),
        (("--data", "toy.csv", "--input", "question", "--answer", "numbr"), "did you mean 'number'"),
        (("--data", "toy.csv", "--input", "question", "--answer", "choice:a,b"), "every target must be one of"),
        (("--data", "toy.csv", "--input", "question", "--prompt", " "), "prompt"),
        (("--data", "toy.csv", "--input", "question", "--max-tokens", "0"), "at least 1, got 0"),
        (("--data", "toy.csv", "--input", "question", "--calls", "0"), "must be above 0, got 0"),
        (("--data", "toy.csv", "--input", "question", "--steps", "x"), "Invalid value for '--steps'"),
        (("--data", "toy.csv", "--imput", "question"), "No such option: --imput .*; see `steepest run --help`"),
        (("--data", "toy.csv", "--input", "question", "--set", "bach=3"), "no setting 'bach'; did you mean 'batch'"),
        (("--data", "toy.csv", "--input", "question", "--set", "batch=many"), "batch"),
        (("--data", "toy.csv", "--input", "question", "--option", "asnwer=x"), "did you mean 'answer'"),
        (("--data", "toy.csv", "--input", "question", "--option", "device"), "NAME=VALUE, got 'device'"),
        (("--task", "arithmetik"), "did you mean 'arithmetic'"),
        (("--task", "none.yaml"), "a task file must exist"),
        (("--task", "arithmetic", "--input", "question"), "--input says how to read --data"),
        (("--task", "arithmetic", "--data", "toy.csv"), "got both"),
        ((), "got neither"),
    ],
)
def test_bad_run_is_refused_before_anything_is_written(shell: Shell, arguments: tuple[str, ...], message: str) -> None:
    rows = toy_rows()
    write_rows(shell.folder / "empty.csv", [])
    write_rows(shell.folder / "one.csv", rows[:1])
    write_rows(shell.folder / "few.csv", rows[:4])
    write_rows(shell.folder / "blank.csv", [rows[0], (rows[1][0], " "), *rows[2:]])
    write_rows(shell.folder / "twice.csv", [(*row, "x") for row in rows], ("question", "target", "id"))
    refused(shell, message, "run", METHOD, *arguments, *MODEL)
    assert not (shell.folder / "runs").exists()


@pytest.mark.parametrize(
    ("method", "model", "message"),
    [
        ("greatr", "scripted", "did you mean 'greater'"),
        ("none.py:Mine", "scripted", r"must be a Python file at .*none\.py"),
        ("testing_methods:Ader", "scripted", "did you mean 'Adder'"),
        (METHOD, "bundeld", "did you mean 'bundled'"),
        (METHOD, "none.py:Mine", r"must be a Python file at .*none\.py"),
        ("greater", "scripted", "the role 'task' needs a model with the capability WhiteBox, got 'scripted'"),
    ],
)
def test_unknown_method_or_model_is_refused(shell: Shell, method: str, model: str, message: str) -> None:
    refused(shell, message, "run", method, *shell.rows, "--model", model)
    assert not (shell.folder / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rnu",), "No such command 'rnu'"),
        (("run",), "Missing argument 'METHOD'"),
        (("resume", "nowhere"), "a run folder holds"),
        (("report", "nowhere"), "a run folder holds"),
        (("eval", "nowhere"), "a run folder holds"),
        (("show", "greatr"), "did you mean 'greater'"),
        (("list", "task"), "did you mean 'tasks'"),
        (("eval", "--task", "lies", "--split", "tets", *MODEL), "did you mean 'test'"),
    ],
)
def test_bad_commands_are_refused(shell: Shell, arguments: tuple[str, ...], message: str) -> None:
    refused(shell, message, *arguments)


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"format": 99}, "format 99"), ({"method_version": 7}, "version 7"), ({"seed": "x"}, "seed")],
)
def test_run_folder_of_another_version_is_refused(shell: Shell, changed: dict[str, object], message: str) -> None:
    shell.run("--steps", "0")
    path = shell.runs[0] / "run.json"
    told = json.loads(path.read_text()) | changed
    path.write_text(json.dumps(told))
    trusting.remember(path.read_bytes(), told)  # of a user who knows what was changed
    refused(shell, message, "resume", shell.runs[0], "--steps", "1")


def test_garbled_journal_is_refused(shell: Shell) -> None:
    shell.run("--steps", "0")
    journal = shell.runs[0] / "calls.jsonl"
    journal.write_text("garbled\n" + journal.read_text())
    refused(shell, "calls.jsonl line 1", "resume", shell.runs[0], "--steps", "1")


SMALL = """
class Small:
    id, vocabulary, context = "small", (), 30
    def generate(self, requests): raise AssertionError("nothing is to be asked")
    def encode(self, text, before=""): return text.split()
    def decode(self, ids): return " ".join(ids)
    propose = gradient = loss = generate
"""


def test_prompt_longer_than_the_context_is_refused(shell: Shell) -> None:
    (shell.folder / "small.py").write_text(SMALL)
    long = ("--prompt", "word " * 40)
    refused(shell, "model's 30 tokens, got 4", "run", METHOD, *shell.rows, "--model", "small.py:Small", *long)
    assert not (shell.folder / "runs").exists()


WORDS = """
from steepest import trusting
from steepest.errors import ModelError
class Words:
    id, vocabulary, context = "words", ("one", "two", "Answer", "the", "question."), 1000
    def generate(self, requests): raise ModelError("it was asked")
    def encode(self, text, before=""): return [self.vocabulary.index(w) for w in text.split() if w in self.vocabulary]
    def decode(self, ids): return " ".join(self.vocabulary[i] for i in ids)
    propose = gradient = loss = generate
"""


@pytest.mark.parametrize(("lost", "read_back"), [("five", "''"), ("one five", "'one'")])
def test_answer_that_the_tokeniser_cannot_write_is_refused(shell: Shell, lost: str, read_back: str) -> None:
    (shell.folder / "words.py").write_text(WORDS)
    rows = [(f"id{i}", f"Question {i}?", ("one", "two", lost)[i % 3]) for i in range(40)]
    write_rows(shell.folder / "rows.csv", rows, ("id", "question", "target"))
    data = ("--data", "rows.csv", "--input", "question", "--id", "id", "--model", "words.py:Words")
    message = rf"after '[^']+', got '{lost}' of row 'id\d+', which it reads back as {read_back}; correct the answer"
    refused(shell, message, "run", "greater", *data, "--answer", "text")
    assert not (shell.folder / "runs").exists()
    assert "it was asked" in shell("run", "greater", *data, "--answer", "contains").err
    assert "it was asked" in shell("run", METHOD, *data, "--answer", "text").err


@pytest.mark.slow
def test_folder_without_weights_is_refused(shell: Shell) -> None:
    pytest.importorskip("torch")
    (shell.folder / "model").mkdir()
    refused(shell, "model", "run", METHOD, *shell.rows, "--model", "hf:./model")
    assert not (shell.folder / "runs").exists()


def test_metric_out_of_range_stops_the_run_with_one_line(shell: Shell) -> None:
    (shell.folder / "mine.py").write_text("def score(example, output):\n    return 7.0\n")
    data = ("--data", "toy.csv", "--input", "question", "--answer", "mine.py:score")
    said = shell("run", METHOD, *data, *MODEL, "--steps", "1")
    assert said.code == 2
    assert said.err.splitlines()[-1].startswith("error: a metric's score must lie in [0, 1], got 7.0")


def test_a_folder_that_cannot_be_made_is_one_line(shell: Shell) -> None:
    (shell.folder / "taken").write_text("")
    refused(shell, "a run needs a folder that can be made", "run", "opro", *shell.rows, *MODEL, "--runs", "taken")


def test_a_dry_run_has_no_result_to_print(shell: Shell) -> None:
    refused(shell, "leave one out", "run", "opro", *shell.rows, *MODEL, "--dry-run", "--json")
