"""`steepest.diagnose`: is a search worth it here, how many rows does it take, and which method fits."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from steepest import api
from steepest.arguments import checked
from steepest.calls import CallLog
from steepest.comparing.setup import write
from steepest.diagnosing import page
from steepest.diagnosing.advising import Evidence, advise, cautions
from steepest.diagnosing.advising import judge as judged
from steepest.diagnosing.findings import Diagnosis, Majority, Needed, Tried
from steepest.diagnosing.fitting import fits
from steepest.diagnosing.measuring import CALLS, Budget, Measured, measure
from steepest.diagnosing.power import rows_for
from steepest.diagnosing.spread import churn, headroom, is_binary, resampling, spread
from steepest.errors import SpecError, StateError
from steepest.finishing import compare, estimate, faults, spent
from steepest.lock import Lock
from steepest.models.opening import Opened
from steepest.reporting.ranking import holm
from steepest.reporting.statistics import paired_test
from steepest.roles import PriceLike, cast, open_models, prices_of
from steepest.tasks.judge import Judge
from steepest.tasks.metrics import Answer, gold_of
from steepest.tasks.source import SPLITS, TaskSource
from steepest.tasks.task import Task
from steepest.types import Candidate, Scored

FILE = "diagnosis.json"
GAINS = (0.02, 0.05, 0.1, 0.2)
"""For which the rows needed are told."""


@checked
def diagnose(  # noqa: PLR0913  # size: one call is the whole interface
    prompt: str | None = None,
    *,
    data: api.Data,
    model: Any = "bundled",
    optimizer: Any = None,
    judge: Any = None,
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
    calls: int = CALLS,
    repeats: int = 0,
    temperature: float = 0.7,
    price: PriceLike | None = None,
    options: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
) -> Diagnosis:
    """Is a search for a better prompt worth it here? Measured in minutes, on dev rows, with a few prompts.

    Tries the initial prompt, none at all, some that ask for very different things and some that the optimizer guesses
    from train rows, all on the same rows, and says how good the initial prompt is, whether prompts make a difference
    that is more than chance, what a search might gain, how many rows it takes to show it, what each method costs, and
    which one fits.

        >>> found = steepest.diagnose(data="arithmetic")
        >>> found.verdict
        'yes'

    Arguments that are not told here are those of `optimize`.

    Args:
        optimizer: Writes fourteen of the prompts; `model` unless given.
        calls: The most model calls; the number of rows follows from it.
        repeats: So often the initial prompt's answers are sampled as well, to see how much dice alone move the score.
        temperature: Of these.
        out: Folder; the same call in the same folder asks nothing again. "runs/diagnose-TASK" unless given.

    Returns:
        The diagnosis: `verdict`, `sentence`, `headroom`, `tried`, `spread`, `needed`, `methods`, `advice`, ...; also in
        diagnosis.json and diagnosis.html.
    """
    columns = api.columns_of(
        input=input, target=target, id=id, layout=layout, answer=answer, criteria=criteria, description=description,
        language=language, max_tokens=max_tokens, data_dir=data_dir, skip_bad_rows=skip_bad_rows,
    )  # fmt: skip
    source = api.task_source(data, columns, prompt)
    models = open_models({"task": model, "optimizer": optimizer, "judge": judge}, options)
    return diagnosed(source, models, Budget(calls, repeats, temperature), price, out)


def diagnosed(  # size: every field of the diagnosis by name
    source: TaskSource,
    models: Mapping[str, Opened],
    budget: Budget,
    price: PriceLike | None = None,
    out: str | Path | None = None,
) -> Diagnosis:
    """The same for a task and models that are open; written into its folder."""
    task, started = source.task, time.perf_counter()
    is_judged = isinstance(task.metric, Judge)
    if budget.repeats and is_judged:
        raise SpecError(f"repeats need answers that a rule checks, got {budget.repeats} with a judge; leave them out")
    roles = cast(["optimizer"], task, models)
    prices = prices_of(price, roles)
    folder = Path("runs") / f"diagnose-{_slug(task.name)}" if out is None else Path(out)
    if (folder / "run.json").exists():
        raise StateError(f"a diagnosis needs a folder of its own, got {folder}, which is a run's; name another")
    with Lock(folder), CallLog(folder / "calls.jsonl") as log:
        before = len(log)
        measured = measure(task, {role: each.model for role, each in roles.items()}, budget, log, prices)
        asked = len(log) - before
    evidence, methods = _evidence(source, measured), tuple(fits(source, models, prices))
    told = judged(evidence)
    found = Diagnosis(
        verdict=told.verdict,
        sentence=told.sentence,
        headroom=evidence.headroom,
        cautions=tuple(cautions(evidence)),
        tried=tuple(evidence.tried),
        spread=evidence.spread,
        resampling=None if measured.repeats is None else resampling(measured.repeats, budget.temperature),
        majority=evidence.majority,
        needed=tuple(_needed(evidence)),
        churn=evidence.churn,
        methods=methods,
        advice=advise(evidence, methods, "optimizer" in models, is_judged),
        task=task.name,
        models={role: each.name for role, each in roles.items()},
        rows=evidence.rows,
        usage=spent(measured.usage, time.perf_counter() - started),
        asked=asked,
        folder=folder,
    )
    write(folder / FILE, found.to_json())
    page.write(found)
    return found


def _evidence(source: TaskSource, measured: Measured) -> Evidence:
    """The measurements, reckoned."""
    scores = measured.scores
    apart = spread(scores)
    return Evidence(
        tried=tuple(_tried(measured)),
        spread=apart,
        headroom=headroom(scores, apart),
        majority=_majority(source.task, measured),
        churn=churn(scores),
        is_binary=is_binary(scores),
        rows={split: len(source.rows(split)) for split in SPLITS},
    )


def _tried(measured: Measured) -> Iterator[Tried]:
    scored = [evaluation.scored for evaluation in measured.evaluations]
    compared = [compare(scored[0], each) for each in scored]
    adjusted = [1.0, *holm([each.p_value for each in compared[1:]])]
    for i, (prompt, both) in enumerate(zip(measured.prompts, compared, strict=True)):
        answers = faults(measured.evaluations[i])
        yield Tried(prompt.name, prompt.text, both.best, both.difference, both.p_value, adjusted[i], answers)


def _majority(task: Task, measured: Measured) -> Majority | None:
    """What always giving the commonest answer of the train rows scores on the dev rows that were asked."""
    if isinstance(task.metric, Judge):
        return None
    golds = Counter(gold_of(task.metric, row.target) for row in task.train)
    [(answer, count)] = golds.most_common(1)
    initial = measured.evaluations[0]
    scores = {each.example.id: task.rule(each.example, answer).score for each in initial.outcomes}
    found = estimate(Scored(Candidate(answer), scores))
    p_value = paired_test(scores, initial.scored.scores).p_value
    return Majority(answer, count / golds.total(), len(golds), found, p_value)


def _needed(given: Evidence) -> Iterator[Needed]:
    for gain in GAINS:
        rows = rows_for(gain, given.churn, given.is_binary) if given.initial.score.mean + gain <= 1 else None
        yield Needed(gain, rows, rows is not None and rows <= given.rows["test"])


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name.lower())[:40].strip("_") or "task"
