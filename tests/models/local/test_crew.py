"""Who does what and what becomes of it, on a Ray that is told when who dies."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from steepest.errors import ModelError
from steepest.models.replicas.crew import Crew, Job
from steepest.models.replicas.worker import Facts


class Died(Exception):
    """An actor that died."""


class Failed(Exception):
    """A call that raised."""


@dataclass(eq=False)
class Ref:
    """What will be there: a value, an error, or nothing ever."""

    value: Any = None
    is_there: bool = True


class Stream:
    """What comes of a job, one after the other."""

    def __init__(self, values: Sequence[Any], is_there: bool = True) -> None:
        self.values = deque(values)
        self.is_there = is_there

    def __next__(self) -> Ref:
        if not self.values:
            raise StopIteration
        return Ref(self.values.popleft())


@dataclass
class Ray:
    """As much of Ray as a crew needs. `openings` is what comes of opening the model, actor by actor."""

    openings: Iterator[Ref]
    killed: list[Any] = field(default_factory=list)
    cancelled: list[Any] = field(default_factory=list)
    hired: int = 0
    exceptions: Any = field(default_factory=lambda: SimpleNamespace(RayTaskError=Failed, RayError=Died))

    def remote(self, **options: Any) -> Any:
        return lambda kind: SimpleNamespace(remote=self._hire)

    def _hire(self, name: str, options: Any) -> Any:
        self.hired += 1
        opening = next(self.openings)
        return SimpleNamespace(number=self.hired, facts=SimpleNamespace(remote=lambda: opening))

    def wait(self, every: Sequence[Any], num_returns: int = 1, **options: Any) -> tuple[list[Any], list[Any]]:
        ready = [each for each in every if each.is_there]
        is_short = options["timeout"] is not None and options["timeout"] < 1
        assert ready or is_short, "it would wait for ever"
        return ready[:num_returns], [each for each in every if each not in ready]

    def get(self, ref: Ref) -> Any:
        if isinstance(ref.value, Exception):
            raise ref.value
        return ref.value

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)

    def cancel(self, stream: Any) -> None:
        self.cancelled.append(stream)


def facts(name: str = "m", node: str = "here") -> Facts:
    layout: Any = None
    return Facts(name, 100, 10, 1000, layout, node, 1)


def crew(openings: Sequence[Ref], count: int, timeout: float = 1000.0) -> tuple[Ray, Crew]:
    ray = Ray(iter(openings))
    return ray, Crew(ray, count, 0, "m", {}, timeout)


def done(crew: Crew, jobs: list[Job], deaths: int = 0, keep: int = 0) -> list[tuple[int, int]]:
    """(item, actor that did it); so many calls die after `keep` items."""
    left = [deaths]

    def begin(actor: Any, items: list[int]) -> Stream:
        found: list[Any] = [(item, actor.number) for item in items]
        if left[0]:
            left[0] -= 1
            found = [*found[:keep], Died("killed")]
        return Stream(found)

    found = []
    for job, (item, number) in crew.work(jobs, begin):
        job.items.remove(item)
        found.append((item, number))
    return found


def test_all_do_their_own() -> None:
    _, both = crew([Ref(facts()), Ref(facts())], 2)
    assert sorted(done(both, [Job(0, [0, 1]), Job(1, [2, 3])])) == [(0, 1), (1, 1), (2, 2), (3, 2)]
    assert "2 replicas, 0 waiting, 0 at work" in both.status


def test_who_is_not_there_yet_is_done_for() -> None:
    _, both = crew([Ref(facts()), Ref(is_there=False)], 2)
    assert done(both, [Job(0, [0]), Job(1, [1])]) == [(0, 1), (1, 1)]
    assert "2 replicas (1 starting)" in both.status


def test_what_a_dead_one_has_answered_counts_and_the_rest_is_done_again() -> None:
    ray, one = crew([Ref(facts()), Ref(facts())], 1)
    assert done(one, [Job(0, [0, 1, 2])], deaths=1, keep=1) == [(0, 1), (1, 2), (2, 2)]
    assert [actor.number for actor in ray.killed] == [1]


def test_a_death_after_the_last_answer_repeats_nothing() -> None:
    _, one = crew([Ref(facts()), Ref(facts())], 1)
    assert done(one, [Job(0, [0, 1])], deaths=1, keep=2) == [(0, 1), (1, 1)]


def test_one_that_hangs_is_ended_and_what_it_has_not_answered_is_done_by_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ray, both = crew([Ref(facts()), Ref(facts()), Ref(is_there=False)], 2, timeout=0.01)
    hung = Stream([(1, 1)])

    def begin(actor: Any, items: list[int]) -> Stream:
        return hung if actor.number == 1 else Stream([(item, actor.number) for item in items])

    found = []
    for job, (item, number) in both.work([Job(0, [1, 2]), Job(1, [3])], begin):
        job.items.remove(item)
        found.append((item, number))
        hung.is_there = False  # from its first answer on
    assert sorted(found) == [(1, 1), (2, 2), (3, 2)]
    assert [actor.number for actor in ray.killed] == [1] and "nothing was heard of it for 0 seconds" in caplog.text


def test_whoever_pauses_before_taking_answers_finds_nobody_hanging() -> None:
    ray, one = crew([Ref(facts())], 1, timeout=0.0)
    assert done(one, [Job(0, [1, 2])]) == [(1, 1), (2, 1)] and not ray.killed


def test_work_that_everybody_hangs_in_is_an_error() -> None:
    _, one = crew([Ref(facts()) for _ in range(4)], 1, timeout=0.0)
    with pytest.raises(ModelError, match="got 3 that died of the same 1 texts .* or a longer timeout"):
        list(one.work([Job(0, [1])], lambda actor, items: Stream([], is_there=False)))


def test_work_that_kills_whoever_does_it_is_an_error() -> None:
    _, both = crew([Ref(facts()) for _ in range(5)], 2)
    with pytest.raises(ModelError, match="got 3 that died of the same 2 texts"):
        done(both, [Job(0, [0, 1])], deaths=3)
    assert done(both, [Job(0, [5])]) != []


def test_a_model_that_cannot_be_opened_is_an_error() -> None:
    with pytest.raises(ModelError, match="one that died of it 3 times"):
        crew([Ref(Died("no memory")) for _ in range(3)], 1)
    error = Failed()
    error.cause = ModelError("no such folder")  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match="no such folder"):
        crew([Ref(error)], 1)


def test_other_weights_on_another_machine_are_refused() -> None:
    with pytest.raises(ModelError, match="got 'm' on here and 'n' on there"):
        crew([Ref(facts()), Ref(facts("n", "there"))], 2)


def test_a_call_that_is_left_is_given_up_when_the_next_begins() -> None:
    ray, one = crew([Ref(facts())], 1)
    left = one.work([Job(0, [0, 1]), Job(0, [2])], lambda actor, items: Stream([(i, 1) for i in items]))
    next(left)
    assert done(one, [Job(0, [7])]) == [(7, 1)]
    assert len(ray.cancelled) == 1


@pytest.mark.parametrize("count", [1, 2])
def test_a_call_that_was_given_up_takes_nothing_from_the_next(count: int) -> None:
    _, some = crew([Ref(facts())] * count, count)
    calls = []
    for name in "ab":
        jobs = [Job(0, [0, 1]), Job(count - 1, [2])]
        calls.append(some.work(jobs, lambda actor, items, name=name: Stream([name + str(i) for i in items])))
        next(calls[-1])
    with pytest.raises(ModelError, match="do one call at a time"):
        next(calls[0])
    assert sorted(found for _, found in calls[1]) == ["b1", "b2"]


def test_the_longest_queue_is_helped_from_its_end() -> None:
    _, both = crew([Ref(facts()), Ref(facts())], 2)
    found = dict(done(both, [Job(0, [0]), Job(0, [1]), Job(0, [2])]))
    assert found[0] == 1 and found[2] == 2
