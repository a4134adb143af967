"""The report's figures as inline SVG. Positions are percentages, so they fit any width without scaling their text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from steepest.reporting.markup import NOTHING, Attributes, Html, element, join, prose
from steepest.reporting.read import Point, turns
from steepest.reporting.statistics import percent
from steepest.reporting.words import plural

_UNITS = 1000.0


@dataclass(frozen=True, slots=True)
class Scale:
    """A line from `low` to `high`, with round numbers on it."""

    low: float
    high: float
    ticks: Sequence[float]

    def place(self, value: float) -> float:
        """Where `value` stands, in percent of the length; outside values at the ends."""
        return 100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


SHARES = Scale(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0))


def around(low: float, high: float, count: int = 5) -> Scale:
    """A scale of about `count` round steps that holds both values."""
    step = _round_step((high - low) / count or 1.0)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return Scale(first * step, last * step, tuple(i * step for i in range(first, last + 1)))


def interval_bar(scale: Scale, low: float, mean: float, high: float, kind: str, zero: float | None = None) -> Html:
    """One estimate: a dot with its interval, on a track with ticks."""
    ticks = [_vertical(scale.place(t), 12, 36, "tick") for t in scale.ticks]
    if zero is not None:
        ticks.append(_vertical(scale.place(zero), 6, 42, "zero"))
    if math.isnan(mean):
        return element("svg", {"class": "track", "aria-hidden": "true"}, *ticks)
    ends = [_vertical(scale.place(x), 17, 31, f"cap {kind}") for x in (low, high)]
    span: Attributes = {
        "x1": f"{scale.place(low):.2f}%",
        "x2": f"{scale.place(high):.2f}%",
        "y1": 24.0,
        "y2": 24.0,
    }
    line = element("line", {"class": f"span {kind}", **span})
    dot = element("circle", {"class": f"dot {kind}", "cx": f"{scale.place(mean):.2f}%", "cy": 24.0, "r": 7.0})
    return element("svg", {"class": "track", "aria-hidden": "true"}, *ticks, line, *ends, dot)


def shares_bar(parts: Sequence[tuple[str, int]]) -> Html:
    """One bar cut into parts, each (class, count)."""
    total = sum(count for _, count in parts)
    pieces, start = [], 0.0
    for kind, count in parts:
        width = 100 * count / total if total else 0.0
        where: Attributes = {"x": f"{start:.3f}%", "width": f"{width:.3f}%", "y": 0.0, "height": 20.0}
        pieces.append(element("rect", {"class": f"part {kind}", **where}))
        start += width
    return element("svg", {"class": "shares", "aria-hidden": "true"}, *pieces)


def curve(history: Sequence[Point], initial: float | None, chosen: Point, flag: str) -> Html:
    """Dev score of the incumbent against what the search had spent, with its interval."""
    unit, spent = _spending(history)
    known = [(x, p) for x, p in zip(spent, history, strict=True) if p.dev.n]
    marks = [p.dev.low for _, p in known] + [p.dev.high for _, p in known]
    marks += [initial] if initial is not None else []
    y = around(max(0.0, min(marks)), min(1.0, max(marks)))
    # A little beyond the last step, so that its level can be seen.
    end = 1.04 * max(spent[-1], 1.0)
    x = Scale(0.0, end, [t for t in around(0.0, end).ticks if t <= end])
    grid = [_horizontal(y, t) for t in y.ticks] + [_below(x, t) for t in x.ticks]
    labels = f"Dev score of the best prompt so far: {percent(known[0][1].dev.mean)} at the start, " + (
        f"{percent(chosen.dev.mean)} for the one that is {flag}, after {plural(round(spent[-1]), unit)} in all."
    )
    body = [_area(known, x, y), _line(known, x, y)]
    dots = [_dot(at, p, x, y, p is chosen, unit) for at, p in known if p in turns(history)]
    return element(
        "div",
        "plot",
        element(
            "svg",
            {"role": "img", "aria-label": labels},
            *grid,
            element("svg", {"viewBox": f"0 0 {_UNITS:g} {_UNITS:g}", "preserveAspectRatio": "none"}, *body),
            _start_line(initial, y),
            *dots,
            _chosen_label(chosen, spent[list(history).index(chosen)], x, y, flag),
        ),
        element("p", "axis", f"{unit}s spent by the search"),
    )


def short(value: float) -> str:
    """A tick's number: 1,200,000 as "1.2 M"."""
    for size, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:g}{name}"
    return f"{value:g}"


def _spending(history: Sequence[Point]) -> tuple[str, list[float]]:
    if history[-1].tokens:
        return "token", [float(p.tokens) for p in history]
    if history[-1].calls:
        return "call", [float(p.calls) for p in history]
    return "step", [float(p.step) for p in history]


