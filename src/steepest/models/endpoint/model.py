"""The capabilities of an endpoint, put together."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from steepest.models import Floats, Likelihood
from steepest.models.endpoint import bodies, replies
from steepest.models.endpoint.limits import Backoff
from steepest.models.endpoint.mistakes import all_failed
from steepest.models.endpoint.replies import Refusal
from steepest.models.endpoint.settings import Settings
from steepest.types import Infill, Prompt, Request, Response

if TYPE_CHECKING:
    from steepest.models.endpoint.scoring import Scorer
    from steepest.models.endpoint.transport import Outcome, Transport

_DOWN = 5
"""So many requests in a row that all failed for good are the server's failure, not theirs."""


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

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `Generates.generate`. Token counts are estimates where the server sends none."""
        sizes = [bodies.prompt_bytes(request.prompt) for request in requests]
        yield from self._written(
            requests,
            sizes,
            lambda i: bodies.generation(self._settings, requests[i]),
            lambda i, data: self._read(requests[i], data, sizes[i]),
        )

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
    ) -> Iterator[tuple[int, Response]]:
        """What comes of requests of so many bytes, by functions of their index."""
        if not requests:
            return
        from steepest.models.endpoint.transport import Batch

        tokens = [size / 4 + requests[i].max_tokens for i, size in enumerate(sizes)]
        batch = Batch(
            size=len(requests),
            path=bodies.path_of(self._settings),
            body=body,
            read=read,
            estimate=lambda i: tokens[i],
            spent=lambda response: response.prompt_tokens + response.output_tokens,
        )
        with closing(self._opened().run(batch)) as outcomes:
            for outcome in self._told(outcomes):
                yield outcome.index, self._response(outcome.value)

    def _opened(self) -> Transport:
        from steepest.models.endpoint.transport import Transport

        with self._lock:
            if self._transport is None:
                self._transport = Transport(self._settings, self._backoff)
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
        return value if isinstance(value, Response) else Response("", finish="failed", reason=self._why(value))

    def _why(self, refusal: Refusal) -> str:
        return replies.shortened(self._settings.redacted(refusal.reason))

    def _told(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        """Outcomes, failures held back until something is answered; ModelError where nothing is any more.

        Else a server that goes down would turn every question of a run into a failed one, for good.
        """
        held: list[Outcome] = []
        for outcome in outcomes:
            if outcome.is_alone:
                held.append(outcome)
                repeated = outcome.value.kind != "never"
                if repeated and len(held) >= max(_DOWN, self._settings.concurrency):
                    break
            else:
                if not isinstance(outcome.value, Refusal):
                    yield from held
                    held.clear()
                yield outcome
        if len(held) >= _DOWN:
            raise all_failed(self._settings, len(held), self._why(held[-1].value))
        yield from held
