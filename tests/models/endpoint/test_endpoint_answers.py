from __future__ import annotations

import gc
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from served import KEY, Open, Serve
from stub import Asked, Say, error, said, say

from steepest.codec import decode, encode
from steepest.errors import ModelError
from steepest.models import Embeds, Generates, ScoresText
from steepest.models.endpoint import Endpoint, Settings
from steepest.models.endpoint.bodies import GO_ON, without_echo
from steepest.testing.contract import GeneratesContract
from steepest.types import Message, Request, Response

CONVERSATION = (Message("system", "Be brief."), Message("user", "One plus one?"))
BEGUN = (*CONVERSATION, Message("assistant", "Let me see. Therefore, the answer is"))


class TestEndpoint(GeneratesContract):
    @pytest.fixture
    def model(self, serve: Serve, endpoint: Open) -> Generates:
        return endpoint(serve(lambda asked: said(f"{asked.text} {asked.body.get('seed')}")))

    @pytest.fixture
    def broken(self, endpoint: Open) -> Generates:
        return endpoint("http://127.0.0.1:9/v1")


def test_it_has_its_capabilities(endpoint: Open) -> None:
    model = endpoint("http://127.0.0.1:9/v1")
    assert isinstance(model, Generates) and isinstance(model, ScoresText) and isinstance(model, Embeds)


def answer_of(serve: Serve, endpoint: Open, say: Say, request: Request, **options: object) -> Response:
    ((_, response),) = endpoint(serve(lambda asked: say), retries=0, **options).generate([request])
    return response


def body_of(serve: Serve, endpoint: Open, request: Request, **options: object) -> dict[str, object]:
    stub = serve(lambda asked: said("ok") if "messages" in asked.body else say({"choices": [{"text": "ok"}]}))
    list(endpoint(stub, **options).generate([request]))
    (asked,) = stub.asked
    return {"path": asked.path, **asked.body}


def test_only_plain_fields_are_sent(serve: Serve, endpoint: Open) -> None:
    assert body_of(serve, endpoint, Request("Hé?")) == {
        "path": "/chat/completions",
        "model": "m",
        "messages": [{"role": "user", "content": "Hé?"}],
        "temperature": 0.0,
        "max_tokens": 256,
    }


def test_what_changes_an_answer_is_sent(serve: Serve, endpoint: Open) -> None:
    request = Request(CONVERSATION, temperature=0.7, max_tokens=9, stop=("\n",), seed=3)
    body = body_of(
        serve, endpoint, request, max_tokens_field="max_completion_tokens", extra='{"reasoning_effort": "low"}'
    )
    assert body["messages"] == [{"role": m.role, "content": m.content} for m in CONVERSATION]
    assert (body["temperature"], body["max_completion_tokens"], body["stop"], body["seed"]) == (0.7, 9, ["\n"], 3)
    assert body["reasoning_effort"] == "low" and "max_tokens" not in body
    body = body_of(serve, endpoint, request, seeds=False, extra={"temperature": None})
    assert "seed" not in body and "temperature" not in body


def test_base_models_read_plain_text(serve: Serve, endpoint: Open) -> None:
    body = body_of(serve, endpoint, Request(BEGUN), api="completions")
    assert body["path"] == "/completions"
    assert body["prompt"] == "Be brief.\nOne plus one?\nLet me see. Therefore, the answer is"


def test_a_begun_answer_is_sent_as_such_where_the_server_knows_how(serve: Serve, endpoint: Open) -> None:
    body = body_of(serve, endpoint, Request(BEGUN), prefill=True)
    assert body["messages"][-1] == {"role": "assistant", "content": BEGUN[-1].content}  # type: ignore[index]
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)


def test_elsewhere_a_turn_asks_for_the_rest_of_it(serve: Serve, endpoint: Open) -> None:
    body = body_of(serve, endpoint, Request(BEGUN))
    assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant", "user"]  # type: ignore[attr-defined]
    assert body["messages"][-1]["content"] == GO_ON  # type: ignore[index]
    assert "continue_final_message" not in body


@pytest.mark.parametrize(
    ("begun", "reply", "rest"),
    [
        ("The answer is", "2.", " 2."),
        ("The answer is", " 2.", " 2."),
        ("The answer is ", "2.", "2."),
        ("The answer is", "The answer is 2.", " 2."),
        ("One and one. The answer is", "The answer is 2.", " 2."),
        ("One and one. The answer is", "answer is $2", " $2"),
        ("The answer is", "is", " is"),
        ("It is, is", "is it", " is it"),
        ("So \\boxed{", "2}", "2}"),
        ("The answer is", ".", "."),
        ("The answer is", "", ""),
        ("Done:", "Done: yes", " yes"),
        ("a b c", "b c\nd", "\nd"),
    ],
)
def test_what_a_reply_repeats_is_cut_off(begun: str, reply: str, rest: str) -> None:
    assert without_echo(begun, reply) == rest


