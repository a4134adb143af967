from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from steepest import stops
from steepest.errors import SpecError
from steepest.ledger import Limits
from steepest.records import StepRecord, elapsed, total_usage, winner
from steepest.types import Candidate, Scored, Usage


def scored(mean: float, text: str = "p") -> Scored:
    return Scored(Candidate(text), {} if math.isnan(mean) else {"a": mean})


def records(means: Sequence[float]) -> list[StepRecord]:
    return [
        StepRecord(i, None, scored(0.0), scored(mean), (), Usage(10, 60, 40, 1), Usage(5, 5, 5), 1.5)
        for i, mean in enumerate(means)
    ]


@pytest.mark.parametrize(
    ("stop", "ends_at"),
    [
        (stops.after_steps(3), 3),
        (stops.after_steps(0), 0),
        (stops.after_calls(20), 1),
        (stops.after_calls(21), 2),
        (stops.after_tokens(300), 2),
        (stops.after_seconds(4.5), 2),
        (stops.after_seconds(4.6), 3),
        (stops.no_gain(2), 4),
        (stops.no_gain(1), 1),
        (stops.reached(0.5), 2),
        (stops.reached(0.7), 3),
    ],
)
def test_each_stop_ends_at_its_step_and_not_before(stop: stops.Stop, ends_at: int) -> None:
    history = records([0.2, 0.2, 0.6, 0.9, 0.5, 0.9, 0.9][: 7 if ends_at < 4 else 3] + [0.6, 0.6] * (ends_at == 4))
    reasons = [stop(history[: n + 1]) for n in range(len(history))]
    assert [i for i, reason in enumerate(reasons) if reason][0] == ends_at


def test_no_gain_compares_with_everything_before() -> None:
    stop = stops.no_gain(2)
    assert stop(records([0.5, 0.4, 0.4]))
    assert not stop(records([0.5, 0.4, 0.6]))
    assert not stop(records([0.5, 0.4, 0.6, 0.1]))
    assert stop(records([0.5, 0.4, 0.6, 0.1, 0.6]))
    assert not stop(records([0.5, 0.5]))


def test_reasons_say_what_ended_the_run() -> None:
    history = records([0.2, 0.9])
    found = [stops.after_steps(1), stops.after_calls(5), stops.after_tokens(5), stops.after_seconds(2)]
    assert [stop(history) for stop in found] == [
        "1 steps done",
        "5 calls paid",
        "5 tokens read and written",
        "2 seconds spent",
    ]
    assert stops.no_gain(1)(records([1.0, 1.0])) == "no gain on dev in 1 steps"
    assert stops.reached(0.9)(history) == "reached 0.9 on dev"


def test_idle_ends_a_run_that_asks_nothing_any_more() -> None:
    stop, paid = stops.idle(2), records([0.5] * 5)
    free = [replace(record, usage=Usage(reused=7)) for record in paid]
    assert stop([paid[0], free[1], free[2]]) == "nothing was left to ask in 2 steps"
    assert stop([paid[0], free[1]]) is None
    assert stop([free[0], free[1]]) is None, "step 0 may be free where everything was asked before"
    assert stop([paid[0], free[1], paid[2]]) is None
    assert stop([paid[0], paid[1], free[2], free[3]])


def test_idle_ends_a_run_whose_questions_are_never_answered() -> None:
    stop, paid = stops.idle(2), records([0.5] * 3)
    cost, counts = {"usage": Usage(calls=2), "referee_usage": Usage()}, {"unanswered: task: x": 2}
    failed = [replace(each, **cost, counts=counts) for each in paid]
    assert stop(failed) == "nothing was left to ask in 2 steps"
    assert stop([*failed[:2], replace(failed[2], usage=Usage(calls=3))]) is None
    assert stop([*failed[:2], replace(failed[2], counts={"dropped": 2})]) is None


def test_patience_is_a_limit_too() -> None:
    (stop,) = stops.of_limits(Limits(patience=2))
    assert stop(records([0.2, 0.3, 0.3, 0.3])) == "no gain on dev in 2 steps"
    assert stop(records([0.2, 0.3, 0.3])) is None


def test_limits_are_stops() -> None:
    history = records([0.2, 0.3])
    assert stops.of_limits(Limits()) == ()
    for limits in (Limits(steps=1), Limits(calls=20), Limits(tokens=200), Limits(seconds=3.0)):
        (stop,) = stops.of_limits(limits)
        assert stop(history) and not stop(history[:1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: stops.after_steps(-1),
        lambda: stops.after_calls(0),
        lambda: stops.after_tokens(0),
        lambda: stops.after_seconds(0.0),
        lambda: stops.no_gain(0),
        lambda: stops.reached(1.5),
        lambda: stops.reached(math.nan),
    ],
)
def test_stops_that_cannot_be_meant_are_refused(make: object) -> None:
    with pytest.raises(SpecError, match="must be"):
        make()  # type: ignore[operator]


def test_sums_over_steps() -> None:
    history = records([0.1, 0.2])
    assert total_usage(history) == Usage(20, 120, 80, 2)
    assert elapsed(history) == 3.0
    assert total_usage([]) == Usage() and elapsed([]) == 0


def test_the_winner_is_the_earlier_of_equals_and_nothing_beats_something() -> None:
    nothing = scored(math.nan, "n")
    a, b, c = scored(0.5, "a"), scored(0.7, "b"), scored(0.7, "c")
    assert winner([a, b, c]) is b
    assert winner([a, nothing]) is a
    assert winner([nothing, a]) is a
    assert winner([nothing]) is nothing


def test_who_leaves_out_the_hard_rows_does_not_win() -> None:
    whole = Scored(Candidate("whole"), {"easy": 1.0, "fair": 1.0, "hard": 0.0})
    shirker = Scored(Candidate("shirker"), {"easy": 1.0, "fair": 1.0})
    better = Scored(Candidate("better"), {"fair": 1.0, "hard": 1.0})
    assert winner([whole, shirker]) is whole
    assert winner([whole, better]) is better


def counted(*counts: dict[str, int]) -> list[StepRecord]:
    return [
        StepRecord(i, None, scored(0.5), scored(0.5), (), Usage(), Usage(), 1.0, tallied)
        for i, tallied in enumerate(counts)
    ]


def test_an_optimizer_that_never_gives_a_usable_reply_ends_the_run() -> None:
    stop = stops.no_usable_prompt(3)
    useless = {"unusable: no tags": 5, "unusable: duplicate": 1, "dropped": 2}
    reason = stop(counted({}, useless, useless, useless))
    assert reason == (
        "no usable reply by the optimizer in 3 steps (no tags 15, duplicate 3); a stronger optimizer may help"
    )
    assert stop(counted({}, useless, useless)) is None
    assert stop(counted(useless, useless, useless, {"usable": 1, "dropped": 2})) is None
    assert stop(counted(useless, useless, {})) is None


def test_dollars_end_a_run() -> None:
    history = [replace(record, usage=Usage(1, dollars=0.75)) for record in records([0.1, 0.2, 0.3])]
    stop = stops.after_dollars(1.5)
    assert [stop(history[:n]) for n in (1, 2)] == [None, "$1.50 spent"]
    assert len(stops.of_limits(Limits(dollars=1.5))) == 1
    with pytest.raises(SpecError, match="dollars must be above 0"):
        stops.after_dollars(0)
