from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from http_runs import journal, toy_dicts, toy_reply

from cli.commands import Shell, toy_rows, write_rows
from models.endpoint.stub import Asked, Say, error, running
from steepest.tasks.loading import TaskSpec, load_task

pytestmark = pytest.mark.slow

ROWS = ("--data", "toy.csv", "--input", "question", "--answer", "exact_match")
OPTIONS = ("--option", "retries=1", "--option", "concurrency=4")


def run(shell: Shell, url: str, *more: str) -> Any:
    write_rows(shell.folder / "toy.csv", toy_rows())
    small = ("--set", "samples=3", "--steps", "2", *OPTIONS)
    return shell("run", "opro", *ROWS, "--model", f"openai:toy@{url}", *small, *more)


def told(result: Any) -> Any:
    """A result, without the time it took and the name of its folder."""
    for part in ("usage", "measuring"):
        del result[part]["seconds"]
    del result["run"]
    return result


def test_poisoned_rows_are_left_out_and_told(shell: Shell) -> None:
    source = load_task(TaskSpec(toy_dicts(), input="question", answer="exact_match"))
    poisoned = (source.task.train[0].input, source.task.dev[0].input, source.test[0].input)

    def script(asked: Asked) -> Say:
        is_row = any(asked.text.startswith(question) for question in poisoned)
        return error(400, "this row is poison") if is_row else toy_reply(asked)

    with running(script) as stub:
        said = run(shell, stub.url)
    assert said.code == 0, said.err
    (folder,) = shell.runs
    result = json.loads((folder / "result.json").read_text())
    assert result["steps"] == 2
    for side in ("initial", "best"):
        assert result["answers"][side]["unanswered"] == 1
        assert result["test"][side]["n"] == len(source.test) - 1
        assert result["dev"][side]["n"] == len(source.task.dev) - 1
    unanswered = {name: n for name, n in result["counts"].items() if name.startswith("unanswered: ")}
    assert list(unanswered) == ["unanswered: task: HTTP 400: this row is poison"]
    failed = [call for call in journal(folder) if call["response"]["finish"] == "failed"]
    assert {call["request"]["prompt"][-1]["content"].partition("\n")[0] for call in failed} == set(poisoned)
    note = f"{unanswered.popitem()[1]} requests of the search got no answer: task: HTTP 400: this row is poison"
    assert note in said.out and "1 rows got no answer from the model and are not scored" in said.out
    report = (folder / "report.html").read_text()
    assert "this row is poison" in report and "the model gave no answer; not scored" in report


@pytest.mark.parametrize("fault", ["reset", "HTTP 503"])
def test_an_endpoint_that_goes_down_and_comes_back(fault: str, shell: Shell) -> None:
    state = {"down": False, "last": 130}

    def script(asked: Asked) -> Say:
        if state["down"] and asked.number >= state["last"]:
            return Say(fault="reset") if fault == "reset" else error(503, "overloaded")
        return toy_reply(asked)

    with running(script) as stub:
        whole = run(shell, stub.url, "--json")
        assert whole.code == 0, whole.err
        calls = len(journal(shell.runs[0]))
        assert calls == len(stub.asked)
        state.update(down=True, last=2 * calls - calls // 3)
        cut = run(shell, stub.url, "--json")
        first, second = shell.runs
        assert cut.code == 2 and cut.out == ""
        assert cut.err.splitlines()[-1].endswith(f"go on with: steepest resume {second.relative_to(shell.folder)}")
        assert (fault in cut.err) == (fault != "reset") and not (second / "result.json").exists()
        before = answered(second)
        known = {question(call["request"]["prompt"], call["request"].get("seed")) for call in answers(second)}
        assert 0 < len(before) < calls

        state.update(down=False)
        asked = len(stub.asked)
        resumed = shell("resume", second, "--json")
        assert resumed.code == 0, resumed.err
    assert told(resumed.json) == told(whole.json)
    assert answered(second)[: len(before)] == before
    assert sorted(answered(second)) == sorted(answered(first))
    assert not known & {question(each.body["messages"], each.body.get("seed")) for each in stub.asked[asked:]}
    assert timeless(first) == timeless(second)


def answers(folder: Path) -> list[dict[str, Any]]:
    """The calls that were answered, in order."""
    return [call for call in journal(folder) if call["response"]["finish"] != "failed"]


def answered(folder: Path) -> list[str]:
    """Their names."""
    return [call["key"] for call in answers(folder)]


def question(prompt: str | list[dict[str, str]], seed: int | None) -> str:
    """What tells one request from another, in a journal and at the server."""
    return f"{prompt if isinstance(prompt, str) else prompt[-1]['content']} {seed}"


def timeless(folder: Path) -> list[str]:
    """All committed steps, without the time they took."""
    texts = [path.read_text() for path in sorted((folder / "steps").glob("*.json"))]
    return [re.sub(r'"seconds": ?[\d.e-]+', "", text) for text in texts]
