"""Gaps in texts, filled through /completions with `suffix`, as in OpenAI's first API.

Few servers take the field. Most refuse it, and some leave it out without a word, so the first thing asked is whether
a server that is sent a suffix counts more tokens as read than without.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial

from steepest.errors import ModelError
from steepest.models.endpoint import bodies, replies
from steepest.models.endpoint.limits import Backoff
from steepest.models.endpoint.mistakes import all_failed, mistake
from steepest.models.endpoint.model import Endpoint
from steepest.models.endpoint.replies import Refusal, shortened
from steepest.models.endpoint.settings import Settings
from steepest.types import Gap, Infill, Response

_WITHOUT = Infill(Gap("One, two, three,", ""), max_tokens=1)
_WITH = replace(_WITHOUT, gap=Gap(_WITHOUT.gap.before, " five, six, seven, eight."))


class CompletionsEndpoint(Endpoint):
    """An Endpoint that is asked in plain text, and `Infills` where the server takes a suffix."""

    def __init__(self, settings: Settings, backoff: Backoff | None = None) -> None:
        super().__init__(settings, backoff)
        self._is_checked = False

    def infill(self, requests: Sequence[Infill]) -> Iterator[tuple[int, Response]]:
        """See `Infills.infill`; ModelError where the server cannot, or cannot be seen to."""
        if requests and not self._is_checked:
            self._check()
            self._is_checked = True
        sizes = [len(f"{request.gap.before}{request.gap.after}".encode(errors="replace")) for request in requests]
        batch = self._written(
            requests,
            sizes,
            lambda i: bodies.infilling(self._settings, requests[i]),
            lambda i, data: replies.response(data, (), sizes[i]),
        )
        yield from self._heard(len(requests), partial(self._begun, batch))

    def _check(self) -> None:
        """A suffix must be read: with it, more tokens are counted."""
        from steepest.models.endpoint.transport import Batch

        asked, read = (_WITHOUT, _WITH), [0, 0]
        batch = Batch(
            size=len(asked),
            path=bodies.path_of(self._settings),
            body=lambda i: bodies.infilling(self._settings, asked[i]),
            read=lambda _, data: replies.response(data, (), 0).prompt_tokens,
            is_optional=True,
        )
        with closing(self._opened().run(batch)) as outcomes:
            for outcome in outcomes:
                if isinstance(outcome.value, Refusal):
                    raise self._refused(outcome.value)
                read[outcome.index] = outcome.value
        if read[1] <= read[0]:
            raise self._lacking(f"which counts {read[1]} tokens with a suffix and {read[0]} without")

    def _refused(self, refusal: Refusal) -> ModelError:
        why = shortened(self._settings.redacted(refusal.reason))
        if refusal.kind == "place":
            return mistake(self._settings, refusal)
        if refusal.kind in ("never", "everyone", "misfit"):
            return self._lacking(f"which says {why}")
        return all_failed(self._settings, 1, why)

    def _lacking(self, why: str) -> ModelError:
        return ModelError(
            f"the capability Infills needs a server that reads the suffix of a text, got {self._settings.url}, {why}; "
            "ask for whole prompts with mode=forward, or name a model that fills gaps"
        )
