from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import steepest
from steepest import TaskSpec, codec
from steepest.calls import Call, CallLog
from steepest.comparing import transferring
from steepest.comparing.transferring import transfer
from steepest.errors import SpecError, StateError
from steepest.models.scripted import Scripted
from steepest.testing.toy import toy_answer, toy_model, toy_world
from steepest.types import Request
from testing_methods import Adder

HOSTILE = "<script>alert(1)</script> \x1b[31m \u202e {input}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = toy_world(20, 20, 40)
    rows = [{"input": e.input, "target": e.target} for e in (*world.task.train, *world.task.dev, *world.test)]
    result = steepest.optimize(
        f"Answer. {HOSTILE}",
        data=TaskSpec(rows, name="toy", answer="exact_match", layout="{input} {prompt}"),
        method=Adder(),
        model=toy_model(),
        steps=2,
        runs=tmp_path_factory.mktemp("runs"),
        quiet=True,
    )
    assert result.prompt.initial != result.prompt.best
    return result.folder


class Other:
    """Another model, which is always wrong, and counts."""

    def __init__(self) -> None:
        self.asked = 0
        self.model = Scripted(self._say, "other")

    def _say(self, request: Request) -> str:
        self.asked += 1
        return "wrong"


def test_a_matrix_with_the_initial_prompt_as_a_line(run: Path, tmp_path: Path) -> None:
    found = transfer([run], ["scripted", Other().model], options=None, out=tmp_path / "t")
    assert [prompt.label for prompt in found.prompts] == ["initial", run.name]
    assert found.prompts[0].is_initial and not found.prompts[1].is_initial
    result = json.loads((run / "result.json").read_text())
    assert [prompt.text for prompt in found.prompts] == [result["prompt"]["initial"], result["prompt"]["best"]]
    assert len(found.entries) == 4 and found.asked > 0
    initial, carried = (found.entry(i, found.models[1]) for i in (0, 1))
    assert initial.difference is None and carried.difference is not None
    assert (initial.score.mean, carried.score.mean, carried.adjusted) == (0.0, 0.0, 1.0)
    written = json.loads((tmp_path / "t" / "transfer.json").read_text())
    assert written["entries"][0]["score"]["n"] == initial.score.n
    told = "Carried to another model: 0 of 1 better than the initial prompt, 0 worse."
    assert str(found).splitlines() == [told, f"folder: {tmp_path / 't'}"]


def test_the_model_of_the_run_scores_as_the_run_said(run: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"answer": "steepest.testing.toy:toy_answer"}
    found = transfer([run], ["scripted"], options=options, out=tmp_path)
    said = json.loads((run / "result.json").read_text())["test"]
    for index, side in enumerate(("initial", "best")):
        assert found.entry(index, "scripted").score.mean == said[side]["mean"]
    assert found.entry(1, "scripted").p_value == said["p_value"]


def test_the_same_again_asks_nothing_and_more_rows_only_the_new_ones(run: Path, tmp_path: Path) -> None:
    first, again, more = Other(), Other(), Other()
    ten = transfer([run], [first.model], rows=10, out=tmp_path)
    assert first.asked == ten.asked == 20 and ten.entries[0].score.n == 10
    assert transfer([run], [again.model], rows=10, out=tmp_path).entries == ten.entries
    assert again.asked == 0
    transfer([run], [more.model], rows=15, out=tmp_path)
    assert more.asked == 10


def test_hostile_prompts_stay_text(run: Path, tmp_path: Path) -> None:
    transfer([run], [Scripted(toy_answer, "other")], rows=4, out=tmp_path)
    page = (tmp_path / "transfer.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "\x1b" not in page and "\u202e" not in page and "default-src" in page


def test_what_cannot_be_carried_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="split is"):
        transfer([run], ["scripted"], split="tset", out=tmp_path)
    with pytest.raises(SpecError, match="at least one"):
        transfer([], ["scripted"], out=tmp_path)
    with pytest.raises(SpecError, match="rows must be at least 1"):
        transfer([run], ["scripted"], rows=0, out=tmp_path)
    with pytest.raises(StateError, match="run folder"):
        transfer([tmp_path], ["scripted"], out=tmp_path / "t")


