"""What a model can do, as narrow protocols, and how to open one by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from steepest.arguments import checked
from steepest.types import ANSWER_LOSS, Infill, Objective, Prompt, Request, Response, Row

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@runtime_checkable
class Generates(Protocol):
    """Answers requests."""

    @property
    def id(self) -> str:
        """Changes whenever the answers could: name, weights, dtype, quantisation."""
        ...

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """Yield (index of the request, its response) as each finishes, in any order, each index once."""
        ...


@runtime_checkable
class Infills(Protocol):
    """Fills gaps: it reads the text before a gap and the text after it, and writes what stands between."""

    @property
    def id(self) -> str:
        """See `Generates.id`."""
        ...

    def infill(self, requests: Sequence[Infill]) -> Iterator[tuple[int, Response]]:
        """Yield (index, response) as `Generates.generate`; the raw text that belongs into each gap."""
        ...


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a given continuation is."""

    logprobs: Floats
    """[tokens of the continuation], natural log."""
    tokens: int
    """Tokens read to find them, prompt and continuation, special tokens perhaps apart: what it cost."""


@runtime_checkable
class ScoresText(Protocol):
    """Knows how likely a given continuation is."""

    @property
    def id(self) -> str:
        """See `Generates.id`."""
        ...

    def logprobs(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Likelihood]:
        """How likely each (prompt, continuation) is, token by token of the continuation."""
        ...


@runtime_checkable
class Embeds(Protocol):
    """Turns texts into vectors whose dot product says how alike they are."""

    @property
    def id(self) -> str:
        """See `Generates.id`."""
        ...

    def embed(self, texts: Sequence[str]) -> Floats:
        """[texts, dimensions], rows of length 1 (0 where the model gives a text no direction)."""
        ...


@dataclass(frozen=True, slots=True)
class Proposals:
    """A model's likeliest tokens at one position of the prompt, row by row."""

    ids: Ints
    """[rows, k], likeliest first."""
    logprobs: Floats
    """[rows, k], natural log over the whole vocabulary (before `allowed` is applied)."""
    tokens: int
    """Tokens read to find them: what it cost."""


@dataclass(frozen=True, slots=True)
class Gradient:
    """d loss / d one-hot indicator, for chosen tokens at chosen positions, summed over rows."""

    values: list[Floats]
    """One array per position, aligned with its token set `among[i]`: change of the loss, to first order, per unit
    of the token's indicator, relative to the token that stands there (which therefore has 0). Negative helps."""
    loss: Floats
    """[rows], the loss at the current prompt, unweighted."""
    tokens: int
    """Tokens passed forward or backward: a token that does both counts twice."""


@dataclass(frozen=True, slots=True)
class Losses:
    """The loss of each (row, prompt) pair, by forward pass alone."""

    loss: Floats
    """[pairs], the objective."""
    correct: Bools
    """[pairs], whether every target token is the model's first choice (teacher forced)."""
    fluency: Floats
    """[pairs], the prompt term alone, unweighted (mean NLL or perplexity, by the objective's form)."""
    tokens: int


@runtime_checkable
class WhiteBox(Protocol):
    """A model whose gradients with respect to the prompt's tokens can be had. Token ids are the truth."""

    @property
    def id(self) -> str:
        """See `Generates.id`."""
        ...

    @property
    def vocabulary(self) -> Sequence[str]:
        """Text of each token on its own; "" for special tokens and for pieces of a character."""
        ...

    @property
    def context(self) -> int:
        """How many tokens fit."""
        ...

    def encode(self, text: str, before: str = "") -> list[int]:
        """Ids of a prompt `text` where it follows `before` in a user's turn."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of prompt ids; `encode(decode(ids), before) == ids` is what makes ids usable."""
        ...

    def propose(
        self, rows: Sequence[Row], ids: Sequence[int], position: int, k: int, allowed: Bools | None = None
    ) -> Proposals:
        """The k likeliest allowed tokens at `position`, given each row's text before the slot and ids[:position]."""
        ...

    def gradient(
        self,
        rows: Sequence[Row],
        ids: Sequence[int],
        positions: Sequence[int],
        among: Sequence[Sequence[int]],
        weights: Sequence[float] | None = None,
        objective: Objective = ANSWER_LOSS,
    ) -> Gradient:
        """Gradient of sum over rows of weight * loss, in one backward pass per batch for all positions."""
        ...

    def loss(self, rows: Sequence[Row], prompts: Sequence[Sequence[int]], objective: Objective = ANSWER_LOSS) -> Losses:
        """Loss of rows[i] under prompts[i]."""
        ...


@runtime_checkable
class Tells(Protocol):
    """Says how it is doing, for whoever watches a run."""

    @property
    def status(self) -> str:
        """A few words."""
        ...


@checked
def open_model(name: str, **options: Any) -> Any:
    """Open "bundled", "hf:NAME", "hf:./folder", "openai:MODEL@URL" or "file.py:Class"; see `steepest list models`.

    Options for local models: device ("cpu", "cuda", ...), dtype ("float32", "bfloat16", "float16"), threads,
    batch_tokens, trust_remote_code, infill, device_map, quantize ("8bit", "4bit"), replicas, ray_address, timeout; for
    servers: the fields of `models.endpoint.Settings`. Raises ModelError for an unknown name or option.
    """
    from steepest.models.opening import open_by_name

    return open_by_name(name, options)
