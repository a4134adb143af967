"""What a diagnosis says: plain values, and their form in diagnosis.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from steepest import codec
from steepest.diagnosing.spread import Headroom, Resampling, Spread
from steepest.reporting.text import clean
from steepest.results import Difference, Estimate, Faults, Spent, displayed

Verdict = Literal["yes", "solved", "no_difference", "nothing_better", "fix_answers", "more_rows", "unclear"]
"""Is a search worth it? "yes"; no, the prompt is as good as perfect; no, prompts make no difference; no, they do but
none is likely to beat the initial one; not before answers can be read; not before there are more rows; not known."""

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Tried:
    """One prompt on the dev rows."""

    name: str
    text: str
    score: Estimate
    difference: Difference
    """From the initial prompt, on the same rows."""
    p_value: float
    """Of the paired test against the initial prompt; 1 for itself."""
    adjusted: float
    """By Holm's method, over all prompts that were tried."""
    answers: Faults


@dataclass(frozen=True, slots=True)
class Majority:
    """Always giving the same answer, the commonest of the train rows."""

    answer: str
    share: float
    """Of the train rows."""
    kinds: int
    """Different answers among the train rows."""
    score: Estimate
    """Of that answer on the dev rows."""
    p_value: float
    """Of the paired test against the initial prompt."""


@dataclass(frozen=True, slots=True)
class Needed:
    """Rows that show a gain four times in five."""

    gain: float
    rows: int | None
    """None where the initial prompt leaves no room for such a gain."""
    has_enough: bool
    """Whether the task has so many test rows."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What a method would cost here, at most."""

    method: str
    """As `--method` and its preset: "opro:small"."""
    refused: str
    """Why it cannot run with these models on this task; empty where it can."""
    calls: int = 0
    """In STEPS steps, of all roles together."""
    tokens: int | None = None
    """None where they depend on what the search finds."""
    dollars: float | None = None
    """By the prices given; None without them, or where tokens are not known."""


STEPS = 10
"""Costs are told for so many steps."""


@dataclass(frozen=True, slots=True)
class Advice:
    """Which method, and why."""

    method: str
    """As in Fit; empty where none can run."""
    why: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Whether a search is worth it on a task with a model, and what that rests on."""

    verdict: Verdict
    sentence: str
    """The verdict in words."""
    headroom: Headroom
    cautions: tuple[str, ...]
    """What else should be known before a search, in words."""
    tried: tuple[Tried, ...]
    """The initial prompt first."""
    spread: Spread
    resampling: Resampling | None
    """None where no repeats were asked for."""
    majority: Majority | None
    """None where a judge decides."""
    needed: tuple[Needed, ...]
    churn: float
    """What `needed` was reckoned with, see `spread.churn`."""
    methods: tuple[Fit, ...]
    advice: Advice
    task: str
    models: Mapping[str, str]
    """Role -> name."""
    rows: Mapping[str, int]
    """Split -> rows that the task has."""
    usage: Spent
    """What it takes altogether; `asked` is what this call made of it."""
    asked: int
    """Requests made by this call; others were in the journal."""
    format: int = FORMAT
    folder: Path = field(default=Path(), compare=False)
    """Where it is; not part of the file."""

    @property
    def initial(self) -> Tried:
        """The initial prompt."""
        return self.tried[0]

    @property
    def best(self) -> Tried:
        """The prompt with the highest mean; the initial one where none is higher."""
        return max(self.tried, key=lambda each: each.score.mean)

    def __str__(self) -> str:
        """The verdict, what else should be known, the method that fits and the folder, a line each."""
        method = f"method: {self.advice.method or 'none'}; {self.advice.why}"
        return clean("\n".join((self.sentence, *self.cautions, method, f"folder: {self.folder}")))

    _repr_pretty_ = displayed

    def to_json(self) -> codec.JSON:
        """The content of diagnosis.json."""
        return codec.encode({name: getattr(self, name) for name in self.__slots__ if name != "folder"})
