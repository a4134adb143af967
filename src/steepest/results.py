"""The answer of a run: what result.json says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from steepest import codec
from steepest.types import Usage

Verdict = Literal["better", "no_difference", "worse"]


def displayed(value: object, printer: Any, cycle: bool) -> None:
    """What a notebook shows of a value whose `_repr_pretty_` this is: its text, instead of all its fields."""
    printer.text(str(value))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean score with its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int
    """Rows scored."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of best minus initial over the rows scored under both, with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two prompts on the same rows."""

    initial: Estimate
    best: Estimate
    difference: Difference
    p_value: float
    """Two-sided, paired: exact McNemar for 0/1 scores, sign flips otherwise."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompt before and after."""

    initial: str
    best: str


@dataclass(frozen=True, slots=True)
class Spent:
    """What was paid."""

    calls: int
    prompt_tokens: int
    output_tokens: int
    tokens: int
    reused: int
    seconds: float
    dollars: float = 0.0
    """By the prices that were given; 0 where none was."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Test answers that need a second look."""

    unextracted: int
    """No answer could be found in the output; scored as the metric says, usually 0."""
    unanswered: int
    """The model gave nothing; not scored."""
    truncated: int
    """Cut off by the token limit."""
    unjudged: int = 0
    """Answered, but the judge gave no rating; not scored."""


@dataclass(frozen=True, slots=True)
class BothFaults:
    """Per prompt."""

    initial: Faults
    best: Faults


@dataclass(frozen=True, slots=True)
class Result:
    """What a run found. `test` is the result; `dev` was used to choose and is optimistic."""

    verdict: Verdict
    """Of the test rows, at p < 0.05: "better", "no_difference" (keep your prompt) or "worse"."""
    sentence: str
    """The verdict in words."""
    prompt: Prompts
    test: Comparison
    dev: Comparison
    usage: Spent
    """What the method paid, and the seconds of all steps."""
    measuring: Spent
    """What the referee and the test paid; counts against no limit. Its seconds are those of the test alone."""
    method: str
    task: str
    models: Mapping[str, str]
    """Role -> name."""
    seed: int
    steps: int
    """Steps after step 0, the beginning."""
    stopped: str
    """Why the run ended."""
    answers: BothFaults
    """On the test rows."""
    run: str
    """Name of the run folder."""
    test_opened: int = 1
    """How often the test rows were looked at: above 1 where a finished run was gone on with."""
    accounts: Mapping[str, Usage] = field(default_factory=dict)
    """What the method paid, by who was asked: a role, and "ROLE: KIND" for its white-box calls."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Over all steps: replies that could not be used and requests that went unanswered, by reason."""
    notes: Sequence[str] = ()
    """What reading the rows brought up, a line each; run.json names all rows of each."""
    unfinished: Spent = Spent(0, 0, 0, 0, 0, 0.0)
    """What a step had paid for that a limit cut off before its end; neither in `usage` nor in `measuring`."""
    format: int = 1
    folder: Path = field(default=Path(), compare=False)
    """Where the run folder is; not part of the file."""

    def __str__(self) -> str:
        """The verdict, the prompt to use and the run folder, a line each."""
        return f"{self.sentence}\nprompt: {self.prompt.best!r}\nfolder: {self.folder}"

    _repr_pretty_ = displayed

    def to_json(self) -> codec.JSON:
        """The content of result.json."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "folder"}
        return codec.encode(plain)
