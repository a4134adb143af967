"""What comes back: answers read without trust, and refusals told apart."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from steepest.models.endpoint.limits import retry_after
from steepest.types import Finish, Response

Kind = Literal["again", "pause", "unreachable", "never", "misfit", "key", "place", "everyone"]
"""What a refusal means: try again; let the whole endpoint pause and try again; nobody is there; this request will
never be answered; nor would it anywhere (too long, filtered); the key is wrong; model or URL is wrong; no request
like it will ever be answered."""

_AGAIN = (408, 409, 425)
_OVERFLOW = re.compile(
    r"context.{0,3}(length|window|size)|maximum context|too many (input )?tokens|(prompt|input) is too long", re.I
)
_UNSUPPORTED = re.compile(
    r"un(supported|known|recognized|expected)[ _](param(eter)?|value|request argument|field)|extra inputs are not", re.I
)
_LONGEST_QUOTE = 300
_MOST_TOKENS = 10**9
"""No answer takes more; a number beyond all measure is not one that could be divided or priced."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no answer."""

    kind: Kind
    reason: str
    after: float | None = None
    """Seconds that the server asked to wait."""


class Unusable(Exception):
    """A body of status 200 that is no answer."""

    def __init__(self, reason: str, kind: Kind = "again") -> None:
        super().__init__(reason)
        self.refusal = Refusal(kind, reason)


def parsed(data: bytes) -> dict[str, Any]:
    """A body as a JSON object; Unusable for anything else."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Unusable(f"the server's answer is no JSON object: {quote(data)}")
    return body


def first_choice(body: Mapping[str, Any]) -> dict[str, Any]:
    """The first of an answer's choices."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        told = _message(body)
        raise Unusable(f"the server's answer has no choices{f': {told}' if told else ''}")
    return choices[0]


def response(data: bytes, stop: tuple[str, ...], prompt_bytes: int) -> Response:
    """The answer in a body of either API. Where the server counts no tokens, four bytes are taken for one."""
    body = parsed(data)
    choice = first_choice(body)
    message = choice.get("message")
    finish: Finish = "length" if choice.get("finish_reason") == "length" else "stop"
    if isinstance(message, dict):
        text = message.get("content")
        if not isinstance(text, str):
            text = _without_content(message, choice.get("finish_reason"))
    else:
        text = choice.get("text")
        if not isinstance(text, str):
            raise Unusable("the server's answer has no text")
    if choice.get("finish_reason") == "content_filter" and not text:
        raise Unusable("the server's filter took the answer away", "misfit")
    cut = _cut(_sound(text), stop)
    usage = body.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    read = _count(counts.get("prompt_tokens"), prompt_bytes)
    written = _count(counts.get("completion_tokens"), len(text.encode(errors="replace")))
    return Response(cut, read, written, finish if len(cut) == len(text) else "stop")


def refusal(status: int, headers: Mapping[str, str], data: bytes) -> Refusal:
    """What a status other than 200 means."""
    said = quote(data)
    reason = f"HTTP {status}: {said}" if said else f"HTTP {status}"
    error = _error(data)
    if status == 429:
        spent = "insufficient_quota" in (error.get("code"), error.get("type"))
        return Refusal("everyone" if spent else "pause", reason, retry_after(headers.get("Retry-After")))
    # llama.cpp says "Unsupported param" with a 500; asking again helps nobody.
    if (status >= 500 and "unsupported param" not in said.lower()) or status in _AGAIN:
        return Refusal("again", reason, retry_after(headers.get("Retry-After")))
    if status in (401, 403):
        return Refusal("key", reason)
    if status in (404, 405) or error.get("code") == "model_not_found" or error.get("param") == "model":
        return Refusal("place", reason)
    if status == 402 or status < 400 or _UNSUPPORTED.search(f"{error.get('code')} {said}"):
        return Refusal("everyone", reason)
    if status in (400, 413, 422) and (status == 413 or _OVERFLOW.search(f"{error.get('code')} {said}")):
        return Refusal("misfit", f"context overflow: {said or reason}")
    return Refusal("misfit" if error.get("code") == "content_filter" else "never", reason)


def quote(data: bytes) -> str:
    """What a body says went wrong, or how it begins."""
    try:
        body = json.loads(data)
        # Written anew: servers write signs of keys such as "/" in several ways.
        told = _message(body) or json.dumps(body, ensure_ascii=False)
    except (ValueError, RecursionError):
        told = data[:20_000].decode(errors="replace")
    # Whoever shows it takes the key out first and cuts it then, so that no half of a key is left at the end.
    return " ".join(told.split())


def shortened(text: str) -> str:
    """`text`, or its beginning."""
    return text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 3] + "..."


def _error(data: bytes) -> dict[str, Any]:
    """The error object in a body; empty where there is none."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    error = body.get("error", body) if isinstance(body, dict) else {}
    return error if isinstance(error, dict) else {}


def _message(body: Any) -> str:
    """The sentence in an error body, in the shapes that servers use."""
    if not isinstance(body, dict):
        return ""
    error = body.get("error", body)
    told = error.get("message", error.get("detail", "")) if isinstance(error, dict) else error
    return told if isinstance(told, str) else json.dumps(told)


def _without_content(message: Mapping[str, Any], finish: object) -> str:
    """The text of a message without content: a refusal's words, or nothing where the reasoning was cut off."""
    refused = message.get("refusal")
    if isinstance(refused, str) and refused:
        return refused
    if message.get("reasoning_content") or message.get("reasoning"):
        if finish == "length":
            return ""
        raise Unusable("the model reasoned and gave no answer", "never")
    if finish == "content_filter":
        raise Unusable("the server's filter took the answer away", "misfit")
    raise Unusable("the server's answer has no content")


def _cut(text: str, stop: tuple[str, ...]) -> str:
    """`text` up to the first stop; some servers leave it in, or do not stop."""
    ends = [place for place in (text.find(each) for each in stop if each) if place >= 0]
    return text[: min(ends)] if ends else text


def _sound(text: str) -> str:
    """`text` without halves of characters, which JSON can hold and files cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _count(told: object, size: int) -> int:
    """A count of tokens as the server tells it, else estimated from bytes."""
    return told if type(told) is int and 0 <= told <= _MOST_TOKENS else -(-size // 4)
