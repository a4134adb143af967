"""Metrics by name, and their spec form: {"use": "choice", "labels": [...]} in a task file or a run folder."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from steepest import codec
from steepest.errors import TaskError, nearest
from steepest.objects import find_object, full_name
from steepest.tasks.answers import Choice, Number, Text, YesNo, infer, labels_of
from steepest.tasks.judge import Judge, open_judge
from steepest.tasks.similarity import F1, RougeL, SameSet
from steepest.tasks.similarity import Contains as Contains
from steepest.tasks.similarity import ExactMatch as ExactMatch
from steepest.tasks.symbolic import Math
from steepest.tasks.task import Judgement, Metric
from steepest.types import Example

Score = Callable[[Example, str], float | Judgement]
"""What a user's own metric is: a score in [0, 1], higher is better, alone or with the answer that it found."""


@dataclass(frozen=True, slots=True)
class Custom:
    """A user's own function `(example, output) -> float` or `-> Judgement`."""

    function: Score
    name: str
    """ "file.py:function", by which a run folder finds it again; "python:function" where it cannot."""

    def __call__(self, example: Example, output: str) -> Judgement:
        """What the function says; where it gives a score alone, any output that is not blank counts as an answer.

        Raises TaskError with the row where the function raises, or gives something else.
        """
        try:
            said = self.function(example, output)
            judged = said if isinstance(said, Judgement) else Judgement(float(said), output.strip() or None)
        except Exception as error:
            problem = " ".join(f"{type(error).__name__}: {error}".split())
            raise TaskError(
                f"a metric must give a score for every row, got {problem} from {self.name} on {_row(example)}; "
                f"correct the function or the row"
            ) from error
        if not (math.isfinite(judged.score) and 0.0 <= judged.score <= 1.0):
            raise TaskError(
                f"a metric's score must lie in [0, 1], got {judged.score} from {self.name} on {_row(example)}; "
                f"rescale it"
            )
        return judged


@dataclass(frozen=True, slots=True)
class _Later:
    """A function that a run folder names: its file is run when the first output is scored, not to read the folder."""

    name: str

    def __call__(self, example: Example, output: str) -> float | Judgement:
        said: float | Judgement = find_object(self.name, TaskError)(example, output)
        return said


def _row(example: Example) -> str:
    """A row by its id and the beginning of its question."""
    question = " ".join(example.input.split())
    return f"row {example.id!r} ({question if len(question) <= 60 else f'{question[:59]}…'})"


_NAMED: Mapping[str, type[Any]] = {
    "number": Number,
    "choice": Choice,
    "yes_no": YesNo,
    "text": Text,
    "exact_match": ExactMatch,
    "contains": Contains,
    "f1": F1,
    "rouge_l": RougeL,
    "set": SameSet,
    "math": Math,
}
KINDS: tuple[str, ...] = ("auto", *_NAMED)
"""What `--answer` and a task file's `answer` may be, beside "file.py:function" and a judge."""

_Asking = Number | Choice | YesNo | Text | Math
"""Kinds that know how to ask for the answer alone, and which part of a target it is."""

_PASSED = "python"

Answer = str | Mapping[str, Any] | Score
"""How a user says what counts as right: a name of KINDS, "choice:red,green,blue", "number:0.01", "file.py:function", a
spec such as {"use": "choice", "labels": [...]}, {"number": {"tolerance": 0.01}} or {"judge": {"criteria": "..."}}, or
a function."""


def open_metric(answer: Answer, targets: Sequence[str] = (), folder: Path = Path()) -> Metric | Judge:
    """The metric that `answer` means; kinds and labels left open are taken from the targets of all rows.

    `folder` is where a "file.py:function" is looked for. Raises TaskError for what is not known or not usable.
    """
    if callable(answer):
        return Custom(answer, _where(answer))
    if not isinstance(answer, str | Mapping):
        raise TaskError(f"a kind of answer is a name or a function, got {answer!r:.80}; {nearest('', KINDS)}")
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


