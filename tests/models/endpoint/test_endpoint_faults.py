from __future__ import annotations

import gzip
import multiprocessing
import socket
import sys
import threading
import time
import traceback
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from multiprocessing.connection import Connection

import pytest
from served import KEY, Open, Serve
from stub import Say, echo, error, said, say

from steepest.errors import ModelError
from steepest.models import Tells
from steepest.models.endpoint.servers import LARGEST_BODY
from steepest.types import Request, Response

HTML = Say(b"<html><body>Bad gateway</body></html>", headers={"Content-Type": "text/html"})
HALF = Say(said("A").body, fault="half")
CUT = Say(said("A").body, fault="cut")
RESET = Say(fault="reset")


def asks(n: int) -> list[Request]:
    return [Request(f"q{i}") for i in range(n)]


def refused(act: object) -> str:
    """The message of the ModelError, one line without the key in it or in its traceback."""
    with pytest.raises(ModelError) as caught:
        act()  # type: ignore[operator]
    shown = "".join(traceback.format_exception(caught.value))
    assert KEY not in shown and KEY[:12] not in shown
    assert "\n" not in str(caught.value) and ";" in str(caught.value)
    return str(caught.value)


def all_right(answers: dict[int, Response], n: int) -> bool:
    return {i: (a.text, a.finish, a.reason) for i, a in answers.items()} == {i: (f"Q{i}", "stop", "") for i in range(n)}


@pytest.mark.parametrize(
    "fault",
    [
        error(500, "boom"),
        error(503, "busy", Retry_After="0"),
        error(408, "slow"),
        error(409, "conflict"),
        error(425, "early"),
        error(429, "too many", Retry_After="0"),
        error(429, "too many"),
        error(429, "too many", Retry_After="soon"),
        error(429, "too many", Retry_After="-3155760000"),
        error(429, "too many", Retry_After="Thu, 01 Jan 1970 00:00:00 GMT"),
        Say(HTML.body, 502, HTML.headers),
        RESET,
        HALF,
        CUT,
        HTML,
        Say(b'{"choices": [{"mess'),
        Say(b""),
        say({}),
        say([]),
        say({"choices": []}),
        say({"choices": [None]}),
        say({"choices": [{"message": {"content": 5}}]}),
        say({"error": {"message": "in a 200"}}),
        said(None),
    ],
    ids=lambda say: f"{say.status} {say.fault or say.body[:24].decode()}",
)
def test_what_passes_is_tried_again(serve: Serve, endpoint: Open, fault: Say) -> None:
    stub = serve(lambda asked: fault if asked.tries < 2 and asked.text in ("q1", "q3") else echo(asked))
    answers = dict(endpoint(stub).generate(asks(6)))
    assert all_right(answers, 6)
    assert stub.finished >= 6 and len(stub.asked) == 10


def test_tries_without_an_answer_are_told(serve: Serve, endpoint: Open) -> None:
    faults = {"q0": RESET, "q1": error(503, "busy"), "q2": error(429, "too many", Retry_After="0")}
    model = endpoint(serve(lambda asked: echo(asked) if asked.tries else faults.get(asked.text, echo(asked))))
    assert isinstance(model, Tells) and model.status == ""
    assert all_right(dict(model.generate(asks(6))), 6)
    assert model.status == "3 of 9 tries unanswered, 1 of them for the rate"


def test_a_burst_of_everything_loses_nothing(serve: Serve, endpoint: Open) -> None:
    faults = [error(500, "boom"), RESET, HALF, HTML, error(429, "slow down", Retry_After="0"), said(None)]
    stub = serve(lambda asked: faults[(asked.number) % 6] if asked.tries < 3 else echo(asked))
    answers = list(endpoint(stub, concurrency=16).generate(asks(100)))
    assert len(answers) == 100 and all_right(dict(answers), 100)


@pytest.mark.parametrize(
    "fault", [error(500, "poisoned row"), said(None), HTML, RESET], ids=["500", "null", "html", "reset"]
)
def test_a_poisoned_row_costs_nobody_else(serve: Serve, endpoint: Open, fault: Say) -> None:
    stub = serve(lambda asked: fault if asked.text == "q5" else echo(asked))
    answers = dict(endpoint(stub, retries=3).generate(asks(40)))
    bad = answers.pop(5)
    assert (bad.text, bad.finish, bad.prompt_tokens) == ("", "failed", 0) and bad.reason
    assert sorted(answers) == [i for i in range(40) if i != 5]
    assert all(a.text == f"Q{i}" for i, a in answers.items())
    assert sum(asked.text == "q5" for asked in stub.asked) == 4


