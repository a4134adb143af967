"""A server of the models in `fault_worlds` that fails in every way it can, and the same models without a server.

Which request fails how is decided by dice of the request itself and of how often it has come, so that a storm is the
same in whatever order requests arrive. Sooner or later each is answered, and always alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fault_worlds import written

from models.endpoint.stub import Asked, Say, error, say
from steepest.models.scripted import Scripted, text_of
from steepest.testing.toy import toy_answer
from steepest.types import Message, Request, Response

ROLES = ("task", "optimizer", "judge")
POISON: Mapping[str, int] = {"what is 24 + 17?": 400, "what is 45 + 32?": 500}
"""Questions that are never answered, and the status they get."""
_DOCUMENT = {"Content-Type": "text/html"}
_GOOD = say({"choices": [{"message": {"content": "This must never be read as an answer."}}]}).body
FAULTS: Mapping[str, tuple[float, Say]] = {
    "429, at once": (5, error(429, "slow down", Retry_After="0")),
    "429": (4, error(429, "slow down")),
    "429, a second": (2, error(429, "slow down", Retry_After="1")),
    "429, in the past": (1, error(429, "slow down", Retry_After="Thu, 01 Jan 1970 00:00:00 GMT")),
    "429, before now": (1, error(429, "slow down", Retry_After="-7")),
    "429, no time": (1, error(429, "slow down", Retry_After="soon")),
    "500": (4, error(500, "boom")),
    "502": (4, Say(b"<html><body>Bad gateway</body></html>", 502, _DOCUMENT)),
    "503": (4, error(503, "overloaded", Retry_After="0")),
    "reset": (4, Say(fault="reset")),
    "half": (4, Say(_GOOD, fault="half")),
    "cut": (4, Say(_GOOD, fault="cut")),
    "torn": (3, Say(b'{"choices": [{"mess')),
    "html": (3, Say(b"<html><body>Please log in</body></html>", 200, _DOCUMENT)),
    "error in 200": (3, say({"error": {"message": "in a 200"}})),
    "null": (3, say({"choices": [{"message": {"role": "assistant", "content": None}, "finish_reason": "stop"}]})),
    "no choices": (1, say({"choices": []})),
    "nothing": (1, Say(b"")),
}
"""Name -> how often it comes, and what is said."""
LONG: Mapping[str, tuple[float, Say]] = {
    "silence": (1, Say(fault="silence")),
    "429, in a century": (0.05, error(429, "slow down", Retry_After="3155760000")),
}
"""What takes its time: as long as the client has patience, or two minutes."""


@dataclass(frozen=True)
class Storm:
    """Which request fails, and how."""

    seed: int = 0
    share: float = 0.4
    """Of requests that fail, each time they come."""
    longest: int = 3
    """Times that a request may fail, before it is answered."""
    slowest: float = 0.0
    """Seconds that an answer takes at most."""
    faults: Mapping[str, tuple[float, Say]] = field(default_factory=lambda: FAULTS)
    poison: Mapping[str, int] = field(default_factory=lambda: POISON)

    def __call__(self, asked: Asked) -> Say:
        """What is said to a request: a `Script`."""
        role = asked.body["model"].partition("-")[0]
        if status := _poison(self.poison, role, asked.text):
            return error(status, f"poison {status}")
        dice = random.Random(f"{self.seed} {asked.body} {asked.tries}")
        if asked.tries < self.longest and dice.random() < self.share:
            weights, says = zip(*self.faults.values(), strict=True)
            return dice.choices(says, weights)[0]
        return answer(asked, dice.random() * self.slowest)


def answer(asked: Asked, delay: float = 0.0) -> Say:
    """The answer of the model that is asked, with as many tokens as `Scripted` counts."""
    body = asked.body
    prompt = tuple(Message(each["role"], each["content"]) for each in body["messages"])
    request = Request(prompt, body["temperature"], body["max_tokens"], seed=body.get("seed"))
    text = _text(body["model"].partition("-")[0], request)
    counts = {"prompt_tokens": sum(len(m.content.split()) for m in prompt), "completion_tokens": len(text.split())}
    message = {"role": "assistant", "content": text}
    said = say({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": counts})
    return Say(said.body, delay=delay)


class AtOnce(Scripted):
    """Asked like a server, so that accounts near a limit are kept in the same order; its answers are there at once."""

    def begin(
        self, requests: Sequence[Request], answered: Callable[[int, Response], None], failed: Callable[..., None]
    ) -> Callable[[], None]:
        """See `Overlaps.begin`."""
        for index, response in self.generate(requests):
            answered(index, response)
        return lambda: None


def calm(poison: Mapping[str, int] = POISON) -> dict[str, Any]:
    """Role -> the same model in this process, without a fault."""

    def script(role: str, request: Request) -> str | Response:
        if status := _poison(poison, role, text_of(request.prompt)):
            return Response("", finish="failed", reason=f"HTTP {status}: poison {status}")
        return _text(role, request)

    return {role: AtOnce(lambda request, role=role: script(role, request), role) for role in ROLES}


def _poison(poison: Mapping[str, int], role: str, text: str) -> int:
    """The status for a poisoned row; 0 for others, and for those that read of it."""
    return next((status for question, status in poison.items() if role == "task" and question in text), 0)


def _text(role: str, request: Request) -> str:
    return toy_answer(request) if role == "task" else written(request)
