"""What reports say: the verdict, its evidence and numbers, as people read them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steepest.reporting.read import Tables
from steepest.reporting.statistics import p_text, percent, rows_needed
from steepest.results import Comparison, Estimate, Result

HEADLINES = {
    "better": "The new prompt is better.",
    "no_difference": "No real difference: keep your prompt.",
    "worse": "The new prompt is worse: keep yours.",
}


def headline(result: Result | None) -> str:
    """The verdict in a few words."""
    if result is None:
        return "Not finished: no verdict yet."
    if result.prompt.initial == result.prompt.best:
        return "No better prompt was found: keep yours."
    return HEADLINES[result.verdict]


def lead(tables: Tables) -> str:
    """What the verdict rests on, in a sentence or two."""
    result = tables.result
    if result is None:
        return _progress(tables)
    test = result.test
    if result.prompt.initial == result.prompt.best:
        return (
            f"No prompt that was tried did better than yours on the dev rows. Yours {_reaches(tables, test.initial)}."
        )
    return (
        f"The new prompt {_reaches(tables, test.best)}, the initial prompt {percent(test.initial.mean)}: "
        f"{difference(test)}, {p_text(test.p_value)}."
    )


def advice(tables: Tables) -> str:
    """How many rows would settle an open verdict; empty where that says nothing."""
    result = tables.result
    gains = [row.gain for row in tables.rows if not math.isnan(row.gain)]
    gain = sum(gains) / len(gains) if gains else 0.0
    if result is None or result.verdict != "no_difference" or gain <= 0 or tables.graded:
        return ""
    discordance = sum(each != 0 for each in gains) / len(gains)
    return (
        f"If the gain of {100 * gain:.1f} points is real, about {rows_needed(gain, discordance):,} held-out rows "
        f"would show it four times in five; this run had {result.test.initial.n:,}."
    )


def reopened(result: Result) -> str:
    """What to hold against a verdict whose test rows were looked at before; empty where they were not."""
    if result.test_opened == 1:
        return ""
    return (
        f"The test rows were opened {result.test_opened:,} times; a search that goes on after a look at them makes "
        "the verdict optimistic. New rows would settle it."
    )


def state_of(tables: Tables) -> str:
    """What the best prompt is called."""
    return "returned" if tables.result else "best so far"


def effort(tables: Tables) -> str:
    """Steps, time, and why the search ended."""
    result, reused = tables.result, tables.search.reused
    seconds = result.usage.seconds if result else sum(point.seconds for point in tables.points[-1:])
    text = f"{plural(max(len(tables.points) - 1, 0), 'step')} in {duration(seconds)}"
    if result is not None:
        text += f", then {duration(result.measuring.seconds)} for the held-out rows. Why it ended: {result.stopped}"
    text += "."
    if reused:
        text += f" {plural(reused, 'call')} had been answered in an earlier step and cost nothing again."
    return text


def players(tables: Tables) -> str:
    """The models, with their roles where these are several."""
    roles: dict[str, list[str]] = {}
    for role, model in tables.spec.models.items():
        roles.setdefault(str(model["name"]), []).append(role)
    alone = len(tables.spec.models) == 1
    return "; ".join(name if alone else f"{name} as {' and '.join(of)}" for name, of in roles.items())


def replies(tables: Tables) -> str:
    """How many replies the search could use, and why it could not use the others; empty where none were counted."""
    counts = tables.counts
    reasons = _counted(counts, "unusable: ")
    if not reasons and "usable" not in counts:
        return ""
    text = f"{counts.get('usable', 0):,} usable, {counts.get('dropped', 0):,} given up"
    return text + (f"; unusable: {_listed(reasons)}" if reasons else "")


def unanswered(tables: Tables) -> str:
    """Requests of the search that got no answer, by role and reason; empty where all got one."""
    reasons = _counted(tables.counts, "unanswered: ")
    if not reasons:
        return ""
    return f"{plural(sum(reasons.values()), 'request')} of the search got no answer: {_listed(reasons)}"


def _counted(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): n for name, n in counts.items() if name.startswith(prefix)}


def _listed(reasons: Mapping[str, int], most: int = 6) -> str:
    """The commonest reasons first."""
    ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join([*(f"{name} {n:,}" for name, n in ranked[:most]), *(["..."] if ranked[most:] else [])])


def measure(tables: Tables) -> str:
    """What a mean of the scores is called."""
    return "mean score" if tables.graded else "accuracy"


def test_name(tables: Tables) -> str:
    """Which paired test the p-value comes from."""
    return "sign-flip permutation test" if tables.graded else "exact McNemar test"


def difference(test: Comparison) -> str:
    """The difference with its interval: "+38.4 points (95 % interval +33.9 to +42.7)"."""
    found = test.difference
    return f"{points(found.mean)} points (95 % interval {points(found.low)} to {points(found.high)})"


def points(share: float) -> str:
    """A difference of shares in signed percentage points."""
    return "0.0" if abs(share) < 5e-4 else f"{100 * share:+.1f}"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    whole = round(seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def plural(n: int, noun: str) -> str:
    """ "1 step", "2,000 steps"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def resumption(folder: Path) -> str:
    """The command that goes on with a run."""
    return shlex.join(["steepest", "resume", str(folder)])


def command(tables: Tables) -> str:
    """The command that does the same again, from the arguments as they were given."""
    given = {"method": tables.spec.method["use"], **(tables.spec.passed or _arguments(tables))}
    parts = ["steepest", "run", str(given.pop("method"))]
    for name, value in given.items():
        for item in value if isinstance(value, list) else [value]:
            parts += [f"--{name.replace('_', '-')}", *([] if item is True else [str(item)])]
    return shlex.join(parts)


def _arguments(tables: Tables) -> dict[str, Any]:
    """Where none were kept, the same rows, model, prompt and limits."""
    spec = tables.spec
    models = {"model" if role == "task" else role: model["name"] for role, model in spec.models.items()}
    limits = {name: limit for name, limit in spec.limits.items() if limit is not None}
    return {"task": tables.folder, **models, "prompt": spec.prompt, "seed": spec.seed, **limits}


def _reaches(tables: Tables, found: Estimate) -> str:
    rows = plural(found.n, "held-out row")
    if tables.graded:
        return f"scores {percent(found.mean)} on average on {rows}"
    return f"answers {percent(found.mean)} of {rows} correctly"


def _progress(tables: Tables) -> str:
    winner = tables.winner
    if winner is None:
        return "No step is committed yet."
    return (
        f"{plural(tables.points[-1].step, 'step')} done. The best prompt so far reaches {percent(winner.dev.mean)} on "
        f"{winner.dev.n:,} dev rows, which chose it; the held-out rows are opened at the end."
    )
