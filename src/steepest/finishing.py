"""The end of a run: the winner and the initial prompt on the test rows, the paired test, the verdict."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from steepest.codec import JSON
from steepest.context import Context, World
from steepest.events import RunFinished
from steepest.ledger import UNLIMITED, Ledger
from steepest.records import StepRecord, elapsed, total_accounts, total_counts, total_usage, winner
from steepest.reporting import statistics
from steepest.results import BothFaults, Comparison, Difference, Estimate, Faults, Prompts, Result, Spent, Verdict
from steepest.runfolder import RunFolder, RunInfo
from steepest.types import Candidate, Evaluation, Example, Outcome, Scored, Usage

FINISH = -1
"""The step number of test calls in the journal: they belong to none, and no step is ever answered by them."""


@dataclass(frozen=True, slots=True)
class _Both:
    """The two prompts on the test rows."""

    initial: Evaluation
    best: Evaluation


@dataclass(frozen=True, slots=True)
class _Judgement:
    verdict: Verdict
    sentence: str


def conclude(
    folder: RunFolder, info: RunInfo, world: World, test: Sequence[Example], records: Sequence[StepRecord], stopped: str
) -> Result:
    """Write test.jsonl and result.json, and return the result."""
    started = time.perf_counter()
    world.log.forget_unanswered()
    ctx = Context(world, Ledger(world.log, FINISH, UNLIMITED, Usage(), prices=world.prices), "finish")
    with ctx:
        initial_dev = ctx.score([Candidate(info.prompt)], ctx.task.dev)[0]
        best_dev = winner([initial_dev, *(record.referee for record in records)])
        both = _on_test(ctx, initial_dev.candidate, best_dev.candidate, test)
    initial, best = both.initial.scored, both.best.scored
    measured = sum((record.referee_usage for record in records), ctx.usage)
    judgement = _verdict(initial, best)
    result = Result(
        verdict=judgement.verdict,
        sentence=judgement.sentence,
        prompt=Prompts(info.prompt, best_dev.candidate.text),
        test=compare(initial, best),
        dev=compare(initial_dev, best_dev),
        usage=spent(total_usage(records), elapsed(records)),
        measuring=spent(measured, time.perf_counter() - started),
        unfinished=spent(_unfinished(world, records[-1].step), 0.0),
        method=str(info.method["use"]),
        task=info.task.name,
        models={role: model.name for role, model in info.models.items()},
        seed=info.seed,
        steps=records[-1].step,
        stopped=stopped,
        answers=BothFaults(faults(both.initial), faults(both.best)),
        test_opened=_opened(folder, records[-1].step),
        run=folder.path.resolve().name,
        accounts=total_accounts(records),
        counts=total_counts(records),
        notes=tuple(map(str, info.task.notes)),
        folder=folder.path,
    )
    folder.write_lines("test.jsonl", _test_lines(both))
    folder.write("result.json", result.to_json())
    world.tell(RunFinished(result.run, result.verdict, result.sentence, stopped))
    return result


def _unfinished(world: World, last: int) -> Usage:
    """What was paid behind the last committed step."""
    paid = Usage()
    for call in filter(None, map(world.log.get, world.log)):
        if call.step > last:
            price = world.prices.get(call.account.partition(":")[0])
            response = call.response
            read = response.get("prompt_tokens", response.get("tokens", 0))
            usage = Usage(1, read, response.get("output_tokens", 0))
            paid += replace(usage, dollars=price.of(usage)) if price else usage
    return paid


def _opened(folder: RunFolder, step: int) -> int:
    """How often the test rows were looked at, this time included; the same result again is not another look."""
    before = folder.result()
    return 1 if before is None else before.test_opened + (before.steps != step)


def compare(initial: Scored, best: Scored) -> Comparison:
    """Two prompts on the same rows: both means, their difference and the paired test."""
    test = statistics.paired_test(initial.scores, best.scores)
    difference = Difference(test.difference, test.low, test.high)
    return Comparison(estimate(initial), estimate(best), difference, test.p_value)


def _verdict(initial: Scored, best: Scored) -> _Judgement:
    """What the test rows allow to be said."""
    before, after = (statistics.interval(tuple(scored.scores.values())) for scored in (initial, best))
    if best.candidate.id == initial.candidate.id:
        kept = f"{statistics.percent(before.mean)} on {before.n:,} held-out rows"
        return _Judgement("no_difference", f"No better prompt was found: keep your prompt ({kept}).")
    test = statistics.paired_test(initial.scores, best.scores)
    verdict = statistics.verdict(test)
    return _Judgement(verdict, statistics.sentence(verdict, before, after, test))


def estimate(scored: Scored) -> Estimate:
    """The mean score and its interval."""
    found = statistics.interval(tuple(scored.scores.values()))
    return Estimate(found.mean, found.low, found.high, found.n)


def _on_test(ctx: Context, initial: Candidate, best: Candidate, test: Sequence[Example]) -> _Both:
    """Both prompts on the test rows, in one batch; one evaluation where they are the same."""
    candidates = [initial] if best.id == initial.id else [initial, best]
    evaluations = ctx.evaluate(candidates, test)
    return _Both(evaluations[0], evaluations[-1])


def spent(usage: Usage, seconds: float) -> Spent:
    """Usage and time together."""
    tokens = usage.prompt_tokens, usage.output_tokens, usage.tokens
    return Spent(usage.calls, *tokens, usage.reused, round(seconds, 6), usage.dollars)


def faults(evaluation: Evaluation) -> Faults:
    """Answers that need a second look, counted."""
    outcomes = evaluation.outcomes
    return Faults(
        unextracted=sum(o.answer is None and o.finish != "failed" for o in outcomes),
        unanswered=sum(o.finish == "failed" for o in outcomes),
        truncated=sum(o.finish == "length" for o in outcomes),
        unjudged=sum(o.score is None and o.finish != "failed" for o in outcomes),
    )


def _test_lines(both: _Both) -> Iterator[JSON]:
    for before, after in zip(both.initial.outcomes, both.best.outcomes, strict=True):
        example = before.example
        row = {"id": example.id, "input": example.input, "target": example.target}
        yield {**row, "initial": _said(before), "best": _said(after)}


def _said(outcome: Outcome) -> JSON:
    return {
        "output": outcome.output,
        "answer": outcome.answer,
        "score": outcome.score,
        "finish": outcome.finish,
        "explanation": outcome.explanation,
    }
