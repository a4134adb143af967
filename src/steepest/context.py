"""What a method and its parts may do to the world, for one step: dice, models, evaluation, within the budget."""

from __future__ import annotations

import copy
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from steepest.calls import Call, CallLog, call_key
from steepest.codec import JSON, canonical, decode, encode
from steepest.errors import ModelError, SpecError, StateError, nearest
from steepest.events import CallsAnswered, Event, Phase, TrialNoted
from steepest.ledger import Ledger, Price, bound
from steepest.models import Embeds, Floats, Generates, Infills, ScoresText, WhiteBox
from steepest.tasks.judge import Judge, Verdict
from steepest.tasks.metaprompt import Unusable
from steepest.tasks.task import Judgement, Task
from steepest.types import (
    Candidate,
    Evaluation,
    Example,
    Gap,
    Infill,
    Message,
    Outcome,
    Prompt,
    Request,
    Response,
    Scored,
    Trial,
    Usage,
)
from steepest.whitebox import JournaledWhiteBox, journaled_embeddings, journaled_logprobs

EXTRACTION_TOKENS = 16
"""Limit of the answer alone, where it is asked for once more after the extractor."""
FAIL_ON = 0.2
"""Share of a batch that may go unanswered, unless told otherwise."""
FILLING = "choose a base model behind a server with api=completions, or one that was opened with infill=true"
"""The remedy where a model cannot fill gaps."""
FEW = 4
"""So many unanswered requests of a batch are no reason to stop, however small it is."""
REASON = 80
"""Characters by which reasons of unanswered requests are told apart."""

Asked = TypeVar("Asked", Request, Infill)
Score = Callable[[Sequence[Candidate], Sequence[Example]], list[Scored]]
"""A measure of candidates on examples."""


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
    prices: Mapping[str, Price] = field(default_factory=dict)
    """Role -> price of its model."""
    fail_on: float = FAIL_ON
    """Share of a batch's requests that may go unanswered; where more do, and more than FEW, the step ends with
    ModelError. 0: any unanswered request ends it."""