def _round_step(width: float) -> float:
    size = 10 ** math.floor(math.log10(width))
    return next(float(m * size) for m in (1, 2, 5, 10) if m * size >= width * 0.999)


def _vertical(at: float, top: float, bottom: float, kind: str) -> Html:
    return element("line", {"class": kind, "x1": f"{at:.2f}%", "x2": f"{at:.2f}%", "y1": top, "y2": bottom})


def _horizontal(y: Scale, tick: float) -> Html:
    at = f"{100 - y.place(tick):.2f}%"
    line = element("line", {"class": "grid", "x1": "0%", "x2": "100%", "y1": at, "y2": at})
    return join(
        [
            line,
            element("text", {"class": "y", "x": "0%", "y": at, "dx": -10.0, "dy": 4.0}, f"{100 * tick:.4g} %"),
        ]
    )


def _below(x: Scale, tick: float) -> Html:
    where: Attributes = {"class": "x", "x": f"{x.place(tick):.2f}%", "y": "100%", "dy": 20.0}
    return element("text", where, short(tick))


def _steps(known: Sequence[tuple[float, float]], x: Scale, y: Scale) -> list[str]:
    """Corners of a line that holds each value until the next."""
    corners: list[str] = []
    for (at, value), (until, _) in zip(known, [*known[1:], (x.high, 0.0)], strict=True):
        height = (100 - y.place(value)) * _UNITS / 100
        corners += [f"{x.place(a) * _UNITS / 100:.1f},{height:.1f}" for a in (at, until)]
    return corners


def _line(known: Sequence[tuple[float, Point]], x: Scale, y: Scale) -> Html:
    corners = _steps([(at, p.dev.mean) for at, p in known], x, y)
    return element("path", {"class": "line", "d": "M" + "L".join(corners)})


def _area(known: Sequence[tuple[float, Point]], x: Scale, y: Scale) -> Html:
    above = _steps([(at, p.dev.high) for at, p in known], x, y)
    below = _steps([(at, p.dev.low) for at, p in known], x, y)
    return element("path", {"class": "area", "d": "M" + "L".join([*above, *reversed(below)]) + "Z"})


def _dot(at: float, point: Point, x: Scale, y: Scale, is_chosen: bool, unit: str) -> Html:
    place = {"cx": f"{x.place(at):.2f}%", "cy": f"{100 - y.place(point.dev.mean):.2f}%"}
    text = f"step {point.step}: {percent(point.dev.mean)} after {plural(round(at), unit)}\n{point.prompt[:300]}"
    kind, radius = ("mark chosen", 6.5) if is_chosen else ("mark", 3.5)
    # Not a void circle: it carries its tooltip.
    opening = element("circle", {"class": kind, "r": radius, **place})
    return Html(f"{opening[:-2]}>{element('title', '', text)}</circle>")


def _start_line(initial: float | None, y: Scale) -> Html:
    if initial is None:
        return NOTHING
    at = f"{100 - y.place(initial):.2f}%"
    line = element("line", {"class": "start", "x1": "0%", "x2": "100%", "y1": at, "y2": at})
    text, below = f"initial prompt {percent(initial)}", 16.0 if y.place(initial) > 12 else -6.0
    return join([line, element("text", {"class": "note", "x": "100%", "y": at, "dy": below}, text)])


def _chosen_label(chosen: Point, at: float, x: Scale, y: Scale, flag: str) -> Html:
    place = x.place(at)
    side = "note strong" if place > 50 else "note strong left"
    where: Attributes = {
        "class": side,
        "x": f"{place:.2f}%",
        "y": f"{100 - y.place(chosen.dev.mean):.2f}%",
        "dy": -14.0,
    }
    return element("text", where, f"{percent(chosen.dev.mean)} {flag}")


def gain_scale(low: float, high: float) -> Scale:
    """A symmetric scale for a difference, zero in the middle."""
    reach = around(0.0, max(abs(low), abs(high), 0.01), 2).high
    return Scale(-reach, reach, (-reach, 0.0, reach))


def tick_labels(scale: Scale, signed: bool) -> Html:
    """The numbers under a track."""
    texts = [prose(f"{100 * t:+.4g}") if signed and t else f"{100 * t:.4g}" for t in scale.ticks]
    labels = [
        element("text", {"x": f"{scale.place(t):.2f}%", "y": 12.0}, text if signed else f"{text} %")
        for t, text in zip(scale.ticks, texts, strict=True)
    ]
    return element("svg", {"class": "scale", "aria-hidden": "true"}, *labels)
