from __future__ import annotations

import pytest
from served import Open, Serve
from stub import Asked, Say, error, say

from steepest.errors import ModelError
from steepest.models import Generates, Infills, ScoresText, open_model
from steepest.types import Gap, Infill, Response

ASKED = Infill(Gap("He said: ", "\nAnd left."), temperature=0.9, max_tokens=9, seed=3)


def fills(asked: Asked, counts: bool = True) -> Say:
    """A server that reads both sides, and counts them."""
    read = len(f"{asked.body['prompt']}{asked.body['suffix'] if counts else ''}".split())
    body = {"text": f"Do it, {asked.body.get('seed')}.", "finish_reason": "stop"}
    return say({"choices": [body], "usage": {"prompt_tokens": read, "completion_tokens": 4}})


def test_only_what_is_asked_in_plain_text_fills_gaps(endpoint: Open) -> None:
    model = endpoint("http://127.0.0.1:9/v1", api="completions")
    assert isinstance(model, Infills) and isinstance(model, Generates) and isinstance(model, ScoresText)
    assert not isinstance(endpoint("http://127.0.0.1:9/v1"), Infills)
    for api in ("chat", "completions"):
        opened = open_model("openai:m@http://127.0.0.1:9/v1", api=api)
        assert isinstance(opened, Infills) == (api == "completions")


def test_both_sides_of_a_gap_are_sent_as_they_are(serve: Serve, endpoint: Open) -> None:
    stub = serve(fills)
    ((index, response),) = endpoint(stub, api="completions").infill([ASKED])
    assert (index, response) == (0, Response("Do it, 3.", 4, 4))
    assert stub.asked[-1].path == "/completions"
    assert stub.asked[-1].body == {
        "model": "m",
        "prompt": "He said: ",
        "suffix": "\nAnd left.",
        "temperature": 0.9,
        "max_tokens": 9,
        "seed": 3,
    }


def test_the_server_is_checked_once_with_two_tokens(serve: Serve, endpoint: Open) -> None:
    stub = serve(fills)
    model = endpoint(stub, api="completions")
    assert list(model.infill([])) == [] and stub.asked == []
    assert sorted(index for index, _ in model.infill([ASKED, ASKED])) == [0, 1]
    list(model.infill([ASKED]))
    assert [asked.body["max_tokens"] for asked in stub.asked] == [1, 1, 9, 9, 9]


def test_an_answer_that_never_comes_is_one_failure(serve: Serve, endpoint: Open) -> None:
    def script(asked: Asked) -> Say:
        return error(400, "filtered", "content_filter") if asked.body["suffix"] == "!" else fills(asked)

    found = dict(endpoint(serve(script), api="completions").infill([ASKED, Infill(Gap("a", "!"))]))
    assert found[0].finish == "stop" and found[1].finish == "failed" and "filtered" in found[1].reason


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (error(400, "suffix is not currently supported"), "suffix is not currently supported"),
        (error(400, "Unrecognized request argument supplied: suffix"), "Unrecognized request argument"),
        (error(400, "registry/m:latest does not support insert"), "does not support insert"),
        (error(500, "Unsupported param: suffix"), "Unsupported param: suffix"),
        (say({"choices": [{"text": "four"}]}), "counts 0 tokens with a suffix and 0 without"),
    ],
)
def test_a_server_that_takes_no_suffix_is_refused_with_a_remedy(
    serve: Serve, endpoint: Open, reply: Say, told: str
) -> None:
    stub = serve(lambda asked: reply)
    with pytest.raises(ModelError, match="the capability Infills needs .* mode=forward") as refused:
        list(endpoint(stub, api="completions").infill([ASKED]))
    assert told in str(refused.value) and "\n" not in str(refused.value)
    assert len(stub.asked) <= 2


def test_a_server_that_leaves_the_suffix_out_is_not_believed(serve: Serve, endpoint: Open) -> None:
    stub = serve(lambda asked: fills(asked, counts=False))
    with pytest.raises(ModelError, match="counts 3 tokens with a suffix and 3 without"):
        list(endpoint(stub, api="completions").infill([ASKED]))


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (error(404, "no such model"), "does not know the model 'm'"),
        (error(503, "starting"), "answered none of 1 requests"),
        (error(401, "who?"), "refuses the key"),
    ],
)
def test_other_troubles_are_told_as_what_they_are(serve: Serve, endpoint: Open, reply: Say, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        list(endpoint(serve(lambda asked: reply), api="completions", retries=1).infill([ASKED]))
