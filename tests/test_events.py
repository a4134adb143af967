from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import get_args

import pytest

from steepest import events
from steepest.engine import Run
from steepest.events import Audience, Event, StepStarted
from steepest.ledger import Limits
from testing_methods import toy_plan


def test_a_failing_observer_is_logged_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Event] = []
    calls = 0

    def broken(event: Event) -> None:
        nonlocal calls
        calls += 1
        raise RuntimeError("no terminal")

    audience = Audience([broken, heard.append])
    with caplog.at_level(logging.ERROR):
        audience(StepStarted(0))
        audience(StepStarted(1))
    assert heard == [StepStarted(0), StepStarted(1)]
    assert calls == 1
    assert "an observer failed on StepStarted" in caplog.text and "no terminal" in caplog.text


def test_all_events_are_frozen() -> None:
    for kind in get_args(Event):
        assert dataclasses.is_dataclass(kind)
        assert kind.__dataclass_params__.frozen


def test_a_run_tells_its_story_in_order(tmp_path: Path) -> None:
    heard: list[Event] = []
    with Run.create(tmp_path / "run", toy_plan(limits=Limits(steps=2)), [heard.append]) as run:
        list(run.until())
        result = run.finish()
    story = [type(event).__name__ for event in heard if not isinstance(event, events.CallsAnswered)]
    assert story[0] == "RunStarted" and story[-1] == "RunFinished"
    steps = [name for name in story[1:-1] if name != "TrialNoted"]
    assert steps == ["StepStarted", "StepCommitted"] * 3
    started = heard[0]
    assert isinstance(started, events.RunStarted)
    assert (started.run, started.task, started.seed, started.committed) == ("run", "toy", 0, 0)
    assert started.models == {"task": "scripted"} and started.prompt == "Answer the question."
    finished = heard[-1]
    assert isinstance(finished, events.RunFinished)
    assert (finished.verdict, finished.sentence) == (result.verdict, result.sentence)
    assert finished.stopped == "2 steps done"


def test_progress_within_a_step_adds_up_to_what_is_committed(tmp_path: Path) -> None:
    heard: list[Event] = []
    with Run.create(tmp_path / "run", toy_plan(limits=Limits(steps=3)), [heard.append]) as run:
        list(run.until())
        run.finish()
    for record in run.records:
        within = [e for e in heard if isinstance(e, events.CallsAnswered) and e.step == record.step]
        assert [e for e in within if e.phase == "step"][-1].usage.calls == record.usage.calls
        assert all(1 <= e.answered <= e.batch for e in within)
    committed = [e for e in heard if isinstance(e, events.StepCommitted)]
    assert [e.referee for e in committed] == [r.referee for r in run.records]
    assert committed[-1].total.calls == sum(r.usage.calls for r in run.records)
    assert committed[-1].elapsed == pytest.approx(sum(r.seconds for r in run.records))
    assert {e.phase for e in heard if isinstance(e, events.CallsAnswered)} == {"step", "referee", "finish"}
    trials = [e.trial for e in heard if isinstance(e, events.TrialNoted)]
    assert repr(trials) == repr([trial for record in run.records for trial in record.trials])


def test_observers_cannot_change_a_run(tmp_path: Path) -> None:
    def rude(event: Event) -> None:
        raise KeyError("x")

    for name, observers in (("a", ()), ("b", (rude,))):
        with Run.create(tmp_path / name, toy_plan(limits=Limits(steps=2)), observers) as run:
            list(run.until())
    texts = [(tmp_path / name / "calls.jsonl").read_text() for name in "ab"]
    assert texts[0] == texts[1]
