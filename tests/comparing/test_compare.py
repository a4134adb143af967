from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import steepest
from steepest import TaskSpec
from steepest.comparing.comparison import compare
from steepest.errors import ModelError, SpecError, StateError
from steepest.models.scripted import Scripted
from steepest.reporting.comparison import MethodComparison
from steepest.testing.toy import toy_answer, toy_model, toy_world
from steepest.types import Request
from testing_methods import Adder, Ask

METHODS: Mapping[str, Any] = {"three": Adder(), "one": Adder(Ask(1))}


def toy_task(name: str = "toy") -> TaskSpec:
    world = toy_world(20, 20, 40)
    rows = [{"input": e.input, "target": e.target} for e in (*world.task.train, *world.task.dev, *world.test)]
    return TaskSpec(rows, name=name, answer="exact_match")


class Counting:
    """The toy model, counting what it is asked."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.asked: list[Request] = []
        self.model = Scripted(self._say, "toy")
        self._fail_after = fail_after

    def _say(self, request: Request) -> str:
        if self._fail_after is not None and len(self.asked) == self._fail_after:
            raise ModelError("the model is down")
        self.asked.append(request)
        return toy_answer(request)


def run(out: Path, model: Any = None, **changes: Any) -> MethodComparison:
    given: dict[str, Any] = {"data": toy_task(), "seeds": 1, "calls": 120, "quiet": True, "out": out, **changes}
    return compare(given.pop("methods", METHODS), model=model or toy_model(), **given)


def bare(found: MethodComparison) -> Any:
    """What was found, without times."""
    standings = tuple(dataclasses.replace(line, seconds=0.0) for line in found.standings)
    return dataclasses.replace(
        found, standings=standings, found=tuple(dataclasses.replace(each, seconds=0.0) for each in found.found)
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison that was carried out."""
    return run(tmp_path_factory.mktemp("done") / "c").folder


def test_every_cell_is_run_and_told(tmp_path: Path) -> None:
    found = run(tmp_path / "c", data=[toy_task("a"), toy_task("b")], seeds=2)
    assert len(found.setup.cells) == len(found.found) == 8 and not found.failed
    assert {line.contender for line in found.standings} == {"three", "one"}
    assert found.standings[0].accuracy.mean >= found.standings[1].accuracy.mean > found.initial.mean
    assert all(each.calls <= 120 for each in found.found)
    for line in found.standings:
        assert sum(line.verdicts.values()) == line.cells == line.wins + line.ties + line.losses == 4
    assert found.standings[0].wins == found.standings[1].losses
    (pair,) = found.pairs
    assert pair.p_value == pair.adjusted and pair.cells == 4
    for each in found.found:
        result = json.loads((tmp_path / "c" / "cells" / each.cell.folder / "result.json").read_text())
        assert each.optimism == pytest.approx(result["dev"]["best"]["mean"] - result["test"]["best"]["mean"])
        assert result["prompt"]["best"] == each.prompt and result["seed"] == each.cell.seed
    written = json.loads((tmp_path / "c" / "compare.json").read_text())
    assert written["standings"][0]["contender"] == found.standings[0].contender
    assert "<h1" in (tmp_path / "c" / "compare.html").read_text()


def test_a_comparison_is_told_in_three_lines(tmp_path: Path) -> None:
    found = run(tmp_path / "c", methods={"three": Adder(), "o\x1b[31mne": Adder(Ask(1))})
    leads, rests_on, folder = str(found).splitlines()
    assert leads == "No method is shown to be the best."
    assert "has the highest mean score" in rests_on and "\x1b" not in rests_on
    assert folder == f"folder: {tmp_path / 'c'}"


def test_ranks_are_over_tasks_since_seeds_share_their_rows(tmp_path: Path) -> None:
    methods = {**METHODS, "two": Adder(batch=3)}
    found = run(tmp_path / "c", methods=methods, data=[toy_task("a"), toy_task("b")], seeds=2)
    assert found.ranks is not None and found.ranks.blocks == 2 and sum(found.ranks.ranks) == 6
    assert {line.contender: line.rank for line in found.standings} == dict(
        zip(found.ranks.contenders, found.ranks.ranks, strict=True)
    )


