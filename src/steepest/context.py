"""What a method and its parts may do to the world, for one step: dice, models, evaluation, within the budget."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from steepest.calls import Call, CallLog, call_key
from steepest.codec import JSON, canonical, decode, encode
from steepest.errors import ModelError, StateError, nearest
from steepest.events import CallsAnswered, Event, Phase, TrialNoted
from steepest.ledger import Ledger
from steepest.models import Generates, WhiteBox
from steepest.tasks.task import Judgement, Task
from steepest.types import (
    Candidate,
    Evaluation,
    Example,
    Message,
    Outcome,
    Prompt,
    Request,
    Response,
    Scored,
    Trial,
    Usage,
)
from steepest.whitebox import JournaledWhiteBox

EXTRACTION_TOKENS = 16
"""Limit of the answer alone, where it is asked for once more after the extractor."""


@dataclass(frozen=True, slots=True)
class World:
    """What stays the same from step to step."""

    task: Task
    models: Mapping[str, Any]
    """Role -> model."""
    log: CallLog
    seed: int
    tell: Callable[[Event], None]
    """Where events go."""


class Context:
    """One step's access to the world. Everything asked through it is journaled, counted and within the budget."""

    def __init__(self, world: World, ledger: Ledger, phase: Phase = "step") -> None:
        self._world = world
        self._ledger = ledger
        self._phase = phase
        self._occurrences: Counter[str] = Counter()
        self._trials: list[Trial] = []

    @property
    def task(self) -> Task:
        """The task, without its test rows."""
        return self._world.task

    @property
    def step(self) -> int:
        """Number of the step; 0 is `init`."""
        return self._ledger.step

    @property
    def usage(self) -> Usage:
        """What this step has paid so far."""
        return self._ledger.usage

    @property
    def trials(self) -> tuple[Trial, ...]:
        """What was noted so far."""
        return tuple(self._trials)

    def rng(self, label: str) -> random.Random:
        """Dice addressed by run seed, step and label: the same three always fall the same way."""
        return random.Random(derive(self._world.seed, "rng", str(self.step), label))

    def note(self, trial: Trial) -> None:
        """Keep `trial` in the step's record."""
        self._trials.append(trial)
        self._world.tell(TrialNoted(self.step, trial))

    def model(self, role: str, capability: type[Any]) -> Any:
        """The role's model itself, past the journal; ModelError if it has no such capability."""
        return require(self._world.models, role, capability)

    def whitebox(self, role: str) -> WhiteBox:
        """The role's white-box model, behind the journal."""
        return JournaledWhiteBox(self.model(role, WhiteBox), role, self._ledger, self._answered)

    def generate(
        self,
        role: str,
        prompts: Sequence[Prompt],
        *,
        temperature: float = 0.0,
        n: int = 1,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
    ) -> list[Response]:
        """Answers of the role's model, n to each prompt: those of the first prompt, then of the second, and so on.

        At temperature 0 the n answers are one and the same. `max_tokens` is the task's unless given.
        """
        limit = self.task.max_tokens if max_tokens is None else max_tokens
        plain = [Request(prompt, temperature, limit, tuple(stop)) for prompt in prompts for _ in range(n)]
        return self._ask(role, plain if temperature == 0 else [self._seeded(role, each) for each in plain])

    def evaluate(self, candidates: Sequence[Candidate], examples: Sequence[Example]) -> list[Evaluation]:
        """Every candidate on every example, greedily, in one batch; the task's metric judges.

        Where the metric finds no answer and the task has an extractor, the answer alone is asked for, once.
        """
        pairs = [(candidate, example) for candidate in candidates for example in examples]
        prompts = [self.task.template.render(candidate.text, example) for candidate, example in pairs]
        answers = self.generate("task", prompts)
        judged = [
            _Judged(example, prompt, answer, answer.text, self.task.metric(example, answer.text))
            for (_, example), prompt, answer in zip(pairs, prompts, answers, strict=True)
        ]
        outcomes = [each.outcome for each in self._extracted(judged)]
        width = len(examples)
        return [
            Evaluation(candidate, tuple(outcomes[i * width : (i + 1) * width]))
            for i, candidate in enumerate(candidates)
        ]

    def score(self, candidates: Sequence[Candidate], examples: Sequence[Example]) -> list[Scored]:
        """`evaluate`, scores only."""
        return [evaluation.scored for evaluation in self.evaluate(candidates, examples)]

    def _extracted(self, judged: Sequence[_Judged]) -> list[_Judged]:
        """`judged`, with the answers that could be had by asking for them after the extractor."""
        extractor = self.task.extractor
        again = [i for i, each in enumerate(judged) if each.lacks_answer] if extractor else []
        begun = {i: _joined(judged[i].answer.text, extractor) for i in again}
        prompts = [(*judged[i].prompt, Message("assistant", begun[i])) for i in again]
        result = list(judged)
        for i, more in zip(again, self.generate("task", prompts, max_tokens=EXTRACTION_TOKENS), strict=True):
            if more.finish != "failed":
                before = judged[i]
                output = begun[i] + more.text
                judgement = self.task.metric(before.example, output)
                result[i] = _Judged(before.example, before.prompt, before.answer, output, judgement)
        return result

    def _seeded(self, role: str, request: Request) -> Request:
        """A sampled request with its seed: another one at another step, or when the same is asked again."""
        content = canonical([role, encode(request)])
        occurrence = self._occurrences[content]
        self._occurrences[content] += 1
        seed = derive(self._world.seed, "sample", str(self.step), content, str(occurrence)) >> 33
        return Request(request.prompt, request.temperature, request.max_tokens, request.stop, seed)

    def _ask(self, role: str, requests: Sequence[Request]) -> list[Response]:
        """Responses in the order of requests; each distinct request is sent at most once in the life of the run."""
        model: Generates = self.model(role, Generates)
        keys = [call_key(model.id, "generate", encode(request)) for request in requests]
        absent = self._ledger.missing(keys, _cost)
        if absent:
            by_key = dict(zip(keys, requests, strict=True))
            self._send(role, model, absent, [by_key[key] for key in absent])
        return [decode(Response, self._ledger.response(key), "a journaled answer", StateError) for key in keys]

    def _send(self, role: str, model: Generates, keys: Sequence[str], requests: Sequence[Request]) -> None:
        """Have `requests` answered, each answer written down before the next one is waited for."""
        waiting = set(range(len(requests)))
        for index, response in model.generate(requests):
            if index not in waiting:
                raise ModelError(
                    f"a model must answer every request once, got a second or unasked answer {index} of "
                    f"{len(requests)} from {model.id!r}; correct its `generate`"
                )
            waiting.remove(index)
            request, answer = encode(requests[index]), encode(response)
            call = Call(keys[index], self.step, role, model.id, "generate", request, answer)
            self._ledger.record(call, _cost)
            self._answered(len(requests) - len(waiting), len(requests))
        if waiting:
            raise ModelError(
                f"a model must answer every request once, got no answer to {len(waiting)} of {len(requests)} "
                f"from {model.id!r}; correct its `generate`"
            )

    def _answered(self, answered: int, batch: int) -> None:
        self._world.tell(CallsAnswered(self.step, self._phase, answered, batch, self.usage))


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
        return Outcome(self.example, self.output, score, self.judgement.answer, self.answer.finish)


def _joined(output: str, extractor: str) -> str:
    """An output and the extractor behind it, with white space between them."""
    return f"{output} {extractor}" if output and not output[-1].isspace() else output + extractor


def derive(seed: int, *labels: str) -> int:
    """64 bits that depend on the run's seed and the labels, and on nothing else."""
    digest = hashlib.sha256("\x1f".join([str(seed), *labels]).encode()).digest()
    return int.from_bytes(digest[:8])


def require(models: Mapping[str, Any], role: str, capability: type[Any]) -> Any:
    """The role's model; ModelError where there is none, or one without the capability."""
    if role not in models:
        raise ModelError(f"the role {role!r} needs a model, got none; {nearest(role, models)}")
    model = models[role]
    if not isinstance(model, capability):
        remedy = (
            "choose one that runs in this process, such as bundled or hf:NAME"
            if capability is not Generates
            else "choose one that generates text"
        )
        raise ModelError(
            f"the role {role!r} needs a model with the capability {capability.__name__}, "
            f"got {model.id!r}, which lacks it; {remedy}"
        )
    return model


def _cost(response: JSON) -> Usage:
    return Usage(1, response["prompt_tokens"], response["output_tokens"])
