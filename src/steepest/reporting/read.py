"""A run folder as plain tables, whichever method wrote it, finished or not.

run.json, data/, steps/, test.jsonl and result.json are read; nothing is computed that a model would be needed for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from steepest import codec
from steepest.errors import StateError
from steepest.records import StepRecord, total_accounts, total_counts
from steepest.reporting.statistics import Interval, interval
from steepest.results import Difference, Estimate, Result, Spent
from steepest.types import Finish, Scored, Trial, Usage

FORMAT = 1
_MOST = 1e15
"""Tokens, seconds or dollars; more is no number of a run, and cannot be drawn."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What was asked for: run.json."""

    steepest: str
    created: str
    method: Mapping[str, Any]
    """The full spec, defaults included: {"use": name, field: value, ...}."""
    passed: Mapping[str, Any]
    """The arguments as they were given."""
    task: Mapping[str, Any]
    models: Mapping[str, Mapping[str, Any]]
    """Role -> name, options, id."""
    prompt: str
    seed: int
    limits: Mapping[str, int | float | None]
    versions: Mapping[str, str | None]
    git: str | None


@dataclass(frozen=True, slots=True)
class _Note:
    text: str
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Task:
    """What reports read of run.json's task."""

    name: str
    language: Literal["en", "zh"] = "en"
    notes: tuple[_Note, ...] = ()


@dataclass(frozen=True, slots=True)
class _Model:
    """What reports read of run.json's models."""

    name: str
    id: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """The incumbent after one step, and what the search had cost by then."""

    step: int
    prompt: str
    dev: Interval
    tokens: int
    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """One edit that was tried, and when."""

    step: int
    trial: Trial


