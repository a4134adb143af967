"""The verdict in words: is a search worth it, and by which method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steepest.diagnosing.findings import Advice, Fit, Majority, Tried, Verdict
from steepest.diagnosing.power import rows_for
from steepest.diagnosing.spread import Headroom, Spread
from steepest.reporting.statistics import p_text, percent
from steepest.reporting.words import plural
from steepest.results import Faults

ALPHA = 0.05
FAULTY, AVOIDED = 0.1, 0.05
"""Answers are in the way where more than the first share of all fail, and more than the second under every prompt."""
SOLVED = 0.98
WORTH = 0.02
"""A smaller gain is worth no search."""
UNSEEN = 0.2
"""Where even such a difference between prompts might have been missed, nothing is said of them."""
MANY = 200
"""From so many train rows on, a method should not score every prompt on all of them."""
_FAR = 2.8
"""Standard errors at which a difference is seen four times in five: 1.96 + 0.84."""


_UNABLE = "Perhaps the model cannot do this task as it is asked; a prompt that knows the task better may still help"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verdict rests on."""

    tried: Sequence[Tried]
    """The initial prompt first."""
    spread: Spread
    headroom: Headroom
    majority: Majority | None
    churn: float
    is_binary: bool
    rows: Mapping[str, int]
    """Split -> rows of the task."""

    @property
    def initial(self) -> Tried:
        """The initial prompt."""
        return self.tried[0]

    @property
    def beats_majority(self) -> bool:
        """Whether the initial prompt does better than always giving the commonest answer, as far as one can tell."""
        told = self.majority
        return told is None or (told.p_value < ALPHA and self.initial.score.mean > told.score.mean)


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict and the same in words."""

    verdict: Verdict
    sentence: str


def judge(given: Evidence) -> Judged:
    """Whether a search is worth it: the first of the reasons that holds."""
    if trouble := _trouble(given.tried):
        return Judged("fix_answers", f"Not yet: {trouble}.")
    mean, gain = given.initial.score.mean, given.headroom.gain
    if mean >= SOLVED:
        return Judged("solved", f"No: the initial prompt already reaches {percent(mean)}.")
    if given.spread.p_value >= ALPHA:
        return _alike(given)
    differ = f"prompts differ by more than chance ({p_text(given.spread.p_value)})"
    if gain < WORTH:
        return Judged("nothing_better", f"No: {differ}, but the initial prompt, at {percent(mean)}, is among the best.")
    needed, test = rows_for(gain, given.churn, given.is_binary), given.rows["test"]
    could = f"{differ}, and a search might gain some {100 * gain:.0f} points over {percent(mean)}"
    if needed > test:
        short = f"showing that takes {needed:,} test rows, and there are {test:,}"
        return Judged("more_rows", f"First get more rows: {could}, but {short}.")
    return Judged("yes", f"Yes: {could}. {test:,} test rows are enough to show that ({needed:,} needed).")


def _trouble(tried: Sequence[Tried]) -> str:
    """What is wrong with the answers under every prompt; empty where nothing is."""
    kinds = {
        "got no answer from the model; see why": [each.answers.unanswered for each in tried],
        "were cut off; raise max_tokens": [each.answers.truncated for each in tried],
        "held no answer that could be read; correct the kind of answer, or say in the prompt how to answer": [
            each.answers.unextracted for each in tried
        ],
        "got no rating from the judge; see why": [each.answers.unjudged for each in tried],
    }
    asked = [answered(each) for each in tried]
    for what, counts in kinds.items():
        share, least = sum(counts) / sum(asked), min(c / n for c, n in zip(counts, asked, strict=True))
        if share > FAULTY and least > AVOIDED:
            return f"{percent(share)} of the answers {what}"
    return ""


def answered(tried: Tried) -> int:
    """Rows that were asked under a prompt."""
    return tried.score.n + tried.answers.unanswered + tried.answers.unjudged


def _alike(given: Evidence) -> Judged:
    """Prompts that could not be told apart: for want of rows, or because they are alike."""
    found, mean, n = given.spread, given.initial.score.mean, given.initial.score.n
    # Where nothing varied on n rows, up to 3 in n may have been missed one time in twenty.
    seen = max(_FAR * math.sqrt(2) * found.chance, 3 / n)
    tested = f"{len(given.tried)} very different prompts ({p_text(found.p_value)} on {plural(n, 'row')}"
    if seen > UNSEEN:
        missed = f"{tested}; even {100 * seen:.0f} points might be missed)"
        return Judged("unclear", f"Not known: no difference was seen between {missed}. Allow more calls, or give rows.")
    text = f"No sign of it: {tested}; {100 * seen:.0f} points would have been seen) make no measurable difference"
    if not given.beats_majority:
        assert given.majority is not None, "it was not beaten"
        told = f"always answering {given.majority.answer!r} would score {percent(given.majority.score.mean)}"
        text += f", and {percent(mean)} is no better than guessing ({told}). {_UNABLE}"
    elif mean < FAULTY:
        text += f", all near {percent(mean)}. {_UNABLE}"
    return Judged("no_difference", f"{text}.")


def cautions(given: Evidence) -> list[str]:
    """What else should be known before a search."""
    said = []
    told, first = given.majority, given.initial
    if told is not None and told.p_value < ALPHA and first.score.mean < told.score.mean:
        said.append(
            f"The initial prompt, at {percent(first.score.mean)}, is worse than always answering {told.answer!r} "
            f"({percent(told.score.mean)}, {p_text(told.p_value)})."
        )
    better = [each for each in given.tried[1:] if each.adjusted < ALPHA and each.difference.mean > 0]
    if better:
        best = max(better, key=lambda each: each.score.mean)
        said.append(
            f"The prompt {best.name!r} is better than yours already: {percent(best.score.mean)} against "
            f"{percent(first.score.mean)} ({p_text(best.adjusted)}, corrected for all that were tried). Begin with it."
        )
    n = answered(first)
    said += [f"Under the initial prompt {told}." for told in faults(first.answers, n)]
    return said


def faults(found: Faults, n: int) -> list[str]:
    """Answers that need a second look, by kind, where there are any."""
    kinds = {
        "got no answer": found.unanswered,
        "were cut off": found.truncated,
        "held no answer that could be read": found.unextracted,
        "got no rating": found.unjudged,
    }
    return [f"{count:,} of {n:,} rows {what}" for what, count in kinds.items() if count]


def advise(given: Evidence, methods: Sequence[Fit], has_writer: bool, is_judged: bool) -> Advice:
    """The method that fits, and why; docs/methods.md says it at length. `has_writer`: another model writes prompts."""
    able = {fit.method.partition(":")[0]: fit.method for fit in methods if not fit.refused}
    train, mean = given.rows["train"], given.initial.score.mean
    reasons = {
        "gradsum": (is_judged, "a judge rates the answers, and its explanations say what to mend"),
        "greater": (not has_writer, "you hold the weights, and no better model is there to write prompts"),
        "opro": (mean > 0.9, "few errors are left to learn from, and it needs scores only"),
        "protegi": (
            train >= MANY,
            f"with {train:,} train rows its bandit pays: it asks more only about prompts that promise something",
        ),
        "pe2": (has_writer, "another model writes the prompts and can reason through the errors"),
        "ape": (True, "it asks the least of a model that must write its own prompts"),
    }
    for name, (holds, why) in reasons.items():
        if holds and name in able:
            return Advice(able[name], why)
    return Advice("", "no method can run with these models on this task")
