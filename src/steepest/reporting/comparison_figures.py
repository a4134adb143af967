"""Figures of a comparison as inline SVG: all methods' curves on one axis, and the critical-difference picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from steepest.reporting.comparison import Curve, CurvePoint, Ranks
from steepest.reporting.figures import Scale, around, short
from steepest.reporting.markup import NOTHING, Html, element
from steepest.reporting.text import one_line

COLOURS = 8
_DASHES = ("", " second", " third")
_UNITS = 1000.0
_ROW = 24.0
_NAME = 22


def series(index: int) -> str:
    """The class of a contender's line: colours first, then dashes."""
    return f"series series{index % COLOURS}{_DASHES[index // COLOURS % len(_DASHES)]}"


def key(labels: Sequence[str]) -> Html:
    """Which colour is whose."""
    return element("ul", "key", *(element("li", f"series{i % COLOURS}", label) for i, label in enumerate(labels)))


def curves(found: Sequence[Curve], unit: str) -> Html:
    """Best dev score against the calls or tokens spent, a line for each contender; nothing where none were spent."""
    lines = [curve.calls if unit == "calls" else curve.tokens for curve in found]
    known = [point for line in lines for point in line if not math.isnan(point.score)]
    end = max((point.at for point in known), default=0.0)
    if end <= 0:
        return NOTHING
    y = around(max(0.0, min(p.score for p in known)), min(1.0, max(p.score for p in known)))
    x = Scale(0.0, end, [tick for tick in around(0.0, end).ticks if tick <= end])
    paths = [_path(line, x, y, series(i)) for i, line in enumerate(lines) if line]
    ends = zip(found, lines, strict=True)
    said = "; ".join(f"{curve.contender} {100 * line[-1].score:.1f} %" for curve, line in ends if line)
    return element(
        "div",
        "plot",
        element(
            "svg",
            {"role": "img", "aria-label": f"Best dev score by {unit} spent. In the end: {said}."},
            *_grid(x, y),
            element("svg", {"viewBox": f"0 0 {_UNITS:g} {_UNITS:g}", "preserveAspectRatio": "none"}, *paths),
        ),
        element("p", "axis", f"{unit} spent by a search"),
    )


def critical_difference(ranks: Ranks) -> Html:
    """Mean ranks on a line, best on the left; bars join groups within which no difference is significant."""
    k = len(ranks.contenders)
    scale = Scale(1.0, float(k), tuple(float(i) for i in range(1, k + 1)))
    at = dict(zip(ranks.contenders, ranks.ranks, strict=True))
    order = sorted(ranks.contenders, key=at.__getitem__)
    left, right = order[: (k + 1) // 2], order[(k + 1) // 2 :][::-1]
    top = 60.0
    below = top + 12.0 + 10.0 * len(ranks.cliques)
    parts = [_ruler(ranks.critical, scale), _line("axis", 0.0, 100.0, top, top)]
    for tick in scale.ticks:
        parts += [_line("axis", scale.place(tick), scale.place(tick), top - 5, top)]
        parts += [_text("x", scale.place(tick), top - 9, f"{tick:g}")]
    for level, group in enumerate(ranks.cliques):
        places = [scale.place(at[name]) for name in group]
        parts.append(_line("clique", min(places), max(places), top + 12 + 10.0 * level, top + 12 + 10.0 * level))
    for side, names in (("left", left), ("right", right)):
        for row, name in enumerate(names):
            parts += _leader(name, at[name], side, scale.place(at[name]), top, below + _ROW * (row + 0.5))
    height = below + _ROW * len(left) + 4
    said = ", ".join(f"{name} {at[name]:.2f}" for name in order)
    drawn = element("svg", {"role": "img", "aria-label": f"Mean ranks: {said}.", "height": f"{height:g}"}, *parts)
    return element("div", "ranks", drawn)


def _ruler(critical: float, scale: Scale) -> Html:
    """How long the critical difference is."""
    width = scale.place(scale.low + critical)
    beyond = " (longer than the line)" if critical > scale.high - scale.low else ""
    text = f"critical difference {critical:.2f}{beyond}"
    return element("g", "", _line("critical", 0.0, width, 8, 8), _text("right", 0.0, 26, text))


def _leader(name: str, rank: float, side: str, place: float, top: float, y: float) -> Iterator[Html]:
    edge = 0.0 if side == "left" else 100.0
    yield _line("lead", place, place, top, y)
    yield _line("lead", min(place, edge), max(place, edge), y, y)
    yield _text(f"name {side}", edge, y + 4, f"{one_line(name, _NAME)} {rank:.2f}", -6 if side == "left" else 6)


def _line(kind: str, x1: float, x2: float, y1: float, y2: float) -> Html:
    return element("line", {"class": kind, "x1": f"{x1:.2f}%", "x2": f"{x2:.2f}%", "y1": y1, "y2": y2})


def _text(kind: str, x: float, y: float, text: str, dx: float = 0.0) -> Html:
    return element("text", {"class": kind, "x": f"{x:.2f}%", "y": y, "dx": dx}, text)


def _grid(x: Scale, y: Scale) -> Iterator[Html]:
    for tick in y.ticks:
        at = f"{100 - y.place(tick):.2f}%"
        yield element("line", {"class": "grid", "x1": "0%", "x2": "100%", "y1": at, "y2": at})
        yield element("text", {"class": "y", "x": "0%", "y": at, "dx": -10.0, "dy": 4.0}, f"{100 * tick:.4g} %")
    for tick in x.ticks:
        where = {"class": "x", "x": f"{x.place(tick):.2f}%", "y": "100%"}
        yield element("text", {**where, "dy": 20.0}, short(tick))


def _path(line: Sequence[CurvePoint], x: Scale, y: Scale, kind: str) -> Html:
    """Each value holds until the next."""
    corners = []
    for point, until in zip(line, [*(p.at for p in line[1:]), x.high], strict=True):
        height = (100 - y.place(point.score)) * _UNITS / 100
        corners += [f"{x.place(at) * _UNITS / 100:.1f},{height:.1f}" for at in (point.at, until)]
    return element("path", {"class": kind, "d": "M" + "L".join(corners)})