def open_recorded(spec: Mapping[str, Any]) -> Metric | Judge:
    """The metric that `describe_metric` wrote; a user's function is not looked for before it is needed."""
    use = str(spec.get("use", ""))
    where = use.rpartition(":")[0]
    # The short forms, in which the name of a function is a key, are for users alone.
    return Custom(_Later(use), use) if where not in ("", _PASSED) else open_metric({**spec, "use": use})


def write_answer(answer: Answer) -> str:
    """What `--answer` takes for the same."""
    if callable(answer):
        return _where(answer)
    if isinstance(answer, str):
        return answer
    flat = _flat(answer)
    detail = ",".join(map(str, flat.get("labels", ()))) or flat.get("tolerance")
    return f"{flat['use']}:{detail}" if detail else str(flat["use"])


def describe_metric(metric: Metric | Judge) -> dict[str, Any]:
    """The spec that `open_metric` makes the same metric from."""
    if isinstance(metric, Judge):
        return {"use": "judge", **codec.encode(metric)}
    if isinstance(metric, Custom):
        return {"use": metric.name}
    for name, kind in _NAMED.items():
        if isinstance(metric, kind):
            return {"use": name, **{key: _plain(value) for key, value in asdict(metric).items()}}
    return {"use": _where(metric)}


def extractor_of(metric: Metric | Judge) -> str:
    """The text that asks for the answer alone; empty for metrics that judge the output as it is."""
    return metric.extractor if isinstance(metric, _Asking) else ""


def gold_of(metric: Metric | Judge, target: str) -> str:
    """The bare answer in a target, such as the number behind a worked solution."""
    return metric.gold(target) if isinstance(metric, _Asking) else target


def is_judge(answer: Answer) -> bool:
    """Whether `answer` asks for a judge, who can do without targets."""
    return isinstance(answer, Mapping) and _flat(answer).get("use") == "judge"


def _flat(answer: Mapping[str, Any]) -> dict[str, Any]:
    """A spec with its kind under "use"; {"number": {"tolerance": 0.01}} is short for that."""
    if len(answer) == 1:
        [(use, options)] = answer.items()
        if isinstance(options, Mapping):
            return {"use": use, **options}
    return dict(answer)


def _parsed(answer: str) -> dict[str, Any]:
    """ "choice:red,green" and "number:0.01" as specs; any other text is a name."""
    use, colon, labels = answer.partition(":")
    if colon and use in ("choice", "yes_no"):
        return {"use": use, "labels": [label.strip() for label in labels.split(",")]}
    if colon and use == "number":
        return {"use": use, "tolerance": labels}
    return {"use": answer}


def _built(use: str, given: Mapping[str, Any], targets: Sequence[str]) -> Metric:
    known = {f.name: f for f in fields(_NAMED[use])}
    for key in given:
        if key not in known:
            raise TaskError(f"an unknown field {key!r} of the answer kind {use!r}; {nearest(key, known)}")
    values = {key: _value(f"answer: {use}: {key}", str(known[key].type), value) for key, value in given.items()}
    if "labels" in known and "labels" not in values:
        values["labels"] = labels_of(targets)
    if use == "yes_no" and len(values["labels"]) != 2:
        raise TaskError(f"a yes_no answer has two labels, got {list(values['labels'])}; use choice")
    metric: Metric = _NAMED[use](**values)
    return metric


def _value(place: str, type_name: str, value: Any) -> Any:
    """What a field takes: a number where it wants one; labels and texts are text, whatever YAML made of them."""
    if type_name == "float":
        try:
            return float(value)
        except (TypeError, ValueError):
            raise TaskError(f"{place} must be a number, got {value!r}; write for example 0.01") from None
    is_list = isinstance(value, list | tuple)
    if type_name.startswith("tuple"):
        if not is_list or not all(str(each).strip() for each in value):
            raise TaskError(f"{place} must be a list of words, got {value!r:.80}; write for example [red, green]")
        return tuple(map(str, value))
    if is_list or isinstance(value, Mapping):
        raise TaskError(f"{place} must be text, got {value!r:.80}; write a sentence")
    return str(value)


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