def test_the_rest_of_a_begun_answer_is_answered(serve: Serve, endpoint: Open) -> None:
    reply = said("Therefore, the answer is 2")
    assert answer_of(serve, endpoint, reply, Request(BEGUN)).text == " 2"
    assert answer_of(serve, endpoint, reply, Request(BEGUN), prefill=True).text == "Therefore, the answer is 2"


@pytest.mark.parametrize(
    ("reply", "response"),
    [
        (said("yes"), Response("yes", 7, 3)),
        (said("yes", "length"), Response("yes", 7, 3, "length")),
        (said(""), Response("", 7, 3)),
        (said("12345", usage=False), Response("12345", 3, 2)),
        (said("yes", "banana"), Response("yes", 7, 3)),
        (said("a\nb"), Response("a", 7, 3)),
        (said("a\nb", "length"), Response("a", 7, 3)),
        (said("\ud83d!"), Response("\ufffd!", 7, 3)),
        (said(None, refusal="I will not."), Response("I will not.", 7, 3)),
        (said(None, "length", reasoning_content="Hm"), Response("", 7, 3, "length")),
        (say({"choices": [{"text": "plain", "finish_reason": "length"}]}), Response("plain", 3, 2, "length")),
        (say({"choices": [{"text": "plain"}], "usage": {"prompt_tokens": 10**400}}), Response("plain", 3, 2)),
    ],
    ids=lambda value: value.body.decode()[:60] if isinstance(value, Say) else "",
)
def test_answers_are_read(serve: Serve, endpoint: Open, reply: Say, response: Response) -> None:
    assert answer_of(serve, endpoint, reply, Request("123456789", stop=("\n",))) == response


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (said(None, reasoning_content="Hm"), "the model reasoned and gave no answer"),
        (said(None, "content_filter"), "the server's filter took the answer away"),
        (said("", "content_filter"), "the server's filter took the answer away"),
        (error(400, "filtered", "content_filter"), "HTTP 400: filtered"),
        (say({"detail": [{"loc": "x"}]}, 422), 'HTTP 422: [{"loc": "x"}]'),
        (Say(b"[" * 100_000, 400), "HTTP 400: " + "[" * 287 + "..."),
    ],
)
def test_what_will_not_be_answered_is_not_asked_again(serve: Serve, endpoint: Open, reply: Say, reason: str) -> None:
    stub = serve(lambda asked: reply)
    ((_, response),) = endpoint(stub).generate([Request("q")])
    assert response == Response("", finish="failed", reason=reason)
    assert len(stub.asked) == 1


def slow_first(asked: Asked) -> Say:
    return said(asked.text.upper()) if asked.text != "q0" else Say(said("Q0").body, delay=0.2)


def test_answers_come_as_they_finish(serve: Serve, endpoint: Open) -> None:
    stub = serve(slow_first)
    answers = list(endpoint(stub).generate([Request(f"q{i}") for i in range(20)]))
    assert answers[-1][0] == 0
    assert {index: answer.text for index, answer in answers} == {i: f"Q{i}" for i in range(20)}


def test_concurrency_is_a_bound_that_is_reached(serve: Serve, endpoint: Open) -> None:
    stub = serve(lambda asked: Say(said("a").body, delay=0.01))
    model = endpoint(stub, concurrency=8)
    list(model.generate([Request(f"q{i}") for i in range(60)]))
    assert stub.peak == 8
    assert len(stub.connections) == 8


def test_threads_share_the_bound(serve: Serve, endpoint: Open) -> None:
    stub = serve(lambda asked: Say(said(asked.text).body, delay=0.01))
    model = endpoint(stub, concurrency=4)
    told: dict[int, list[str]] = {}

    def ask(thread: int) -> None:
        answers = dict(model.generate([Request(f"{thread} {i}") for i in range(20)]))
        told[thread] = [answers[i].text for i in range(20)]

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert told == {n: [f"{n} {i}" for i in range(20)] for n in range(4)}
    assert stub.peak <= 4


def seconds(model: Endpoint, requests: Sequence[Request]) -> float:
    """How long they took; only lower bounds hold on a busy machine."""
    started = time.monotonic()
    list(model.generate(requests))
    return time.monotonic() - started


