"""A model that is a function of the user's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any

from steepest.errors import ModelError
from steepest.models.scripted import response_to
from steepest.types import Request, Response


@dataclass(frozen=True, slots=True)
class Function:
    """Answers each request by a function of the user's; words count as tokens where it returns text."""

    answer: Callable[[Request], Any]
    id: str
    """Where the function stands: one that was changed there is still taken for the same."""
    concurrency: int = 1
    """So many threads call it at once."""

    def __post_init__(self) -> None:
        if type(self.concurrency) is not int or self.concurrency < 1:
            raise ModelError(f"concurrency is a whole number from 1 on, got {self.concurrency!r} for {self.id!r}")
        if not _takes(self.answer, Request("")) or _takes(self.answer):
            raise ModelError(
                f"a function that answers takes one request, got {self.id!r} with {inspect.signature(self.answer)}; "
                "write def answer(request): ..."
            )
        if inspect.iscoroutinefunction(self.answer):
            raise ModelError(f"a function that answers returns text, got {self.id!r}, which is async; wait inside it")

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """In order where it is asked one at a time, in this thread; otherwise as they are answered.

        ModelError where the function raises, or returns something else than an answer; what is under way then comes
        before it.
        """
        if self.concurrency == 1:
            for index, request in enumerate(requests):
                yield index, self._answered(request)
            return
        coming = iter(enumerate(requests))
        failed: BaseException | None = None
        with ThreadPoolExecutor(self.concurrency) as pool:
            asked = {pool.submit(self._answered, request): i for i, request in islice(coming, self.concurrency)}
            while asked:
                for answer in wait(asked, return_when=FIRST_COMPLETED).done:
                    index, failed = asked.pop(answer), failed or answer.exception()
                    if not failed and (following := next(coming, None)):
                        asked[pool.submit(self._answered, following[1])] = following[0]
                    if not answer.exception():
                        yield index, answer.result()
        if failed:
            raise failed

    def _answered(self, request: Request) -> Response:
        try:
            said = self.answer(request)
        except Exception as error:
            problem = " ".join(f"{type(error).__name__}: {error}".split())
            raise ModelError(
                f"a function that answers returns text, got {problem:.300} from {self.id!r}; put that right, and "
                "resume the run: it keeps the answers that have come"
            ) from error
        if not isinstance(said, str | Response):
            raise ModelError(
                f"a function that answers returns text, got {type(said).__name__} from {self.id!r}; return a str"
            )
        return response_to(request, said)


def makes_model(found: Any) -> bool:
    """Whether what a file holds is called without a request, for a model: a class, or a function that needs nothing."""
    return not inspect.isfunction(found) or _takes(found)


def _takes(function: Callable[..., Any], *given: Any) -> bool:
    """Whether a function can be called with this and nothing else."""
    try:
        inspect.signature(function).bind(*given)
    except TypeError:
        return False
    return True