def test_runs_are_no_leavings_of_workers(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "compared" / "cells" / "one")
    (tmp_path / "runs").mkdir()
    shutil.copytree(run, tmp_path / "runs" / "other")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "cells").symlink_to(tmp_path / "runs")
    (tmp_path / "inner" / "cells").mkdir(parents=True)
    (tmp_path / "inner" / "cells" / "000").symlink_to(tmp_path / "runs" / "other")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json*")}
    for name, message in (
        ("compared", "is a run's"),
        ("runs/other", "run.json is a run's"),
        ("linked", "not a link"),
        ("inner", "not a link"),
    ):
        with pytest.raises(StateError, match=message):
            transfer([run], ["scripted"], out=tmp_path / name)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json*")} == before


class Here:
    """As much of a cluster as is needed, in this process."""

    def __init__(self, *_: Any) -> None:
        pass

    def begin(self, what: Any, *arguments: Any) -> Any:
        return what(*arguments)

    def results(self, tasks: list[Any]) -> list[Any]:
        return tasks

    def end(self, tasks: list[Any]) -> None:
        pass


def test_a_worker_s_folder_without_a_journal_is_begun_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transferring, "Cluster", Here)
    (tmp_path / "t" / "cells" / "000").mkdir(parents=True)
    options = {"answer": "steepest.testing.toy:toy_answer"}
    assert transfer([run], ["scripted"], rows=4, options=options, ray_address="local", out=tmp_path / "t").asked
    assert not any((tmp_path / "t" / "cells").iterdir())


def test_an_answer_behind_a_failure_is_gathered_and_the_failure_is_not(tmp_path: Path) -> None:
    def call(finish: str) -> Call:
        response = {"text": "", "prompt_tokens": 1, "output_tokens": 1, "finish": finish, "reason": ""}
        return Call("key", 0, "task", "model", "generate", {}, response)

    for number, finishes in enumerate([["failed"], ["failed", "stop"]]):
        (tmp_path / "cells" / f"{number:03d}").mkdir(parents=True)
        with CallLog(tmp_path / "cells" / f"{number:03d}" / "calls.jsonl") as log:
            for finish in finishes:
                log.append(call(finish))
                log.forget_unanswered()
    assert transferring.gather(tmp_path) == 1
    assert (tmp_path / "calls.jsonl").read_text() == codec.line(call("stop").to_json()) + "\n"


@pytest.mark.slow
def test_on_ray_the_matrix_is_the_same_and_a_dead_worker_asks_nothing_again(
    ray_here: Any, run: Path, tmp_path: Path
) -> None:
    asked, died = tmp_path / "asked", tmp_path / "died"
    (tmp_path / "go.py").write_text(
        "import os, signal\nfrom pathlib import Path\nfrom steepest.testing.toy import toy_answer\n"
        "def answer(request):\n"
        f"    asked, died = Path({str(asked)!r}), Path({str(died)!r})\n"
        "    with asked.open('a') as file:\n        file.write('x')\n"
        "    if asked.stat().st_size == 30 and not died.exists():\n"
        "        died.touch()\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return toy_answer(request)\n"
    )
    options = {"answer": f"{tmp_path}/go.py:answer"}
    found = transfer([run], ["scripted"], options=options, ray_address="local", out=tmp_path / "t")
    # The one that died of its question had not answered it.
    assert died.exists() and asked.stat().st_size == found.asked + 1
    again = transfer([run], ["scripted"], options=options, out=tmp_path / "t")
    assert again.asked == 0 and again.entries == found.entries
    assert sorted(path.name for path in (tmp_path / "t" / "cells").iterdir()) == []
