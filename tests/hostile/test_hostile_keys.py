"""Keys come from the environment and end at the server: no file, no output, no error has one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from cli.commands import Shell, toy_rows, write_rows
from models.endpoint.stub import Asked, Say, Stub, error, running, said, say
from steepest.errors import ModelError
from steepest.models import open_model
from steepest.types import Gap, Infill, Request

KEY = "sk-planted-9f8e7d6c5b4a39281706"


def echoing(asked: Asked) -> Say:
    """A server that answers with the key that it was sent, and now and then refuses with it."""
    key = (asked.authorization or "").removeprefix("Bearer ")
    if asked.number % 9 == 4 and not asked.tries:
        return error(500, f"Incorrect state of {key}", code=key)
    if asked.number % 9 == 7 and not asked.tries:
        return Say(f"<html>{key}</html>".encode(), 502)
    return said(f"<prompt>Say {asked.number}.</prompt> the key is {key}, the answer is 4", usage=bool(asked.number % 2))


def refusing(asked: Asked) -> Say:
    return error(401, f"Incorrect API key provided: {asked.authorization}. You can find yours elsewhere.")


def rejecting(asked: Asked) -> Say:
    return error(400, f"unknown parameter {asked.authorization}", code=str(asked.authorization))


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OTHER_KEY", KEY)
    write_rows(tmp_path / "toy.csv", toy_rows())
    return Shell(capsys, tmp_path)


@pytest.fixture
def stub() -> Iterator[Stub]:
    with running(echoing) as server:
        yield server


def holders(folder: Path) -> list[str]:
    """Files that have the key, or half of it."""
    halves = (KEY[:16].encode(), KEY[-16:].encode())
    return [str(path) for path in folder.rglob("*") if path.is_file() and any(h in path.read_bytes() for h in halves)]


def test_no_file_and_no_output_of_a_run_has_the_key(shell: Shell, stub: Stub) -> None:
    model = (
        "--model",
        f"openai:m@{stub.url}",
        "--judge",
        f"openai:m@{stub.url}",
        "--option",
        "judge.key_env=OTHER_KEY",
    )
    rows = ("--data", "toy.csv", "--input", "question", "--criteria", "It is right.")
    calls = [shell("run", "opro", *rows, *model, "--set", "preset=small", "--calls", "150")]
    (run,) = shell.runs
    calls += [shell("resume", run, "--calls", "200"), shell("report", run), shell("show", run), shell("list", "runs")]
    calls += [shell("export", run, "--to", to, "--out", f"out-{to}") for to in ("json", "yaml", "promptfoo", "lm-eval")]
    rule = ("--data", "toy.csv", "--input", "question", "--answer", "exact_match", *model[:2])
    calls += [shell("diagnose", *rule, "--calls", "300", "--out", "found")]
    calls += [shell("compare", "opro:small", *rule, "--calls", "150", "--seeds", "1")]
    calls += [shell("eval", run, "--json")]
    assert {asked.authorization for asked in stub.asked} == {f"Bearer {KEY}"}
    for each in calls:
        assert KEY[:16] not in each.out + each.err and KEY[-16:] not in each.out + each.err
    assert (run / "calls.jsonl").stat().st_size > 1000
    assert not holders(shell.folder)


@pytest.mark.parametrize("script", [refusing, rejecting])
def test_errors_do_not_repeat_the_key(shell: Shell, script: object) -> None:
    with running(script) as server:  # type: ignore[arg-type]
        model = ("--model", f"openai:m@{server.url}")
        for arguments in (("run", "opro", *shell.rows, *model), ("eval", *shell.rows, *model)):
            refused = shell(*arguments)
            assert refused.code == 2 and refused.err.startswith("error: ") or "error: " in refused.err
            assert KEY[:16] not in refused.out + refused.err and KEY[-16:] not in refused.out + refused.err
    assert not holders(shell.folder)


@pytest.mark.parametrize(
    "model",
    [
        ("--model", f"openai:m@http://user:{KEY}@127.0.0.1:9/v1"),
        ("--model", f"openai:m@http://127.0.0.1:9/v1?key={KEY}"),
        ("--model", f"openai:{KEY}@http://127.0.0.1:9/v1"),
        ("--model", "openai:m@http://127.0.0.1:9/v1", "--option", f"key_env={KEY}"),
        ("--model", "openai:m@http://127.0.0.1:9/v1", "--option", f'extra={{"api_key": "{KEY}"}}'),
        ("--model", f"openai:m@http://127.0.0.1:9/{KEY}/v1"),
        ("--model", f"openai:m@http://127.0.0.1:9/{KEY} /v1"),
        ("--model", "openai:m", "--option", f"url=ftp://{KEY}/v1"),
        *(
            ("--model", "openai:m@http://127.0.0.1:9/v1", "--option", f"{name}={KEY}")
            for name in ("api", "timeout", "rpm", "seeds", "max_tokens_field", "extra", "concurrency")
        ),
    ],
)
def test_keys_in_names_urls_and_options_are_refused_and_not_repeated(shell: Shell, model: tuple[str, ...]) -> None:
    refused = shell("run", "opro", *shell.rows, *model, "--steps", "1")
    assert refused.code == 2 and KEY not in refused.out + refused.err
    assert not shell.runs and not holders(shell.folder)


WRITTEN_OTHERWISE = "sk/planted+9f8e7d6c/5b4a39281706"


def escaping(asked: Asked) -> Say:
    """The same as `echoing` by a server that writes JSON as PHP and .NET do."""
    text = echoing(asked).body.decode()
    return Say(text.replace("/", "\\/").replace("+", "\\u002B").encode(), 500 if asked.number % 9 == 4 else 200)


def test_keys_are_found_however_a_server_writes_them(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", WRITTEN_OTHERWISE)
    with running(escaping) as server:
        said = shell("run", "opro", *shell.rows, "--model", f"openai:m@{server.url}", "--calls", "90")
    (run,) = shell.runs
    written = "".join(path.read_text() for path in run.rglob("*.*"))
    assert "[key]" in written and len(written) > 10_000
    assert not any(half in said.out + said.err + written for half in (WRITTEN_OTHERWISE[:16], WRITTEN_OTHERWISE[16:]))


def test_no_filling_and_no_likelihood_has_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def fill(asked: Asked) -> Say:
        usage = {"prompt_tokens": len(asked.body.get("suffix") or "") + 1, "completion_tokens": 1}
        return say({"choices": [{"text": f"the key is {KEY}"}], "usage": usage})

    with running(fill) as server, closing(open_model(f"openai:m@{server.url}", api="completions")) as model:
        ((_, response),) = model.infill([Infill(Gap("a", "b"))])
        assert response.text == "the key is [key]"

    def score(asked: Asked) -> Say:
        entries = [None, {"1": {"decoded_token": "yes", "logprob": KEY}}]
        return say({"choices": [{"message": {"content": "x"}}], "prompt_logprobs": entries})

    with running(score) as server, closing(open_model(f"openai:m@{server.url}")) as model:
        with pytest.raises(ModelError, match="log-probability is") as refused:
            model.logprobs([("So", "yes")])
        assert KEY not in str(refused.value)


@pytest.mark.parametrize("proxy", ["http://me:{}@127.0.0.1:99999", "me:{}@127.0.0.1:3128", "http://me:{}@[x"])
def test_a_proxy_s_password_is_not_repeated(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("http_proxy", proxy.format(KEY))
    with closing(open_model("openai:m@http://model.invalid/v1", retries=0)) as model:
        ((_, response),) = model.generate([Request("x")])
    assert response.finish == "failed" and "the proxy cannot be read" in response.reason
    assert KEY not in response.reason


@pytest.mark.slow
def test_a_crash_shows_no_key(shell: Shell, stub: Stub) -> None:
    """The same from outside, with whatever Python prints where it ends by force."""
    command = [sys.executable, "-X", "dev", "-W", "ignore", "-m", "steepest.cli"]
    code = "import sys; from steepest.cli import main; sys.exit(main())"
    command = [
        sys.executable,
        "-c",
        code,
        "run",
        "opro",
        *shell.rows,
        "--model",
        f"openai:m@{stub.url}",
        "--calls",
        "90",
    ]
    done = subprocess.run(command, cwd=shell.folder, capture_output=True, text=True, check=False, timeout=120)
    assert KEY[:16] not in done.stdout + done.stderr
    (run,) = shell.runs
    assert KEY not in json.dumps([path.read_text() for path in run.rglob("*.json*")])


@pytest.fixture
def ring() -> Iterator[None]:
    """A keyring of the test's own, with the key in it."""
    keyring, keys = pytest.importorskip("keyring"), import_module("steepest.models.endpoint.keys")
    before = keyring.get_keyring()

    class Ring(import_module("keyring.backend").KeyringBackend):  # type: ignore[misc]
        priority = 1

        def get_password(self, service: str, user: str) -> str | None:
            return KEY if (service, user) == ("servers", "me") else None

        def set_password(self, service: str, user: str, key: str) -> None:
            raise NotImplementedError

    keyring.set_keyring(Ring())
    yield
    keyring.set_keyring(before)
    keys._held.cache_clear()


