"""One event loop in one thread, under ordinary blocking iterators: connections, retries, limits."""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any

from steepest.errors import ModelError
from steepest.models.endpoint import bodies, replies
from steepest.models.endpoint.limits import Backoff
from steepest.models.endpoint.mistakes import mistake
from steepest.models.endpoint.replies import Refusal, Unusable
from steepest.models.endpoint.servers import Server, Servers
from steepest.models.endpoint.settings import Settings
from steepest.types import Request
from steepest.waiting import heard

_FIRST_TRIES = 3
"""How often it is tried to reach a server that has never answered: more likely it is not running than restarting."""
_PROBES = 4
"""How often the smallest request is tried where all others have failed."""


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
    retries: float = math.inf
    """How often a request is repeated, where that is less than the settings say."""
    tell: Callable[[Outcome | BaseException], None] = lambda _: None
    """Hears of every outcome, and of an error that ends it, in the transport's thread."""
    tasks: set[asyncio.Task[float | None]] = field(default_factory=set)
    later: dict[int, asyncio.TimerHandle] = field(default_factory=dict)
    """What waits for another try, by index."""
    is_over: bool = False
    error: ModelError | None = None
    """What ends it, once nothing is under way any more."""


def smallest(settings: Settings) -> Batch:
    """A request that shows whether anything is answered. It is not counted."""
    request = Request("Say yes.", max_tokens=1)
    return Batch(
        size=1,
        path=bodies.path_of(settings),
        body=lambda _: bodies.generation(settings, request),
        read=lambda _, data: replies.response(data, (), 0),
        retries=_PROBES - 1,
        is_optional=True,
    )


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
    last: Server | None = None
    """Who was asked last."""