@pytest.mark.parametrize("concurrency", [1, 32])
def test_a_poisoned_row_alone_is_failed_too(serve: Serve, endpoint: Open, concurrency: int) -> None:
    stub = serve(lambda asked: echo(asked) if asked.text == "q0" else error(500, "poisoned"))
    answers = dict(endpoint(stub, retries=1, concurrency=concurrency).generate(asks(3)))
    assert [answers[i].finish for i in range(3)] == ["stop", "failed", "failed"]
    assert "HTTP 500: poisoned" in answers[2].reason


def test_silence_is_cut_short_and_tried_again(serve: Serve, endpoint: Open) -> None:
    stub = serve(lambda asked: Say(fault="silence") if asked.text == "q1" and not asked.tries else echo(asked))
    assert all_right(dict(endpoint(stub, timeout=0.2).generate(asks(4))), 4)


def test_silence_for_good_is_failed(serve: Serve, endpoint: Open) -> None:
    stub = serve(lambda asked: Say(fault="silence"))
    ((_, answer),) = endpoint(stub, timeout=0.1, retries=1).generate(asks(1))
    assert answer.finish == "failed" and answer.reason == "no answer within 0.1 seconds"


def test_a_pause_holds_back_everyone(serve: Serve, endpoint: Open) -> None:
    stub = serve(lambda asked: error(429, "slow down", Retry_After="1") if asked.number == 0 else said("late"))
    answers = dict(endpoint(stub, concurrency=2).generate(asks(6)))
    assert [a.text for a in answers.values()] == ["late"] * 6
    first, rest = stub.asked[0].time, [asked.time for asked in stub.asked[2:]]
    assert len(rest) == 5 and all(0.9 < at - first < 3 for at in rest)


def test_a_storm_does_not_use_up_the_tries_of_the_patient(serve: Serve, endpoint: Open) -> None:
    """A server that answers one in five, always: no request is failed while others are answered."""
    stub = serve(lambda asked: echo(asked) if asked.number % 5 == 4 else error(429, "slow down", Retry_After="0"))
    assert all_right(dict(endpoint(stub, concurrency=8, retries=5).generate(asks(100))), 100)


def test_an_endless_storm_ends(serve: Serve, endpoint: Open) -> None:
    stub = serve(lambda asked: error(429, "slow down", Retry_After="0"))
    message = refused(lambda: list(endpoint(stub, retries=2).generate(asks(50))))
    assert "slow down" in message and "429" in message


def test_a_server_that_goes_down_does_not_fail_the_rest(serve: Serve, endpoint: Open) -> None:
    stub = serve(lambda asked: echo(asked) if asked.number < 20 else error(503, "going down"))
    answers: dict[int, Response] = {}

    def ask() -> None:
        for index, answer in endpoint(stub, retries=2, concurrency=4).generate(asks(200)):
            answers[index] = answer

    message = refused(ask)
    assert "going down" in message
    assert sum(a.finish == "stop" for a in answers.values()) == 20
    assert sum(a.finish == "failed" for a in answers.values()) <= 4
    assert len(stub.asked) < 60


def test_a_wrong_option_of_all_requests_is_told_once(serve: Serve, endpoint: Open) -> None:
    stub = serve(lambda asked: error(400, "some field is odd"))
    assert "some field is odd" in refused(lambda: list(endpoint(stub).generate(asks(20))))


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_stops_at_once(serve: Serve, endpoint: Open, status: int) -> None:
    stub = serve(lambda asked: error(status, f"Incorrect API key provided: {KEY[:14]}***{KEY[-4:]}"))
    message = refused(lambda: list(endpoint(stub, concurrency=4).generate(asks(100))))
    assert "OPENAI_API_KEY" in message and str(status) in message
    assert len(stub.asked) <= 8


def test_a_missing_key_is_named(serve: Serve, endpoint: Open) -> None:
    stub = serve(lambda asked: error(401, "who are you?"))
    message = refused(lambda: list(endpoint(stub, key_env="NO_SUCH_KEY").generate(asks(2))))
    assert "NO_SUCH_KEY is not set" in message
    assert stub.asked[0].authorization is None


def test_an_unknown_model_is_told_with_the_nearest_name(serve: Serve, endpoint: Open) -> None:
    stub = serve(lambda asked: error(404, "no such model"), {"data": [{"id": "llama"}, {"id": "mm"}]})
    assert "has no model 'm'; did you mean 'mm'?" in refused(lambda: list(endpoint(stub).generate(asks(9))))


