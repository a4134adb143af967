from __future__ import annotations

import io

from rich.console import Console

from steepest.events import CallsAnswered, Event, RunStarted, StepCommitted, StepStarted
from steepest.ledger import Limits
from steepest.progress import Progress
from steepest.records import StepRecord
from steepest.types import Candidate, Scored, Usage

STARTED = RunStarted("run-1", "greater", "sums", {"task": "bundled"}, "Say it.", 0, Limits(steps=10), 0)


def scored(prompt: str, right: int) -> Scored:
    return Scored(Candidate(prompt), {str(i): float(i < right) for i in range(10)})


def committed(step: int, prompt: str, right: int) -> StepCommitted:
    total = Usage(100 * step, 1000 * step, 200 * step)
    best = scored(prompt, right)
    return StepCommitted(step, best, best, Usage(100, 1000, 200), total, 5.0, 5.0 * step)


def shown(progress: Progress) -> str:
    console = Console(file=io.StringIO(), width=110, record=True)
    console.print(progress)
    return console.export_text()


def told(progress: Progress, *events: Event) -> None:
    for event in events:
        progress(event)


def test_lines_keep_the_best_prompt_so_far() -> None:
    out = io.StringIO()
    with Progress(Console(file=out, width=200)) as progress:
        told(progress, STARTED, committed(1, "Better.", 7), committed(2, "Worse.", 4))
    lines = out.getvalue().splitlines()
    assert lines[0] == "greater on sums, model bundled, seed 0, run run-1"
    assert lines[1].startswith("step 1 of 10 · dev 70.0 % (39.7 to 89.2) · 100 calls · 1,200 tokens · about 45 s left")
    assert lines[2].startswith("step 2 of 10 · dev 70.0 %") and lines[2].endswith("about 40 s left · best: Better.")


def test_the_tightest_limit_says_how_much_is_left() -> None:
    out = io.StringIO()
    limits = Limits(steps=100, calls=200)
    started = RunStarted("r", "m", "t", {"task": "x"}, "p", 0, limits, 0)
    with Progress(Console(file=out, width=200)) as progress:
        told(progress, started, committed(1, "Better.", 7))
    assert "about 5.0 s left" in out.getvalue()


def test_panel_shows_the_step_in_progress() -> None:
    progress = Progress(Console(file=io.StringIO(), force_terminal=True, width=110))
    with progress:
        told(progress, STARTED, committed(1, "Think [hard].", 7), StepStarted(2))
        progress(CallsAnswered(2, "step", 12, 64, Usage(12, 120, 24)))
        text = shown(progress)
    assert "step 1 of 10" in text
    assert "Think [hard]." in text
    assert "70.0 % (39.7 to 89.2)" in text
    assert "112 calls · 1,344 tokens" in text
    assert "searching, 12 of 64 answers" in text


def test_resumed_run_begins_where_it_stopped() -> None:
    best = scored("Earlier.", 9)
    record = StepRecord(3, None, best, best, (), Usage(50, 10, 10), Usage(), 2.0)
    out = io.StringIO()
    with Progress(Console(file=out, width=200)) as progress:
        progress(STARTED)
        progress.remember([record])
        progress(committed(4, "Later.", 5))
    assert out.getvalue().splitlines()[-1].endswith("best: Earlier.")


def test_dollars_are_shown_and_may_be_the_tightest_limit() -> None:
    out = io.StringIO()
    started = RunStarted("r", "m", "t", {"task": "x"}, "p", 0, Limits(steps=100, dollars=0.5), 0)
    best = scored("Better.", 7)
    paid = Usage(100, 1000, 200, dollars=0.25)
    with Progress(Console(file=out, width=200)) as progress:
        told(progress, started, StepCommitted(1, best, best, paid, paid, 5.0, 5.0))
    assert "100 calls · 1,200 tokens · $0.2500 · about 5.0 s left" in out.getvalue()


def test_what_models_say_of_themselves_is_shown_and_stands_at_the_end() -> None:
    out = io.StringIO()
    with Progress(Console(file=out, width=200)) as progress:
        told(progress, STARTED, CallsAnswered(1, "step", 1, 9, Usage(), "2 replicas\x1b[2J"))
        assert "2 replicas" in shown(progress)
        told(progress, committed(1, "Better.", 7), CallsAnswered(2, "step", 1, 9, Usage(), ""))
    assert out.getvalue().splitlines()[-1] == "models: 2 replicas"
