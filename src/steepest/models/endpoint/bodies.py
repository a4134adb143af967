"""What is sent: requests as JSON."""

from __future__ import annotations

import json
import re
from typing import Any

from steepest.models.endpoint.settings import Settings
from steepest.types import Infill, Message, Prompt, Request

GO_ON = "Go on from exactly where your last message ends. Write only what comes next; repeat nothing."
"""The user's turn that asks for the rest of a begun answer, where the server cannot be told to go on with it."""


def turns(prompt: Prompt) -> tuple[Message, ...]:
    """A prompt as a conversation."""
    return (Message("user", prompt),) if isinstance(prompt, str) else prompt


def begun(prompt: Prompt) -> str:
    """What the assistant has begun to say; empty for nothing."""
    last = turns(prompt)[-1]
    return last.content if last.role == "assistant" else ""


def plain_text(prompt: Prompt) -> str:
    """A conversation for a base model: each turn ended by a newline, a begun answer left open."""
    start = begun(prompt)
    closed = turns(prompt)[:-1] if start else turns(prompt)
    return "".join(f"{message.content}\n" for message in closed) + start


def path_of(settings: Settings) -> str:
    """Where requests of the chosen kind go."""
    return "/chat/completions" if settings.api == "chat" else "/completions"


def conversation(settings: Settings, prompt: Prompt, open_end: bool) -> dict[str, Any]:
    """The fields that hold the prompt; `open_end` where the server is told to go on with a begun answer."""
    if settings.api == "completions":
        return {"prompt": plain_text(prompt)}
    messages = [{"role": message.role, "content": message.content} for message in turns(prompt)]
    if not begun(prompt):
        return {"messages": messages}
    if open_end:
        return {"messages": messages, "add_generation_prompt": False, "continue_final_message": True}
    return {"messages": [*messages, {"role": "user", "content": GO_ON}]}


def generation(settings: Settings, request: Request) -> bytes:
    """The body of one request, with the plain fields that every server knows."""
    body = {**conversation(settings, request.prompt, settings.prefill), **_sampling(settings, request)}
    if request.stop:
        body["stop"] = list(request.stop)
    return encoded(settings, body)


def infilling(settings: Settings, request: Infill) -> bytes:
    """The body of one request to fill a gap, in the fields of OpenAI's first API."""
    gap = {"prompt": request.gap.before, "suffix": request.gap.after}
    return encoded(settings, {**gap, **_sampling(settings, request)})


def _sampling(settings: Settings, request: Request | Infill) -> dict[str, Any]:
    """The fields that say which model answers, how, and how long."""
    fields = {
        "model": settings.model,
        "temperature": request.temperature,
        settings.max_tokens_field: request.max_tokens,
    }
    return {**fields, "seed": request.seed} if settings.seeds and request.seed is not None else fields


def encoded(settings: Settings, body: dict[str, Any]) -> bytes:
    """A body with the extra fields over it, as bytes."""
    if settings.extra:
        assert not isinstance(settings.extra, str), "read when the settings were made"
        body = {name: value for name, value in {**body, **settings.extra}.items() if value is not None}
    return json.dumps(body).encode()


def prompt_bytes(prompt: Prompt) -> int:
    """How long a prompt is, in bytes of UTF-8; four make about a token of English."""
    return sum(len(message.content.encode(errors="replace")) for message in turns(prompt))


def without_echo(start: str, reply: str) -> str:
    """What an answer given anew adds to a begun one: what it repeats from the end of `start` is cut off.

    A space is put between two words that would run into one.
    """
    said = reply.lstrip()
    for place in _word_starts(start, len(said)):
        tail = start[place:].strip()
        # One word is no repetition: an answer may well begin with the word that came last.
        if said.startswith(tail) and (len(tail.split()) > 1 or tail == start.strip()):
            said = said[len(tail) :]
            break
    else:
        said = reply
    apart = start[-1:].isspace() or said[:1].isspace() or not start or not said
    return said if apart or not (start[-1].isalnum() or start[-1] in ",.:;!?)") or said[0] in ",.:;!?)" else f" {said}"


def _word_starts(text: str, reach: int) -> list[int]:
    """Where words begin in the last `reach` characters or so of `text`, the first word first."""
    body = text.rstrip()
    return [m.start() for m in re.finditer(r"(?<!\S)\S", body) if len(body) - m.start() <= reach]
