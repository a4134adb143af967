"""Whatever servers send is an answer, or an error of one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from aiohttp import web

from models.endpoint.stub import Asked, Say, Stub, error, running, say
from steepest.errors import ModelError
from steepest.models import open_model
from steepest.types import Request

HUGE = "1" + "0" * 400
DEEP = b"[" * 100_000
KNOWN = "One, two, three, four, five, six,"


def asked(script: Callable[[Asked], Say], ask: Callable[[Any], Any], **options: Any) -> str:
    """What a model says to that."""
    with (
        running(script) as server,
        closing(open_model(f"openai:m@{server.url}", retries=0, **options)) as model,
        pytest.raises(ModelError) as refused,
    ):
        ask(model)
    return str(refused.value)


@pytest.mark.parametrize(
    "row",
    [
        '{"index": [1], "embedding": [1]}',
        '{"index": {}, "embedding": [1]}',
        f'{{"embedding": [{HUGE}]}}',
        '{"embedding": [1e300, 1]}',
        '{"embedding": [NaN]}',
        '{"embedding": {"a": 1}}',
        f'{{"embedding": {"[" * 400}1{"]" * 400}}}',
    ],
)
def test_vectors_may_be_anything(row: str) -> None:
    assert "Embeds" in asked(lambda _: Say(f'{{"data": [{row}]}}'.encode()), lambda model: model.embed(["a"]))


def told(tokens: list[Any], values: list[Any], places: Any = None) -> Say:
    logprobs = {"tokens": tokens, "token_logprobs": values, "text_offset": places}
    return say({"choices": [{"text": "x", "logprobs": logprobs}]})


@pytest.mark.parametrize("value", ["a", [1], True, {"a": 1}, -int(HUGE), float("nan")])
def test_likelihoods_may_be_anything(value: Any) -> None:
    def echo(request: Asked) -> Say:
        return told([KNOWN, " x"], [None, value]) if request.body.get("echo") else told([" x"], [value])

    def entries(_: Asked) -> Say:
        last = {"1": {"decoded_token": "c", "logprob": value}}
        return say({"choices": [{"message": {"content": "x"}}], "prompt_logprobs": [None, last]})

    def score(model: Any) -> Any:
        return model.logprobs([("p", "c")])

    assert "ScoresText" in asked(echo, score, api="completions")
    assert "ScoresText" in asked(entries, score)
    assert "ScoresText" in asked(lambda _: told([" x", "y"], [-0.1, -0.1], [value, "b"]), score, api="completions")


@pytest.mark.parametrize("body", [DEEP, b"\xff", json.dumps({"data": [[1]]}).encode()])
def test_lists_of_models_may_be_anything(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    async def listed(self: Stub, _: web.Request) -> web.Response:
        return web.Response(body=body)

    monkeypatch.setattr(Stub, "listed", listed)
    assert "does not know the model" in asked(
        lambda _: error(404, "no"), lambda model: [*model.generate([Request("x")])]
    )
