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
from typing import Any, ClassVar

from steepest.context import Context
from steepest.costs import Costs, per_row
from steepest.models import Generates
from steepest.parts.selection import Full, Select, ask_ahead, most
from steepest.parts.text import ATTEMPTS, Gate, MetaPrompt, Replies, read_prompt, read_tagged, shown_input, words
from steepest.tasks.judge import EXPECTED, TASK, Judge
from steepest.tasks.task import Task
from steepest.types import Candidate, Example, Outcome, Scored

SHOWN = 1200
"""Characters of a response that the optimizer is shown, from its end."""

GRADIENT = MetaPrompt(
    en="""\
{task}A language model was given this prompt.
Prompt: {prompt}

With it, the model did not do well here:
Input: {input}
{expected}Model answer: {answer}
{explanation}
How should the prompt change so that the model does better in such cases? Do not correct the model's words; \
say in one or two sentences what the prompt should ask for. Write them in <feedback> tags.""",
    zh="""\
{task}一个语言模型收到了这个提示词。
提示词：{prompt}

用它时，模型在这里做得不好：
输入：{input}
{expected}模型回答：{answer}
{explanation}
提示词应当怎样修改，模型才能在这类情况下做得更好？\
不要改正模型的话，只用一两句话说明提示词应当要求什么，写在 <feedback> 标签里。""",
)
EXPLANATION = MetaPrompt(en="Explanation: {text}\n", zh="说明：{text}\n")

SUMMARY = MetaPrompt(
    en="""\
{task}A prompt for a language model was tried on many inputs. After each failure somebody wrote how it should change.
Prompt: {prompt}

Feedback:
{feedback}

Sum this up in one short paragraph that holds for the whole task. Keep what is said often; leave out single inputs, \
names and numbers. Write the paragraph in <summary> tags.""",
    zh="""\
{task}一个语言模型的提示词在许多输入上试过。每次失败后，都有人写下它应当怎样修改。
提示词：{prompt}

反馈：
{feedback}

请把这些反馈概括成一小段，适用于整个任务。保留多次提到的内容，不要写具体的输入、名字和数字。\
把这段话写在 <summary> 标签里。""",
)
EDIT = MetaPrompt(
    en="""\
{task}Improve this prompt for a language model.
Prompt: {prompt}

Feedback:
{feedback}

Write a new prompt that follows the feedback and suits every input of the task.{slots} \
Write only the new prompt, in <prompt> tags.""",
    zh="""\
{task}请改进这个给语言模型的提示词。
提示词：{prompt}

反馈：
{feedback}

写一个新的提示词，采纳这些反馈，并适用于该任务的所有输入。{slots}只写新的提示词，放在 <prompt> 标签里。""",
)
SLOTS = MetaPrompt(
    en=" Keep {slots} in it exactly so: the inputs are put there.",
    zh="其中的 {slots} 必须原样保留，输入会填在那里。",
)