@pytest.mark.parametrize("models", [None, {"data": 5}, {"data": [{"id": "m"}]}])
def test_a_wrong_address_is_told(serve: Serve, endpoint: Open, models: object) -> None:
    stub = serve(lambda asked: error(404, "Not Found"), models)
    assert "/v1" in refused(lambda: list(endpoint(stub).generate(asks(3))))


def test_no_server(endpoint: Open) -> None:
    model = endpoint("http://127.0.0.1:9/v1")
    assert "start it, or correct the url" in refused(lambda: list(model.generate(asks(40))))


def test_a_redirection_is_not_followed_with_the_key(serve: Serve, endpoint: Open) -> None:
    other = serve()
    stub = serve(lambda asked: Say(b"moved", 307, {"Location": other.url}))
    assert "redirects" in refused(lambda: list(endpoint(stub).generate(asks(2))))
    assert not other.asked


@pytest.mark.parametrize(
    ("code", "message", "remedy"),
    [
        ("insufficient_quota", "You exceeded your current quota", "add credit"),
        ("unsupported_parameter", "Use 'max_completion_tokens' instead of max_tokens", "max_tokens_field="),
        (None, "Unexpected fields in the request: {'continue_final_message'}", "prefill=false"),
        ("unsupported_value", "'temperature' does not support 0.0", '{"temperature": null}'),
    ],
)
def test_what_no_request_will_get_stops_at_once(
    serve: Serve, endpoint: Open, code: str | None, message: str, remedy: str
) -> None:
    stub = serve(lambda asked: error(429 if "quota" in message else 400, message, code))
    assert remedy in refused(lambda: list(endpoint(stub, concurrency=1).generate(asks(9))))
    assert len(stub.asked) == 1


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "This model's maximum context length is 512 tokens. However, you requested 900."),
        (400, "the request exceeds the available context size"),
        (413, "Payload Too Large"),
        (422, "prompt is too long: 900 tokens"),
    ],
)
def test_a_row_that_is_too_long_is_failed_and_not_repeated(
    serve: Serve, endpoint: Open, status: int, message: str
) -> None:
    stub = serve(lambda asked: error(status, message))
    answers = dict(endpoint(stub).generate(asks(9)))
    assert len(stub.asked) == 9
    assert all(a.finish == "failed" and a.reason == f"context overflow: {message}" for a in answers.values())


@pytest.mark.parametrize("fault", [error(500, f"key was {KEY}"), error(400, f"{'x' * 290} {KEY}"), Say(KEY.encode())])
def test_the_key_is_taken_out_of_reasons(serve: Serve, endpoint: Open, fault: Say) -> None:
    stub = serve(lambda asked: fault if asked.text == "q1" else echo(asked))
    answer = dict(endpoint(stub, retries=0).generate(asks(3)))[1]
    assert answer.finish == "failed" and KEY[:8] not in repr(answer)
    assert stub.asked[0].authorization == f"Bearer {KEY}"


def test_leaving_early_cancels_what_is_under_way(serve: Serve, endpoint: Open) -> None:
    stub = serve(lambda asked: said(asked.text) if asked.number == 0 else Say(fault="silence"))
    model = endpoint(stub, concurrency=4)
    answers = model.generate(asks(100))
    assert next(answers)[1].finish == "stop"
    answers.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 5
    while stub.in_flight and time.monotonic() < deadline:
        time.sleep(0.005)
    assert stub.in_flight == 0 and len(stub.asked) <= 5
    stub.script = echo
    assert all_right(dict(model.generate(asks(3))), 3)


def test_an_interrupt_leaves_no_request_behind(serve: Serve, endpoint: Open) -> None:
    stub = serve(lambda asked: said("a") if asked.number < 3 else Say(fault="silence"))
    model = endpoint(stub, concurrency=4)

    def interrupted() -> None:
        for n, _ in enumerate(model.generate(asks(20))):
            if n == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    stub.script = echo
    assert all_right(dict(model.generate(asks(20))), 20)


def test_closing_wakes_those_who_wait(serve: Serve, endpoint: Open) -> None:
    stub = serve(lambda asked: Say(fault="silence"))
    model = endpoint(stub)
    told: list[str] = []
    thread = threading.Thread(target=lambda: told.append(refused(lambda: list(model.generate(asks(2))))))
    thread.start()
    while len(stub.asked) < 2:
        time.sleep(0.005)
    model.close()
    thread.join(5)
    assert len(told) == 1 and "was closed" in told[0]


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is forked there")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_is_told_to_open_the_model_anew(serve: Serve, endpoint: Open) -> None:
    model = endpoint(serve())
    assert all_right(dict(model.generate(asks(2))), 2)

    def ask(told: Connection) -> None:
        told.send(refused(lambda: list(model.generate(asks(1)))))

    fork, (here, there) = multiprocessing.get_context("fork"), multiprocessing.Pipe(duplex=False)
    with closing(here), closing(there):
        asking = fork.Process(target=ask, args=(there,))
        asking.start()
        try:
            assert here.poll(30) and "open the model there" in here.recv()
        finally:
            asking.kill()
            asking.join()
    assert all_right(dict(model.generate(asks(2))), 2)