class Context:
    """One step's access to the world. Everything asked through it is journaled, counted and within the budget."""

    def __init__(self, world: World, ledger: Ledger, phase: Phase = "step") -> None:
        self._world = world
        self._ledger = ledger
        self._phase = phase
        self._occurrences: Counter[str] = Counter()
        self._trials: list[Trial] = []
        self._counts: Counter[str] = Counter()
        self._score: Score = self._by_metric

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

    @property
    def counts(self) -> dict[str, int]:
        """What was tallied so far."""
        return dict(self._counts)

    def rng(self, label: str) -> random.Random:
        """Dice addressed by run seed, step and label: the same three always fall the same way."""
        return random.Random(derive(self._world.seed, "rng", str(self.step), label))

    def note(self, trial: Trial) -> None:
        """Keep `trial` in the step's record."""
        self._trials.append(trial)
        self._world.tell(TrialNoted(self.step, trial))

    def tally(self, what: str, n: int = 1) -> None:
        """Count something for the step's record and the report, such as a reply that could not be used."""
        if n:
            self._counts[what] += n

    def model(self, role: str, capability: type[Any]) -> Any:
        """The role's model itself, past the journal; ModelError if it has no such capability."""
        return require(self._world.models, role, capability)

    def offers(self, role: str, capability: type[Any]) -> bool:
        """Whether the role has a model with the capability."""
        return isinstance(self._world.models.get(role), capability)

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

    def infill(
        self, role: str, gaps: Sequence[Gap], *, temperature: float = 0.0, n: int = 1, max_tokens: int | None = None
    ) -> list[Response]:
        """What the role's model writes into gaps, n times into each; otherwise as `generate`."""
        limit = self.task.max_tokens if max_tokens is None else max_tokens
        plain = [Infill(gap, temperature, limit) for gap in gaps for _ in range(n)]
        return self._ask(role, plain if temperature == 0 else [self._seeded(role, each) for each in plain], "infill")

    def logprobs(self, role: str, pairs: Sequence[tuple[Prompt, str]]) -> list[Floats]:
        """For each (prompt, continuation), the role's log-probability of each token of the continuation; journaled."""
        return journaled_logprobs(self.model(role, ScoresText), role, pairs, self._ledger, self._answered)

    def embed(self, role: str, texts: Sequence[str]) -> list[Floats]:
        """A vector for each text, by the role's model; journaled."""
        return journaled_embeddings(self.model(role, Embeds), role, texts, self._ledger, self._answered)

    def evaluate(self, candidates: Sequence[Candidate], examples: Sequence[Example]) -> list[Evaluation]:
        """Every candidate on every example, greedily, in one batch; the task's metric judges.

        Where the metric finds no answer and the task has an extractor, the answer alone is asked for, once. Where the
        metric is a judge, the role "judge" is asked about all answers, in one batch.
        """
        pairs = [(candidate, example) for candidate in candidates for example in examples]
        prompts = [self.task.template.render(candidate.text, example) for candidate, example in pairs]
        answers = self.generate("task", prompts)
        asked = [example for _, example in pairs]
        judge, width = self.task.metric, len(examples)
        if isinstance(judge, Judge):
            outcomes = self._rated(judge, asked, answers)
        else:
            outcomes = [each.outcome for each in self._extracted(self._ruled(asked, prompts, answers))]
        return [
            Evaluation(candidate, tuple(outcomes[i * width : (i + 1) * width]))
            for i, candidate in enumerate(candidates)
        ]

    def score(self, candidates: Sequence[Candidate], examples: Sequence[Example]) -> list[Scored]:
        """`evaluate`, scores only; or what the measure says that was put in its place."""
        return self._score(candidates, examples)

    def scored_by(self, score: Score) -> Context:
        """The same context, its account and its dice included, with another measure behind `score`: for selectors."""
        other = copy.copy(self)
        other._score = score
        return other

    def _by_metric(self, candidates: Sequence[Candidate], examples: Sequence[Example]) -> list[Scored]:
        return [evaluation.scored for evaluation in self.evaluate(candidates, examples)]

    def _rated(self, judge: Judge, examples: Sequence[Example], answers: Sequence[Response]) -> list[Outcome]:
        """Outcomes by the judge. An answer that gets no rating in two attempts has no score and counts as unjudged."""
        task, verdicts = self.task, dict[int, Verdict]()
        waiting = [i for i, answer in enumerate(answers) if answer.finish != "failed"]
        for temperature in (0.0, judge.temperature):
            requests = []
            for i in waiting:
                shown = task.template.shown(task.seeds[0], examples[i])
                asked = judge.ask(task.language, task.description, shown, examples[i].target, answers[i].text)
                # No step in the seed: in the life of a run the same answer gets the same verdict.
                seed = derive(self._world.seed, "judge", asked) >> 33 if temperature else None
                requests.append(Request(asked, temperature, judge.max_tokens, seed=seed))
            for i, reply in zip(waiting, self._ask("judge", requests) if requests else (), strict=True):
                try:
                    verdicts[i] = judge.read(reply)
                except Unusable as reason:
                    self.tally(f"no verdict: {reason}")
            waiting = [i for i in waiting if i not in verdicts]
        self.tally("unjudged", len(waiting))
        return [_outcome(example, answers[i], verdicts.get(i)) for i, example in enumerate(examples)]

    def _ruled(
        self, examples: Sequence[Example], prompts: Sequence[tuple[Message, ...]], answers: Sequence[Response]
    ) -> list[_Judged]:
        """Answers with what the rule says of them."""
        return [
            _Judged(example, prompt, answer, answer.text, self.task.rule(example, answer.text))
            for example, prompt, answer in zip(examples, prompts, answers, strict=True)
        ]

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
                judgement = self.task.rule(before.example, output)
                result[i] = _Judged(before.example, before.prompt, before.answer, output, judgement)
        return result

    def _seeded(self, role: str, request: Asked) -> Asked:
        """A sampled request with its seed: another one at another step, or when the same is asked again."""
        content = canonical([role, encode(request)])
        occurrence = self._occurrences[content]
        self._occurrences[content] += 1
        seed = derive(self._world.seed, "sample", str(self.step), content, str(occurrence)) >> 33
        return replace(request, seed=seed)

    def _ask(
        self, role: str, requests: Sequence[Asked], kind: Literal["generate", "infill"] = "generate"
    ) -> list[Response]:
        """Responses in the order of requests; each distinct request is answered at most once in the life of the run."""
        model = self.model(role, Infills if kind == "infill" else Generates)
        keys = [call_key(model.id, kind, encode(request)) for request in requests]
        by_key = dict(zip(keys, requests, strict=True))
        batch = _Batch(role, kind, model, len(by_key), sum(self._world.log.get(key) is None for key in by_key))
        bounds = {key: bound(request) for key, request in by_key.items()}
        for absent in self._ledger.portions(role, bounds, _cost):
            if absent:
                self._send(batch, {key: by_key[key] for key in absent})
        return [decode(Response, self._ledger.response(key), "a journaled answer", StateError) for key in keys]

    def _send(self, batch: _Batch, requests: Mapping[str, Asked]) -> None:
        """Have `requests` answered, each answer written down before the next one is waited for."""
        keys, model = list(requests), batch.model
        waiting, asked = set(range(len(keys))), list(requests.values())
        for index, response in model.infill(asked) if batch.kind == "infill" else model.generate(asked):
            if index not in waiting:
                raise ModelError(
                    f"a model must answer every request once, got a second or unasked answer {index} of "
                    f"{len(requests)} from {model.id!r}; correct its `{batch.kind}`"
                )
            waiting.remove(index)
            request, answer = encode(asked[index]), encode(response)
            call = Call(keys[index], self.step, batch.role, model.id, batch.kind, request, answer)
            self._ledger.record(call, _cost)
            batch.answered += 1
            self._answered(batch.answered, batch.needed)
            if response.finish == "failed":
                # What is said of this very request comes late in a reason; counts are of kinds.
                reason = response.reason or "no reason given"
                self.tally(f"unanswered: {batch.role}: {reason[:REASON]}")
                batch.reasons[reason] += 1
        if waiting:
            raise ModelError(
                f"a model must answer every request once, got no answer to {len(waiting)} of {len(requests)} "
                f"from {model.id!r}; correct its `{batch.kind}`"
            )
        self._check_share(batch)

    def _check_share(self, batch: _Batch) -> None:
        """ModelError where too much of a batch went unanswered, once all of it that was paid is written down."""
        failed, share = batch.reasons.total(), self._world.fail_on
        if failed > max(share * batch.size, FEW if share else 0):
            raise ModelError(
                f"at most {share:.0%} of a batch may go unanswered, got {failed:,} of {batch.size:,} from "
                f"{batch.model.id!r} in the role {batch.role!r}, mostly: {batch.reasons.most_common(1)[0][0]}; "
                "put that right, or allow more with fail_on"
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


@dataclass(slots=True)
class _Batch:
    """What was asked for together, and how it goes."""

    role: str
    kind: Literal["generate", "infill"]
    model: Any
    """Has the capability for the kind."""
    size: int
    """Distinct requests."""
    needed: int
    """Answers that must come from the model."""
    answered: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Why requests went unanswered."""


def checked_share(fail_on: float) -> float:
    """`fail_on`, if it is a share; SpecError otherwise."""
    if not 0 <= fail_on <= 1:
        raise SpecError(f"fail_on is a share of requests from 0 to 1, got {fail_on}; for example 0.2")
    return fail_on


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
        local = "choose one that runs in this process, such as bundled or hf:NAME"
        remedies: Mapping[type, str] = {Generates: "choose one that generates text", Infills: FILLING}
        raise ModelError(
            f"the role {role!r} needs a model with the capability {capability.__name__}, "
            f"got {model.id!r}, which lacks it; {remedies.get(capability, local)}"
        )
    return model


def _cost(response: JSON) -> Usage:
    return Usage(1, response["prompt_tokens"], response["output_tokens"])
