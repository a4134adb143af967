"""One event loop in one thread, under ordinary blocking iterators: connections, retries, limits."""

from __future__ import annotations

import asyncio
import contextlib
import io
import ipaddress
import threading
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from steepest.errors import ModelError
from steepest.models.endpoint.limits import Backoff, Bucket
from steepest.models.endpoint.mistakes import mistake
from steepest.models.endpoint.replies import Refusal, Unusable, refusal
from steepest.models.endpoint.settings import Settings

_FIRST_TRIES = 3
"""How often it is tried to reach a server that has never answered: more likely it is not running than restarting."""
_LARGE = 2**20
_SOON = aiohttp.ClientTimeout(total=5)


@dataclass(slots=True)
class Batch:
    """Like requests, made and read by functions of their index."""

    size: int
    path: str
    body: Callable[[int], bytes]
    read: Callable[[int, bytes], Any]
    """The answer in a body of status 200; Unusable where it holds none."""
    estimate: Callable[[int], float] = lambda _: 0.0
    """Tokens that the request will take."""
    spent: Callable[[Any], float] = lambda _: 0.0
    """Tokens that it took, by its answer."""
    is_optional: bool = False
    """Whether servers may lack it: a refusal of all such requests is an outcome then, not an error."""
    tell: Callable[[Outcome | BaseException], None] = lambda _: None
    """Hears of every outcome, and of an error that ends it, in the transport's thread."""
    tasks: set[asyncio.Task[float | None]] = field(default_factory=set)
    later: dict[int, asyncio.TimerHandle] = field(default_factory=dict)
    """What waits for another try, by index."""
    is_over: bool = False
    error: ModelError | None = None
    """What ends it, once nothing is under way any more."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request."""

    index: int
    value: Any
    """The answer, or the Refusal for good."""
    is_alone: bool = False
    """Whether nothing else was answered between its first try and its last."""


@dataclass(slots=True)
class _Job:
    batch: Batch
    index: int
    failures: int = 0
    pauses: int = 0
    """Refusals for the rate, since something was last answered."""
    answers_at_first: int = -1
    answers_at_pause: int = -1


