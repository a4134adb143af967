"""New candidates from old ones or from nothing: paraphrases, and instructions guessed from demonstrations.

Both ask the role "optimizer" for a prompt in <prompt> tags, or have a model that can do so fill a gap, and drop what
the gate refuses; lists are flat, and every candidate names its parent, so one call covers a whole beam.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from steepest.context import Context
from steepest.models import Infills
from steepest.parts.text import ATTEMPTS, Gate, MetaPrompt, Unusable, ask, fill, read_prompt, read_tagged, shown_input
from steepest.tasks.task import Task
from steepest.types import Candidate, Example, Gap, Response

BLANK = "<blank>"
"""Where the text to be filled in stands in a story."""

PARAPHRASE = MetaPrompt(
    en="""Prompt: {prompt}

Write this prompt in other words. Keep its meaning.{slots}
Put the new prompt in <prompt>...</prompt>.""",
    zh="""提示词：{prompt}

请换一种说法改写这条提示词，意思不变。{slots}
把新的提示词写在<prompt>...</prompt>里。""",
)

GUESS = MetaPrompt(
    en="""Somebody gave a friend a prompt and {count} inputs. The friend did what the prompt says and answered:

{demos}

What was the prompt? Write it as a whole, without these examples, so that it fits all inputs of this kind.{slots}
Put the prompt in <prompt>...</prompt>.""",
    zh="""有人给朋友一条提示词和{count}个输入。朋友照着提示词回答如下：

{demos}

那条提示词是什么？请写出完整的提示词，不要写这些例子，要适合所有这类输入。{slots}
把提示词写在<prompt>...</prompt>里。""",
)

STORY = MetaPrompt(
    en="""Somebody gave a friend this prompt and {count} inputs.
Prompt: <blank>
The friend did what the prompt says and answered:

{demos}""",
    zh="""有人给朋友这条提示词和{count}个输入。
提示词：<blank>
朋友照着提示词回答如下：

{demos}""",
)

INFILL = MetaPrompt(
    en="""In this text a piece is missing at <blank>:

{text}

Write only the piece that belongs at <blank>, nothing of the text around it.{slots}
Put it in <prompt>...</prompt>.""",
    zh="""下面的文字在<blank>处缺了一段：

{text}

