from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steepest.parts.schedules import Constant, Cosine, Linear, Schedule, words

# Word budgets that the scheduler released with GPO (arXiv 2402.17564) gives from 50 to 10.
GOLDEN = [
    (Cosine(), 18, "49 48 47 45 42 40 36 33 30 26 23 20 17 14 12 11 10 10"),
    (Cosine(), 9, "48 45 40 33 26 20 14 11 10"),
    (Cosine(warmup=2), 18, "25 50 49 48 46 44 41 37 33 30 26 22 18 15 13 11 10 10"),
    (Linear(), 18, "47 45 43 41 38 36 34 32 30 27 25 23 21 18 16 14 12 10"),
    (Constant(), 3, "50 50 50"),
]


@pytest.mark.parametrize(("schedule", "steps", "expected"), GOLDEN)
def test_word_budgets_are_those_of_the_released_scheduler(schedule: Schedule, steps: int, expected: str) -> None:
    assert [words(schedule, step, steps) for step in range(1, steps + 1)] == [int(w) for w in expected.split()]


def test_linear_warmup_rises_to_the_first_value_then_decays_over_the_rest() -> None:
    values = [Linear(40.0, 0.0, warmup=4)(step, 8) for step in range(1, 9)]
    assert values == [10.0, 20.0, 30.0, 40.0, 30.0, 20.0, 10.0, 0.0]


@pytest.mark.parametrize("kind", [Linear, Cosine])
def test_values_may_rise_too(kind: type[Linear] | type[Cosine]) -> None:
    values = [kind(0.2, 1.0)(step, 10) for step in range(1, 11)]
    assert values == sorted(values) and values[-1] == pytest.approx(1.0)


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from([Linear, Cosine]),
    st.floats(0, 100),
    st.floats(0, 100),
    st.integers(0, 30),
    st.integers(1, 40),
    st.integers(1, 60),
)
def test_values_stay_between_first_and_last(
    kind: type[Linear] | type[Cosine], initial: float, final: float, warmup: int, steps: int, step: int
) -> None:
    schedule = kind(initial, final, warmup)
    assert min(initial, final) <= schedule(step, steps) <= max(initial, final)
    if step >= max(steps, warmup + 1):
        assert schedule(step, steps) == pytest.approx(final)
