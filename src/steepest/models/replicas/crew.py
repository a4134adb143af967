"""Replicas as Ray actors, and work for them: who does what, and what becomes of it when one of them dies."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from steepest.errors import ModelError
from steepest.models.replicas.worker import Facts, Worker

Begin = Callable[[Any, list[int]], Any]
"""Has an actor begin with some items; the stream of what comes of it."""

TIMEOUT = 7200.0
"""Seconds without a word from a replica that works. A call's whole share of a gradient is one word."""
_PATIENCE = 60
"""Seconds without a replica after which the log says so."""
_DEATHS = 3
"""So many replicas may die of the same work, or one in a row while it opens its model, before it is an error."""


@dataclass(slots=True)
class Job:
    """Work for one replica at a time: a shard of a call."""

    home: int
    """The replica that is to do it, if it can."""
    items: list[int]
    """What is left of it: numbers of the call's requests or rows."""
    deaths: int = 0


@dataclass(slots=True)
class Replica:
    """One actor, as the crew knows it."""

    number: int
    actor: Any = None
    joining: Any = None
    """What will say that it has opened its model; None once it has."""
    job: Job | None = None
    heard: float = 0.0
    """When something of its job was last heard, or it was given that."""
    deaths: int = 0
    """In a row, while it opened its model."""

    @property
    def is_idle(self) -> bool:
        """Whether it can be given work."""
        return self.joining is None and self.job is None


