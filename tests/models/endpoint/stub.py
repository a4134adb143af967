"""An OpenAI-compatible server on loopback, in a thread of its own, that misbehaves as it is told."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Asked:
    """One request as the server saw it."""

    path: str
    body: dict[str, Any]
    authorization: str | None
    time: float
    tries: int
    """How often the same body had come before."""
    number: int
    """How many requests had come before."""

    @property
    def text(self) -> str:
        """The last message or the prompt."""
        return str(self.body["messages"][-1]["content"] if "messages" in self.body else self.body["prompt"])


@dataclass(frozen=True)
class Say:
    """What the server answers."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    fault: str = ""
    """ "reset" closes the connection at once, "half" breaks off a body of a length that was told, "cut" one that was
    sent in chunks, "silence" never answers; "whole" is none, but sends all in chunks."""
    delay: float = 0.0


Script = Callable[[Asked], Say]


def said(text: str | None, finish: str | None = "stop", usage: bool = True, **more: Any) -> Say:
    """A chat answer."""
    message = {"role": "assistant", "content": text, **more}
    body: dict[str, Any] = {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}
    if usage:
        body["usage"] = {"prompt_tokens": 7, "completion_tokens": 3}
    return say(body)


def say(body: Any, status: int = 200, **headers: str) -> Say:
    """Any JSON."""
    return Say(json.dumps(body).encode(), status, {name.replace("_", "-"): value for name, value in headers.items()})


def error(status: int, message: str, code: str | None = None, **headers: str) -> Say:
    """An error in OpenAI's shape."""
    return say({"error": {"message": message, "type": "error", "param": None, "code": code}}, status, **headers)


def echo(asked: Asked) -> Say:
    """The last message, loudly."""
    return said(asked.text.upper())


@dataclass
class Stub:
    """The server's side of a test."""

    script: Script = echo
    models: Any = None
    """What /models says; 404 without."""
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    keeps: bool = True
    """Whether what was asked is kept; not by a server that runs for long."""
    came: Counter[bytes] = field(default_factory=Counter)
    """How often each body has come."""
    in_flight: int = 0
    peak: int = 0
    finished: int = 0
    connections: set[Any] = field(default_factory=set)
    heard: Callable[[Asked, Say], None] = lambda asked, say: None
    """Hears of each request that was answered to its end, and how."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Record, then do as the script says."""
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            return await self._act(request)
        finally:
            self.in_flight -= 1

    async def _act(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        if self.keeps:
            self.connections.add(request.transport.get_extra_info("peername"))
        read = await request.read()
        body, tries, number = json.loads(read), self.came[read], self.came.total()
        self.came[read] += 1
        authorization = request.headers.get("Authorization")
        path = request.path.removeprefix("/v1")
        asked = Asked(path, body, authorization, time.monotonic(), tries, number)
        if self.keeps:
            self.asked.append(asked)
        what = self.script(asked)
        await asyncio.sleep(3600 if what.fault == "silence" else what.delay)
        if what.fault == "reset":
            request.transport.abort()
            return web.Response()
        if what.fault in ("half", "cut", "whole"):
            length = {"Content-Length": str(len(what.body))} if what.fault == "half" else {}
            response = web.StreamResponse(status=what.status, headers={**what.headers, **length})
            await response.prepare(request)
            await response.write(what.body if what.fault == "whole" else what.body[: len(what.body) // 2])
            if what.fault != "whole":
                request.transport.abort()
            return response
        self.finished += 1
        self.heard(asked, what)
        return web.Response(body=what.body, status=what.status, headers=what.headers)

    async def listed(self, _: web.Request) -> web.Response:
        """The models."""
        return web.json_response(self.models, status=404 if self.models is None else 200)

    async def runner(self) -> web.AppRunner:
        """What answers, once it is begun."""
        app = web.Application(client_max_size=2**24)
        app.add_routes([web.get("/v1/models", self.listed), web.post("/{path:.*}", self.answer)])
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.01)
        await runner.setup()
        return runner

    async def begin(self, runner: web.AppRunner, port: int) -> web.TCPSite:
        """Listen; 0 for any port."""
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        return site

    async def serve(self, is_up: Callable[[], None], is_over: Callable[[], Awaitable[None]]) -> None:
        """Answer until it is over."""
        runner = await self.runner()
        await self.begin(runner, 0)
        is_up()
        await is_over()
        await runner.cleanup()
        # Connections that were cut are closed in the loop's next rounds.
        for _ in range(5):
            await asyncio.sleep(0)


@contextmanager
def running(script: Script = echo, models: Any = None) -> Iterator[Stub]:
    """A stub that serves until the block ends."""
    stub, up = Stub(script, models), threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    def serve() -> None:
        loop.run_until_complete(stub.serve(up.set, over.wait))
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    assert up.wait(10)
    try:
        yield stub
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