def test_two_contenders_have_no_ranks(done: Path) -> None:
    found = run(done)
    assert found.ranks is None and len(found.pairs) == 1


def test_curves_begin_with_the_initial_prompt_and_only_rise(done: Path) -> None:
    found = run(done)
    for curve in found.curves:
        for line in (curve.calls, curve.tokens):
            values = [point.score for point in line]
            assert line[0].at == 0 and values == sorted(values)
            assert [point.at for point in line] == sorted({point.at for point in line})
    (cell,) = [each for each in found.found if each.cell.contender == "one"]
    last = found.curves[1]
    # A step that the budget cut off was paid, but found nothing.
    assert 0 < last.calls[-1].at <= cell.calls and 0 < last.tokens[-1].at <= cell.tokens


def test_the_same_call_again_asks_nothing_and_finds_the_same(done: Path) -> None:
    first = (done / "compare.json").read_bytes()
    again = Counting()
    run(done, again.model)
    assert (done / "compare.json").read_bytes() == first
    assert again.asked == []


def test_a_failing_cell_does_not_stop_the_others_and_is_tried_again(tmp_path: Path) -> None:
    methods = {**METHODS, "broken": Adder(Ask(1, "Level 0"), batch=3)}
    whole = run(tmp_path / "whole", methods=methods, seeds=1)

    def cut(request: Request) -> str:
        if "Level 0" in str(request.prompt):
            raise ModelError("the model\n\x1b[31mis down")
        return toy_answer(request)

    found = run(tmp_path / "c", Scripted(cut, "toy"), methods=methods, seeds=1)
    assert [(each.cell.contender, each.error) for each in found.failed] == [("broken", "the model is down")]
    assert len(found.found) == 2
    assert [line.contender for line in found.standings] and len(found.pairs) == 1
    assert bare(run(tmp_path / "c", methods=methods, seeds=1)) == bare(whole)


def test_a_cell_that_cannot_be_written_does_not_stop_the_others(tmp_path: Path) -> None:
    assert len(run(tmp_path / "c", Counting(fail_after=0).model).failed) == 2
    first, _ = sorted((tmp_path / "c" / "cells").iterdir())
    (first / "stderr.txt").mkdir()
    (failed,) = run(tmp_path / "c").failed
    assert failed.cell.folder == first.name and "stderr.txt" in failed.error and "\n" not in failed.error


def test_a_comparison_whose_beginning_was_cut_off_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "compare.json.tmp").write_text('{"for')
    assert not run(tmp_path / "c").failed


