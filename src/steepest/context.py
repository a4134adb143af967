"""What a method and its parts may do to the world, for one step: dice, models, evaluation, within the budget."""

from __future__ import annotations

import copy
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from types import TracebackType
from typing import Any, Self, TypeVar

from steepest.answering import Ahead, Rated, Ruled
from steepest.asking import Asking, Batch
from steepest.calls import CallLog
from steepest.codec import canonical, encode
from steepest.errors import ModelError, SpecError, nearest
from steepest.events import CallsAnswered, Event, Phase, TrialNoted
from steepest.ledger import Ledger, Price
from steepest.lots import Lot
from steepest.models import Embeds, Floats, Generates, Infills, ScoresText, Tells, WhiteBox
from steepest.tasks.judge import Judge
from steepest.tasks.task import Task
from steepest.types import (
    Candidate,
    Evaluation,
    Example,
    Gap,
    Infill,
    Outcome,
    Prompt,
    Request,
    Response,
    Scored,
    Trial,
    Usage,
)
from steepest.whitebox import JournaledWhiteBox, journaled_embeddings, journaled_logprobs

FAIL_ON = 0.2
"""Share of a batch that may go unanswered, unless told otherwise."""
FILLING = "choose a base model behind a server with api=completions, or one that was opened with infill=true"
"""The remedy where a model cannot fill gaps."""