@dataclass(frozen=True, slots=True)
class Answer:
    """What one prompt made of a test row."""

    output: str
    answer: str | None
    score: float | None
    finish: Finish
    explanation: str = ""
    """What the judge said of it; empty without one."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """One held-out row under both prompts."""

    id: str
    input: str
    target: str
    initial: Answer
    best: Answer

    @property
    def gain(self) -> float:
        """Score under the best prompt minus score under the initial one; NaN where either has none."""
        if self.initial.score is None or self.best.score is None:
            return math.nan
        return self.best.score - self.initial.score


@dataclass(frozen=True, slots=True)
class Tables:
    """A run folder, read."""

    folder: Path
    spec: Spec
    sizes: Mapping[Literal["train", "dev", "test"], int]
    """Rows of each part."""
    points: Sequence[Point]
    attempts: Sequence[Attempt]
    search: Usage
    """Of all committed steps, by the method."""
    referee: Usage
    """Of all committed steps, for scoring incumbents on all of dev."""
    rows: Sequence[HeldOut]
    """Empty until the run is finished."""
    result: Result | None
    """None until the run is finished."""
    accounts: Mapping[str, Usage]
    """What the search paid, by who was asked: a role, and "ROLE: KIND" for its white-box calls."""
    counts: Mapping[str, int]
    """Over all committed steps: replies that could not be used, requests without answer, by reason."""

    @property
    def winner(self) -> Point | None:
        """The incumbent of highest dev score, the earlier one on ties; None before the first step."""
        scored = [point for point in self.points if point.dev.n]
        return max(scored, key=lambda point: (point.dev.mean, -point.step), default=None)

    @property
    def measuring(self) -> Usage:
        """What the referee and, in the end, the held-out rows cost."""
        if self.result is None:
            return self.referee
        return _usage(self.result.measuring)

    @property
    def unfinished(self) -> Usage:
        """What a step had paid for that a limit cut off; nothing before the end."""
        return _usage(self.result.unfinished) if self.result else Usage()

    @property
    def graded(self) -> bool:
        """Whether any test score lies between 0 and 1."""
        scores = (side.score for row in self.rows for side in (row.initial, row.best))
        return any(score not in (None, 0.0, 1.0) for score in scores)


def read_run(folder: Path) -> Tables:
    """Read a run folder; StateError where it is none, is of another format, or was damaged."""
    spec = _read_spec(folder)
    steps = [_read(StepRecord, path) for path in sorted((folder / "steps").glob("*.json"))]
    finished = (folder / "result.json").exists()
    return Tables(
        folder=folder,
        spec=spec,
        sizes={part: _count(folder / "data" / f"{part}.jsonl") for part in ("train", "dev", "test")},
        points=tuple(_points(steps)),
        attempts=tuple(Attempt(step.step, trial) for step in steps for trial in step.trials),
        search=sum((step.usage for step in steps), Usage()),
        referee=sum((step.referee_usage for step in steps), Usage()),
        rows=tuple(_read_rows(folder / "test.jsonl")) if finished else (),
        result=_read(Result, folder / "result.json") if finished else None,
        accounts=total_accounts(steps),
        counts=total_counts(steps),
    )


def dev_scores(folder: Path) -> dict[str, Mapping[str, float]]:
    """Prompt -> its scores on the dev rows, for every incumbent of a run."""
    records: Iterator[StepRecord] = (_read(StepRecord, path) for path in sorted((folder / "steps").glob("*.json")))
    return {record.referee.candidate.text: record.referee.scores for record in records}


def turns(points: Sequence[Point]) -> list[Point]:
    """The points at which the incumbent became another prompt, the first one included."""
    before = (None, *(point.prompt for point in points))
    return [point for point, old in zip(points, before, strict=False) if point.prompt != old]


def _read_spec(folder: Path) -> Spec:
    path = folder / "run.json"
    if not path.is_file():
        raise StateError(f"a run folder holds a run.json, got {str(folder)!r}; name a folder that `steepest run` wrote")
    data = _read(dict[str, Any], path)
    if data.get("format") != FORMAT:
        raise StateError(
            f"this version reads run folders of format {FORMAT}, got {data.get('format')!r} in {path}; "
            "use the version of steepest that wrote it"
        )
    wanted = {field.name: data[field.name] for field in fields(Spec) if field.name in data}
    spec: Spec = codec.decode(Spec, wanted, str(path), StateError)
    codec.decode(str, spec.method.get("use"), f"{path}: method: use", StateError)
    _check_shape(_Task, spec.task, f"{path}: task")
    for role, model in spec.models.items():
        _check_shape(_Model, model, f"{path}: models: {role}")
    return spec


def _check_shape(kind: Any, told: Mapping[str, Any], what: str) -> None:
    """StateError where what reports read of an object is missing or of another type; the rest may be anything."""
    codec.decode(kind, {each.name: told[each.name] for each in fields(kind) if each.name in told}, what, StateError)


def _read_rows(path: Path) -> Iterator[HeldOut]:
    if not path.exists():
        raise StateError(f"a finished run holds a {path.name}, got none in {str(path.parent)!r}; restore it")
    for number, line in enumerate(_bytes(path).splitlines(), start=1):
        what = f"{path} line {number}"
        row: HeldOut = _sound(codec.read(HeldOut, line, what, StateError), what)
        yield row


def _points(steps: Sequence[StepRecord]) -> Iterator[Point]:
    measured: dict[str, Interval] = {}
    costs = accumulate((step.usage for step in steps), initial=Usage())
    next(costs)
    seconds = accumulate(step.seconds for step in steps)
    for step, cost, elapsed in zip(steps, costs, seconds, strict=True):
        prompt = step.referee.candidate.text
        if prompt not in measured:
            measured[prompt] = interval(list(step.referee.scores.values()))
        yield Point(step.step, prompt, measured[prompt], cost.tokens, cost.calls, elapsed)


def _read(kind: Any, path: Path) -> Any:
    what = f"{path} cannot be read, restore it or start a new run"
    return _sound(codec.read(kind, _bytes(path), what, StateError), what)


def _bytes(path: Path) -> bytes:
    """The content of a file; StateError where it cannot be read, or is none, such as a folder or a pipe."""
    why = "no file"
    try:
        if path.is_file():
            return path.read_bytes()
    except OSError as refused:
        why = str(refused.strerror)
    raise StateError(f"a run folder holds files that can be read, got {path} ({why}); restore it")


def _sound(value: Any, what: str) -> Any:
    """`value`, of whose numbers none is beyond all measure; StateError otherwise. A score lies in [0, 1]."""
    if isinstance(value, Scored):
        _within(0, value.scores.values(), what)
    elif isinstance(value, Answer):
        _within(0, [] if value.score is None else [value.score], what)
    elif isinstance(value, Estimate):
        _within(0, [value.low, value.high, *([value.mean] if value.n else [])], what)
    elif isinstance(value, Difference):
        _within(-1, [value.low, value.mean, value.high], what)
    elif isinstance(value, int | float):
        if not abs(value) <= _MOST or (isinstance(value, int) and value < 0):
            raise StateError(f"{what}: a number of a run lies below {_MOST:.0e}, got {codec.shortened(value)}")
    elif is_dataclass(value):
        # The method's own, scores on a scale of its own among them, and what is shown as it is.
        own = {"state", "trials", "best"} if isinstance(value, StepRecord) else {"seed"}
        for field in fields(value):
            if field.name not in own:
                _sound(getattr(value, field.name), what)
    elif isinstance(value, Mapping):
        for each in value.values():
            _sound(each, what)
    return value


def _within(low: int, numbers: Iterable[float], what: str) -> None:
    for number in numbers:
        if not low <= number <= 1:
            raise StateError(f"{what}: a {'score' if low == 0 else 'gain'} lies in [{low}, 1], got {number!r}")


def _count(path: Path) -> int:
    return len(_bytes(path).splitlines()) if path.exists() else 0


def _usage(spent: Spent) -> Usage:
    return Usage(spent.calls, spent.prompt_tokens, spent.output_tokens, spent.reused, spent.dollars)
