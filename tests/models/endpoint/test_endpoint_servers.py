"""Several servers behind one name: they share the requests, and what one fails to answer another does."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import pytest
from served import KEY, Serve
from stub import Asked, Say, Stub, echo, error

from steepest.errors import ModelError
from steepest.models import open_model
from steepest.models.endpoint import Endpoint, Settings, open_endpoint
from steepest.models.endpoint.limits import Backoff
from steepest.models.endpoint.replies import Refusal
from steepest.models.endpoint.servers import Servers
from steepest.models.opening import opened
from steepest.types import Request, Response

A, B = "http://a:8000/v1", "http://b:8000/v1"
Together = Callable[..., Endpoint]


class Long(Backoff):
    """Waits that nobody lives to see the end of."""

    def __init__(self) -> None:
        super().__init__(1.0)

    def wait(self, tries: int) -> float:
        return 3600.0


@pytest.fixture
def together(stack: Any) -> Together:
    """Opens one endpoint at several servers; waits are of milliseconds."""

    def start(*servers: Stub | str, backoff: Backoff | None = None, **options: Any) -> Endpoint:
        url = ",".join(each if isinstance(each, str) else each.url for each in servers)
        settings = Settings("m", url, **options)
        return stack.enter_context(closing(open_endpoint(settings, backoff or Backoff(0.004, 0.05))))

    return start


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where no server is, and none will be."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/v1"


def asks(n: int) -> list[Request]:
    return [Request(f"q{i}") for i in range(n)]


def rows_of(stub: Stub) -> list[Asked]:
    """What it was asked, without probes."""
    return [asked for asked in stub.asked if asked.text.startswith("q")]


def all_right(answers: list[tuple[int, Response]], n: int) -> bool:
    """Each answered, once, and rightly."""
    return sorted((i, a.text, a.finish) for i, a in answers) == sorted((i, f"Q{i}", "stop") for i in range(n))


# -- names ---------------------------------------------------------------------------------------------------------


def test_the_first_server_names_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    alone = open_model(f"openai:m@{A}")
    assert open_model(f"openai:m@{A}/,{B}").id == alone.id == f"openai:m@{A}"
    assert open_model(f"openai:m@{A}", concurrency=4).id == open_model("openai:m", url=f"{A}, {B}").id
    assert open_model(f"openai:m@{B},{A}").id != alone.id
    assert opened(f"openai:m@{A},{B}").name == f"openai:m@{A},{B}"
    # What was begun with one server may be given others.
    assert open_model(f"openai:m@{A}", url=f"{A},{B}").id == open_model(f"openai:m@{A},{B}", url=A).id == alone.id
    with pytest.raises(ModelError, match="leave one out"):
        open_model(f"openai:m@{A}", url=f"{B},{A}")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (f"{A},b:8000/v1", "begins with http://"),
        (f"{A},", "begins with http://"),
        (f"{A},{A}/", "named once"),
        (f"{A},http://me:pass9@b/v1", "carry no user"),
    ],
)
def test_a_list_with_something_else_in_it_is_refused(url: str, told: str) -> None:
    for act in (lambda: open_model(f"openai:m@{url}"), lambda: open_model("openai:m", url=url)):
        with pytest.raises(ModelError, match=told) as refused:
            act()
        assert "\n" not in str(refused.value) and "pass9" not in str(refused.value)


def test_a_key_is_for_servers_that_it_is_said_to_be_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="named with key_env, got a, b, which would all get the one in OPENAI_API_KEY"):
        open_model(f"openai:m@{A},{B}")
    monkeypatch.setenv("OUR_KEY", KEY[::-1])
    for name in ("OUR_KEY", "NO_SUCH_KEY"):
        assert open_model(f"openai:m@{A},{B}", key_env=name).id
    assert open_model("openai:m@http://a:8000/v1,http://a:8001/v1").id  # as for one server of that host
    openai = "https://api.openai.com/v1"
    assert open_model(f"openai:m@{openai},https://eu.api.openai.com/v1").id
    for other in (f"{openai},{A}", f"http://localhost:8000/v1,{openai}"):
        for name in ("OPENAI_API_KEY", "OUR_KEY"):
            with pytest.raises(ModelError, match="take no key in common"):
                open_model(f"openai:m@{other}", key_env=name)


def test_a_key_that_is_there_only_later_goes_to_no_strangers_either(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, together: Together
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    stub = serve()
    model = together(stub, stub.url.replace("127.0.0.1", "localhost"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(ModelError, match="named with key_env"):
        list(model.generate(asks(2)))
    assert not stub.asked


# -- shares --------------------------------------------------------------------------------------------------------


def test_they_share_one_queue_and_keep_their_own_limits(serve: Serve, together: Together) -> None:
    # Who is asked first is busy until all have been.
    stubs = [serve(lambda asked: replace(echo(asked), delay=0.5 if asked.number < 4 else 0.001)) for _ in range(3)]
    model = together(*stubs, concurrency=4)
    assert all_right(list(model.generate(asks(120))), 120)
    assert sum(len(stub.asked) for stub in stubs) == 120
    assert [stub.peak for stub in stubs] == [4, 4, 4]
    assert {url: counts["answered"] for url, counts in model.counts.items()} == {
        stub.url: len(stub.asked) for stub in stubs
    }


def test_a_slow_one_gets_less(serve: Serve, together: Together) -> None:
    slow = serve(lambda asked: replace(echo(asked), delay=0.2))
    fast = serve(lambda asked: replace(echo(asked), delay=0.005))
    assert all_right(list(together(slow, fast, concurrency=2).generate(asks(100))), 100)
    assert 0 < len(slow.asked) < len(fast.asked)


def test_requests_a_minute_are_those_of_each(serve: Serve, together: Together) -> None:
    stubs = [serve(), serve()]
    assert all_right(list(together(*stubs, rpm=1200).generate(asks(40))), 40)
    assert [len(stub.asked) for stub in stubs] == [20, 20]


# -- faults of one -------------------------------------------------------------------------------------------------


def test_one_that_cannot_be_reached_is_rested(serve: Serve, together: Together, nobody: str) -> None:
    up = serve(lambda asked: replace(echo(asked), delay=0.001))
    model = together(nobody, up, backoff=Long(), concurrency=8, retries=0)
    for _ in range(3):
        assert all_right(list(model.generate(asks(50))), 50)
    # What had been sent before the first of them came back, and nothing after.
    assert model.counts[nobody]["rests"] == 1 and 1 <= model.counts[nobody]["unreachable"] <= 8
    assert len(up.asked) == 150


def test_that_it_is_rested_is_told_once(
    serve: Serve, together: Together, nobody: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = together(nobody, serve(lambda asked: replace(echo(asked), delay=0.005)), concurrency=2)
    with caplog.at_level(logging.WARNING, "steepest"):
        list(model.generate(asks(100)))
    assert model.counts[nobody]["rests"] > 1
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith(f"{nobody} is rested (no connection") and told.endswith("go to the other servers")


FAULTS = [error(503, "overloaded"), error(429, "slow down"), Say(fault="reset"), Say(b"<html>log in</html>")]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda say: f"{say.status} {say.fault}")
def test_one_that_fails_is_rested_and_comes_back(serve: Serve, together: Together, fault: Say) -> None:
    state = {"is_down": True}
    sick = serve(lambda asked: fault if state["is_down"] else echo(asked))
    well = serve(lambda asked: replace(echo(asked), delay=0.002))
    model = together(sick, well, concurrency=4)
    assert all_right(list(model.generate(asks(200))), 200)
    assert model.counts[sick.url]["rests"] >= 1 and "answered" not in model.counts[sick.url]
    assert len(rows_of(sick)) <= 8 and len(sick.asked) > len(rows_of(sick))
    state["is_down"] = False
    for _ in range(100):
        assert all_right(list(model.generate(asks(40))), 40)
        if "answered" in model.counts[sick.url]:
            return
    raise AssertionError("it never came back")


def test_one_that_is_silent_costs_no_answer(serve: Serve, together: Together) -> None:
    silent, well = serve(lambda asked: Say(fault="silence")), serve()
    model = together(silent, well, backoff=Backoff(0.004, 60.0), concurrency=4, timeout=2.0)
    assert all_right(list(model.generate(asks(100))), 100)
    assert 4 <= len(rows_of(silent)) < len(rows_of(well))


def test_one_that_storms_for_good_takes_nobodys_tries(serve: Serve, together: Together) -> None:
    storm, well = serve(lambda asked: error(429, "slow down", Retry_After="0")), serve()
    model = together(storm, well, retries=1, concurrency=8)
    assert all_right(list(model.generate(asks(300))), 300)


@pytest.mark.parametrize("retries", [0, 3])
def test_a_row_that_always_fails_is_tried_as_often_as_with_one_server(
    serve: Serve, together: Together, retries: int
) -> None:
    def script(asked: Asked) -> Say:
        return error(500, "poisoned") if asked.text == "q5" else echo(asked)

    stubs = [serve(script) for _ in range(3)]
    answers = dict(together(*stubs, retries=retries).generate(asks(40)))
    assert [i for i in range(40) if answers[i].finish == "failed"] == [5]
    tried = [sum(asked.text == "q5" for asked in stub.asked) for stub in stubs]
    assert sum(tried) == retries + 1 and max(tried) <= (retries + 3) // 3 + 1


def test_a_wrong_key_at_one_is_told_with_its_address(serve: Serve, together: Together) -> None:
    well, wrong = serve(), serve(lambda asked: error(401, "no"))
    with pytest.raises(ModelError, match=f"^{wrong.url} refuses the key"):
        list(together(well, wrong, concurrency=2).generate(asks(50)))


def test_a_probe_that_fails_after_an_answer_came_sends_nobody_to_rest() -> None:
    servers = Servers(Settings("m", f"{A},{B}", key_env="NO_SUCH_KEY"), Backoff(0.5))
    one, other = servers.each
    gone = Refusal("unreachable", "no connection")
    assert servers.are_up_beside(one)
    one.missed(0.0, gone, True)
    one.is_probed = True
    one.answered(0.0)  # a request from before it was rested
    assert servers.are_up_beside(other)
    other.missed(1.0, gone, True)
    one.probed(2.0, Refusal("again", "no answer within 120 seconds"))
    assert [each.is_resting for each in servers.each] == [False, True], "nobody would be asked any more"


# -- faults of all -------------------------------------------------------------------------------------------------


def test_where_none_can_be_reached_that_is_an_error(together: Together, nobody: str) -> None:
    other = "http://127.0.0.1:9/v1"
    with pytest.raises(ModelError, match=f"no server can be reached at {nobody},{other} .*; start it"):
        list(together(nobody, other).generate(asks(50)))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda say: f"{say.status} {say.fault}")
def test_where_all_fail_that_is_an_error_and_ends(serve: Serve, together: Together, fault: Say) -> None:
    stubs = [serve(lambda asked: fault) for _ in range(2)]
    with pytest.raises(ModelError, match=f"^{stubs[0].url},{stubs[1].url} answered none of"):
        list(together(*stubs, retries=2, concurrency=4).generate(asks(20)))
    # No request is tried more often than each of the servers alone would have been.
    assert max(tries for stub in stubs for body, tries in stub.came.items() if b"Say yes" not in body) <= 2 * 3 + 1


@pytest.mark.parametrize("answers", [False, True])
def test_a_batch_in_doubt_is_forgotten_once_that_is_settled(serve: Serve, together: Together, answers: bool) -> None:
    def script(asked: Asked) -> Say:
        return echo(asked) if answers and not asked.text.startswith("q") else error(503, "down")

    told = SimpleQueue[object]()
    model = together(serve(script), retries=0)
    model.begin(asks(6), lambda index, response: told.put(response), told.put)
    said = [told.get(timeout=10) for _ in range(6 if answers else 1)]
    assert all(isinstance(each, Response) == answers for each in said)
    model.close()
    assert told.empty()
