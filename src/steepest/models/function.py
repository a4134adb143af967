"""A model that is a function of the user's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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

    def __post_init__(self) -> None:
        if not _takes(self.answer, Request("")) or _takes(self.answer):
            raise ModelError(
                f"a function that answers takes one request, got {self.id!r} with {inspect.signature(self.answer)}; "
                "write def answer(request): ..."
            )
        if inspect.iscoroutinefunction(self.answer):
            raise ModelError(f"a function that answers returns text, got {self.id!r}, which is async; wait inside it")

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """In order, one at a time. ModelError where the function raises, or returns something else than an answer."""
        for index, request in enumerate(requests):
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
            yield index, response_to(request, said)


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
