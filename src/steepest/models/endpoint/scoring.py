"""Log-probabilities of given continuations, from servers that can tell them.

Two ways, by the option `api`. "completions": the whole text is sent with `echo` and `logprobs`, as in OpenAI's first
API. "chat": the continuation is sent as a begun answer with vLLM's `prompt_logprobs`. Servers that know neither
often ignore the fields, and some answer `echo` with wrong numbers, so every answer must spell out the text that was
sent, and an echo must first agree with what the server said while it generated the same tokens.

A token counts if any of the continuation is in it: one that straddles the border with the prompt counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from steepest.errors import ModelError
from steepest.models import Likelihood
from steepest.models.endpoint.bodies import begun, encoded, path_of, plain_text, turns
from steepest.models.endpoint.replies import Refusal, first_choice, parsed, shortened
from steepest.models.endpoint.settings import Settings
from steepest.models.endpoint.transport import Batch, Transport
from steepest.types import Message, Prompt

_KNOWN = "One, two, three, four, five, six,"
_TOLERANCE = 0.15
"""Nats between the same token generated and echoed; half precision moves them by some hundredths."""
_MOST = 1e9
"""Nats; servers say -9999 and the like for what is impossible."""


@dataclass(frozen=True, slots=True)
class _Tokens:
    """Tokens as text, each with its log-probability (None for the first of all)."""

    texts: list[str]
    values: list[float | None]


class _Lacking(Exception):
    """What is wrong with an answer: the server lacks the capability."""


class Scorer:
    """Scores continuations through an endpoint, once its echo has been checked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._is_checked = settings.api == "chat"

    def logprobs(self, transport: Transport, pairs: Sequence[tuple[Prompt, str]]) -> list[Likelihood]:
        """See `ScoresText.logprobs`; ModelError where the server cannot, or cannot be trusted to."""
        found = [Likelihood(np.empty(0, np.float32), 0)] * len(pairs)
        wanted = [i for i, (_, continuation) in enumerate(pairs) if continuation]
        try:
            if wanted and not self._is_checked:
                self._check(transport)
                self._is_checked = True
            texts = [_joined(self._settings, *pairs[i]) for i in wanted]
            answers = self._asked(transport, [self._scoring(*pairs[i]) for i in wanted])
            for i, text, answer in zip(wanted, texts, answers, strict=True):
                read = _echoed(answer, text) if self._settings.api == "completions" else _prompted(answer, text)
                found[i] = Likelihood(np.array(_last(read, pairs[i][1]), np.float32), len(read.texts))
        except _Lacking as lacking:
            why = shortened(self._settings.redacted(str(lacking)))
            raise ModelError(
                f"the capability ScoresText needs a server that tells the log-probabilities of given text, got "
                f"{self._settings.url}, where {why}; use vLLM (with api=completions for plain text), or hf:NAME, or, "
                "where it had answered before, see its log and resume"
            ) from None
        return found

    def _scoring(self, prompt: Prompt, continuation: str) -> dict[str, Any]:
        body = {"model": self._settings.model, "max_tokens": 1, "temperature": 0.0}
        if self._settings.api == "completions":
            return {**body, "prompt": plain_text(prompt) + continuation, "echo": True, "logprobs": 1}
        start = begun(prompt)
        before = turns(prompt)[:-1] if start else turns(prompt)
        messages = [*before, Message("assistant", start + continuation)]
        said = [{"role": message.role, "content": message.content} for message in messages]
        open_end = {"add_generation_prompt": False, "continue_final_message": True, "prompt_logprobs": 0}
        return {**body, "messages": said, **open_end}

    def _check(self, transport: Transport) -> None:
        """An echo must tell of generated tokens what was told when they were generated."""
        plain = {"model": self._settings.model, "prompt": _KNOWN, "temperature": 0.0, "max_tokens": 4, "logprobs": 1}
        (answer,) = self._asked(transport, [plain])
        told = _tokens(first_choice(answer).get("logprobs"))
        text = "".join(told.texts)
        whole = {**plain, "prompt": _KNOWN + text, "max_tokens": 1, "echo": True}
        (answer,) = self._asked(transport, [whole])
        echoed = _echoed(answer, _KNOWN + text)
        again = _Tokens(echoed.texts[-len(told.texts) :], echoed.values[-len(told.texts) :])
        if not text or again.texts != told.texts:
            raise _Lacking("the echo could not be checked: it divides a generated text into other tokens")
        for value, echo in zip(told.values, again.values, strict=True):
            if value is None or echo is None or abs(value - echo) > _TOLERANCE:
                raise _Lacking(f"the echo gives a token {echo} that was generated with {value}")

    def _asked(self, transport: Transport, asked: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The bodies of the answers, in order."""
        path = path_of(self._settings)
        batch = Batch(
            size=len(asked),
            path=path,
            body=lambda i: encoded(self._settings, asked[i]),
            read=lambda _, data: _checked(data),
            is_optional=True,
        )
        answers: dict[int, dict[str, Any]] = {}
        with closing(transport.run(batch)) as outcomes:
            for outcome in outcomes:
                if isinstance(outcome.value, Refusal):
                    raise _Lacking(shortened(self._settings.redacted(outcome.value.reason)))
                answers[outcome.index] = outcome.value
        return [answers[i] for i in range(len(asked))]


def _checked(data: bytes) -> dict[str, Any]:
    body = parsed(data)
    first_choice(body)
    return body


def _joined(settings: Settings, prompt: Prompt, continuation: str) -> str:
    """The text that an answer must spell out: everything, or the last turn where a template stands around it."""
    return (plain_text(prompt) if settings.api == "completions" else begun(prompt)) + continuation


def _echoed(body: dict[str, Any], text: str) -> _Tokens:
    """The tokens of `text` in an echo; a start token before them and what was generated after are left out."""
    tokens = _tokens(first_choice(body).get("logprobs"))
    for first in (0, 1):
        texts = tokens.texts[first:]
        count = _count(texts, len(text))
        if "".join(texts[:count]) == text:
            return _Tokens(texts[:count], tokens.values[first : first + count])
    raise _Lacking("the echoed tokens do not spell out the text that was sent")


def _tokens(logprobs: Any) -> _Tokens:
    """The tokens of a /completions answer."""
    if not isinstance(logprobs, dict) or not isinstance(logprobs.get("tokens"), list):
        raise _Lacking("no log-probabilities were sent")
    texts, values = logprobs["tokens"], logprobs.get("token_logprobs")
    if not isinstance(values, list) or len(values) != len(texts) or not all(isinstance(t, str) for t in texts):
        raise _Lacking("there is not one log-probability for each token")
    places = logprobs.get("text_offset")
    if isinstance(places, list) and places:
        if not all(type(place) is int for place in places):
            raise _Lacking("the places of the tokens are no whole numbers")
        lengths = [b - a for a, b in zip(places, places[1:], strict=False)]
        # The first may be a start token, which has no place in the text.
        if len(places) != len(texts) or lengths[1:] != [len(text) for text in texts[1:-1]]:
            raise _Lacking("the places of the tokens do not fit their lengths")
    return _Tokens(texts, [_number(value) for value in values])


def _prompted(body: dict[str, Any], text: str) -> _Tokens:
    """The tokens of a vLLM prompt, which must end with `text`."""
    entries = body.get("prompt_logprobs")
    if not isinstance(entries, list) or not entries:
        raise _Lacking("no log-probabilities of the prompt were sent")
    texts: list[str] = []
    values: list[float | None] = []
    for entry in entries:
        chosen = _chosen(entry)
        texts.append(chosen.get("decoded_token", ""))
        values.append(_number(chosen.get("logprob")))
    if not "".join(texts).endswith(text):
        raise _Lacking("the prompt's tokens do not end with the text that was sent")
    return _Tokens(texts, values)


def _chosen(entry: Any) -> dict[str, Any]:
    """The token at one place of a vLLM prompt; nothing is told of the first."""
    if entry is None:
        return {}
    if isinstance(entry, dict) and len(entry) == 1:
        (chosen,) = entry.values()
        if isinstance(chosen, dict) and isinstance(chosen.get("decoded_token"), str):
            return chosen
    raise _Lacking("the log-probabilities of the prompt are not one for each token")


def _number(told: object) -> float | None:
    """A log-probability as it was told; None for none."""
    if told is None:
        return None
    if isinstance(told, bool) or not isinstance(told, int | float) or abs(told) > _MOST:
        raise _Lacking(f"a token's log-probability is {told!r}")
    return float(told)


def _last(tokens: _Tokens, continuation: str) -> list[float]:
    """Values of the tokens at the end that hold any of the continuation."""
    count = _count(tokens.texts[::-1], len(continuation))
    values = tokens.values[-count:]
    for value in values:
        if value is None or not math.isfinite(value) or value > 1e-3:
            raise _Lacking(f"a token's log-probability is {value}")
    return [float(value) for value in values if value is not None]


def _count(texts: Sequence[str], length: int) -> int:
    """How many texts it takes to make up `length` characters."""
    total = 0
    for count, text in enumerate(texts):
        if total >= length:
            return count
        total += len(text)
    return len(texts)
