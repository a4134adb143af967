"""What a task is: rows, the text around the prompt, and what counts as right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from steepest.errors import TaskError
from steepest.tasks.judge import Judge
from steepest.types import Example, Message, Row

Language = Literal["en", "zh"]

_SLOT = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def slots_of(text: str) -> tuple[str, ...]:
    """Names in braces, each once, in order; braces around anything else are plain text."""
    return tuple(dict.fromkeys(_SLOT.findall(text)))


@dataclass(frozen=True, slots=True)
class Template:
    """The user's turn as text with slots: `{prompt}`, `{input}` and any further column of the data.

    GReaTer's order is the question first: "{input} {prompt}". Slots are plain names; nothing else is evaluated.
    A layout without `{input}` is for prompts that have slots of their own, "Answer {question} from {context}.":
    there, columns in braces are filled in the prompt too.
    """

    layout: str = "{input}\n{prompt}"
    system: str = ""

    def __post_init__(self) -> None:
        for slot, least in (("prompt", 1), ("input", 0)):
            found = len(re.findall(r"\{" + slot + r"\}", self.layout))
            if not least <= found <= 1:
                raise TaskError(
                    f"a template needs {{{slot}}} exactly once, found {found} times in {self.layout!r}; "
                    f'write for example "{{input}} {{prompt}}"'
                )

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of all slots, in order of appearance."""
        return tuple(_SLOT.findall(self.layout))

    def render(self, prompt: str, example: Example) -> tuple[Message, ...]:
        """The messages that ask `example` under `prompt`."""
        user = Message("user", "".join(self._around(example, prompt)))
        return (Message("system", self.system), user) if self.system else (user,)

    @property
    def is_filled_by_prompt(self) -> bool:
        """Whether the rows enter through slots of the prompt, not of the layout."""
        return "input" not in self.slots

    def prompt_slots(self, prompt: str) -> tuple[str, ...]:
        """Names of the slots in a prompt, in order; none where the layout has the rows."""
        return slots_of(prompt) if self.is_filled_by_prompt else ()

    def columns_used(self, prompt: str, example: Example) -> dict[str, str]:
        """The columns of a row that the model is shown under `prompt`, by name."""
        slots = (*self.slots, *self.prompt_slots(prompt))
        return {slot: self._value(slot, example) for slot in dict.fromkeys(slots) if slot != "prompt"}

    def shown(self, prompt: str, example: Example) -> str:
        """A row as others are shown it: its input, or every column that the model is shown, by name."""
        columns = self.columns_used(prompt, example)
        if list(columns) == ["input"]:
            return example.input
        return "\n".join(f"{name}: {value}" for name, value in columns.items())

    def row(self, example: Example, reply: str = "", target: str = "") -> Row:
        """The same as text around the prompt slot, with the beginning of the reply and what must follow it."""
        if self.is_filled_by_prompt:
            raise TaskError(
                f"a white-box model needs {{input}} in the layout, got {self.layout!r}; put the rows' slots there"
            )
        before, _, after = self._around(example, "")
        return Row(before, after, reply, target, self.system)

    def _around(self, example: Example, prompt: str) -> tuple[str, str, str]:
        def fill(text: str) -> str:
            return _SLOT.sub(lambda m: self._value(m.group(1), example), text)

        before, after = self.layout.split("{prompt}")
        return fill(before), fill(prompt) if self.is_filled_by_prompt else prompt, fill(after)

    def _value(self, slot: str, example: Example) -> str:
        if slot == "input":
            return example.input
        if slot not in example.meta:
            raise TaskError(
                f"a template's slots must be columns of the data, got {{{slot}}} for row {example.id!r}; "
                f"columns here: input, {', '.join(example.meta) or 'none further'}"
            )
        return example.meta[slot]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a metric says of one output."""

    score: float
    """In [0, 1], higher is better."""
    answer: str | None
    """The answer found in the output; None where none could be found."""
    explanation: str = ""
    """Why, for methods that learn from it."""


class Metric(Protocol):
    """Judges one output. Plain functions `(example, output) -> float` are wrapped into one."""

    def __call__(self, example: Example, output: str) -> Judgement:
        """Judge `output` against `example.target`."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """What a method may see: train and dev rows, never test."""

    name: str
    train: Sequence[Example]
    dev: Sequence[Example]
    template: Template
    metric: Metric | Judge
    """A rule, or a model that judges; methods go through `Context.evaluate`, which knows both."""
    extractor: str = ""
    """Text in the assistant's turn that asks for the answer alone, for white-box losses and for outputs in which
    no answer could be found; empty where the task has none."""
    seeds: Sequence[str] = field(default_factory=lambda: ("Answer the question.",))
    """Initial prompts."""
    max_tokens: int = 256
    """Limit of one answer, reasoning included."""
    language: Language = "en"
    """Of the rows; meta-prompts are written in it."""
    description: str = ""
    """What the task is, in the user's words, for the judge and for methods that tell the optimizer; may be empty."""

    def rule(self, example: Example, output: str) -> Judgement:
        """What the metric says of an output; TaskError where only a model could say."""
        if isinstance(self.metric, Judge):
            raise TaskError("this needs answers that a rule can check, got a judge; give a kind of answer instead")
        return self.metric(example, output)
