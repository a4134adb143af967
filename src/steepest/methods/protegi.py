"""ProTeGi, prompt optimization with textual gradients, also APO (Pryzant et al., EMNLP 2023, arXiv 2305.03495).

A language model says in words why a prompt failed, "the gradient", edits the prompt against each reason, and words
the results anew; a bandit finds the best of them on the training rows. Beam B of b prompts:

    B <- the b best of the initial prompts
    repeat T times:
        1. errors      E_p = rows of a minibatch of the training rows that p gets wrong            for p in B
        2. gradients   g   ~ why did p fail on these rows?    m reasons per group of errors from E_p
        3. edits       p'  ~ p without the problem g          for every g
        4. paraphrases p'' ~ the same in other words          for every p' and p
        5. successors  S_p = at most x of p' and p'', by chance                                    for p in B
        6. select      B   <- the b best of B and all S_p, by a bandit on the training rows
    return the best of B

Which numbers: the paper speaks of groups of 4 errors and 4 gradients per group and does not say how many groups; its
code draws 4 groups and asks for one reason each. Here `error_groups` = 1 and `gradients_per_group` = 4 by default,
which is the paper's, and `preset = code` is the code's: 4 and 1, temperature 0.7, selection by the same budget
spread evenly. Both give four reasons per prompt; the code's need not be told apart by the model.

Deviations:
- One minibatch per step, shared by the beam, as in the code; the paper draws one for each prompt. So all prompts of
  the beam fail on the same rows, and a prompt that stays in the beam is asked only rows that are new.
- The parents are paraphrased too, as in the code; the paper's text speaks of new prompts only. It is also what is
  left to do for a prompt without errors: no reasons are asked for then (the code asks for reasons behind nothing).
- General wording: the published messages speak of a zero-shot classifier that says yes or no.
- Several edits per reason are drawn one by one, not listed in one reply.
- A reply without its closed tags, or with a prompt that must not be tried (parts/text.py), is asked for twice more,
  then dropped and counted. The code takes what it finds and keeps chat preambles.
- A single initial prompt is scored too (the code gives it full marks unseen), and every score is a mean.
- `best` is the first of the beam. The paper quotes the maximum of the last beam on test rows, which is optimistic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import tee
from typing import Any, ClassVar, Literal, TypeVar

from steepest.context import Context
from steepest.costs import Costs, per_row
from steepest.models import Generates
from steepest.parts.bandits import UCB
from steepest.parts.directions import shown_errors
from steepest.parts.selection import Select, most, ranked
from steepest.parts.text import Gate, MetaPrompt, Reading, Replies, fresh, read_prompt, read_tagged
from steepest.parts.updates import PARAPHRASE, attempts, slots_rule
from steepest.tasks.task import Task
from steepest.types import Candidate, Evaluation, Example, Response, Scored

T = TypeVar("T")

GRADIENT = MetaPrompt(
    en="""\
A language model follows this prompt, but some of its answers are wrong.
Prompt: {prompt}

{errors}

Why could the prompt have led to these mistakes? Say what is missing, unclear or wrong in it.
Number of different reasons to give: {count}
Put each reason, one or two sentences long, in <reason>...</reason>.""",
    zh="""\
语言模型照着这条提示词作答，但有些回答错了。
提示词：{prompt}

{errors}

提示词为什么会导致这些错误？请说明其中缺少什么、哪里不清楚或哪里不对。
要写出的不同原因个数：{count}
把每个原因用一两句话写在<reason>...</reason>里。""",
)
"""Asks for reasons why a prompt failed, the paper's gradients. Slots: {prompt}, {errors}, {count}."""

EDIT = MetaPrompt(
    en="""\
A language model follows this prompt, but some of its answers are wrong.
Prompt: {prompt}

{errors}

What is wrong with the prompt: {reason}

Write a better prompt without this problem. It must fit all inputs of this kind, so do not copy the inputs or \
answers above.{slots}
Put the new prompt in <prompt>...</prompt>.""",
    zh="""\
语言模型照着这条提示词作答，但有些回答错了。
提示词：{prompt}

{errors}

这条提示词的问题：{reason}

请写一条没有这个问题的更好的提示词。它要适合所有这类输入，所以不要照抄上面的输入或答案。{slots}
把新的提示词写在<prompt>...</prompt>里。""",
)
"""Asks for an edit of the prompt against one reason. Slots: {prompt}, {errors}, {reason}, {slots}."""

REJECT_ROWS = 16
"""Errors on which `reject_on_errors` scores successors (the code's number)."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A group of rows, as shown, that a prompt got wrong."""

    parent: Candidate
    errors: str


@dataclass(frozen=True, slots=True)
class Gradient:
    """One reason why a prompt failed."""

    failure: Failure
    reason: str