def test_what_cannot_be_written_is_told_on_one_line(done: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    shutil.copytree(done, tmp_path / "c")
    (tmp_path / "c" / "compare.json.tmp").mkdir()
    for out in (tmp_path / "file" / "c", tmp_path / "c"):
        with pytest.raises(StateError, match="compare.json, which cannot be written"):
            run(out)


def test_an_interrupted_comparison_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole = Counting()
    first = run(tmp_path / "whole", whole.model)
    cut = Counting(fail_after=len(whole.asked) // 2)
    assert run(tmp_path / "cut", cut.model).failed
    rest = Counting()
    assert bare(run(tmp_path / "cut", rest.model)) == bare(first)
    assert len(cut.asked) + len(rest.asked) == len(whole.asked)


def test_a_cell_whose_making_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    first = run(tmp_path / "c", seeds=1)
    folder = tmp_path / "c" / "cells" / first.setup.cells[0].folder
    for name in ("result.json", "run.json"):
        (folder / name).unlink()
    assert bare(run(tmp_path / "c", seeds=1)) == bare(first)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"calls": 121}, "other limits"),
        ({"seeds": 2}, "other seeds"),
        ({"methods": {"three": Adder(), "one": Adder(Ask(2))}}, "other contenders"),
        ({"data": toy_task("other")}, "other tasks"),
        ({"model": Scripted(toy_answer, "another")}, "other models"),
    ],
)
def test_other_settings_in_the_same_folder_are_refused(done: Path, changes: dict[str, Any], said: str) -> None:
    before = (done / "compare.json").read_bytes()
    with pytest.raises(StateError, match=said) as refused:
        run(done, **changes)
    assert "\n" not in str(refused.value)
    assert (done / "compare.json").read_bytes() == before
    assert len(list((done / "cells").iterdir())) == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"calls": None}, "needs a budget"),
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"data": [toy_task(), toy_task()]}, "'toy' twice"),
        ({"data": []}, "needs a task"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"optimizer": toy_model()}, "nobody asks"),
        ({"price": {"judge": (1, 1)}}, "nobody asks"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        run(tmp_path / "c", **changes)
    assert not (tmp_path / "c").exists()


def test_threads_do_not_share_a_model_in_memory(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="a model in memory serves one search at a time, got workers=2"):
        run(tmp_path / "c", steepest.open_model("bundled"), workers=2)
    assert not (tmp_path / "c").exists()


def test_a_setting_that_differs_behind_the_same_names_is_said(done: Path) -> None:
    with pytest.raises(StateError, match=r'other contenders: .*"batch": .*, got .*"batch": 7'):
        run(done, methods={**METHODS, "three": Adder(batch=7)})


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(StateError, match="its own"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_one_contender_has_no_rivals(tmp_path: Path) -> None:
    found = run(tmp_path / "c", methods={"one": Adder(Ask(1))}, seeds=1)
    assert found.ranks is None and found.pairs == () and math.isnan(found.standings[0].rank)


SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
import steepest
from steepest.testing.toy import toy_answer

def slow(request):
    time.sleep(0.01)
    return toy_answer(request)

if __name__ == "__main__":
    found = steepest.compare(
        {{"three": {{"use": "testing_methods:Adder"}}, "two": {{"use": "testing_methods:Adder", "batch": 3}}}},
        data=steepest.TaskSpec({rows!r}, name="toy", answer="exact_match"),
        seeds=1, calls=120, model="scripted", options={{"answer": {answer!r}}}, workers=2, out={out!r}, quiet=True,
    )
    print(len(found.found), len(found.failed), [each.error for each in found.failed])
"""


def started(folder: Path, out: str) -> subprocess.Popen[bytes]:
    text = SCRIPT.format(
        tests=str(Path(__file__).parents[1]), rows=list(toy_task().data), answer=f"{folder}/go.py:slow", out=out
    )
    (folder / "go.py").write_text(text)
    return subprocess.Popen([sys.executable, "go.py"], cwd=folder, stdout=subprocess.PIPE)


def processes(folder: Path) -> list[int]:
    """Processes that were given a path in `folder`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes are looked up in /proc")
def test_killed_and_given_again_through_processes(tmp_path: Path) -> None:
    out = tmp_path / "c"
    with started(tmp_path, str(out)) as process:
        until = time.monotonic() + 120
        while not all(len(list(out.glob(f"cells/{n:03d}-*/steps/*.json"))) > 1 for n in (0, 1)):
            assert process.poll() is None and time.monotonic() < until, "it ended or never began"
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    until = time.monotonic() + 30
    while processes(out):
        assert time.monotonic() < until, "a cell outlived its parent"
        time.sleep(0.05)
    before = {path: path.read_bytes() for path in out.glob("cells/*/steps/*.json")}
    assert before and not list(out.glob("cells/*/result.json"))
    with started(tmp_path, str(out)) as process:
        said, _ = process.communicate(timeout=240)
    assert said.split()[:2] == [b"2", b"0"], said
    assert all(path.read_bytes() == content for path, content in before.items())
    for journal in out.glob("cells/*/calls.jsonl"):
        keys = [json.loads(line)["key"] for line in journal.read_text().splitlines()]
        assert len(keys) == len(set(keys))


@pytest.mark.slow
def test_the_bundled_model_in_processes(tmp_path: Path) -> None:
    found = steepest.compare(
        ["opro:small", "gpo:small"], data="lies", seeds=1, calls=120, out=tmp_path / "c", quiet=True, workers=2
    )
    assert len(found.found) == 2, found.failed
    assert {each.cell.contender for each in found.found} == {"opro:small", "gpo:small"}
    assert all(each.calls <= 120 and each.best.n == 300 for each in found.found)