class Transport:
    """Sends batches until it is closed. Limits hold over all threads that use it."""

    def __init__(self, settings: Settings, backoff: Backoff) -> None:
        self._settings = settings
        self._backoff = backoff
        self._loop = asyncio.new_event_loop()
        self._servers = Servers(settings, backoff)
        self._waiting: deque[_Job] = deque()
        self._open: list[Batch] = []
        self._running = self._repeating = 0
        self._probe = smallest(settings)
        self._probes: set[asyncio.Task[None]] = set()
        self._answers = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._gate = threading.Lock()
        self._is_closed = False
        self._process = os.getpid()
        for server in self._servers.each:
            self._loop.call_soon(server.connect)
        self._thread = threading.Thread(target=self._serve, name="steepest-endpoint", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """URL -> see `Server.counts`."""
        return {server.settings.url: dict(server.counts) for server in self._servers.each}

    def run(self, batch: Batch) -> Generator[Outcome]:
        """What became of each request, as it is known. Closing the iterator cancels the others."""
        outcomes: SimpleQueue[Outcome | BaseException] = SimpleQueue()
        batch.tell = outcomes.put
        self.begin(batch)
        try:
            for _ in range(batch.size):
                outcome = heard(outcomes)
                if isinstance(outcome, BaseException):
                    raise outcome
                yield outcome
        finally:
            self.cancel(batch)

    def begin(self, batch: Batch) -> None:
        """Send a batch and return; `batch.tell` hears what becomes of it."""
        if os.getpid() != self._process:  # threads are not forked: nobody would ever answer
            raise ModelError(
                f"a server is asked by the process that opened the model, got {self._settings.url} in one forked from "
                "it since; open the model there"
            )
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

    async def _end(self) -> None:
        tasks = [*self._probes, *(task for batch in self._open for task in batch.tasks)]
        for probe in self._probes:
            probe.cancel()
        for batch in list(self._open):
            batch.tell(self._closed())
            self._dismiss(batch)
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._servers.close()

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
        if self._waiting or self._running:
            self._send_probes()
        most = self._settings.concurrency * len(self._servers.each)
        # Requests that wait for another try leave their places to others, though not to ever more of them.
        while self._waiting and self._running < most and self._running + self._repeating < 2 * most:
            job = self._waiting[0]
            if job.batch.is_over:
                self._waiting.popleft()
                continue
            cost = job.batch.estimate(job.index)
            server, wait = self._servers.next(self._loop.time(), cost, job.last)
            if wait > 0:
                if self._alarm is not None:
                    self._alarm.cancel()
                self._alarm = None if math.isinf(wait) else self._loop.call_later(wait, self._send)
                return
            self._waiting.popleft()
            server.begin(cost)
            self._running += 1
            job.last = server
            task = self._loop.create_task(self._attempt(job, server))
            job.batch.tasks.add(task)
            task.add_done_callback(partial(self._ended, job, server))

    def _send_probes(self) -> None:
        """Ask servers that have rested the smallest thing: no request is to wait for one that may be silent."""
        for server in self._servers.each:
            if server.is_rested(self._loop.time()):
                server.is_probed = True
                task = self._loop.create_task(self._probed(server))
                self._probes.add(task)
                task.add_done_callback(self._probes.discard)

    async def _probed(self, server: Server) -> None:
        server.probed(self._loop.time(), await self._asked(self._probe, 0, server))
        self._send()

    def _ended(self, job: _Job, server: Server, task: asyncio.Task[float | None]) -> None:
        self._running -= 1
        server.running -= 1
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

    async def _attempt(self, job: _Job, server: Server) -> float | None:
        """Ask; seconds to wait before the next try, or None where there is none or it stands in line again."""
        if job.answers_at_first < 0:
            job.answers_at_first = self._answers
        value = await self._asked(job.batch, job.index, server)
        if isinstance(value, Refusal):
            server.counts[value.kind] += 1
            return await self._refused(job, server, value)
        self._answers += 1
        server.answered(job.batch.spent(value) - job.batch.estimate(job.index))
        job.batch.tell(Outcome(job.index, value))
        return None

    async def _asked(self, batch: Batch, index: int, server: Server) -> Any:
        """The answer, or a Refusal."""
        content = await server.ask(batch.path, batch.body(index))
        if isinstance(content, Refusal):
            return content
        try:
            return batch.read(index, content)
        except Unusable as unusable:
            return unusable.refusal

    async def _refused(self, job: _Job, server: Server, why: Refusal) -> float | None:
        """What a refusal means for the job, or for all of them; returns as `_attempt`."""
        concerns_all = why.kind in ("key", "place", "everyone")
        if concerns_all and (why.kind == "key" or not job.batch.is_optional):
            job.batch.is_over = True
            offered = await server.offered() if why.kind == "place" else []
            self._stop(job.batch, mistake(server.settings, why, offered))
            return None
        if concerns_all or why.kind in ("never", "misfit"):
            self._give_up(job, why)
            return None
        if self._is_for_others(job, server, why):
            self._waiting.appendleft(job)
            return None
        if why.kind == "pause":
            job.pauses = job.pauses + 1 if self._answers == job.answers_at_pause else 1
            job.answers_at_pause = self._answers
        else:
            job.failures += 1
        failures, allowed = job.failures + job.pauses, min(self._settings.retries, job.batch.retries)
        if why.kind == "unreachable" and not self._answers:
            allowed = min(allowed, _FIRST_TRIES - 1)
        # Each server may ask to wait as often as one alone.
        if job.failures > allowed or failures > allowed * len(self._servers.each):
            self._give_up(job, why)
            return None
        delay = max(why.after or 0.0, self._backoff.wait(failures))
        if why.kind != "pause":
            return delay
        server.pause(self._loop.time() + delay)
        self._waiting.appendleft(job)
        return None

    def _is_for_others(self, job: _Job, server: Server, why: Refusal) -> bool:
        """Whether a request goes to another server at once, its failure being this one's; this one rests by then."""
        if not self._servers.are_up_beside(server):
            return False
        server.missed(self._loop.time(), why, not (job.failures or job.pauses))
        return why.kind == "unreachable"

    def _give_up(self, job: _Job, why: Refusal) -> None:
        is_alone = self._answers == job.answers_at_first
        if why.kind == "unreachable" and is_alone:
            self._stop(job.batch, mistake(self._settings, why))
        else:
            job.batch.tell(Outcome(job.index, why, is_alone and why.kind != "misfit"))


def _nobody(_: Outcome | BaseException) -> None:
    """Who hears of a batch that was dismissed. What hears of others may hold the endpoint, which is to be freed."""
