from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from served import KEY, Serve

from steepest.errors import ModelError
from steepest.models import open_model
from steepest.models.endpoint import Endpoint, Settings
from steepest.models.endpoint.limits import Backoff, Bucket, retry_after
from steepest.models.opening import opened
from steepest.types import Request

URL = "http://localhost:8000/v1"


def test_it_is_opened_by_name(serve: Serve) -> None:
    stub = serve()
    model = open_model(f"openai:org/model@7b@{stub.url}/", concurrency=2, timeout=5)
    assert isinstance(model, Endpoint)
    assert dict(model.generate([Request("hi")]))[0].text == "HI"
    assert stub.asked[0].body["model"] == "org/model@7b"
    model.close()


def test_the_run_folder_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    assert opened("openai:m").name == "openai:m@https://api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", URL + "/")
    assert opened("openai:m").name == f"openai:m@{URL}"
    found = opened("openai:m", {"url": "http://other/v1", "rpm": 60, "extra": '{"top_p": 1}'})
    assert (found.name, found.model.id) == ("openai:m", 'openai:m@http://other/v1 extra={"top_p":1}')
    assert json.loads(json.dumps(found.options)) == {"url": "http://other/v1", "rpm": 60, "extra": '{"top_p": 1}'}


def test_its_id_says_what_changes_answers_and_no_more() -> None:
    plain = Settings("m", URL)
    assert plain.id == f"openai:m@{URL}"
    assert Settings("m", URL, concurrency=1, rpm=5, tpm=5, timeout=1, retries=0, key_env="X").id == plain.id
    others: list[dict[str, Any]] = [
        {"api": "completions"}, {"prefill": True}, {"seeds": False}, {"max_tokens_field": "max_completion_tokens"},
        {"extra": {"top_p": 0.5}}, {"url": "http://localhost:8001/v1"},
    ]  # fmt: skip
    assert len({Settings("m", **{"url": URL, **each}).id for each in others} | {plain.id}) == 7


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"concurency": 5}, "did you mean 'concurrency'?"),
        ({"concurrency": 0}, "concurrency must be 1 or more, got 0"),
        ({"concurrency": "many"}, "concurrency must be 1 or more, got 'many'"),
        ({"concurrency": True}, "concurrency"),
        ({"retries": -1}, "retries must be 0 or more"),
        ({"timeout": 0}, "timeout must be above 0"),
        ({"rpm": -5}, "rpm must be above 0"),
        ({"tpm": "fast"}, "tpm must be above 0"),
        ({"rpm": float("nan")}, "rpm must be above 0"),
        ({"seeds": "perhaps"}, "seeds must be true or false"),
        ({"api": "chats"}, "did you mean 'chat'?"),
        ({"max_tokens_field": "tokens"}, "max_tokens_field must be one of"),
        ({"extra": "{nonsense"}, "extra must be a JSON object"),
        ({"extra": [1]}, "extra must be a JSON object"),
        ({"extra": {"a": float("inf")}}, "extra must be a JSON object"),
        ({"extra": {"a": object()}}, "extra must be a JSON object"),
        ({"url": "http://localhost:8001/v1"}, "leave one out"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ModelError) as caught:
        open_model(f"openai:m@{URL}", **options)
    assert told in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["openai:", f"openai:@{URL}", "openai:m@http://", "openai:m@https:///v1"])
def test_wrong_names_are_refused(name: str) -> None:
    with pytest.raises(ModelError):
        open_model(name)


@pytest.mark.parametrize("url", ["http://me:pass9@host/v1", "http://pass9@host/v1", "http://host/v1?api_key=pass9"])
def test_a_url_carries_no_secret(url: str) -> None:
    for act in (lambda: open_model(f"openai:m@{url}"), lambda: open_model("openai:m", url=url)):
        with pytest.raises(ModelError, match="key_env") as caught:
            act()
        assert "pass9" not in str(caught.value)


def test_openai_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ModelError, match="OPENAI_API_KEY is not set; export it"):
        open_model("openai:m")
    assert open_model(f"openai:m@{URL}").id


@pytest.mark.parametrize("options", [{"extra": {"user": KEY}}, {"url": f"http://host/{KEY}/v1"}])
def test_the_key_is_nowhere_else(options: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="environment only") as caught:
        open_model("openai:m", **options)
    assert KEY not in str(caught.value)


def test_the_key_is_not_shown() -> None:
    model = open_model(f"openai:m@{URL}")
    assert KEY not in repr(model) + str(model) + model.id + repr(vars(model)) + repr(model._settings)


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "ключ"])
def test_a_key_that_cannot_be_sent_is_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ModelError, match="one word") as caught:
        open_model(f"openai:m@{URL}")
    assert key not in str(caught.value)


def test_opening_imports_nothing_heavy() -> None:
    opening = f"from steepest.models import open_model; open_model('openai:m@{URL}')"
    code = f"import sys; {opening}; print('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("9999", 120.0),
        ("inf", 120.0),
        ("nan", None),
        ("soon", None),
        ("Fri, 20 Nov 2026 12:00:07 GMT", 7.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
        ("Sat, 21 Nov 2026 12:00:00 GMT", 120.0),
    ],
)
def test_retry_after_is_read(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, lambda: datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)) == seconds


def test_waits_double_and_stay_below_the_longest() -> None:
    backoff = Backoff(0.5, 30.0)
    for tries, most in ((1, 0.5), (2, 1.0), (4, 4.0), (20, 30.0), (10_000, 30.0)):
        waits = [backoff.wait(tries) for _ in range(200)]
        assert min(waits) >= 0 and 0.8 * most < max(waits) <= most


def test_a_bucket_gives_its_rate() -> None:
    bucket, now, sent = Bucket(120), 100.0, []
    for _ in range(10):
        now += bucket.wait(now, 1)
        bucket.take(1)
        sent.append(now)
    assert sent == pytest.approx([100.0, 100.0, *(100 + i / 2 for i in range(1, 9))])


def test_a_bucket_may_be_overdrawn_and_is_paid_back() -> None:
    bucket = Bucket(600)  # 10 a second
    assert bucket.wait(0.0, 50) == 0
    bucket.take(50)
    assert bucket.wait(0.0, 50) == pytest.approx(5.0)
    bucket.take(-20)
    assert bucket.wait(1.0, 5) == pytest.approx(1.5)


def test_no_limit_never_waits() -> None:
    bucket = Bucket(None)
    bucket.take(10**9)
    assert bucket.wait(0.0, 10**9) == 0


@pytest.mark.parametrize(
    "url",
    ["http://host:99999/v1", "http://host:port/v1", "http://a..b/v1", f"http://{'a' * 64}.b/v1", "http://[::1/v1"]
    + ["http://two words/v1", "http://host/v1\r\nX: y"],
)
def test_what_is_no_address_is_told_before_anything_is_sent(url: str) -> None:
    with pytest.raises(ModelError, match="url") as caught:
        open_model("openai:m", url=url)
    assert "\n" not in str(caught.value)


def test_a_key_in_place_of_its_variable_is_not_repeated() -> None:
    with pytest.raises(ModelError, match="key_env must be the name") as caught:
        open_model("openai:m", key_env="sk-planted-42")
    assert "sk-planted-42" not in str(caught.value)


def test_a_word_instead_of_a_key_may_be_the_name_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "ollama")
    assert open_model("openai:m@http://ollama:11434/v1").id == "openai:m@http://ollama:11434/v1"
