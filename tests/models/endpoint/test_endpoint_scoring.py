from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from served import Open, Serve
from stub import Asked, Say, error, said, say

from steepest.errors import ModelError
from steepest.types import Message


def tokens(text: str) -> list[str]:
    """Words with the space before them."""
    return re.findall(r"\s*\S+|\s+$", text)


def value(token: str, place: int) -> float:
    return -0.01 * len(token) - 0.1 * place


def scored(asked: Asked, start: str = "", shift: float = 0.0, **changed: Any) -> Say:
    """A right answer of /completions: greedy continuation, echo, log-probabilities."""
    prompt = asked.body["prompt"]
    read = [*([start] if start else []), *tokens(prompt)]
    write = [" seven,", " eight,"][: asked.body["max_tokens"]]
    if asked.body.get("echo"):
        all_ = [*read, *write]
        values = [None, *(value(t, i) + shift for i, t in enumerate(all_) if i)]
    else:
        all_, values = write, [value(t, len(read) + i) for i, t in enumerate(write)]
    told = {"tokens": all_, "token_logprobs": values, **changed}
    return say({"choices": [{"text": "".join(all_), "logprobs": told, "finish_reason": "length"}]})


def score(serve: Serve, endpoint: Open, script: Any, pairs: Any, api: str = "completions") -> Any:
    return endpoint(serve(script), api=api, retries=0).logprobs(pairs)


@pytest.mark.parametrize("start", ["", "<s>"])
def test_an_echo_scores_the_continuation(serve: Serve, endpoint: Open, start: str) -> None:
    pairs = [("The sky is", " very blue."), ("A", ""), ((Message("user", "Two"), Message("assistant", "is")), " two")]
    one, none, two = score(serve, endpoint, lambda asked: scored(asked, start), pairs)
    first = 3 + bool(start)
    # A turn ends with a newline, which here belongs to the next word.
    assert np.allclose(one.logprobs, [value("\n very", first), value(" blue.", first + 1)])
    assert one.logprobs.dtype == np.float32 and one.tokens == 5
    assert none.logprobs.shape == (0,) and none.tokens == 0
    assert np.allclose(two.logprobs, [value(" two", 2 + bool(start))])


def test_a_token_on_the_border_counts(serve: Serve, endpoint: Open) -> None:
    (found,) = score(serve, endpoint, scored, [((Message("assistant", "The sky is bl"),), "ue today")])
    assert np.allclose(found.logprobs, [value(" blue", 3), value(" today", 4)])


def offsets(asked: Asked) -> Say:
    read = tokens(asked.body["prompt"])
    return scored(asked, text_offset=[5 * i for i in range(len(read) + 1)])


@pytest.mark.parametrize(
    "script",
    [
        lambda asked: said("ignored"),
        lambda asked: say({"choices": [{"text": "ignored", "logprobs": None}]}),
        lambda asked: scored(asked) if not asked.body.get("echo") else say({"choices": [{"text": "x"}]}),
        lambda asked: scored(asked, shift=-0.3),
        lambda asked: scored(asked, token_logprobs=[-1.0]),
        lambda asked: scored(asked, tokens=["other", "words"], token_logprobs=[-1.0, -1.0]),
        lambda asked: scored(asked) if asked.number < 2 else scored(asked, shift=50.0),
        lambda asked: scored(asked) if asked.number < 2 else scored(asked, shift=float("nan")),
        lambda asked: scored(asked) if asked.number < 2 else offsets(asked),
        lambda asked: error(400, "echo and logprobs are not supported"),
        lambda asked: error(500, "list index out of range"),
    ],
    ids=["chat", "no logprobs", "no echo", "wrong", "short", "other text", "positive", "nan", "places", "400", "500"],
)
def test_a_server_that_cannot_or_does_wrong_is_refused(serve: Serve, endpoint: Open, script: Any) -> None:
    with pytest.raises(ModelError, match="capability ScoresText.*use vLLM") as caught:
        score(serve, endpoint, script, [("The sky is", " blue.")])
    assert "\n" not in str(caught.value)


def prompted(asked: Asked, end: str = "", **changed: Any) -> Say:
    """vLLM's answer to a conversation with a begun answer."""
    text = "".join(f"<{m['role']}>{m['content']}" for m in asked.body["messages"]) + end
    read = ["<s>", *tokens(text)]
    entries = [{str(i): {"logprob": value(t, i), "rank": 1, "decoded_token": t}} for i, t in enumerate(read)]
    body = {"choices": [{"message": {"content": "x"}}], "prompt_logprobs": [None, *entries[1:]], **changed}
    return say(body)


def test_a_conversation_is_scored_by_prompt_logprobs(serve: Serve, endpoint: Open) -> None:
    conversation = (Message("user", "One plus one?"), Message("assistant", "It is"))
    stub = serve(prompted)
    (found,) = endpoint(stub).logprobs([(conversation, " two indeed")])
    assert np.allclose(found.logprobs, [value(" two", 5), value(" indeed", 6)])
    (asked,) = stub.asked
    assert asked.body["messages"][-1] == {"role": "assistant", "content": "It is two indeed"}
    assert asked.body["continue_final_message"] is True


@pytest.mark.parametrize(
    "script",
    [
        lambda asked: said("ignored"),
        lambda asked: prompted(asked, end="</s>"),
        lambda asked: prompted(asked, prompt_logprobs=[None, 5]),
        lambda asked: prompted(asked, prompt_logprobs=[None, {"1": {"decoded_token": " two"}}]),
    ],
)
def test_a_conversation_that_cannot_be_scored_is_refused(serve: Serve, endpoint: Open, script: Any) -> None:
    with pytest.raises(ModelError, match="capability ScoresText"):
        score(serve, endpoint, script, [("One plus one?", " two")], api="chat")