@dataclass(frozen=True)
class Messages:
    """What the optimizer is asked."""

    gradient: MetaPrompt = GRADIENT
    """How the prompt should change, after one response."""
    summary: MetaPrompt = SUMMARY
    """One paragraph out of many gradients."""
    edit: MetaPrompt = EDIT
    """A new prompt out of that paragraph."""

    def ask_gradient(self, task: Task, description: str, prompt: str, error: Outcome) -> str:
        """The message about one imperfect response."""
        expected, told, language = error.example.target, error.explanation, task.language
        return self.gradient.fill(
            language,
            task=_task(language, description),
            prompt=prompt,
            input=shown_input(task, error.example),
            expected=EXPECTED.fill(language, target=expected) if expected else "",
            answer=error.output.strip()[-SHOWN:],
            explanation=EXPLANATION.fill(language, text=told) if told else "",
        )

    def ask_summary(self, task: Task, description: str, prompt: str, gradients: Sequence[str]) -> str:
        """The message about the gradients of one prompt."""
        return self.summary.fill(
            task.language,
            task=_task(task.language, description),
            prompt=prompt,
            feedback="\n".join(f"- {gradient}" for gradient in gradients),
        )

    def ask_edit(self, task: Task, description: str, prompt: str, feedback: Sequence[str]) -> str:
        """The message that asks for a new prompt; `feedback` is the summary alone, or the gradients themselves."""
        slots = task.template.prompt_slots(task.seeds[0])
        named = ", ".join(f"{{{slot}}}" for slot in slots)
        return self.edit.fill(
            task.language,
            task=_task(task.language, description),
            prompt=prompt,
            feedback=feedback[0] if len(feedback) == 1 else "\n".join(f"- {each}" for each in feedback),
            slots=SLOTS.fill(task.language, slots=named) if slots else "",
        )


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
        # Each stage asks as soon as the one before it has something, so that all are under way together.
        gradients = self._gradients(parents, ctx.outcomes(parents, rows), ctx)
        ask_ahead(self.select, parents, self._compared(ctx), self._most, ctx)
        feedback = self._summaries(parents, gradients, ctx) if self.summarize else self._drawn(gradients, ctx)
        chosen = self._select([*parents, *self._edits(parents, feedback, ctx)], ctx)
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

    def _gradients(self, parents: Sequence[Candidate], outcomes: Iterator[Outcome], ctx: Context) -> list[Replies[str]]:
        """For each prompt, what is said of its imperfect responses, a piece of advice on each."""
        asked = [self._asking("feedback", self.gradient_temperature, ctx) for _ in parents]
        task, rows = ctx.task, min(self.rows, len(ctx.task.train))
        for at, outcome in enumerate(outcomes):
            if outcome.score is not None and outcome.score < 1.0:
                parent = parents[at // rows]
                asked[at // rows].add([self.messages.ask_gradient(task, self._told(task), parent.text, outcome)])
        return asked

    def _summaries(
        self, parents: Sequence[Candidate], gradients: Sequence[Replies[str]], ctx: Context
    ) -> Iterator[list[list[str]]]:
        """For each prompt, one general paragraph; none for a prompt without gradients."""
        begun = [self._summing(parent, _flat(each), ctx) for parent, each in zip(parents, gradients, strict=True)]
        for parent, summing in zip(parents, begun, strict=True):
            texts = _flat(summing)
            while len(texts) > 1:
                texts = _flat(self._summing(parent, texts, ctx))
            yield [texts] if texts else []

    def _summing(self, parent: Candidate, texts: Sequence[str], ctx: Context) -> Replies[str]:
        """Summaries of a prompt's gradients or summaries, group by group."""
        replies = self._asking("summary", self.temperature, ctx)
        task = ctx.task
        replies.add(
            [self.messages.ask_summary(task, self._told(task), parent.text, group) for group in self._groups(texts)]
        )
        return replies

    def _drawn(self, gradients: Sequence[Replies[str]], ctx: Context) -> Iterator[list[list[str]]]:
        """For each prompt, its gradients in random groups."""
        rng = ctx.rng("gradients")
        for texts in map(_flat, gradients):
            yield self._groups(rng.sample(texts, len(texts)))

    def _edits(
        self, parents: Sequence[Candidate], feedback: Iterable[Sequence[Sequence[str]]], ctx: Context
    ) -> list[Candidate]:
        """New prompts of every prompt that has feedback; its groups of feedback take turns."""
        task, gate, n = ctx.task, Gate(ctx.task, [parent.text for parent in parents], self.max_words), self.candidates
        replies = Replies(
            ctx,
            "optimizer",
            lambda reply: read_prompt(reply, gate),
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
        for at, (parent, groups) in enumerate(zip(parents, feedback, strict=True)):
            turns = [groups[turn % len(groups)] for turn in range(n if groups else 0)]
            replies.add([self.messages.ask_edit(task, self._told(task), parent.text, each) for each in turns], at * n)
        edits: dict[int, Candidate] = {}
        for reading in replies.readings():
            edits[reading.slot] = Candidate(reading.value, (parents[reading.slot // n].id,), "edit")
            ask_ahead(self.select, [edits[reading.slot]], self._compared(ctx), self._most, ctx)
        return [edits[slot] for slot in sorted(edits)]

    def _asking(self, tag: str, temperature: float, ctx: Context) -> Replies[str]:
        """Replies of which what stands in a tag is read."""
        limit = self.max_tokens
        return Replies(ctx, "optimizer", lambda r: read_tagged(r, tag)[0], temperature=temperature, max_tokens=limit)

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

    def _told(self, task: Task) -> str:
        """The description of the task."""
        return self.task_description or task.description


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


def _task(language: str, description: str) -> str:
    return TASK.fill(language, description=description) if description else ""