只写<blank>处缺的那一段，不要写它前后的文字。{slots}
写在<prompt>...</prompt>里。""",
)

DEMO = MetaPrompt(en="Input: {input}\nAnswer: {answer}", zh="输入：{input}\n答案：{answer}")

SLOTS = MetaPrompt(en=" It must hold, braces included: {names}.", zh="其中必须有（连同花括号）：{names}。")


@dataclass(frozen=True)
class Paraphrase:
    """The same in other words: variants of each parent (Monte Carlo search around it, in APE and ProTeGi)."""

    n: int = 1
    """Variants of each parent."""
    temperature: float = 0.9
    """APE's code: 0.9; ProTeGi's paper: 1."""
    max_tokens: int = 512
    message: MetaPrompt = PARAPHRASE
    """Slots: {prompt}, and {slots} for what a prompt with columns of its own must hold."""

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        _check_counts(n=self.n)

    def __call__(self, parents: Sequence[Candidate], ctx: Context, gate: Gate) -> list[Candidate]:
        """Up to n variants of each parent, those of the first parent first, as far as `gate` admits them."""
        language, rule = ctx.task.language, slots_rule(ctx.task)
        prompts = [self.message.fill(language, prompt=parent.text, slots=rule) for parent in parents]
        replies = ask(
            ctx,
            "optimizer",
            prompts,
            lambda reply: read_prompt(reply, gate),
            temperature=self.temperature,
            n=self.n,
            max_tokens=self.max_tokens,
        )
        return [
            Candidate(text, (parent.id,), "paraphrase")
            for parent, texts in zip(parents, replies, strict=True)
            for text in texts
        ]

    def calls(self, parents: int) -> int:
        """The most optimizer calls for so many parents."""
        return parents * self.n * attempts(self.temperature)


@dataclass(frozen=True)
class Induce:  # size: every field has a default
    """Instructions guessed from demonstrations, without an initial prompt (APE, arXiv 2211.01910).

    "forward" shows demonstrations and asks for the instruction behind them. "reverse" is for instructions that do not
    stand at the end: the story has a blank that the model fills. An optimizer that `Infills` reads the story before
    and after the blank as it is, and what it writes up to the first blank line is the candidate (origin "infill").
    Chat models cannot continue a text on both sides, so they are shown the whole story with the blank visible and are
    asked for the missing piece. That is not the distribution of an infilling model: such candidates have the origin
    "infill-emulated" and are tallied under that name. In both, echoes of the text around the blank are removed.
    """

    mode: Literal["forward", "reverse"] = "forward"
    sets: int = 5
    """Sets of demonstrations, one message each."""
    demos: int = 5
    """Demonstrations in a set, drawn without replacement; all where there are fewer."""
    n: int = 10
    """Replies to each message."""
    temperature: float = 0.9
    max_tokens: int = 512
    message: MetaPrompt = GUESS
    """Of the forward mode. Slots: {count}, {demos}, {slots}."""
    story: MetaPrompt = STORY
    """Of the reverse mode, with <blank> once. Slots: {count}, {demos}."""
    infill: MetaPrompt = INFILL
    """How the story is shown to a model that cannot fill gaps. Slots: {text}, {slots}."""
    demo: MetaPrompt = DEMO
    """One demonstration. Slots: {input}, {answer}."""

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        _check_counts(sets=self.sets, demos=self.demos, n=self.n)
        for text in (self.story.en, self.story.zh):
            if text.count(BLANK) != 1:
                raise ValueError(f"a story holds {BLANK} exactly once, got {text!r}; mark where the prompt stands")

    def __call__(self, examples: Sequence[Example], ctx: Context, gate: Gate) -> list[Candidate]:
        """Up to sets * n candidates from demonstrations among `examples`, as far as `gate` admits them."""
        rng = ctx.rng("demonstrations")
        drawn = [rng.sample(list(examples), min(self.demos, len(examples))) for _ in range(self.sets)]
        if self.mode == "forward":
            return [Candidate(text, origin="induce") for text in self._guessed(drawn, ctx, gate)]
        language = ctx.task.language
        stories = [self.story.fill(language, count=str(len(rows)), demos=self._shown(rows, ctx.task)) for rows in drawn]
        if ctx.offers("optimizer", Infills):
            return [Candidate(text, origin="infill") for text in self._filled(stories, ctx, gate)]
        return [Candidate(text, origin="infill-emulated") for text in self._emulated(stories, ctx, gate)]

    def calls(self) -> int:
        """The most optimizer calls."""
        return self.sets * self.n * attempts(self.temperature)

    def _guessed(self, drawn: Sequence[Sequence[Example]], ctx: Context, gate: Gate) -> list[str]:
        language, rule = ctx.task.language, slots_rule(ctx.task)
        messages = [
            self.message.fill(language, count=str(len(rows)), demos=self._shown(rows, ctx.task), slots=rule)
            for rows in drawn
        ]
        return self._asked(messages, lambda reply: read_prompt(reply, gate), ctx)

    def _filled(self, stories: Sequence[str], ctx: Context, gate: Gate) -> list[str]:
        def read(reply: Response) -> str:
            if reply.finish == "failed":
                raise Unusable("no reply")
            written = reply.text.strip()
            text = _without_echoes(re.split(r"\n\s*\n", written, maxsplit=1)[0], stories)
            if reply.finish == "length" and written.endswith(text):
                raise Unusable("cut off")
            return gate.admit(text)

        gaps = [Gap(before, after) for before, _, after in (story.partition(BLANK) for story in stories)]
        found = fill(ctx, "optimizer", gaps, read, temperature=self.temperature, n=self.n, max_tokens=self.max_tokens)
        return [text for texts in found for text in texts]

    def _emulated(self, stories: Sequence[str], ctx: Context, gate: Gate) -> list[str]:
        def read(reply: Response) -> str:
            return gate.admit(_without_echoes(read_tagged(reply, "prompt")[0], stories))

        language, rule = ctx.task.language, slots_rule(ctx.task)
        texts = self._asked([self.infill.fill(language, text=story, slots=rule) for story in stories], read, ctx)
        ctx.tally("infill-emulated", len(texts))
        return texts

    def _asked(self, messages: Sequence[str], read: Callable[[Response], str], ctx: Context) -> list[str]:
        found = ask(
            ctx, "optimizer", messages, read, temperature=self.temperature, n=self.n, max_tokens=self.max_tokens
        )
        return [text for texts in found for text in texts]

    def _shown(self, rows: Sequence[Example], task: Task) -> str:
        """Demonstrations as text; a blank of their own, as cloze rows have, must not look like the story's."""
        shown = [
            self.demo.fill(task.language, input=shown_input(task, row), answer=row.target).replace(BLANK, "____")
            for row in rows
        ]
        return "\n\n".join(shown)


def _without_echoes(text: str, stories: Sequence[str]) -> str:
    """See `without_echo`. Which of the stories a reply belongs to is not known; they share what is echoed."""
    for story in stories:
        text = without_echo(text, story)
    return text


def without_echo(text: str, story: str) -> str:
    """What fills a story's blank, without repetition of what stands before and after it, whole or the nearest line."""
    before, _, after = (part.strip() for part in story.partition(BLANK))
    for echo in (before, before.rpartition("\n")[2]):
        text = text.strip().removeprefix(echo).strip()
    for echo in (after, after.partition("\n")[0]):
        if echo:
            text = text.partition(echo)[0].strip()
    return text


def slots_rule(task: Task) -> str:
    """What to add to a message where the task's prompts hold columns of the data; empty for other tasks."""
    names = task.template.prompt_slots(task.seeds[0])
    return SLOTS.fill(task.language, names=", ".join(f"{{{name}}}" for name in names)) if names else ""


def attempts(temperature: float) -> int:
    """How often one reply may be asked for: a greedy one would come out the same."""
    return ATTEMPTS if temperature > 0 else 1


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}; leave it out for the default")
