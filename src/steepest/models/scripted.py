"""A model whose answers come from a function: the double for tests and dry runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from steepest.types import Prompt, Request, Response

Answer = Callable[[Request], str | Response]


def text_of(prompt: Prompt) -> str:
    """The last turn of a conversation, or the prompt itself."""
    return prompt if isinstance(prompt, str) else prompt[-1].content


def echo(request: Request) -> str:
    """The last line of what was asked: the default script, which costs nothing and means nothing."""
    return text_of(request.prompt).rpartition("\n")[2]


@dataclass(frozen=True, slots=True)
class Scripted:
    """Answers each request by `answer(request)`, a text or a whole Response; words count as tokens."""

    answer: Answer = echo
    id: str = "scripted"

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """In order, one at a time, each answered only when it is asked for."""
        for index, request in enumerate(requests):
            yield index, response_to(request, self.answer(request))


def response_to(request: Request, said: str | Response) -> Response:
    """What a function said, as a Response: words are the tokens of a text."""
    return Response(said, _words(request.prompt), len(said.split())) if isinstance(said, str) else said


def _words(prompt: Prompt) -> int:
    turns = [prompt] if isinstance(prompt, str) else [message.content for message in prompt]
    return sum(len(turn.split()) for turn in turns)
