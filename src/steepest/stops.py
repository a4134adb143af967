"""When a run ends: pure functions of the committed steps, so that a resumed run ends where an undisturbed one does.

A stop is called with all committed steps, before the next begins, and gives the reason to end, or None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from steepest.errors import SpecError
from steepest.ledger import Limits
from steepest.records import StepRecord, elapsed, total_counts, total_usage
from steepest.types import money

Stop = Callable[[Sequence[StepRecord]], str | None]


def after_steps(n: int) -> Stop:
    """After step n; step 0 is the beginning."""
    _at_least("steps", n, 0)
    return lambda records: f"{n:,} steps done" if records[-1].step >= n else None


def after_calls(n: int) -> Stop:
    """Once the method has paid n calls. A limit is stricter: it is never passed, even within a step."""
    _at_least("calls", n, 1)
    return lambda records: f"{n:,} calls paid" if total_usage(records).calls >= n else None


def after_tokens(n: int) -> Stop:
    """Once the method has read and written n tokens."""
    _at_least("tokens", n, 1)
    return lambda records: f"{n:,} tokens read and written" if total_usage(records).tokens >= n else None


def after_dollars(dollars: float) -> Stop:
    """Once the method has paid so much, by the prices that were given."""
    if not dollars > 0:
        raise SpecError(f"the number of dollars must be above 0, got {dollars}; leave it out for no limit")
    return lambda records: f"{money(dollars)} spent" if total_usage(records).dollars >= dollars else None


def after_seconds(seconds: float) -> Stop:
    """Once the committed steps took this long together; time between a crash and its resumption does not count."""
    if not seconds > 0:
        raise SpecError(f"the number of seconds must be above 0, got {seconds}; leave it out for no limit")
    return lambda records: f"{seconds:g} seconds spent" if elapsed(records) >= seconds else None


def no_gain(steps: int) -> Stop:
    """Once the referee's best score has not risen for so many steps."""
    _at_least("steps without gain", steps, 1)

    def stop(records: Sequence[StepRecord]) -> str | None:
        means = [record.referee.mean for record in records]
        recent, before = means[-steps:], means[:-steps]
        stale = bool(before) and not max(recent) > max(before)
        return f"no gain on dev in {steps:,} steps" if stale else None

    return stop


def reached(score: float) -> Stop:
    """Once the incumbent's mean on all dev rows is at least `score`."""
    if not 0 < score <= 1:
        raise SpecError(f"the score to reach must be above 0 and at most 1, got {score}; give a share such as 0.95")
    return lambda records: f"reached {score:g} on dev" if records[-1].referee.mean >= score else None


def no_usable_prompt(steps: int = 3) -> Stop:
    """Once every reply of so many steps in a row was unusable."""
    _at_least("steps without a usable reply", steps, 1)

    def stop(records: Sequence[StepRecord]) -> str | None:
        recent = [record.counts for record in records[-steps:]]
        if len(recent) < steps or any(counts.get("usable") or not counts.get("dropped") for counts in recent):
            return None
        reasons = Counter({name: n for name, n in total_counts(records).items() if name.startswith("unusable: ")})
        worst = ", ".join(f"{name.removeprefix('unusable: ')} {n:,}" for name, n in reasons.most_common(3))
        return f"no usable reply by the optimizer in {steps:,} steps ({worst}); a stronger optimizer may help"

    return stop


def idle(steps: int = 5) -> Stop:
    """Once so many steps in a row had nothing to ask, or nothing that was answered: a method whose prompts make no
    mistake has nothing to learn, and rows that are never answered cost neither tokens nor dollars.
    """
    _at_least("steps without a call", steps, 1)

    def stop(records: Sequence[StepRecord]) -> str | None:
        recent = records[1:][-steps:]
        asked = len(recent) < steps or any(map(_was_answered, recent))
        return None if asked else f"nothing was left to ask in {steps:,} steps"

    return stop


def _was_answered(record: StepRecord) -> bool:
    """Whether the method asked anything in a step that got an answer."""
    unanswered = sum(n for what, n in record.counts.items() if what.startswith("unanswered: "))
    return record.usage.calls > 0 and record.usage.calls + record.referee_usage.calls > unanswered


def of_limits(limits: Limits) -> tuple[Stop, ...]:
    """The stops that a run's limits amount to."""
    stops: list[Stop] = []
    if limits.steps is not None:
        stops.append(after_steps(limits.steps))
    if limits.calls is not None:
        stops.append(after_calls(limits.calls))
    if limits.tokens is not None:
        stops.append(after_tokens(limits.tokens))
    if limits.dollars is not None:
        stops.append(after_dollars(limits.dollars))
    if limits.seconds is not None:
        stops.append(after_seconds(limits.seconds))
    if limits.patience is not None:
        stops.append(no_gain(limits.patience))
    return tuple(stops)


def _at_least(what: str, n: int, least: int) -> None:
    if n < least:
        raise SpecError(f"the number of {what} must be at least {least}, got {n}; leave it out for no limit")