class Transport:
    """Sends batches until it is closed. Limits hold over all threads that use it."""

    def __init__(self, settings: Settings, backoff: Backoff) -> None:
        self._settings = settings
        self._backoff = backoff
        self._loop = asyncio.new_event_loop()
        self._session: aiohttp.ClientSession
        self._waiting: deque[_Job] = deque()
        self._open: list[Batch] = []
        self._running = self._repeating = 0
        self._answers = 0
        self._resume_at = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._requests, self._tokens = Bucket(settings.rpm), Bucket(settings.tpm)
        self._gate = threading.Lock()
        self._is_closed = False
        self._loop.call_soon(self._connect)
        self._thread = threading.Thread(target=self._serve, name="steepest-endpoint", daemon=True)
        self._thread.start()

    def run(self, batch: Batch) -> Generator[Outcome]:
        """What became of each request, as it is known. Closing the iterator cancels the others."""
        outcomes: SimpleQueue[Outcome | BaseException] = SimpleQueue()
        batch.tell = outcomes.put
        self.begin(batch)
        try:
            for _ in range(batch.size):
                outcome = outcomes.get()
                if isinstance(outcome, BaseException):
                    raise outcome
                yield outcome
        finally:
            self.cancel(batch)

    def begin(self, batch: Batch) -> None:
        """Send a batch and return; `batch.tell` hears what becomes of it."""
        with self._gate:
            if self._is_closed:
                raise self._closed()
            self._loop.call_soon_threadsafe(self._accept, batch)

    def cancel(self, batch: Batch) -> None:
        """Forget a batch and what is under way of it."""
        with self._gate:
            if not self._is_closed:
                self._loop.call_soon_threadsafe(self._dismiss, batch)

    def close(self) -> None:
        """Cancel what is under way, close the connections and end the thread."""
        with self._gate:
            if not self._is_closed:
                self._loop.call_soon_threadsafe(self._loop.stop)
            self._is_closed = True
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _closed(self) -> ModelError:
        return ModelError(f"{self._settings.url} was closed while it was to answer; ask again")

    # What follows runs in the thread of the loop.

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._end())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    def _connect(self) -> None:
        self._session = _session(self._settings)

    async def _end(self) -> None:
        tasks = [task for batch in self._open for task in batch.tasks]
        for batch in list(self._open):
            batch.tell(self._closed())
            self._dismiss(batch)
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._session.close()

    def _accept(self, batch: Batch) -> None:
        self._open.append(batch)
        jobs = [_Job(batch, index) for index in range(batch.size)]
        # Few requests are what many others will follow from: they go before rows by the hundred.
        if batch.size <= self._settings.concurrency:
            self._waiting.extendleft(reversed(jobs))
        else:
            self._waiting.extend(jobs)
        self._send()

    def _stop(self, batch: Batch, why: ModelError) -> None:
        """Ask no more; the error follows what is under way, whose answers may be paid for."""
        batch.error = batch.error or why
        self._hold(batch)

    def _dismiss(self, batch: Batch) -> None:
        if batch in self._open:
            self._open.remove(batch)
        batch.tell = _nobody
        for task in batch.tasks:
            task.cancel()
        self._hold(batch)

    def _hold(self, batch: Batch) -> None:
        """Start nothing more of a batch."""
        batch.is_over = True
        for timer in batch.later.values():
            timer.cancel()
        self._repeating -= len(batch.later)
        batch.later.clear()
        self._send()

    def _send(self) -> None:
        """Start what may be started now; come back when more may."""
        most = self._settings.concurrency
        # Requests that wait for another try leave their places to others, though not to ever more of them.
        while self._waiting and self._running < most and self._running + self._repeating < 2 * most:
            job = self._waiting[0]
            if job.batch.is_over:
                self._waiting.popleft()
                continue
            now, cost = self._loop.time(), job.batch.estimate(job.index)
            wait = max(self._resume_at - now, self._requests.wait(now, 1), self._tokens.wait(now, cost))
            if wait > 0:
                if self._alarm is not None:
                    self._alarm.cancel()
                self._alarm = self._loop.call_later(wait, self._send)
                return
            self._waiting.popleft()
            self._requests.take(1)
            self._tokens.take(cost)
            self._running += 1
            task = self._loop.create_task(self._attempt(job))
            job.batch.tasks.add(task)
            task.add_done_callback(partial(self._ended, job))

    def _ended(self, job: _Job, task: asyncio.Task[float | None]) -> None:
        self._running -= 1
        job.batch.tasks.discard(task)
        if not task.cancelled():
            bug = task.exception()
            delay = None if bug else task.result()
            if bug:  # the consumer would wait for ever
                job.batch.tell(bug)
            elif delay is not None and not job.batch.is_over:
                self._repeating += 1
                job.batch.later[job.index] = self._loop.call_later(delay, self._repeat, job)
        if job.batch.error is not None and not job.batch.tasks:
            job.batch.tell(job.batch.error)
        self._send()

    def _repeat(self, job: _Job) -> None:
        self._repeating -= 1
        del job.batch.later[job.index]
        self._waiting.appendleft(job)
        self._send()

    async def _attempt(self, job: _Job) -> float | None:
        """Ask; seconds to wait before the next try, or None where there is none or it stands in line again."""
        if job.answers_at_first < 0:
            job.answers_at_first = self._answers
        value = await self._asked(job.batch, job.index)
        if isinstance(value, Refusal):
            return await self._refused(job, value)
        self._answers += 1
        self._tokens.take(job.batch.spent(value) - job.batch.estimate(job.index))
        job.batch.tell(Outcome(job.index, value))
        return None

    async def _asked(self, batch: Batch, index: int) -> Any:
        """The answer, or a Refusal."""
        body = batch.body(index)
        url = self._url(batch.path)
        try:
            # aiohttp warns of long bodies that are not streamed.
            data = body if len(body) < _LARGE else io.BytesIO(body)
            async with self._session.post(url, data=data, allow_redirects=False) as reply:
                content = await reply.read()
                if reply.status != 200:
                    return refusal(reply.status, reply.headers, content)
        except aiohttp.ClientConnectorError as error:
            return Refusal("unreachable", f"no connection: {_reason(error.os_error)}")
        except TimeoutError:
            return Refusal("again", f"no answer within {self._settings.timeout:g} seconds")
        except (aiohttp.ClientError, OSError) as error:
            return Refusal("again", f"the connection broke: {_reason(error)}")
        try:
            return batch.read(index, content)
        except Unusable as unusable:
            return unusable.refusal

    async def _refused(self, job: _Job, why: Refusal) -> float | None:
        """What a refusal means for the job, or for all of them; returns as `_attempt`."""
        concerns_all = why.kind in ("key", "place", "everyone")
        if concerns_all and (why.kind == "key" or not job.batch.is_optional):
            job.batch.is_over = True
            offered = await self._offered() if why.kind == "place" else []
            self._stop(job.batch, mistake(self._settings, why, offered))
            return None
        if concerns_all or why.kind in ("never", "misfit"):
            self._give_up(job, why)
            return None
        if why.kind == "pause":
            job.pauses = job.pauses + 1 if self._answers == job.answers_at_pause else 1
            job.answers_at_pause = self._answers
        else:
            job.failures += 1
        failures, allowed = job.failures + job.pauses, self._settings.retries
        if why.kind == "unreachable" and not self._answers:
            allowed = min(allowed, _FIRST_TRIES - 1)
        if failures > allowed:
            self._give_up(job, why)
            return None
        delay = max(why.after or 0.0, self._backoff.wait(failures))
        if why.kind != "pause":
            return delay
        self._resume_at = max(self._resume_at, self._loop.time() + delay)
        self._waiting.appendleft(job)
        return None

    def _give_up(self, job: _Job, why: Refusal) -> None:
        is_alone = self._answers == job.answers_at_first
        if why.kind == "unreachable" and is_alone:
            self._stop(job.batch, mistake(self._settings, why))
        else:
            job.batch.tell(Outcome(job.index, why, is_alone and why.kind != "misfit"))

    async def _offered(self) -> list[str]:
        """Names of the models that the server says it has; empty where it does not say."""
        try:
            async with self._session.get(self._url("/models"), allow_redirects=False, timeout=_SOON) as reply:
                body = await reply.json(content_type=None)
            return [str(each["id"]) for each in body["data"]]
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError):
            return []

    def _url(self, path: str) -> URL:
        return URL(self._settings.url + path, encoded=True)


def _nobody(_: Outcome | BaseException) -> None:
    """Who hears of a batch that was dismissed. What hears of others may hold the endpoint, which is to be freed."""


def _session(settings: Settings) -> aiohttp.ClientSession:
    headers = {"Content-Type": "application/json"}
    if key := settings.key:
        headers["Authorization"] = f"Bearer {key}"
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=settings.concurrency),
        timeout=aiohttp.ClientTimeout(total=settings.timeout),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        proxy=_proxy(settings.url),
    )


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for `url`; none on the way to this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return None
    if host == "localhost" or proxy_bypass(host):
        return None
    return getproxies().get(parts.scheme)


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientResponseError):  # its own words hold the url, a proxy's with the password
        return f"HTTP {error.status} {error.message}"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
