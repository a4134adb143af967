"""The capabilities of an endpoint, put together."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from steepest.models import Floats, Likelihood
from steepest.models.endpoint import bodies, replies
from steepest.models.endpoint.limits import Backoff
from steepest.models.endpoint.mistakes import all_failed
from steepest.models.endpoint.replies import Refusal
from steepest.models.endpoint.settings import Settings
from steepest.types import Infill, Prompt, Request, Response
from steepest.waiting import heard

if TYPE_CHECKING:
    from steepest.models.endpoint.scoring import Scorer
    from steepest.models.endpoint.transport import Batch, Outcome, Transport

Begin = Callable[[Callable[[int, Response], None], Callable[[BaseException], None]], Callable[[], None]]
_DOWN = 5
"""So many requests in a row that all failed for good may be the server's failure, not theirs."""


class Endpoint:
    """An OpenAI-compatible server: `Generates`, `Embeds`, and `ScoresText` where the server can.

    A request that fails for good is answered with finish "failed" and the reason; the others go on. What concerns
    all requests (key, address, model, a server that is down) is a ModelError. Requests run at once, in a thread of
    the endpoint's own; several threads may ask. An open connection is kept until `close`, after which asking again
    opens another.
    """

    def __init__(self, settings: Settings, backoff: Backoff | None = None) -> None:
        self._settings = settings
        self._backoff = backoff or Backoff(0.5)
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        self._scorer: Scorer | None = None
        self._closing: weakref.finalize[..., Endpoint] | None = None

    @property
    def id(self) -> str:
        """Model, URL, and the options that change answers."""
        return self._settings.id

    def __repr__(self) -> str:
        return f"Endpoint({self.id!r})"

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """What became of the requests sent since it was opened, repeated ones included, server by server."""
        transport = self._transport
        return transport.counts if transport else {}

    @property
    def status(self) -> str:
        """See `models.Tells`: tries without an answer, most of which were followed by another one; empty for none."""
        counts = list(self.counts.values())
        failed, held, answered = (
            sum(each.get(kind, 0) for each in counts for kind in kinds)
            for kinds in (("again", "unreachable"), ("pause",), ("answered",))
        )
        if not failed + held:
            return ""
        return f"{failed + held:,} of {answered + failed + held:,} tries unanswered, {held:,} of them for the rate"

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `Generates.generate`. Token counts are estimates where the server sends none."""
        return self._heard(len(requests), partial(self.begin, requests))

    def begin(
        self,
        requests: Sequence[Request],
        answered: Callable[[int, Response], None],
        failed: Callable[[BaseException], None],
    ) -> Callable[[], None]:
        """See `lots.Overlaps.begin`."""
        sizes = [bodies.prompt_bytes(request.prompt) for request in requests]
        batch = self._written(
            requests,
            sizes,
            lambda i: bodies.generation(self._settings, requests[i]),
            lambda i, data: self._read(requests[i], data, sizes[i]),
        )
        return self._begun(batch, answered, failed)

    def logprobs(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Likelihood]:
        """See `ScoresText.logprobs`, and `scoring` for what servers must offer; ModelError where this one does not."""
        from steepest.models.endpoint.scoring import Scorer

        if self._scorer is None:
            self._scorer = Scorer(self._settings)
        return self._scorer.logprobs(self._opened(), pairs)

    def embed(self, texts: Sequence[str]) -> Floats:
        """See `Embeds.embed`."""
        from steepest.models.endpoint.embedding import embed

        return embed(self._settings, self._opened(), texts)

    def close(self) -> None:
        """Cancel what is under way and close the connections."""
        with self._lock:
            if self._closing is not None:
                self._closing()
            self._transport = self._closing = None

    def _written(
        self,
        requests: Sequence[Request] | Sequence[Infill],
        sizes: Sequence[int],
        body: Callable[[int], bytes],
        read: Callable[[int, bytes], Response],
    ) -> Batch:
        """Requests of so many bytes, by functions of their index."""
        from steepest.models.endpoint.transport import Batch

        tokens = [size / 4 + requests[i].max_tokens for i, size in enumerate(sizes)]
        return Batch(
            size=len(requests),
            path=bodies.path_of(self._settings),
            body=body,
            read=read,
            estimate=lambda i: tokens[i],
            spent=lambda response: response.prompt_tokens + response.output_tokens,
        )

    def _begun(
        self, batch: Batch, answered: Callable[[int, Response], None], failed: Callable[[BaseException], None]
    ) -> Callable[[], None]:
        """Send a batch; the function that cancels it."""
        from steepest.models.endpoint.transport import smallest

        transport, probe = self._opened(), smallest(self._settings)
        hearing = _Hearing(batch.size, max(_DOWN, self._settings.concurrency * len(self._settings.urls)))

        def tell(outcome: Outcome | BaseException) -> None:
            if isinstance(outcome, BaseException):
                failed(outcome)
                return
            known = hearing.told(outcome)
            if hearing.is_over:  # before anybody hears of it, who may close the endpoint, which fails what is open
                transport.cancel(batch)
            for each in known:
                answered(each.index, self._response(each.value))
            if hearing.is_down:
                failed(all_failed(self._settings, len(hearing.held), self._why(hearing.held[-1].value)))
            elif hearing.is_doubtful:
                transport.begin(probe)

        def judge(outcome: Outcome | BaseException) -> None:
            transport.cancel(probe)
            if not isinstance(outcome, BaseException) and isinstance(outcome.value, Response):
                for each in hearing.held:
                    answered(each.index, self._response(each.value))
            else:
                failed(all_failed(self._settings, len(hearing.held), self._why(hearing.held[-1].value)))

        def cancel() -> None:
            transport.cancel(batch)
            transport.cancel(probe)

        batch.tell, probe.tell = tell, judge
        transport.begin(batch)
        return cancel

    def _heard(self, size: int, begin: Begin) -> Iterator[tuple[int, Response]]:
        """What comes of so many requests, once somebody asks for it."""
        if not size:
            return
        told: SimpleQueue[tuple[int, Response] | BaseException] = SimpleQueue()
        cancel = begin(lambda index, response: told.put((index, response)), told.put)
        try:
            for _ in range(size):
                each = heard(told)
                if isinstance(each, BaseException):
                    raise each
                yield each
        finally:
            cancel()

    def _opened(self) -> Transport:
        from steepest.models.endpoint.transport import Transport

        with self._lock:
            if self._transport is None:
                # Checked once more: a key may have been set since.
                self._transport = Transport(replace(self._settings), self._backoff)
                self._closing = weakref.finalize(self, self._transport.close)
            return self._transport

    def _read(self, request: Request, data: bytes, size: int) -> Response:
        response = replies.response(data, request.stop, size)
        start = bodies.begun(request.prompt)
        if not start or self._settings.prefill or self._settings.api == "completions":
            return response
        text = bodies.without_echo(start, response.text)
        return Response(text, response.prompt_tokens, response.output_tokens, response.finish)

    def _response(self, value: Response | Refusal) -> Response:
        if isinstance(value, Refusal):
            return Response("", finish="failed", reason=self._why(value))
        return replace(value, text=self._settings.without_key(value.text))

    def _why(self, refusal: Refusal) -> str:
        return replies.shortened(self._settings.redacted(refusal.reason))


class _Hearing:
    """Outcomes as they come, failures held back until something is answered.

    Else a server that goes down would turn every question of a run into a failed one, for good.
    """

    def __init__(self, size: int, most: int) -> None:
        """`most`: so many repeated failures in a row are enough to know."""
        self._left = size
        self._most = most
        self.held: list[Outcome] = []
        self.is_down = False
        """Whether nothing is answered any more."""
        self.is_doubtful = False
        """Whether it is only known that none of the last ones was."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is to be heard any more."""
        return self.is_down or not self._left

    def told(self, outcome: Outcome) -> list[Outcome]:
        """What can be told now; nothing once the server is down."""
        if self.is_down:
            return []
        self._left -= 1
        out: list[Outcome] = []
        if outcome.is_alone:
            self.held.append(outcome)
            enough = outcome.value.kind != "never" and len(self.held) >= self._most
            self.is_down = enough and self._left > 0
        else:
            if not isinstance(outcome.value, Refusal):
                out += self.held
                self.held.clear()
            out.append(outcome)
        if not self._left:
            self.is_doubtful = len(self.held) >= _DOWN
            out += [] if self.is_doubtful else self.held
        return out