def test_requests_a_minute_are_spread(serve: Serve, endpoint: Open) -> None:
    requests = [Request(f"q{i}") for i in range(30)]
    assert seconds(endpoint(serve(), rpm=1200), requests) > 0.45  # 20 at once, 20 a second after


def test_tokens_a_minute_are_spread(serve: Serve, endpoint: Open) -> None:
    requests = [Request("q" * 40, max_tokens=10) for _ in range(3)]
    assert seconds(endpoint(serve(lambda asked: said("a")), tpm=1200), requests) > 0.9  # 20 a second; 20, then 10 each


def test_it_opens_again_after_closing(serve: Serve, endpoint: Open) -> None:
    model = endpoint(serve())
    for _ in range(2):
        assert dict(model.generate([Request("a")]))[0].text == "A"
        model.close()
        model.close()


def test_a_dropped_endpoint_ends_its_thread(serve: Serve) -> None:
    before = set(threading.enumerate())
    stub = serve()
    model = Endpoint(Settings("m", stub.url))
    list(model.generate([Request("a")]))
    (thread,) = {t for t in threading.enumerate() if t.name == "steepest-endpoint"} - before
    del model
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()


def test_long_prompts_are_sent_whole(serve: Serve, endpoint: Open) -> None:
    text = "a long story " * 100_000
    stub = serve(lambda asked: said(str(len(asked.text))))
    assert dict(endpoint(stub).generate([Request(text)]))[0].text == str(len(text))


def vectors(asked: Asked) -> Say:
    rows = [{"index": i, "embedding": [3.0 * len(text), 4.0 * len(text)]} for i, text in enumerate(asked.body["input"])]
    return say({"data": rows[::-1]})


def test_texts_become_unit_vectors(serve: Serve, endpoint: Open) -> None:
    stub = serve(vectors)
    found = endpoint(stub).embed(["a" * (1 + i % 3) for i in range(100)])
    assert found.dtype == np.float32 and found.shape == (100, 2)
    assert np.allclose(found, [0.6, 0.8])
    assert [asked.path for asked in stub.asked] == ["/embeddings"] * 2


@pytest.mark.parametrize(
    "body",
    [
        {"data": []},
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}]},
        {"data": [{"embedding": "AAAA"}, {"embedding": "AAAA"}]},
        {"data": [{"embedding": [1.0]}, {"embedding": [None]}]},
        {"object": "list"},
    ],
)
def test_vectors_that_are_none_are_refused(serve: Serve, endpoint: Open, body: object) -> None:
    with pytest.raises(ModelError, match="capability Embeds"):
        endpoint(serve(lambda asked: say(body)), retries=0).embed(["a", "b"])


def test_a_server_without_embeddings_is_told(serve: Serve, endpoint: Open) -> None:
    with pytest.raises(ModelError, match="capability Embeds.*HTTP 404"):
        endpoint(serve(lambda asked: error(404, "Not Found"))).embed(["a"])


def test_nothing_embedded(endpoint: Open) -> None:
    assert endpoint("http://127.0.0.1:9/v1").embed([]).shape == (0, 0)


def test_the_journal_can_hold_what_comes_back(serve: Serve, endpoint: Open) -> None:
    response = answer_of(serve, endpoint, error(500, f"down {KEY}"), Request("q"))
    assert decode(Response, json.loads(json.dumps(encode(response))), "an answer") == response
    assert KEY not in response.reason


def test_leaving_at_once_keeps_the_places_free(serve: Serve, endpoint: Open) -> None:
    model = endpoint(serve(), concurrency=2)
    for _ in range(20):
        answers = model.generate([Request(f"q{i}") for i in range(5)])
        next(answers)
        answers.close()  # type: ignore[attr-defined]
    assert len(dict(model.generate([Request(f"q{i}") for i in range(9)]))) == 9


SCRIPT = """
import signal, sys
# A suite that runs in the background hands on that interrupts are ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
from steepest.models import open_model
from steepest.types import Request
model = open_model("openai:m@" + sys.argv[1])
for _, answer in model.generate([Request(f"q{i}") for i in range(5)]):
    print(answer.text, flush=True)
"""


def test_a_process_ends_without_closing_and_without_a_word(serve: Serve) -> None:
    command = [sys.executable, "-W", "error", "-c", SCRIPT, serve().url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (sorted(done.stdout.split()), done.stderr, done.returncode) == ([f"Q{i}" for i in range(5)], "", 0)


def test_an_interrupt_ends_the_wait(serve: Serve) -> None:
    stub = serve(lambda asked: said("first") if asked.text == "q0" else Say(fault="silence"))
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, stub.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "first\n"
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert told.strip().endswith("KeyboardInterrupt") and process.returncode != 0
