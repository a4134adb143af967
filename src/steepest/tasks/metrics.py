"""Metrics by name, and their spec form: {"use": "choice", "labels": [...]} in a task file or a run folder."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from steepest.codec import encode
from steepest.errors import TaskError, nearest
from steepest.objects import find_object, full_name
from steepest.tasks.answers import Choice, Number, Text, YesNo, infer, labels_of
from steepest.tasks.judge import Judge, open_judge
from steepest.tasks.task import Judgement, Metric
from steepest.types import Example

Score = Callable[[Example, str], float | Judgement]
"""What a user's own metric is: a score in [0, 1], higher is better, alone or with the answer that it found."""


@dataclass(frozen=True, slots=True)
class ExactMatch:
    """The whole output is the target, white space at the ends aside."""

    def __call__(self, example: Example, output: str) -> Judgement:
        """1 where they are the same."""
        return Judgement(float(output.strip() == example.target.strip()), output.strip() or None)


@dataclass(frozen=True, slots=True)
class Contains:
    """The output holds the target somewhere, in any case."""

    def __call__(self, example: Example, output: str) -> Judgement:
        """1 where it does."""
        held = example.target.strip().casefold() in output.casefold()
        return Judgement(float(held), output.strip() or None)


@dataclass(frozen=True, slots=True)
class Custom:
    """A user's own function `(example, output) -> float` or `-> Judgement`."""

    function: Score
    name: str
    """ "file.py:function", by which a run folder finds it again; "python:function" where it cannot."""

    def __call__(self, example: Example, output: str) -> Judgement:
        """What the function says; where it gives a score alone, any output that is not blank counts as an answer."""
        said = self.function(example, output)
        judged = said if isinstance(said, Judgement) else Judgement(float(said), output.strip() or None)
        if not (math.isfinite(judged.score) and 0.0 <= judged.score <= 1.0):
            raise TaskError(f"a metric's score must lie in [0, 1], got {judged.score} from {self.name}; rescale it")
        return judged


_NAMED: Mapping[str, type[Any]] = {
    "number": Number,
    "choice": Choice,
    "yes_no": YesNo,
    "text": Text,
    "exact_match": ExactMatch,
    "contains": Contains,
}
KINDS: tuple[str, ...] = ("auto", *_NAMED)
"""What `--answer` and a task file's `answer` may be, beside "file.py:function" and a judge."""

_PASSED = "python"

Answer = str | Mapping[str, Any] | Score
"""How a user says what counts as right: a name of KINDS, "choice:red,green,blue", "file.py:function", a spec such as
{"use": "choice", "labels": [...]} or {"judge": {"criteria": "..."}}, or a function."""


def open_metric(answer: Answer, targets: Sequence[str] = (), folder: Path = Path()) -> Metric | Judge:
    """The metric that `answer` means; kinds and labels left open are taken from the targets of all rows.

    `folder` is where a "file.py:function" is looked for. Raises TaskError for what is not known or not usable.
    """
    if callable(answer):
        return Custom(answer, _where(answer))
    spec = _parsed(answer) if isinstance(answer, str) else _flat(answer)
    use = str(spec.pop("use", ""))
    if use == "judge":
        return open_judge(spec)
    if use == "auto":
        return infer(targets)
    if ":" in use:
        return _located(use, folder)
    if use not in _NAMED:
        raise TaskError(f"an unknown kind of answer, {use!r}; {nearest(use, KINDS)}, or file.py:function")
    return _built(use, spec, targets)


def write_answer(answer: Answer) -> str:
    """What `--answer` takes for the same."""
    if callable(answer):
        return _where(answer)
    if isinstance(answer, str):
        return answer
    flat = _flat(answer)
    labels = ",".join(map(str, flat.get("labels", ())))
    return f"{flat['use']}:{labels}" if labels else str(flat["use"])


def describe_metric(metric: Metric | Judge) -> dict[str, Any]:
    """The spec that `open_metric` makes the same metric from."""
    if isinstance(metric, Judge):
        return {"use": "judge", **encode(metric)}
    if isinstance(metric, Custom):
        return {"use": metric.name}
    for name, kind in _NAMED.items():
        if isinstance(metric, kind):
            return {"use": name, **{key: _plain(value) for key, value in asdict(metric).items()}}
    return {"use": _where(metric)}


def extractor_of(metric: Metric | Judge) -> str:
    """The text that asks for the answer alone; empty for metrics that judge the output as it is."""
    return metric.extractor if isinstance(metric, Number | Choice | YesNo | Text) else ""


def gold_of(metric: Metric | Judge, target: str) -> str:
    """The bare answer in a target, such as the number behind a worked solution."""
    return metric.gold(target) if isinstance(metric, Number | Choice | YesNo | Text) else target


def is_judge(answer: Answer) -> bool:
    """Whether `answer` asks for a judge, who can do without targets."""
    return isinstance(answer, Mapping) and _flat(answer).get("use") == "judge"


def _flat(answer: Mapping[str, Any]) -> dict[str, Any]:
    """A spec with its kind under "use"; {"judge": {...}} is a judge's."""
    judge = answer.get("judge")
    return {"use": "judge", **judge} if len(answer) == 1 and isinstance(judge, Mapping) else dict(answer)


def _parsed(answer: str) -> dict[str, Any]:
    """ "choice:red,green" as a spec; any other text is a name."""
    use, colon, labels = answer.partition(":")
    if colon and use in ("choice", "yes_no"):
        return {"use": use, "labels": [label.strip() for label in labels.split(",")]}
    return {"use": answer}


def _built(use: str, given: Mapping[str, Any], targets: Sequence[str]) -> Metric:
    known = {f.name: f for f in fields(_NAMED[use])}
    for key in given:
        if key not in known:
            raise TaskError(f"an unknown field {key!r} of the answer kind {use!r}; {nearest(key, known)}")
    values = {key: tuple(map(str, v)) if isinstance(v, list | tuple) else str(v) for key, v in given.items()}
    if "labels" in known and "labels" not in values:
        values["labels"] = labels_of(targets)
    if use == "yes_no" and len(values["labels"]) != 2:
        raise TaskError(f"a yes_no answer has two labels, got {list(values['labels'])}; use choice")
    metric: Metric = _NAMED[use](**values)
    return metric


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _located(name: str, folder: Path) -> Custom:
    """The function that "file.py:function" names, under its full path."""
    file, _, function = name.rpartition(":")
    if file == _PASSED:
        raise TaskError(
            f"a metric passed as a Python object cannot be found again, got {function}; next time define it at the "
            f"top level of a file"
        )
    full = full_name(f"{folder / Path(file).expanduser()}:{function}") if file.endswith(".py") else name
    score = find_object(full, TaskError)
    if not callable(score):
        raise TaskError(f"a metric must be a function, got {type(score).__name__} for {name}; give (example, output)")
    return Custom(score, full)


def _where(metric: Callable[..., Any]) -> str:
    """ "file.py:function" of a function at the top level of a file, "python:name" of any other."""
    if not inspect.isfunction(metric):
        return f"{_PASSED}:{type(metric).__qualname__}"
    file = Path(metric.__code__.co_filename)
    if "<" in metric.__qualname__ or not file.is_file():
        return f"{_PASSED}:{metric.__qualname__}"
    return f"{file.resolve()}:{metric.__qualname__}"