@pytest.mark.usefixtures("ring")
def test_a_key_of_the_keyring_goes_to_the_server_alone(
    shell: Shell, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OTHER_KEY")
    model = ("--model", f"openai:m@{stub.url}", "--option", "key_env=keyring:servers/me")
    calls = [shell("run", "opro", *shell.rows, *model, "--set", "preset=small", "--calls", "150")]
    (run,) = shell.runs
    calls += [shell("resume", run, "--calls", "200"), shell("report", run), shell("show", run), shell("eval", run)]
    assert {asked.authorization for asked in stub.asked} == {f"Bearer {KEY}"}
    assert not any(KEY[:16] in each.out + each.err for each in calls)
    assert (run / "calls.jsonl").stat().st_size > 1000 and "keyring:servers/me" in (run / "run.json").read_text()
    assert not holders(shell.folder)
    missing = shell("eval", *shell.rows, *model[:2], "--option", "key_env=keyring:servers/you")
    assert missing.code == 2 and "keyring set servers you" in missing.err


@pytest.mark.usefixtures("ring")
@pytest.mark.parametrize("script", [refusing, rejecting])
def test_errors_do_not_repeat_a_key_of_the_keyring(shell: Shell, script: Any) -> None:
    with running(script) as server:
        model = ("--model", f"openai:m@{server.url}", "--option", "key_env=keyring:servers/me")
        refused = shell("eval", *shell.rows, *model)
        assert refused.code == 2 and KEY[:16] not in refused.out + refused.err
    assert not holders(shell.folder)