@dataclass(frozen=True)
class ProTeGi:  # size: one field per number of the paper
    """Textual gradients and beam search: say why the prompt fails, edit it against that, keep the best."""

    minibatch: int = 64
    """Training rows per step on which errors are looked for; all where there are fewer."""
    error_groups: int = 1
    """Groups of errors drawn per prompt (code: 4). Groups may overlap. 0: paraphrases only; the paper's
    baseline, where there are as many of these as `max_successors`."""
    errors_per_group: int = 4
    """Errors shown together."""
    gradients_per_group: int = 4
    """Reasons asked for per group, in one reply (code: 1)."""
    edits_per_gradient: int = 1
    """New prompts per reason."""
    paraphrases: int = 2
    """Variants of every edit and every parent; 0 for none."""
    max_successors: int = 8
    """New prompts per parent that go into the selection."""
    reject_on_errors: bool = False
    """Successors beyond `max_successors` are dropped by their scores on the parent's errors, not by chance (code)."""
    beam: int = 4
    """b, prompts kept."""
    select: Select = UCB(c=2.0)
    """Who goes on: c is the paper's; the budget, 2,048 evaluations, is the code's and about the paper's 50 each."""
    select_on: Literal["train", "dev"] = "train"
    """Rows to select on: those of the errors, as in the paper, or those kept for it."""
    temperature: float = 1.0
    """Of everything the optimizer says (code: 0.7)."""
    max_tokens: int = 512
    """Limit of one reply by the optimizer (code: 1,024)."""
    max_words: int = 400
    """Prompts longer than that are refused."""
    gradient_message: MetaPrompt = GRADIENT
    """Asks for reasons."""
    edit_message: MetaPrompt = EDIT
    """Asks for an edit against one reason."""
    paraphrase_message: MetaPrompt = PARAPHRASE
    """Asks for other words."""

    version: ClassVar[int] = 1
    needs: ClassVar[Mapping[str, type]] = {"task": Generates, "optimizer": Generates}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "code": {"error_groups": 4, "gradients_per_group": 1, "temperature": 0.7, "select": "uniform"},
        "small": {
            "minibatch": 16,
            "paraphrases": 1,
            "max_successors": 4,
            "beam": 2,
            "select": {"use": "ucb", "budget": 200, "samples": 8, "arms": 4, "c": 2.0},
        },
    }
    """"code": the authors' code. "small": the paper's loop with fewer of everything, some 250 calls a step."""

    @dataclass(frozen=True, slots=True)
    class State:
        """The beam, best first, each prompt with the scores it was selected by."""

        beam: tuple[Scored, ...]

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        least = {
            "minibatch": self.minibatch,
            "errors_per_group": self.errors_per_group,
            "gradients_per_group": self.gradients_per_group,
            "edits_per_gradient": self.edits_per_gradient,
            "max_successors": self.max_successors,
            "beam": self.beam,
        }
        for name, value in least.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}; leave it out for the paper's value")
        if min(self.error_groups, self.paraphrases) < 0 or self.error_groups == self.paraphrases == 0:
            raise ValueError(
                f"error_groups and paraphrases must not be negative or both 0, got {self.error_groups} and "
                f"{self.paraphrases}; leave them out for 1 and 2"
            )

    def init(self, ctx: Context) -> State:
        """Score the initial prompts and keep the b best."""
        seeds = fresh(Candidate(text) for text in ctx.task.seeds)
        return self.State(tuple(self.select(seeds, self._rows(ctx.task), self.beam, ctx)))

    def step(self, state: State, ctx: Context) -> State:
        """One round of the paper's loop."""
        parents = [scored.candidate for scored in state.beam]
        train = list(ctx.task.train)
        minibatch = ctx.rng("minibatch").sample(train, min(self.minibatch, len(train)))
        gate = Gate(ctx.task, [parent.text for parent in parents], self.max_words)

        # Each stage asks as soon as the one before it has something, so that all are under way together.
        evaluated, evaluations = tee(ctx.evaluating(parents, minibatch))
        gradients = self._gradients(self._failures(evaluated, ctx), ctx)
        edits = self._edits(gradients, ctx, gate)
        children = self._paraphrased(parents, edits, ctx, gate)
        successors = self._successors(list(evaluations), children, ctx)
        return self.State(tuple(self.select([*parents, *successors], self._rows(ctx.task), self.beam, ctx)))

    def best(self, state: State) -> Scored:
        """The first of the beam."""
        return state.beam[0]

    def costs(self, task: Task) -> Costs:
        """G calls for reasons, G m e edits and P (G m e + 1) paraphrases per prompt; minibatches and selection."""
        parents, rows = self.beam, len(self._rows(task))
        edits = self.error_groups * self.gradients_per_group * self.edits_per_gradient
        asked = self.error_groups + edits + self.paraphrases * (edits + 1)
        tried = 2 * self.max_successors * min(REJECT_ROWS, len(task.train)) if self.reject_on_errors else 0
        evaluated = parents * (min(self.minibatch, len(task.train)) + tried)
        compared = parents * (1 + min(self.max_successors, edits + self.paraphrases * (edits + 1)))

        return Costs(
            init={"task": per_row(task) * most(self.select, len(task.seeds), rows, self.beam)},
            step={
                "task": per_row(task) * (evaluated + most(self.select, compared, rows, self.beam)),
                "optimizer": attempts(self.temperature) * parents * asked,
            },
        )

    def _failures(self, evaluations: Iterable[Evaluation], ctx: Context) -> Iterator[Failure]:
        """1. Groups of errors; none for a prompt without errors."""
        rng = ctx.rng("errors")
        for evaluation in evaluations:
            errors = evaluation.errors
            ctx.tally("prompts without errors", not errors)
            for _ in range(self.error_groups if errors else 0):
                drawn = rng.sample(errors, min(self.errors_per_group, len(errors)))
                yield Failure(evaluation.candidate, shown_errors(ctx.task, drawn))

    def _gradients(self, failures: Iterable[Failure], ctx: Context) -> Iterator[Reading[Gradient]]:
        """2. Reasons why each prompt failed."""
        language, count = ctx.task.language, str(self.gradients_per_group)
        replies, asked = self._replies(lambda reply: read_tagged(reply, "reason"), ctx), list[Failure]()
        for failure in failures:
            asked.append(failure)
            prompt, errors = failure.parent.text, failure.errors
            replies.add([self.gradient_message.fill(language, prompt=prompt, errors=errors, count=count)])
        m = self.gradients_per_group
        return (
            Reading(slot, Gradient(asked[reading.slot], reason))
            for reading in replies.readings()
            for slot, reason in enumerate(reading.value[:m], reading.slot * m)
        )

    def _edits(self, gradients: Iterable[Reading[Gradient]], ctx: Context, gate: Gate) -> Iterator[Reading[Candidate]]:
        """3. Prompts edited against one reason each."""
        replies = self._replies(lambda reply: read_prompt(reply, gate), ctx, self.edits_per_gradient)
        rule, parents = slots_rule(ctx.task), dict[int, Candidate]()
        for slot, gradient in ((each.slot, each.value) for each in gradients):
            parents[slot], errors = gradient.failure.parent, gradient.failure.errors
            prompt, reason = parents[slot].text, gradient.reason
            message = self.edit_message.fill(ctx.task.language, prompt=prompt, errors=errors, reason=reason, slots=rule)
            replies.add([message], slot)
        for reading in replies.readings():
            parent = parents[reading.slot // self.edits_per_gradient]
            yield Reading(reading.slot, Candidate(reading.value, (parent.id,), "edit"))

    def _paraphrased(
        self, parents: Sequence[Candidate], edits: Iterable[Reading[Candidate]], ctx: Context, gate: Gate
    ) -> list[Candidate]:
        """4. The edits, then the same as these and the parents in other words."""
        replies = self._replies(lambda reply: read_prompt(reply, gate), ctx, max(1, self.paraphrases))
        rule, asked = slots_rule(ctx.task), dict[int, Candidate]()

        def vary(place: int, prompt: Candidate) -> None:
            asked[place] = prompt
            if self.paraphrases:
                message = self.paraphrase_message.fill(ctx.task.language, prompt=prompt.text, slots=rule)
                replies.add([message], place)

        for place, parent in enumerate(parents):
            vary(place, parent)
        for edit in edits:
            vary(len(parents) + edit.slot, edit.value)
        variants = [
            Candidate(text, (asked[place].id,), "paraphrase")
            for place, texts in zip(sorted(asked), replies.lists(), strict=bool(self.paraphrases))
            for text in texts
        ]
        return [*(asked[place] for place in sorted(asked) if place >= len(parents)), *variants]

    def _replies(self, read: Callable[[Response], T], ctx: Context, n: int = 1) -> Replies[T]:
        return Replies(ctx, "optimizer", read, temperature=self.temperature, n=n, max_tokens=self.max_tokens)

    def _successors(
        self, evaluations: Sequence[Evaluation], children: Sequence[Candidate], ctx: Context
    ) -> list[Candidate]:
        """5. At most x of what came from each parent, at first or second hand."""
        rng = ctx.rng("successors")
        families: dict[str, list[Candidate]] = {evaluation.candidate.id: [] for evaluation in evaluations}
        family_of = {parent: parent for parent in families}
        for child in children:
            family_of[child.id] = family_of[child.parents[0]]
            families[family_of[child.id]].append(child)
        kept: list[Candidate] = []
        for evaluation in evaluations:
            family, errors = families[evaluation.candidate.id], [o.example for o in evaluation.errors]
            if self.reject_on_errors and errors and len(family) > self.max_successors:
                crowd = rng.sample(family, min(2 * self.max_successors, len(family)))
                rows = rng.sample(errors, min(REJECT_ROWS, len(errors)))
                family = [scored.candidate for scored in ranked(ctx.score(crowd, rows))[: self.max_successors]]
            kept += rng.sample(family, min(self.max_successors, len(family)))
        return kept

    def _rows(self, task: Task) -> Sequence[Example]:
        """Rows that candidates are selected on."""
        return task.train if self.select_on == "train" else task.dev
