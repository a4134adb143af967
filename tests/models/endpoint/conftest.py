from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from served import KEY, Open, Serve
from stub import Script, Stub, echo, running

from steepest.models.endpoint import Endpoint, Settings, open_endpoint
from steepest.models.endpoint.limits import Backoff


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """A key in the environment, which must be seen nowhere."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    return KEY


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def serve(stack: ExitStack) -> Serve:
    """Starts a stub server."""

    def start(script: Script = echo, models: Any = None) -> Stub:
        return stack.enter_context(running(script, models))

    return start


@pytest.fixture
def endpoint(stack: ExitStack) -> Open:
    """Opens an endpoint at a server, which waits for milliseconds where it would wait for seconds."""

    def start(stub: Stub | str, **options: Any) -> Endpoint:
        url = stub if isinstance(stub, str) else stub.url
        return stack.enter_context(closing(open_endpoint(Settings("m", url, **options), Backoff(0.004, 0.05))))

    return start
