"""PE2, prompt engineering a prompt engineer (Ye et al., Findings of ACL 2024, arXiv 2311.05661).

An optimizer is told in two steps what its work is, sees the full text that the task model reads, reasons through a
few failures question by question, and writes a better prompt. P_0 are the initial prompts:

    P <- P_0, scored on the dev rows
    repeat T times:
        1. parents    the n best of all of P, whenever they were found (back-tracking)
        2. failures   F_p = training rows that p gets wrong, a few more than are shown              for p of the n
        3. reason     m conversations, each about k rows of F_p: answers to five questions for each row
        4. write      each conversation goes on to a new prompt of at most `max_words` words
        5. score      the new prompts on the dev rows, and add them to P
    return the best of P

Deviations:
- The new prompt is asked for in <prompt> tags. The paper says to reply with the prompt alone and takes whatever
  comes, so that a chatty reply becomes the prompt; tags keep the two apart. What cannot be used (parts/text.py) is
  asked for twice more, then dropped and counted.
- A failure is any row below full marks (code: exactly 0, so that graded metrics never show rows that are half right).
- Rows are looked through in an order drawn anew in each step (code: one order for the whole run, so that all prompts
  see nearly the same failures). As in the code, they are looked through only until k max(m, 2) / 2 failures are found.
- A parent without failures is paraphrased (code: a conversation about no examples).
- No system turn, and the tutorial stands in the first turn instead of a turn of its own, since many chat templates
  take no two user turns in a row.
- Limits: the paper counts 50 tokens but speaks of words; here words are meant and enforced. `step_size` stays a
  request, as in the paper; edits beyond it are counted.
- When to stop is the run's affair: the paper's three steps are `--steps 3`.
- The history has prompts, dev scores and summaries of the edits, as in the paper, but of those that led to the parent
  alone, not of all (code: summaries with the accuracy on the training rows seen; that path of it cannot run).
- `tutorial` is a text of our own, of about 150 words (paper: a public guide of about 2,000).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from steepest.context import Context
from steepest.costs import Costs, per_row
from steepest.methods.pe2_messages import INPUT, Messages, columns
from steepest.models import Generates
from steepest.parts.selection import Full, Select, ask_ahead, finalists, finalists_cost, informed, ranked
from steepest.parts.text import (
    Gate,
    Reading,
    Replies,
    Unusable,
    ask,
    changed_words,
    fresh,
    read_prompt,
    read_tagged,
    spoken,
)
from steepest.parts.updates import Induce, Paraphrase, attempts
from steepest.tasks.task import Task
from steepest.types import Candidate, Evaluation, Message, Outcome, Response, Scored

CHUNK = 20
"""Training rows looked through at a time (the code's number for chat models)."""

PROMPT_TOKENS = 300
"""Limit of a reply with a new prompt, as in the paper."""


@dataclass(frozen=True, slots=True)
class Node:
    """A prompt of the search, when it was found, and what its edit was for."""

    scored: Scored
    """On the dev rows."""
    step: int
    summary: str = ""
    """Of the edit that made it; empty without a history and for prompts that no edit made."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A conversation on its way to a new prompt."""

    parent: Candidate
    turns: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """A new prompt with the conversation that it came from, its own turn left out."""

    parent: Candidate
    child: Candidate
    turns: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A new prompt, before it is scored."""

    candidate: Candidate
    summary: str = ""


@dataclass(frozen=True)
class PE2:  # size: one field per number and per ablation of the paper
    """An engineered meta-prompt: failures are reasoned through in a conversation that ends with a better prompt."""

    beam: int = 4
    """n, prompts that are expanded (code: 2; its script: 4)."""
    proposals: int = 4
    """m, conversations per prompt (code: 2; its script: 4)."""
    select: Select = field(default_factory=Full)
    """Which new prompts are scored on all dev rows and join P (paper: all)."""
    keep: int = 2
    """How many that are, where `select` is not full (ours)."""
    batch_size: int = 2
    """k, rows shown in a conversation."""
    batching: Literal["hard", "random", "hard_weighted"] = "hard"
    """Rows shown: failures, the paper's hard negatives; any rows, its ablation; failures, worse ones more often."""
    back_tracking: bool = True
    """Whether prompts of every step may be expanded, or only the newest."""
    two_step_description: bool = True
    """Whether the work is described first."""
    context_specification: bool = True
    """Whether the full text is shown that the model reads."""
    reasoning_template: bool = True
    """Whether the reasoning goes by five questions, or by one."""
    tutorial: bool = False
    """Whether advice on prompts comes first (tested in the paper, not part of it)."""
    step_size: int | None = None
    """Words that an edit may change (tested in the paper: 5, 10, 15; not part of it)."""
    history: bool = False
    """Whether earlier prompts with scores and summaries are shown, "momentum" (tested in the paper, not part of it)."""
    max_words: int = 50
    """Of a new prompt (paper: 200 for its counterfactual tasks)."""
    summary_words: int = 200
    """Of an entry in the history."""
    start: Literal["seeds", "induction"] = "seeds"
    """Where P_0 comes from: the task's initial prompts, or guesses from demonstrations."""
    induce: Induce = Induce(sets=3, n=10, temperature=0.7)
    """Who guesses: 30 prompts, as in the paper."""
    reasoning_temperature: float = 0.0
    """Of the reasoning (code: 0.5)."""
    temperature: float = 0.7
    """Of new prompts, paraphrases and summaries."""
    reasoning_tokens: int = 1500
    """Limit of the reasoning (the code's); one that is cut off is dropped."""
    messages: Messages = Messages()

    version: ClassVar[int] = 1
    needs: ClassVar[Mapping[str, type]] = {"task": Generates, "optimizer": Generates}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "code": {"beam": 2, "proposals": 2, "back_tracking": False, "reasoning_temperature": 0.5},
        "small": {"beam": 2, "proposals": 3},
    }
    """"code": the defaults of the authors' code. "small": six proposals a step."""

    @dataclass(frozen=True, slots=True)
    class State:
        """All prompts so far, in the order in which they were found."""

        nodes: tuple[Node, ...]

        def lineage(self, candidate: Candidate) -> list[Node]:
            """How a prompt came about: the initial prompt first, itself last."""
            of = {node.scored.candidate.id: node for node in self.nodes}
            line = [of[candidate.id]]
            while line[0].scored.candidate.parents:
                line.insert(0, of[line[0].scored.candidate.parents[0]])
            return line

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        least = {
            "beam": self.beam,
            "keep": self.keep,
            "proposals": self.proposals,
            "batch_size": self.batch_size,
            "max_words": self.max_words,
            "summary_words": self.summary_words,
            "reasoning_tokens": self.reasoning_tokens,
            "step_size": 1 if self.step_size is None else self.step_size,
        }
        for name, value in least.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}; leave it out for the paper's value")

    def init(self, ctx: Context) -> State:
        """Score P_0."""
        found = [Candidate(text) for text in ctx.task.seeds]
        if self.start == "induction":
            guessed = self.induce(ctx.task.train, ctx, Gate(ctx.task, max_words=self.max_words))
            found = guessed or found  # a run must start somewhere
        scored = ctx.score(fresh(found), ctx.task.dev)
        return self.State(tuple(Node(each, ctx.step) for each in scored))

    def step(self, state: State, ctx: Context) -> State:
        """One round of the paper's loop."""
        gate = Gate(ctx.task, [node.scored.candidate.text for node in state.nodes], self.max_words)
        parents = self._parents(state)
        rows = self._shown_rows(parents, ctx)
        drafts = self._reason(self._open(parents, rows, ctx), ctx)
        proposals = self._write(drafts, state, ctx, gate)
        proposals += self._paraphrase([p for p in parents if not rows[p.id]], ctx, gate)
        select = informed(self.select, [node.scored for node in state.nodes])
        scored = finalists(select, [each.candidate for each in proposals], ctx.task.dev, self.keep, ctx)
        summaries = {each.candidate.id: each.summary for each in proposals}
        new = [Node(each, ctx.step, summaries[each.candidate.id]) for each in scored]
        return self.State((*state.nodes, *new))

    def best(self, state: State) -> Scored:
        """The best of all, on the dev rows."""
        return ranked([node.scored for node in state.nodes])[0]

    def costs(self, task: Task) -> Costs:
        """n m conversations of two replies (three with a history); n m prompts on dev, n parents on train at most."""
        conversations = self.beam * self.proposals
        written = attempts(self.temperature) * (1 + self.history)
        replies = attempts(self.reasoning_temperature) + written
        induced = self.induce.sets * self.induce.n if self.start == "induction" else 0
        rows, compared = per_row(task), finalists_cost(self.select, conversations, len(task.dev), self.keep)
        return Costs(
            init={
                "task": rows * len(task.dev) * max(induced, len(task.seeds)),
                "optimizer": self.induce.calls() if induced else 0,
            },
            step={
                "task": rows * (compared + self.beam * len(task.train)),
                "optimizer": conversations * replies,
            },
        )

    def _parents(self, state: State) -> list[Candidate]:
        """1. The n best of all, or of the newest."""
        newest = max(node.step for node in state.nodes)
        pool = [node.scored for node in state.nodes if self.back_tracking or node.step == newest]
        return [scored.candidate for scored in ranked(pool)[: self.beam]]

    def _shown_rows(self, parents: Sequence[Candidate], ctx: Context) -> dict[str, list[Outcome]]:
        """2. By parent, rows that its conversations may be about; none where it has no failures."""
        train = list(ctx.task.train)
        order = ctx.rng("order").sample(train, len(train))
        needed = self.batch_size * max(self.proposals, 2) // 2
        found: dict[str, list[Outcome]] = {parent.id: [] for parent in parents}
        waiting = list(parents)
        while waiting and order:
            rows, order = order[:CHUNK], order[CHUNK:]
            for evaluation in ctx.evaluate(waiting, rows):
                found[evaluation.candidate.id] += self._eligible(evaluation)
            waiting = [parent for parent in waiting if len(found[parent.id]) < needed]
        return found

    def _eligible(self, evaluation: Evaluation) -> list[Outcome]:
        if self.batching == "random":
            return [outcome for outcome in evaluation.outcomes if outcome.score is not None]
        return evaluation.errors

    def _open(self, parents: Sequence[Candidate], rows: Mapping[str, list[Outcome]], ctx: Context) -> list[Draft]:
        """3. m conversations per parent, up to the question."""
        rng = ctx.rng("batches")
        return [
            Draft(parent, self._opening(parent, self._batch(rows[parent.id], rng), ctx.task))
            for parent in parents
            if rows[parent.id]
            for _ in range(self.proposals)
        ]

    def _opening(self, parent: Candidate, rows: Sequence[Outcome], task: Task) -> tuple[Message, ...]:
        return self.messages.opening(
            parent.text,
            rows,
            task,
            tutorial=self.tutorial,
            description=self.two_step_description,
            context=self.context_specification,
            template=self.reasoning_template,
        )

    def _batch(self, rows: Sequence[Outcome], rng: random.Random) -> list[Outcome]:
        """Rows of one conversation, without replacement."""
        k = min(self.batch_size, len(rows))
        if self.batching != "hard_weighted":
            return rng.sample(rows, k)
        # The k largest of u^(1/w), u uniform, are a weighted sample without replacement (Efraimidis & Spirakis 2006).
        return sorted(rows, key=lambda row: rng.random() ** (1 / (1 - (row.score or 0.0))), reverse=True)[:k]

    def _reason(self, drafts: Sequence[Draft], ctx: Context) -> Iterator[Reading[Draft]]:
        """3. The conversations with the optimizer's reasoning, as it comes."""
        temperature, limit = self.reasoning_temperature, self.reasoning_tokens
        replies = Replies(ctx, "optimizer", read_reasoning, temperature=temperature, max_tokens=limit)
        replies.add([draft.turns for draft in drafts])
        for reading in replies.readings():
            draft = drafts[reading.slot]
            yield Reading(reading.slot, Draft(draft.parent, (*draft.turns, Message("assistant", reading.value))))

    def _write(self, drafts: Iterable[Reading[Draft]], state: State, ctx: Context, gate: Gate) -> list[Proposal]:
        """4. The conversations' new prompts, and with a history their summaries."""
        task, asked, found = ctx.task, dict[int, Draft](), dict[int, Written]()
        select = informed(self.select, [node.scored for node in state.nodes])
        replies = Replies(
            ctx,
            "optimizer",
            lambda reply: read_new(reply, gate, task),
            temperature=self.temperature,
            max_tokens=PROMPT_TOKENS,
        )
        for reading in drafts:
            draft = reading.value
            asked[reading.slot] = Draft(draft.parent, (*draft.turns, self._closing(draft.parent, state, task)))
            replies.add([asked[reading.slot].turns], reading.slot)
        for reply in replies.readings():
            draft = asked[reply.slot]
            child = Candidate(reply.value, (draft.parent.id,), "edit")
            found[reply.slot] = Written(draft.parent, child, draft.turns)
            ask_ahead(select, [child], task.dev, self.beam * self.proposals, ctx)
        written = [found[slot] for slot in sorted(found)]
        if self.step_size is not None:
            far = [w for w in written if changed_words(w.parent.text, w.child.text) > self.step_size]
            ctx.tally("edits beyond the step size", len(far))
        summaries = self._summaries(written, ctx) if self.history else [""] * len(written)
        return [Proposal(w.child, summary) for w, summary in zip(written, summaries, strict=True)]

    def _closing(self, parent: Candidate, state: State, task: Task) -> Message:
        """The turn that asks for the new prompt."""
        lineage = state.lineage(parent) if self.history else []
        past = "\n\n".join(self.messages.shown_past(node.scored, node.summary, task) for node in lineage)
        return self.messages.closing(parent.text, task, max_words=self.max_words, step_size=self.step_size, past=past)

    def _summaries(self, written: Sequence[Written], ctx: Context) -> list[str]:
        """What each edit was for, in the optimizer's words; empty where it finds none, as the prompt counts anyway."""
        question = Message("user", self.messages.summary.fill(ctx.task.language, max_words=str(self.summary_words)))
        asked = [(*w.turns, Message("assistant", f"<prompt>{w.child.text}</prompt>"), question) for w in written]
        found = ask(
            ctx, "optimizer", asked, lambda reply: read_tagged(reply, "summary")[0], temperature=self.temperature
        )
        return [(*summaries, "")[0] for summaries in found]

    def _paraphrase(self, parents: Sequence[Candidate], ctx: Context, gate: Gate) -> list[Proposal]:
        """Other words for prompts without failures, m for each."""
        ctx.tally("prompts without errors", len(parents))
        paraphrase = Paraphrase(n=self.proposals, temperature=self.temperature)
        return [Proposal(variant) for variant in paraphrase(parents, ctx, gate)]


def read_reasoning(response: Response) -> str:
    """A whole reasoning; Unusable where it is empty or was cut off."""
    if response.finish != "stop":
        raise Unusable("cut off" if response.finish == "length" else "no reply")
    if not (text := spoken(response.text).strip()):
        raise Unusable("empty")
    return text


def read_new(response: Response, gate: Gate, task: Task) -> str:
    """The new prompt; Unusable also where the place of the input or of a column was copied from the full text."""
    text, seeds = read_tagged(response, "prompt")[0], "\n".join(task.seeds)
    if any(place in text and place not in seeds for place in (INPUT, *columns(task).values())):
        raise Unusable("leftover tags")
    return read_prompt(response, gate)
