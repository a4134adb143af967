"""GRAD-SUM: gradient summarization for prompt engineering (Austin, Chartock 2024, arXiv 2407.12865).

An LLM judge explains what is wrong with single responses; each explanation becomes advice on the prompt; all advice
is summed up in one general paragraph; an editor writes new prompts by that paragraph. The paper finds that without
the summary prompts pick up details of single examples.

    beam <- initial prompts; rows <- 30 train rows, fixed
    each step:
        generation     R  <- responses of every prompt of the beam on rows
        evaluation     E  <- those of R below full marks, with the judge's explanations
        gradient       G  <- for each of E: how should the prompt change?
        summarization  S  <- one general paragraph for each prompt, of all its G
        editor         C  <- 3 new prompts for each prompt, by S; those that lose or invent a slot are refused
        beam           <- the 3 best of beam + C, on 12 dev rows that they share
    best prompt = the first of the beam

Where rows have answers that a rule can check, the rule takes the judge's place, and there are no explanations.

There is no public code, and of the paper we had the abstract, its first author's summary and quotations. Taken from
these: the five modules, beam 3, 30 train rows, 10 iterations (a limit of the run), gradients for imperfect responses
only, one general paragraph, small subsets. Not found in them: the wording of any message, candidates per prompt, the
size of the subsets and whose rows they are, temperatures, how long gradients may get.

**Deviations** and choices of our own:

- 3 new prompts for each prompt of the beam, a sampled call for each. Gradients are greedy, so that a prompt that
  stays in the beam pays for them once.
- The subset has 12 dev rows, drawn anew each step and shared by all prompts compared. Old members of the beam stay
  eligible, and the recommended prompt gives way only to one that is strictly better on all rows that both answered.
- Gradients that exceed `gradient_words` are summed up in groups, then their summaries: a short context is enough.
- The optimizer is shown the prompt with its slots unfilled, or, where a layout has the rows, the prompt alone.
- A response without a verdict after two attempts is left out of means and gradients, and counted.
- With `summarize=False`, the paper's ablation (ProTeGi with a judge), each new prompt is written by as many
  gradients as fit `gradient_words`, drawn at random.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from steepest.context import Context
from steepest.costs import Costs, per_row
from steepest.methods.gradsum_messages import Messages
from steepest.models import Generates
from steepest.parts.selection import Full, Select, ask_ahead, most
from steepest.parts.text import ATTEMPTS, Gate, Replies, read_prompt, read_tagged, words
from steepest.tasks.judge import Judge
from steepest.tasks.task import Task
from steepest.types import Candidate, Example, Outcome, Scored


@dataclass(frozen=True)
class GradSum:  # size: the settings of the paper's five modules
    """Gradient summarization: what a judge says of single responses, summed up into advice for the editor."""

    task_description: str = ""
    """What the task is; empty: what the task says of itself."""
    beam: int = 3
    """Prompts kept from step to step (paper: 3)."""
    rows: int = 30
    """Train rows, the same in every step (paper: 30)."""
    candidates: int = 3
    """New prompts for each prompt of the beam (ours)."""
    subset: int = 12
    """Dev rows on which a step's prompts are compared (ours); 0: all, for selectors with a budget of their own."""
    select: Select = field(default_factory=Full)
    """How they are compared on these rows."""
    summarize: bool = True
    """Whether gradients are summed up before the editor sees them; False is the paper's ablation."""
    gradient_words: int = 450
    """Gradients are summed up, or shown to the editor, at most so many words at a time (ours)."""
    temperature: float = 0.7
    """Of summaries and new prompts (ours)."""
    gradient_temperature: float = 0.0
    """Of gradients (ours)."""
    max_words: int = 400
    """Longer prompts are refused."""
    max_tokens: int = 512
    """Limit of one reply by the optimizer."""
    messages: Messages = Messages()

    @dataclass(frozen=True)
    class State:
        """The beam, and the rows that gradients come from."""

        beam: tuple[Scored, ...]
        """The recommended prompt first. Scores are those on all dev rows that it was asked in the beam."""
        rows: tuple[str, ...]
        """Ids of train rows."""

    needs: ClassVar[Mapping[str, type]] = {"task": Generates, "optimizer": Generates}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": {"beam": 2, "rows": 16}}
    """"small": a beam of 2 on 16 rows, some 150 calls a step without a judge."""
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        for name, value in (("beam", self.beam), ("rows", self.rows), ("candidates", self.candidates)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}; leave it out for the default")
        if self.subset < 0:
            raise ValueError(f"subset must be at least 0, got {self.subset}; 0 takes all dev rows")
        if self.gradient_words < 50:
            raise ValueError(f"gradient_words must be at least 50, got {self.gradient_words}; two should fit")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}; new prompts would all be the same")

    def init(self, ctx: Context) -> State:
        """The initial prompts, scored, and the train rows, drawn."""
        seeds = [Candidate(seed) for seed in ctx.task.seeds]
        train = [example.id for example in ctx.task.train]
        rows = ctx.rng("rows").sample(train, min(self.rows, len(train)))
        return self.State(tuple(self._select(seeds, ctx)), tuple(rows))

    def step(self, state: State, ctx: Context) -> State:
        """Generation, evaluation, gradients, summaries, new prompts, selection."""
        parents = [scored.candidate for scored in state.beam]
        rows = [example for example in ctx.task.train if example.id in state.rows]
        edits = self._prompts(parents, ctx)
        ways = [_Way(self, ctx, parent, len(rows), edits) for parent in parents]

        def foresee(at: int, outcome: Outcome) -> None:
            ways[at // len(rows)].foresee(at % len(rows), outcome)

        for at, outcome in enumerate(ctx.outcomes(parents, rows, foresee)):
            ways[at // len(rows)].add(outcome)
        ask_ahead(self.select, parents, self._compared(ctx), self._most, ctx)
        feedback = self._summaries(ways) if self.summarize else self._drawn(ways, ctx)
        chosen = self._select([*parents, *self._edits(ways, feedback, edits, ctx)], ctx)
        return self.State(self._standing(state.beam, chosen, ctx), state.rows)

    def best(self, state: State) -> Scored:
        """The recommended prompt."""
        return state.beam[0]

    def costs(self, task: Task) -> Costs:
        """Beam x (rows + gradients + summaries + candidates), and the selection, with the recommended prompt once more
        where a selector has left it out; the judge may be asked twice.
        """
        rows, dev, prompts = min(self.rows, len(task.train)), self._subset(len(task.dev)), self.beam
        begin = most(self.select, len(task.seeds), dev, self.beam)
        compared = most(self.select, self._most, dev, self.beam) + dev
        answers = prompts * rows + compared
        gradients = rows * (1 if self.gradient_temperature == 0 else ATTEMPTS)
        summaries = _most_summaries(rows) * ATTEMPTS if self.summarize else 0
        optimizer = prompts * (gradients + summaries + self.candidates * ATTEMPTS)
        return Costs(_answering(task, begin), {**_answering(task, answers), "optimizer": optimizer})

    def _summaries(self, ways: Sequence[_Way]) -> Iterator[list[list[str]]]:
        """For each prompt, one general paragraph; none for a prompt without gradients."""
        for way in ways:
            way.sum_up(_flat(way.gradients), 0)
        for way in ways:
            texts, level = _flat(way.summaries(0)), 0
            while len(texts) > 1:
                level += 1
                way.sum_up(texts, level)
                texts = _flat(way.summaries(level))
            yield [texts] if texts else []

    def _drawn(self, ways: Sequence[_Way], ctx: Context) -> Iterator[list[list[str]]]:
        """For each prompt, its gradients in random groups."""
        rng = ctx.rng("gradients")
        for texts in (_flat(way.gradients) for way in ways):
            yield self._groups(rng.sample(texts, len(texts)))

    def _prompts(self, parents: Sequence[Candidate], ctx: Context) -> Replies[str]:
        """New prompts, as far as they may be tried."""
        gate = Gate(ctx.task, [parent.text for parent in parents], self.max_words)
        limit = self.max_tokens
        return Replies(
            ctx, "optimizer", lambda reply: read_prompt(reply, gate), temperature=self.temperature, max_tokens=limit
        )

    def _edits(
        self, ways: Sequence[_Way], feedback: Iterable[Sequence[Sequence[str]]], replies: Replies[str], ctx: Context
    ) -> list[Candidate]:
        """New prompts of every prompt that has feedback."""
        n = self.candidates
        for at, (way, groups) in enumerate(zip(ways, feedback, strict=True)):
            replies.add(self.editing(way.parent, groups, ctx), at * n)
        edits: dict[int, Candidate] = {}
        for reading in replies.readings():
            edits[reading.slot] = Candidate(reading.value, (ways[reading.slot // n].parent.id,), "edit")
            ask_ahead(self.select, [edits[reading.slot]], self._compared(ctx), self._most, ctx)
        return [edits[slot] for slot in sorted(edits)]

    def asking(self, tag: str, temperature: float, ctx: Context) -> Replies[str]:
        """Replies of which what stands in a tag is read."""
        limit = self.max_tokens
        return Replies(ctx, "optimizer", lambda r: read_tagged(r, tag)[0], temperature=temperature, max_tokens=limit)

    def summing(self, parent: Candidate, texts: Sequence[str], ctx: Context) -> list[str]:
        """The messages that ask for summaries of a prompt's gradients or summaries, group by group."""
        told = self.told(ctx.task)
        return [self.messages.ask_summary(ctx.task, told, parent.text, group) for group in self._groups(texts)]

    def editing(self, parent: Candidate, groups: Sequence[Sequence[str]], ctx: Context) -> list[str]:
        """The messages that ask for new prompts; groups of feedback take turns."""
        turns = [groups[turn % len(groups)] for turn in range(self.candidates if groups else 0)]
        return [self.messages.ask_edit(ctx.task, self.told(ctx.task), parent.text, each) for each in turns]

    def _groups(self, texts: Sequence[str]) -> list[list[str]]:
        """Texts in order, as many together as fit `gradient_words`; at least two, so that summing up ends."""
        groups: list[list[str]] = []
        size = 0
        for text in texts:
            size += len(words(text))
            if not groups or (size > self.gradient_words and len(groups[-1]) > 1):
                groups.append([])
                size = len(words(text))
            groups[-1].append(text)
        return groups

    def _select(self, candidates: Sequence[Candidate], ctx: Context) -> list[Scored]:
        """The beam's best, on dev rows drawn for this step."""
        return self.select(candidates, self._compared(ctx), self.beam, ctx)

    def _compared(self, ctx: Context) -> list[Example]:
        """Dev rows of this step's comparison."""
        dev = ctx.task.dev
        return ctx.rng("subset").sample(list(dev), self._subset(len(dev)))

    @property
    def _most(self) -> int:
        """Prompts in a selection, at most."""
        return self.beam * (1 + self.candidates)

    def _standing(self, before: Sequence[Scored], chosen: Sequence[Scored], ctx: Context) -> tuple[Scored, ...]:
        """The new beam, with what its members scored before; the first of the old one stays first until beaten."""
        known = {scored.candidate.id: scored.scores for scored in before}
        incumbent = before[0].candidate
        again = next((each for each in chosen if each.candidate.id == incumbent.id), None)
        if again is None:
            rows = [example for example in ctx.task.dev if example.id in chosen[0].scores]
            again = ctx.score([incumbent], rows)[0]
        first, beam = _with(again, known), [_with(each, known) for each in chosen]
        if _lead(beam[0], first) > 0:
            return tuple(beam)
        others = [each for each in beam if each.candidate.id != incumbent.id]
        return (first, *others[: self.beam - 1])

    def _subset(self, dev: int) -> int:
        return min(self.subset, dev) if self.subset else dev

    def told(self, task: Task) -> str:
        """The description of the task."""
        return self.task_description or task.description


class _Way:
    """One prompt's way through a step: gradients, rounds of summaries until there is one, new prompts by that.

    The step asks in its order. `foresee` runs ahead of it: it begins with the outcomes of rows as they come, and sends
    what they lead to as soon as that is known.
    """

    def __init__(self, of: GradSum, ctx: Context, parent: Candidate, rows: int, edits: Replies[str]) -> None:
        self.parent = parent
        self.gradients = of.asking("feedback", of.gradient_temperature, ctx)
        self._of = of
        self._ctx = ctx
        self._edits = edits
        self._rounds: list[Replies[str]] = []
        self._known: list[dict[int, str | None]] = [{}]
        """Ahead of the step: gradients by row, then summaries by group, round by round; None where there is none."""
        self._sizes = [rows]
        """How many of each there will be."""

    def add(self, outcome: Outcome) -> None:
        """Ask for a gradient, where the response is imperfect."""
        if question := self._question(outcome):
            self.gradients.add([question])

    def summaries(self, level: int) -> Replies[str]:
        """A round of summaries: 0 of gradients, later ones of summaries."""
        while len(self._rounds) <= level:
            self._rounds.append(self._of.asking("summary", self._of.temperature, self._ctx))
        return self._rounds[level]

    def sum_up(self, texts: Sequence[str], level: int) -> None:
        """Ask for a round of summaries."""
        self.summaries(level).add(self._of.summing(self.parent, texts, self._ctx))

    def foresee(self, row: int, outcome: Outcome) -> None:
        """Send what an outcome leads to."""
        # Sampled gradients of equal rows differ by their turn, which is not known yet.
        if self._of.gradient_temperature > 0:
            return
        if question := self._question(outcome):
            self.gradients.foresee([question], lambda _, text: self._heard(0, row, text))
        else:
            self._heard(0, row, None)

    def _question(self, outcome: Outcome) -> str | None:
        if outcome.score is None or outcome.score >= 1.0:
            return None
        task = self._ctx.task
        return self._of.messages.ask_gradient(task, self._of.told(task), self.parent.text, outcome)

    def _heard(self, level: int, place: int, text: str | None) -> None:
        """Once all of a level is known, send what comes of it."""
        known = self._known[level]
        known[place] = text
        texts = [each for _, each in sorted(known.items()) if each is not None]
        if len(known) < self._sizes[level] or not texts or not self._of.summarize:
            return
        if level and len(texts) == 1:
            self._edits.foresee(self._of.editing(self.parent, [texts], self._ctx))
        else:
            messages = self._of.summing(self.parent, texts, self._ctx)
            self._known.append({})
            self._sizes.append(len(messages))
            self.summaries(level).foresee(messages, partial(self._heard, level + 1))


def _flat(replies: Replies[str]) -> list[str]:
    """What was read, in order."""
    return [text for texts in replies.lists() for text in texts]


def _with(scored: Scored, known: Mapping[str, Mapping[str, float]]) -> Scored:
    """A prompt's scores together with those it had before."""
    return Scored(scored.candidate, {**known.get(scored.candidate.id, {}), **scored.scores})


def _lead(one: Scored, other: Scored) -> float:
    """By how much one scored more than the other, summed over the rows that both answered."""
    return math.fsum(one.scores[row] - other.scores[row] for row in one.scores.keys() & other.scores.keys())


def _most_summaries(texts: int) -> int:
    """Calls until so many texts are one, where only two fit together."""
    halves = math.ceil(texts / 2)
    return halves if halves <= 1 else halves + _most_summaries(halves)


def _answering(task: Task, answers: int) -> dict[str, int]:
    """The most calls that so many answers take, with the verdicts on them."""
    judging = {"judge": 2 * answers} if isinstance(task.metric, Judge) else {}
    return {"task": answers * per_row(task), **judging}
