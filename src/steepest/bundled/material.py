"""What the bundled model is trained on, as batches: rows of its tasks, and lessons among them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from transformers import PreTrainedTokenizerFast

from steepest.bundled import world
from steepest.bundled.lessons import Lesson, lessons
from steepest.bundled.tokens import ASSISTANT, CONTEXT, END, USER, rendered

Batch = tuple[torch.Tensor, torch.Tensor]
"""Token ids [rows, width] padded with 0 on the right, and the weight of each in the loss."""


@dataclass(frozen=True, slots=True)
class Text:
    """A row as tokens: what is given, what is learned a little, what is learned."""

    given: list[int]
    told: list[int]
    response: list[int]
    weight: float = 1.0

    def __len__(self) -> int:
        return len(self.given) + len(self.told) + len(self.response)


class Sorter:
    """Gathers rows of about the same length until they fill a batch of so many tokens."""

    def __init__(self, size: int, prompt_weight: float, grain: int) -> None:
        self._size = size
        self._prompt_weight = prompt_weight
        self._grain = grain
        self._waiting: dict[int, list[Text]] = {}

    def filled(self, rows: Sequence[Text]) -> list[Batch]:
        """The batches that `rows` complete."""
        ready = []
        for row in rows:
            width = math.ceil(len(row) / self._grain) * self._grain
            group = self._waiting.setdefault(width, [])
            group.append(row)
            if len(group) >= self._size // width:
                ready.append(_padded(self._waiting.pop(width), width, self._prompt_weight))
        return ready


def task_batches(
    seed: str, coder: PreTrainedTokenizerFast, size: int, prompt_weight: float
) -> Iterator[tuple[Batch, ...]]:
    """Endless steps; each takes short and long rows together, so that every step has every kind of response."""
    rng = Random(f"train/{seed}")
    sorter = Sorter(size, prompt_weight, grain=8)
    while True:
        ready = sorter.filled(_task_rows(2048, coder, rng))
        ready.sort(key=lambda batch: batch[0].shape[1])
        half = len(ready) // 2
        yield from _paired(ready[:half], ready[-half:], rng)


def lesson_batches(
    seed: str, coder: PreTrainedTokenizerFast, size: int, prompt_weight: float, weight: float
) -> Iterator[tuple[Batch, ...]]:
    """Endless steps, each with a batch of lessons and one of task rows."""
    rng = Random(f"lessons/{seed}")
    told = lessons(seed)
    of_lessons, of_tasks = Sorter(size, 0.0, grain=32), Sorter(size, prompt_weight, grain=8)
    left: list[Batch] = []
    right: list[Batch] = []
    while True:
        left += of_lessons.filled(_lesson_rows([next(told) for _ in range(400)], coder, weight))
        while len(right) < len(left):
            right += of_tasks.filled(_task_rows(1024, coder, rng))
        rng.shuffle(right)
        yield from _paired(left, right[: len(left)], rng)
        left, right = [], right[len(left) :]


def _task_rows(n: int, coder: PreTrainedTokenizerFast, rng: Random) -> list[Text]:
    rows = [world.training_text(rng) for _ in range(n)]
    asked = [f"{USER}{question}" for question, _, _ in rows]
    told = [f" {text}".rstrip() + ASSISTANT for _, text, _ in rows]
    parts = [coder(texts)["input_ids"] for texts in (asked, told, [row[2] + END for row in rows])]
    return [Text(*row) for row in zip(*parts, strict=True)]


def _lesson_rows(found: Sequence[Lesson], coder: PreTrainedTokenizerFast, weight: float) -> list[Text]:
    """Lessons as tokens, those that do not fit the context left out."""
    asked = [rendered(lesson.turns, coder) for lesson in found]
    parts = [coder(texts)["input_ids"] for texts in (asked, [lesson.reply + END for lesson in found])]
    rows = [Text(given, [], response, weight) for given, response in zip(*parts, strict=True)]
    return [row for row in rows if len(row) <= CONTEXT]


def _paired(left: Sequence[Batch], right: Sequence[Batch], rng: Random) -> list[tuple[Batch, ...]]:
    """Steps of one batch from either side; either process gets each side as often as the other."""
    steps: list[tuple[Batch, ...]] = [
        pair if rng.random() < 0.5 else pair[::-1] for pair in zip(left, right, strict=True)
    ]
    rng.shuffle(steps)
    return steps


def _padded(group: Sequence[Text], width: int, prompt_weight: float) -> Batch:
    """Rows padded on the right; what is given is not learned, instructions are a little, responses are."""
    tokens = torch.zeros(len(group), width, dtype=torch.long)
    weights = torch.zeros(len(group), width)
    for at, row in enumerate(group):
        line = [*row.given, *row.told, *row.response]
        given, told = len(row.given), len(row.given) + len(row.told)
        tokens[at, : len(line)] = torch.tensor(line)
        weights[at, given:told] = prompt_weight
        weights[at, told : len(line)] = row.weight
    return tokens, weights
