from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steepest.reporting.figures import SHARES, around, curve, gain_scale, interval_bar, shares_bar, short
from steepest.reporting.read import Point
from steepest.reporting.statistics import Interval


def point(step: int, mean: float, tokens: int, calls: int = 0, prompt: str = "p") -> Point:
    return Point(step, prompt, Interval(mean, mean - 0.05, mean + 0.05, 50), tokens, calls, 1.0)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.42, 0.91, [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]), (0, 372000, [0, 100000, 200000, 300000, 400000])],
)
def test_scales_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert around(low, high).ticks == pytest.approx(ticks)


@given(st.floats(0, 1), st.floats(0, 1))
def test_scales_hold_their_values(a: float, b: float) -> None:
    low, high = sorted((a, b))
    scale = around(low, high)
    assert scale.low <= low + 1e-9 and scale.high >= high - 1e-9 and scale.low < scale.high
    assert 2 <= len(scale.ticks) <= 8


def test_places_are_percentages_and_stay_inside() -> None:
    assert [SHARES.place(x) for x in (0.0, 0.25, 1.0, 1.7, -1.0)] == [0, 25, 100, 100, 0]
    gain = gain_scale(-0.09, 0.12)
    assert gain.low == -gain.high and gain.place(0.0) == 50 and gain.high >= 0.12


def test_an_interval_is_drawn_where_it_is() -> None:
    bar = interval_bar(SHARES, 0.4, 0.5, 0.75, "best")
    assert 'x1="40.00%" x2="75.00%"' in bar and 'cx="50.00%"' in bar
    assert "circle" not in interval_bar(SHARES, 0.0, math.nan, 1.0, "best")


def test_shares_fill_the_bar_in_order() -> None:
    found = re.findall(
        r'class="part (\w+)" x="([\d.]+)%" width="([\d.]+)%"', shares_bar([("a", 30), ("b", 0), ("c", 10)])
    )
    assert found == [("a", "0.000", "75.000"), ("b", "75.000", "0.000"), ("c", "75.000", "25.000")]


def test_the_curve_steps_from_level_to_level() -> None:
    history = [point(0, 0.5, 100), point(1, 0.7, 300, prompt="q"), point(2, 0.7, 400, prompt="q")]
    drawn = curve(history, 0.5, history[1], "returned")
    path = re.search(r'class="line" d="M([^"]+)"', drawn)
    assert path is not None
    corners = [tuple(map(float, corner.split(","))) for corner in path[1].split("L")]
    assert [x for x, _ in corners] == pytest.approx([240.4, 721.2, 721.2, 961.5, 961.5, 1000.0], abs=0.1)
    heights = [y for _, y in corners]
    assert heights[0] == heights[1] > heights[2] == heights[5]
    assert drawn.count("<circle") == 2 and "70.0 % returned" in drawn and "initial prompt 50.0 %" in drawn


@pytest.mark.parametrize(("calls", "unit"), [(9, "calls"), (0, "steps")])
def test_without_tokens_the_curve_counts_calls_or_steps(calls: int, unit: str) -> None:
    history = [point(0, 0.5, 0), point(1, 0.6, 0, calls)]
    assert f"{unit} spent by the search" in curve(history, None, history[1], "returned")


def test_short_numbers() -> None:
    assert [short(x) for x in (0, 500, 20000, 1.5e6, 2e9)] == ["0", "500", "20 k", "1.5 M", "2 G"]
