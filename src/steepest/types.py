"""The values everything else passes around. Frozen, JSON-able, and importing nothing of ours."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length", "failed"]


def content_id(*parts: str) -> str:
    """A short, stable name for some text: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Example:
    """One row: what the model is asked and what it should answer."""

    id: str
    """Given by the data, or a hash of its content; never an index."""
    input: str
    target: str
    meta: Mapping[str, str] = field(default_factory=dict)
    """Further columns, for templates with more slots than `{input}`."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. A last turn by the assistant is continued, not answered."""

    role: Role
    content: str


Prompt = str | tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model. Everything that can change the answer is a field; nothing else is."""

    prompt: Prompt
    temperature: float = 0.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    seed: int | None = None
    """None for greedy requests; sampled ones carry a seed derived from run, step, content and occurrence."""

    @property
    def messages(self) -> list[dict[str, str]]:
        """The prompt as chat interfaces take it: dicts with "role" and "content"."""
        turns = (Message("user", self.prompt),) if isinstance(self.prompt, str) else self.prompt
        return [{"role": turn.role, "content": turn.content} for turn in turns]


@dataclass(frozen=True, slots=True)
class Gap:
    """A place in a text where something is missing."""

    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Infill:
    """One gap for a model to fill. As in Request, everything that can change what it writes is a field."""

    gap: Gap
    temperature: float = 0.0
    max_tokens: int = 256
    seed: int | None = None
    """See `Request.seed`."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a model answered. `finish` is "length" where the token limit cut it off, "failed" where none came."""

    text: str
    prompt_tokens: int = 0
    output_tokens: int = 0
    finish: Finish = "stop"
    reason: str = ""
    """Why there is no answer; empty unless finish is failed."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What was paid for: calls, tokens read, tokens written; and calls that an earlier step had paid for."""

    calls: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    reused: int = 0
    dollars: float = 0.0
    """By the prices that were given; 0 where none was."""

    @property
    def tokens(self) -> int:
        """Tokens read and written."""
        return self.prompt_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.output_tokens + other.output_tokens,
            self.reused + other.reused,
            self.dollars + other.dollars,
        )


def money(dollars: float) -> str:
    """An amount for people: $1.25, $0.0031."""
    return f"${dollars:,.2f}" if dollars >= 1 or dollars == 0 else f"${dollars:.4f}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prompt that might be better, and where it came from."""

    text: str
    parents: tuple[str, ...] = ()
    """Ids of the candidates it was made from."""
    origin: str = "seed"
    """The operation that made it: "seed", "swap", "grow", "edit", "paraphrase", ..."""

    @property
    def id(self) -> str:
        """A hash of the text: the same text is the same candidate, however it came about."""
        return content_id(self.text)


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate with one score in [0, 1] per example; higher is better."""

    candidate: Candidate
    scores: Mapping[str, float]
    """Example id -> score. Unanswered examples are absent, never 0."""

    @property
    def n(self) -> int:
        """How many examples were scored."""
        return len(self.scores)

    @property
    def mean(self) -> float:
        """The mean score; NaN when nothing was scored."""
        return math.fsum(self.scores.values()) / self.n if self.scores else math.nan

    @property
    def stderr(self) -> float:
        """Standard error of the mean; NaN below two examples."""
        if self.n < 2:
            return math.nan
        mean = self.mean
        return math.sqrt(math.fsum((s - mean) ** 2 for s in self.scores.values()) / (self.n - 1) / self.n)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One example under one candidate."""

    example: Example
    output: str
    score: float | None
    """None where no answer came, or no verdict on it: unanswered is not wrong."""
    answer: str | None = None
    """The answer pulled out of `output`; None where none could be found (scored 0, reported as its own category)."""
    finish: Finish = "stop"
    explanation: str = ""
    """Why it has this score, in the judge's words; empty where a rule judges."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A candidate's outcomes on some examples."""

    candidate: Candidate
    outcomes: Sequence[Outcome]

    @property
    def scored(self) -> Scored:
        """The same as scores by example."""
        return Scored(self.candidate, {o.example.id: o.score for o in self.outcomes if o.score is not None})

    @property
    def errors(self) -> list[Outcome]:
        """Answered, but below full marks."""
        return [o for o in self.outcomes if o.score is not None and o.score < 1.0]


@dataclass(frozen=True, slots=True)
class Trial:
    """One edit that a method tried, for the history in the report."""

    position: int
    """Which token or line of the prompt; -1 where the edit has no place."""
    old: str
    new: str
    rank: int
    """Place in the shortlist by gradient, 1 = steepest; 0 where nothing ranked it."""
    predicted: float
    """First-order change of the loss that the gradient promised; NaN where nothing predicted it."""
    before: float
    """Selection score of the incumbent (higher is better)."""
    after: float
    """Selection score with the edit, on the same rows."""
    accepted: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One example around the prompt slot, as text, for white-box models.

    The user's turn is `before` + prompt + `after`; the assistant's turn begins with `reply` (reasoning and
    extractor) and must go on with `target`.
    """

    before: str
    after: str
    reply: str
    target: str
    system: str = ""
    """The system's turn before it; empty for none."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What a white-box model's loss of one row is: -log p(target) + fluency * prompt term."""

    fluency: float = 0.0
    """lambda of GReaTer (arXiv 2412.09722): weight of the prompt's own unlikeliness given the text before it."""
    fluency_form: Literal["nll", "perplexity"] = "nll"
    """Mean negative log-likelihood of the prompt's tokens, or its exponential."""
    temperature: float = 1.0
    """The logits of target tokens are divided by it."""
    reduction: Literal["sum", "mean"] = "sum"
    """Over the target's tokens: sum is -log p(target), mean is cross-entropy per token."""


ANSWER_LOSS = Objective()
"""The plain negative log-likelihood of the target."""