class Crew:
    """The replicas of one model, the same in everything but what they remember."""

    def __init__(
        self, ray: Any, count: int, gpus: int, name: str, options: Mapping[str, Any], timeout: float = TIMEOUT
    ) -> None:
        """The first replica to open its model makes the crew ready; the others join while it works. Each has a core of
        the cluster and so many `gpus`. One that works and says nothing for `timeout` seconds is ended.
        """
        self._ray = ray
        self._timeout = timeout
        # Whatever dies is begun again here: Ray would make all of a call again, and what had come of it counts.
        kind = ray.remote(num_cpus=1, num_gpus=gpus)(Worker)
        self._hire = partial(kind.remote, name, options)
        self._replicas = [Replica(number) for number in range(count)]
        for replica in self._replicas:
            self._replace(replica)
        self._queues: list[deque[Job]] = []
        self._streams: dict[Any, Replica] = {}
        self._began, self._done = time.monotonic(), 0
        self._known: Facts | None = None
        if not ray.wait([each.joining for each in self._replicas], timeout=_PATIENCE)[0]:
            free = ray.available_resources()
            logging.getLogger("steepest").warning(
                "%d replicas of %s wait for room in the Ray cluster or open their model; %d cores and %d GPUs are free",
                count, name, free.get("CPU", 0), free.get("GPU", 0),
            )  # fmt: skip
        while self._known is None:
            for ready in self._ready():
                self._join(ready)

    def __len__(self) -> int:
        return len(self._replicas)

    @property
    def facts(self) -> Facts:
        """Of the model."""
        assert self._known is not None, "known since the first replica has joined"
        return self._known

    @property
    def pids(self) -> list[int]:
        """The replicas' processes; waits until all have opened their model."""
        return [facts.pid for facts in self._ray.get([each.actor.facts.remote() for each in self._replicas])]

    @property
    def status(self) -> str:
        """Replicas, queue and throughput, for people."""
        starting = sum(each.joining is not None for each in self._replicas)
        waiting = sum(len(job.items) for queue in self._queues for job in queue)
        at_work = sum(len(each.job.items) for each in self._replicas if each.job)
        rate = self._done / max(time.monotonic() - self._began, 1e-3)
        who = f"{len(self):,} replicas" + (f" ({starting:,} starting)" if starting else "")
        return f"{who}, {waiting:,} waiting, {at_work:,} at work, {rate:,.1f} a second"

    def put(self, value: Any) -> Any:
        """A value where all replicas can read it, sent once to each machine."""
        return self._ray.put(value)

    def work(self, jobs: Sequence[Job], begin: Begin) -> Iterator[tuple[Job, Any]]:
        """Have jobs done, begun now; yields whatever comes, as it comes.

        The caller takes out of `job.items` what is done: when a replica dies, the rest is done by another one, or by
        the same one once it is there again. A replica without work takes over what waits for another one.
        """
        self._give_up()
        self._queues = [deque(job for job in jobs if job.home == number) for number in range(len(self))]
        self._began, self._done = time.monotonic(), 0
        self._give(begin)
        return self._results(begin, self._streams, self._queues)

    def _results(
        self, begin: Begin, streams: Mapping[Any, Replica], queues: Sequence[deque[Job]]
    ) -> Iterator[tuple[Job, Any]]:
        try:
            while streams or any(queues):
                if self._streams is not streams:
                    raise ModelError(
                        "replicas do one call at a time, got another one before this one had ended; "
                        "take all that it gives first"
                    )
                self._end_silent()
                self._give(begin)
                for ready in self._ready():
                    if ready in streams:
                        yield from self._hear(ready)
                        if self._streams is not streams:
                            break
                    else:
                        self._join(ready)
        finally:
            # Whoever began another call in the meantime has given this one up.
            if self._streams is streams:
                self._give_up()

    def _give_up(self) -> None:
        """End what is under way; a replica stops at the next answer."""
        for stream, replica in self._streams.items():
            self._ray.cancel(stream)
            replica.job = None
        self._streams, self._queues = {}, []

    def _give(self, begin: Begin) -> None:
        """Give work to whoever is idle: their own first, then what waits last in the longest queue."""
        for replica in self._replicas:
            if replica.is_idle and self._queues[replica.number]:
                self._set_to_work(replica, self._queues[replica.number].popleft(), begin)
        for replica in self._replicas:
            if replica.is_idle and (longest := max(self._queues, key=len)):
                self._set_to_work(replica, longest.pop(), begin)

    def _set_to_work(self, replica: Replica, job: Job, begin: Begin) -> None:
        replica.job, replica.heard = job, time.monotonic()
        self._streams[begin(replica.actor, job.items)] = replica

    def _ready(self) -> list[Any]:
        """Wait for something from a replica that works, or for one that joins; all that is there. Nothing, where one
        that works has been silent too long.
        """
        every = [*self._streams, *(each.joining for each in self._replicas if each.joining is not None)]
        ready, _ = self._ray.wait(every, num_returns=len(every), timeout=0, fetch_local=False)
        if not ready:
            first = min((each.heard for each in self._streams.values()), default=math.inf)
            left = None if math.isinf(first) else max(0.0, first + self._timeout - time.monotonic())
            ready, _ = self._ray.wait(every, num_returns=1, timeout=left, fetch_local=False)
        return list(ready)

    def _hear(self, stream: Any) -> Iterator[tuple[Job, Any]]:
        """What has come: a result, the end of a job, or the death of a replica."""
        replica = self._streams[stream]
        job = replica.job
        assert job is not None, "whoever has a stream has a job"
        try:
            found = self._ray.get(next(stream))
        except StopIteration:
            del self._streams[stream]
            replica.job = None
        except self._ray.exceptions.RayTaskError as error:
            raise _own(error) from None
        except self._ray.exceptions.RayError as error:
            del self._streams[stream]
            self._bury(replica, job, _line(error))
        else:
            replica.heard = time.monotonic()
            self._done += len(job.items)
            yield job, found
            self._done -= len(job.items)

    def _end_silent(self) -> None:
        """End replicas that hang: they work, and nothing has come of it for too long."""
        now = time.monotonic()
        late = [stream for stream, each in self._streams.items() if now - each.heard >= self._timeout]
        if not late:
            return
        # Whoever takes what comes may have paused: then something is there.
        _, silent = self._ray.wait(late, num_returns=len(late), timeout=0, fetch_local=False)
        for stream in silent:
            replica = self._streams.pop(stream)
            assert replica.job is not None, "whoever has a stream has a job"
            self._bury(replica, replica.job, f"nothing was heard of it for {self._timeout:,.0f} seconds, its timeout")

    def _bury(self, replica: Replica, job: Job, why: str) -> None:
        """A replica died: its work goes back, and it is waited for."""
        logging.getLogger("steepest").warning(
            "a replica of %s died (%s); %d texts are given to others", self.facts.id, why, len(job.items)
        )
        replica.job = None
        self._replace(replica)
        if not job.items:
            return
        job.deaths += 1
        if job.deaths == _DEATHS:
            raise ModelError(
                f"a replica must survive its work, got {_DEATHS} that died of the same {len(job.items):,} texts "
                f"({why}); give replicas more memory, less to do at once by batch_tokens, or a longer timeout"
            )
        self._queues[job.home].appendleft(job)

    def _replace(self, replica: Replica) -> None:
        """Have a replica's work done by a new actor, once that has opened its model."""
        if replica.actor is not None:
            # Where only the connection was lost, or where it hangs, it would keep its core or GPU.
            self._ray.kill(replica.actor)
        replica.actor = self._hire()
        replica.joining = replica.actor.facts.remote()

    def _join(self, joining: Any) -> None:
        """A replica has opened its model, for the first time or again; ModelError where it cannot."""
        replica = next(each for each in self._replicas if each.joining == joining)
        try:
            facts: Facts = self._ray.get(joining)
        except self._ray.exceptions.RayTaskError as error:
            raise _own(error) from None
        except self._ray.exceptions.RayError as error:
            replica.deaths += 1
            if replica.deaths == _DEATHS:
                raise ModelError(
                    f"a replica must be able to open its model, got one that died of it {_DEATHS} times "
                    f"({_line(error)}); give replicas more memory"
                ) from None
            self._replace(replica)
            return
        known = self._known = self._known or facts
        if facts.id != known.id:
            raise ModelError(
                f"replicas must be of one model, got {known.id!r} on {known.node} and {facts.id!r} on {facts.node}; "
                "put the same files on all machines"
            )
        replica.joining, replica.deaths = None, 0


def _own(error: Any) -> Exception:
    """What a replica raised: an error of ours as it was there, a bug with its traceback."""
    return error.cause if isinstance(error.cause, ModelError) else error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
