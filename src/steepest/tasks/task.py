"""What a task is: rows, the text around the prompt, and what counts as right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from steepest.errors import TaskError
from steepest.types import Example, Message, Row

_SLOT = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Template:
    """The user's turn as text with slots: `{prompt}`, `{input}` and any further column of the data.

    GReaTer's order is the question first: "{input} {prompt}". Slots are plain names; nothing else is evaluated.
    """

    layout: str = "{input}\n{prompt}"
    system: str = ""

    def __post_init__(self) -> None:
        for slot in ("prompt", "input"):
            found = len(re.findall(r"\{" + slot + r"\}", self.layout))
            if found != 1:
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

    def row(self, example: Example, reply: str = "", target: str = "") -> Row:
        """The same as text around the prompt slot, with the beginning of the reply and what must follow it."""
        before, _, after = self._around(example, "")
        return Row(before, after, reply, target, self.system)

    def _around(self, example: Example, prompt: str) -> tuple[str, str, str]:
        def fill(text: str) -> str:
            return _SLOT.sub(lambda m: self._value(m.group(1), example), text)

        before, after = self.layout.split("{prompt}")
        return fill(before), prompt, fill(after)

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
    metric: Metric
    extractor: str = ""
    """Text in the assistant's turn that asks for the answer alone, for white-box losses and for outputs in which
    no answer could be found; empty where the task has none."""
    seeds: Sequence[str] = field(default_factory=lambda: ("Answer the question.",))
    """Initial prompts."""
    max_tokens: int = 256
    """Limit of one answer, reasoning included."""
