from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from folders import HOSTILE, PATH, put, write_run

from steepest.errors import StateError
from steepest.reporting.read import read_run, turns


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


def test_a_finished_run(run: Path) -> None:
    tables = read_run(run)
    assert tables.spec.method["use"] == "greater" and tables.spec.seed == 7
    assert tables.sizes == {"train": 60, "dev": 200, "test": 100}
    assert tables.result is not None and tables.result.verdict == "better"
    assert tables.result.prompt.best == PATH[-1]
    assert len(tables.rows) == 100 and sum(row.gain for row in tables.rows) == 37
    assert not tables.graded


def test_the_curve_adds_up_what_each_step_paid(run: Path) -> None:
    points = read_run(run).points
    assert [(p.step, p.tokens, p.calls, p.seconds) for p in points] == [
        (0, 12000, 100, 2.5),
        (1, 24000, 200, 5.0),
        (2, 36000, 300, 7.5),
        (3, 48000, 400, 10.0),
    ]
    assert [round(p.dev.mean, 2) for p in points] == [0.49, 0.60, 0.81, 0.87]
    assert points[0].dev.low < 0.49 < points[0].dev.high and points[0].dev.n == 200


def test_measuring_is_told_apart_from_searching(run: Path) -> None:
    tables = read_run(run)
    assert (tables.search.calls, tables.search.tokens, tables.search.reused) == (400, 48000, 16)
    assert (tables.measuring.calls, tables.measuring.tokens) == (1200, 120000)


def test_trials_know_their_step_and_may_predict_nothing(run: Path) -> None:
    attempts = read_run(run).attempts
    assert [a.step for a in attempts] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert attempts[0].trial.predicted == -0.42 and math.isnan(attempts[2].trial.predicted)


def test_an_unfinished_run(tmp_path: Path) -> None:
    tables = read_run(write_run(tmp_path / "run", finished=False))
    assert tables.result is None and tables.rows == ()
    assert tables.winner is not None and tables.winner.prompt == PATH[-1]
    assert tables.measuring.calls == 800


def test_a_method_may_choose_by_scores_of_any_scale(run: Path) -> None:
    """GReaTer by the paper goes by losses."""
    path = run / "steps" / "00001.json"
    step = json.loads(path.read_text())
    step["best"]["scores"] = dict.fromkeys(step["best"]["scores"], -7.5)
    put(path, step)
    assert len(read_run(run).points) == 4
    step["referee"]["scores"] = dict.fromkeys(step["referee"]["scores"], -7.5)
    put(path, step)
    with pytest.raises(StateError, match=r"a score lies in \[0, 1\], got -7\.5"):
        read_run(run)


def test_a_run_without_any_step(tmp_path: Path) -> None:
    tables = read_run(write_run(tmp_path / "run", prompts=["p"], dev=[0.5], finished=False))
    (tmp_path / "run" / "steps" / "00000.json").unlink()
    assert tables.winner is not None
    empty = read_run(tmp_path / "run")
    assert empty.winner is None and empty.points == () and empty.search.calls == 0


def test_the_earlier_of_equals_wins(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", prompts=["a", "b", "a", "c"], dev=[0.5, 0.7, 0.5, 0.7], finished=False)
    tables = read_run(run)
    assert tables.winner is not None and tables.winner.step == 1
    assert [p.step for p in turns(tables.points)] == [0, 1, 2, 3]


def test_turns_leave_out_steps_that_changed_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", prompts=["a", "a", "b", "b"], dev=[0.5, 0.5, 0.7, 0.7], finished=False)
    assert [p.step for p in turns(read_run(run).points)] == [0, 2]


def test_text_with_line_separators_stays_one_row(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", prompts=["p", HOSTILE + "\u2028\u2029\x85"], dev=[0.5, 0.6])
    line = json.loads((run / "test.jsonl").read_bytes().splitlines()[0])
    line["input"] = "one\u2028two\x85three"
    (run / "test.jsonl").write_text(json.dumps(line, ensure_ascii=False) + "\n", "utf-8")
    assert [row.input for row in read_run(run).rows] == ["one\u2028two\x85three"]


def test_graded_and_missing_scores(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "test.jsonl").read_bytes().splitlines()]
    lines[0]["initial"] |= {"score": None, "answer": None, "finish": "failed"}
    lines[1]["best"] |= {"score": 0.25}
    (run / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    tables = read_run(run)
    assert math.isnan(tables.rows[0].gain) and tables.graded


def test_half_written_files_are_not_read(run: Path) -> None:
    (run / "steps" / "00004.json.tmp").write_text('{"step": 4, ', "utf-8")
    assert len(read_run(run).points) == 4


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="a run folder holds a run.json, got .*; name a folder"):
        read_run(tmp_path)
    with pytest.raises(StateError, match="got '.*nowhere'"):
        read_run(tmp_path / "nowhere")


def test_another_format_is_refused(run: Path) -> None:
    put(run / "run.json", {"format": 2})
    with pytest.raises(StateError, match="format 1, got 2 in .*run.json; use the version"):
        read_run(run)


@pytest.mark.parametrize("name", ["run.json", "result.json", "steps/00001.json", "test.jsonl"])
def test_damage_is_one_line_that_names_the_file(run: Path, name: str) -> None:
    (run / name).write_text('{"step": [', "utf-8")
    with pytest.raises(StateError, match=name) as caught:
        read_run(run)
    assert "\n" not in str(caught.value)


def test_a_finished_run_without_its_rows_says_so(run: Path) -> None:
    (run / "test.jsonl").unlink()
    with pytest.raises(StateError, match="a finished run holds a test.jsonl, got none"):
        read_run(run)