Asked = TypeVar("Asked", Request, Infill)
Score = Callable[[Sequence[Candidate], Sequence[Example]], Iterable[Scored]]
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
        self._asking = Asking(world.log, ledger, self._answered, self.tally, world.fail_on)

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what was asked and not waited for, since it is paid; after an error, give it up."""
        if error is None:
            self._asking.settle()
        else:
            self._asking.cancel()

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
        self._asking.drain()
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
        batch = self.batch(role, temperature=temperature, max_tokens=max_tokens, stop=stop)
        batch.add(prompts, n)
        return batch.answers()

    def batch(
        self, role: str, *, temperature: float = 0.0, max_tokens: int | None = None, stop: Sequence[str] = ()
    ) -> Batch:
        """Requests to the role's model that are added bit by bit and whose answers are waited for one by one.

        Models that can are asked at once and answer while the method goes on (see `asking`).
        """
        limit = self.task.max_tokens if max_tokens is None else max_tokens

        def request(prompt: Prompt, ahead: int | None) -> Request:
            return self._seeded(role, Request(prompt, temperature, limit, tuple(stop)), ahead)

        return Batch(self._asking, Lot(role, "generate", self.model(role, Generates)), request)

    def infill(
        self, role: str, gaps: Sequence[Gap], *, temperature: float = 0.0, n: int = 1, max_tokens: int | None = None
    ) -> list[Response]:
        """What the role's model writes into gaps, n times into each; otherwise as `generate`."""
        batch = self.infilling(role, temperature=temperature, max_tokens=max_tokens)
        batch.add(gaps, n)
        return batch.answers()

    def infilling(self, role: str, *, temperature: float = 0.0, max_tokens: int | None = None) -> Batch:
        """Gaps for the role's model, otherwise as `batch`."""
        limit = self.task.max_tokens if max_tokens is None else max_tokens

        def request(gap: Any, ahead: int | None) -> Infill:
            return self._seeded(role, Infill(gap, temperature, limit), ahead)

        return Batch(self._asking, Lot(role, "infill", self.model(role, Infills)), request)

    def logprobs(self, role: str, pairs: Sequence[tuple[Prompt, str]]) -> list[Floats]:
        """For each (prompt, continuation), the role's log-probability of each token of the continuation; journaled."""
        self._asking.drain()
        return journaled_logprobs(self.model(role, ScoresText), role, pairs, self._ledger, self._answered)

    def embed(self, role: str, texts: Sequence[str]) -> list[Floats]:
        """A vector for each text, by the role's model; journaled."""
        self._asking.drain()
        return journaled_embeddings(self.model(role, Embeds), role, texts, self._ledger, self._answered)

    def evaluate(self, candidates: Sequence[Candidate], examples: Sequence[Example]) -> list[Evaluation]:
        """Every candidate on every example, greedily, in one batch; the task's metric judges.

        Where the metric finds no answer and the task has an extractor, the answer alone is asked for, once. Where the
        metric is a judge, the role "judge" is asked about all answers.
        """
        return list(self.evaluating(candidates, examples))

    def evaluating(self, candidates: Sequence[Candidate], examples: Sequence[Example]) -> Iterator[Evaluation]:
        """The same, begun now, candidate by candidate as they are waited for."""
        outcomes = self.outcomes(candidates, examples)
        return (Evaluation(candidate, tuple(islice(outcomes, len(examples)))) for candidate in candidates)

    def outcomes(
        self, candidates: Sequence[Candidate], examples: Sequence[Example], ahead: Ahead | None = None
    ) -> Iterator[Outcome]:
        """The same, row by row: all of the first candidate's, then of the second's.

        `ahead` hears of each outcome as soon as it is known, in any order, for what a method will ask because of it
        (see `Batch.foresee`) and for nothing else.
        """
        pairs = [(candidate, example) for candidate in candidates for example in examples]
        prompts = [self.task.template.render(candidate.text, example) for candidate, example in pairs]
        batch = self.batch("task")
        batch.add(prompts)
        batch.end()
        asked, judge = [example for _, example in pairs], self.task.metric
        if isinstance(judge, Judge):
            return iter(Rated(self, judge, asked, batch, ahead))
        return iter(Ruled(self, asked, prompts, batch, ahead))

    def judging(self, judge: Judge, temperature: float) -> Batch:
        """Requests to the judge. No step in the seed: in the life of a run the same answer gets the same verdict."""

        def request(asked: Prompt, _: int | None) -> Request:
            seed = derive(self._world.seed, "judge", str(asked)) >> 33 if temperature else None
            return Request(asked, temperature, judge.max_tokens, seed=seed)

        return Batch(self._asking, Lot("judge", "generate", self.model("judge", Generates)), request)

    def score(self, candidates: Sequence[Candidate], examples: Sequence[Example]) -> list[Scored]:
        """`evaluate`, scores only; or what the measure says that was put in its place."""
        return list(self.scoring(candidates, examples))

    def scoring(self, candidates: Sequence[Candidate], examples: Sequence[Example]) -> Iterator[Scored]:
        """The same, begun now, candidate by candidate as they are waited for."""
        return iter(self._score(candidates, examples))

    def scored_by(self, score: Score) -> Context:
        """The same context, its account and its dice included, with another measure behind `score`: for selectors."""
        other = copy.copy(self)
        other._score = score
        return other

    def _by_metric(self, candidates: Sequence[Candidate], examples: Sequence[Example]) -> Iterator[Scored]:
        evaluations = self.evaluating(candidates, examples)
        return (evaluation.scored for evaluation in evaluations)

    def _seeded(self, role: str, request: Asked, ahead: int | None) -> Asked:
        """A request, with its seed where it is sampled: another one at another step, or when it is asked again.

        `ahead`: before which number of the same that are yet to be asked for; such a request is not asked for now.
        """
        if request.temperature == 0:
            return request
        content = canonical([role, encode(request)])
        occurrence = self._occurrences[content] + (ahead or 0)
        if ahead is None:
            self._occurrences[content] += 1
        seed = derive(self._world.seed, "sample", str(self.step), content, str(occurrence)) >> 33
        return replace(request, seed=seed)

    def _answered(self, answered: int, batch: int) -> None:
        told = [model.status for model in self._world.models.values() if isinstance(model, Tells)]
        status = "; ".join(dict.fromkeys(filter(None, told)))
        self._world.tell(CallsAnswered(self.step, self._phase, answered, batch, self.usage, status))


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