def test_waits_grow_between_tries(serve: Serve, endpoint: Open) -> None:
    stub = serve(lambda asked: error(500, "boom", Retry_After="0.1") if asked.tries < 3 else echo(asked))
    assert all_right(dict(endpoint(stub).generate(asks(1))), 1)
    assert all(b.time - a.time >= 0.09 for a, b in pairwise(stub.asked))


def test_an_error_of_all_waits_for_the_answers_under_way(serve: Serve, endpoint: Open) -> None:
    spent = error(429, "You exceeded your current quota", "insufficient_quota")
    stub = serve(lambda asked: spent if asked.number == 3 else replace(said(asked.text), delay=0.2))
    answers: list[int] = []

    def collect() -> None:
        for index, _ in endpoint(stub, concurrency=4).generate(asks(40)):
            answers.append(index)

    assert "add credit" in refused(collect)
    assert len(answers) == 3 and len(stub.asked) == 4


def test_a_proxys_password_is_not_in_reasons(serve: Serve, endpoint: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def turn_away(server: socket.socket) -> None:
        for _ in range(3):
            connection, _ = server.accept()
            connection.recv(9999)
            connection.sendall(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("https_proxy", f"http://me:pass9@127.0.0.1:{server.getsockname()[1]}")
        threading.Thread(target=turn_away, args=(server,), daemon=True).start()
        (answer,) = dict(endpoint("https://host.invalid/v1", retries=2).generate(asks(1))).values()
    assert answer.finish == "failed" and "407" in answer.reason and "pass9" not in answer.reason


@pytest.mark.parametrize("status", [400, 500])
def test_rows_that_are_poisoned_are_no_server_that_is_down(serve: Serve, endpoint: Open, status: int) -> None:
    """Of a step that begins anew, only what had failed before is left to ask."""
    stub = serve(lambda asked: error(status, "poison") if asked.text.startswith("q") else echo(asked))
    answers = dict(endpoint(stub, retries=1).generate(asks(20)))
    assert [answers[i].finish for i in range(20)] == ["failed"] * 20
    assert all(f"HTTP {status}: poison" in answer.reason for answer in answers.values())
    (probe,) = [asked for asked in stub.asked if not asked.text.startswith("q")]
    assert probe.body["max_tokens"] == 1


@pytest.mark.parametrize("header", ["inf", "1e308", "3155760000", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_century_is_cut_to_what_can_be_waited_for(
    serve: Serve, endpoint: Open, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    monkeypatch.setattr("steepest.models.endpoint.limits.LONGEST_RETRY_AFTER", 0.05)
    stub = serve(lambda asked: error(429, "later", Retry_After=header) if not asked.number else echo(asked))
    assert all_right(dict(endpoint(stub).generate(asks(5))), 5)


@pytest.mark.parametrize("kind", ["told", "in chunks", "zipped", "an error"])
def test_an_answer_without_end_is_not_read_to_its_end(serve: Serve, endpoint: Open, kind: str) -> None:
    body = b" " * (2 * LARGEST_BODY)
    headers = {"Content-Encoding": "gzip"} if kind == "zipped" else {}
    status = 500 if kind == "an error" else 200
    endless = Say(
        gzip.compress(body, 1) if kind == "zipped" else body, status, headers, "whole" * (kind == "in chunks")
    )
    stub = serve(lambda asked: endless if asked.text == "q1" else echo(asked))
    answers = dict(endpoint(stub).generate(asks(4)))
    bad = answers.pop(1)
    assert (bad.finish, bad.reason) == ("failed", "an answer of more than 16 MiB")
    assert all(answers[i].text == f"Q{i}" for i in (0, 2, 3))
    assert sum(asked.text == "q1" for asked in stub.asked) == 1


def test_large_answers_are_read(serve: Serve, endpoint: Open) -> None:
    text = "a" * (LARGEST_BODY - 1000)
    ((_, answer),) = endpoint(serve(lambda asked: said(text))).generate(asks(1))
    assert answer.text == text
