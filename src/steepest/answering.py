"""From answers to outcomes: by the task's rule, after an extractor where there is one, or by a judge.

Outcomes are given in the order of the rows. What asking for them takes is foreseen (see `asking`): a question about an
answer is sent once that answer is there, whichever rows the program still waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from steepest.asking import Batch
from steepest.tasks.judge import Judge, Verdict
from steepest.tasks.metaprompt import Unusable
from steepest.tasks.task import Judgement, Task
from steepest.types import Example, Message, Outcome, Response

EXTRACTION_TOKENS = 16
"""Limit of the answer alone, where it is asked for once more after the extractor."""

Ahead = Callable[[int, Outcome], None]
"""Hears of the outcome of a row, by its place, as soon as that is known, in any order."""


class Asks(Protocol):
    """What of a context is needed."""

    @property
    def task(self) -> Task:
        """The task."""
        ...

    def batch(self, role: str, *, temperature: float = 0.0, max_tokens: int | None = None) -> Batch:
        """Requests that are added bit by bit."""
        ...

    def judging(self, judge: Judge, temperature: float) -> Batch:
        """Requests to the judge."""
        ...

    def tally(self, what: str, n: int = 1) -> None:
        """Count something."""
        ...


class Rated:
    """Outcomes by a judge. An answer that gets no rating in two attempts has no score and counts as unjudged."""

    def __init__(
        self, ctx: Asks, judge: Judge, examples: Sequence[Example], answers: Batch, ahead: Ahead | None
    ) -> None:
        self._ctx = ctx
        self._judge = judge
        self._examples = examples
        self._answers = answers
        self._ahead = ahead
        self._attempts = [ctx.judging(judge, temperature) for temperature in (0.0, judge.temperature)]
        for i in range(len(examples)):
            answers.heard(i, partial(self._answered, i))

    def __iter__(self) -> Iterator[Outcome]:
        messages, waiting, verdicts = dict[int, str](), dict[int, int](), dict[int, Verdict]()
        for i in range(len(self._examples)):
            if (answer := self._answers.answer(i)).finish != "failed":
                messages[i] = self._message(i, answer)
                waiting[i] = self._attempts[0].add([messages[i]])[0]
        for attempt, following in zip(self._attempts, [*self._attempts[1:], None], strict=True):
            attempt.end()
            again: dict[int, int] = {}
            for i, place in waiting.items():
                try:
                    verdicts[i] = self._judge.read(attempt.answer(place))
                except Unusable as reason:
                    self._ctx.tally(f"no verdict: {reason}")
                    again[i] = following.add([messages[i]])[0] if following else 0
            waiting = again
        self._ctx.tally("unjudged", len(waiting))
        for i, example in enumerate(self._examples):
            yield _outcome(example, self._answers.answer(i), verdicts.get(i))

    def _message(self, i: int, answer: Response) -> str:
        task, example = self._ctx.task, self._examples[i]
        shown = task.template.shown(task.seeds[0], example)
        return self._judge.ask(task.language, task.description, shown, example.target, answer.text)

    def _answered(self, i: int, answer: Response) -> None:
        """Ahead of the program: ask the judge."""
        if answer.finish == "failed":
            self._told(i, answer, None)
        else:
            self._foresee(i, answer, self._message(i, answer), 0)

    def _foresee(self, i: int, answer: Response, message: str, attempt: int) -> None:
        self._attempts[attempt].foresee([message], lambda _, reply: self._replied(i, answer, message, attempt, reply))

    def _replied(self, i: int, answer: Response, message: str, attempt: int, reply: Response) -> None:
        """Ahead of the program: ask once more, or tell."""
        try:
            self._told(i, answer, self._judge.read(reply))
        except Unusable:
            if attempt + 1 < len(self._attempts):
                self._foresee(i, answer, message, attempt + 1)
            else:
                self._told(i, answer, None)

    def _told(self, i: int, answer: Response, verdict: Verdict | None) -> None:
        if self._ahead:
            self._ahead(i, _outcome(self._examples[i], answer, verdict))


class Ruled:
    """Outcomes by the rule; where there is an extractor, with the answers that could be had by asking behind it."""

    def __init__(
        self,
        ctx: Asks,
        examples: Sequence[Example],
        prompts: Sequence[tuple[Message, ...]],
        answers: Batch,
        ahead: Ahead | None,
    ) -> None:
        self._task = ctx.task
        self._examples = examples
        self._prompts = prompts
        self._answers = answers
        self._ahead = ahead
        self._again = ctx.batch("task", max_tokens=EXTRACTION_TOKENS)
        self._judged: dict[int, _Judged] = {}
        """What is known of answers whose turn has not come."""
        if ahead or self._task.extractor:
            for i in range(len(examples)):
                answers.heard(i, partial(self._answered, i))

    def __iter__(self) -> Iterator[Outcome]:
        if not self._task.extractor:
            yield from (self._take(i).outcome for i in range(len(self._examples)))
            return
        first, places = list[_Judged](), dict[int, int]()
        for i in range(len(self._examples)):
            first.append(self._take(i))
            if first[i].lacks_answer:
                places[i] = self._again.add([self._question(first[i])])[0]
        self._again.end()
        for i, each in enumerate(first):
            yield self._extracted(each, self._again.answer(places[i])) if i in places else each.outcome

    def _take(self, i: int) -> _Judged:
        """What the rule says of an answer, waited for."""
        answer = self._answers.answer(i)
        return self._judged.pop(i, None) or self._judge(i, answer)

    def _judge(self, i: int, answer: Response) -> _Judged:
        example = self._examples[i]
        return _Judged(example, self._prompts[i], answer, answer.text, self._task.rule(example, answer.text))

    def _question(self, judged: _Judged) -> tuple[Message, ...]:
        return (*judged.prompt, Message("assistant", _joined(judged.answer.text, self._task.extractor)))

    def _extracted(self, first: _Judged, more: Response) -> Outcome:
        """The outcome with what was answered after the extractor."""
        if more.finish == "failed":
            return first.outcome
        output = _joined(first.answer.text, self._task.extractor) + more.text
        judgement = self._task.rule(first.example, output)
        return _Judged(first.example, first.prompt, first.answer, output, judgement).outcome

    def _answered(self, i: int, answer: Response) -> None:
        """Ahead of the program: ask behind the extractor, or tell."""
        judged = self._judged[i] = self._judge(i, answer)
        if self._task.extractor and judged.lacks_answer:
            self._again.foresee([self._question(judged)], lambda _, more: self._told(i, self._extracted(judged, more)))
        else:
            self._told(i, judged.outcome)

    def _told(self, i: int, outcome: Outcome) -> None:
        if self._ahead:
            self._ahead(i, outcome)


@dataclass(frozen=True, slots=True)
class _Judged:
    """One example's answer, and what the metric said of it (and of what was asked for after it)."""

    example: Example
    prompt: tuple[Message, ...]
    answer: Response
    output: str
    judgement: Judgement

    @property
    def lacks_answer(self) -> bool:
        return self.judgement.answer is None and self.answer.finish != "failed"

    @property
    def outcome(self) -> Outcome:
        failed = self.answer.finish == "failed"
        score = None if failed else self.judgement.score
        told = self.judgement.explanation
        return Outcome(self.example, self.output, score, self.judgement.answer, self.answer.finish, told)


def _outcome(example: Example, answer: Response, verdict: Verdict | None) -> Outcome:
    """An answer under the judge's verdict, or without one."""
    said = answer.text.strip() or None
    if verdict is None:
        return Outcome(example, answer.text, None, said, answer.finish)
    return Outcome(example, answer.text, verdict.score, said, answer.finish, verdict.explanation)


def _joined(output: str, extractor: str) -> str:
    """An output and the extractor behind it, with white space between them."""
    return f"{output} {extractor}" if output and not output[-1].isspace() else output + extractor
