"""A white-box model small enough to think through: words have effects, effects decide whether answers are right."""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Iterator, Sequence

import numpy as np

from steepest.models import Bools, Gradient, Losses, Proposals
from steepest.tasks.task import Judgement, Task, Template
from steepest.types import ANSWER_LOSS, Example, Objective, Request, Response, Row

HELPFUL = {" think": 1.0, " slowly": 0.8, " step": 0.9, " reason": 0.7, " careful": 0.5}
HARMFUL = {" guess": -1.0, " quickly": -0.8}
NEUTRAL = [" Answer", " the", " question", " and", " a", " fox", " sky", " tree", " blue", " with", ".", " foo", "bar"]
WORDS = [*HELPFUL, *HARMFUL, *NEUTRAL, " foobar"]
"""" foo" + "bar" are read back as " foobar": ids that do not survive."""


def effect(text: str) -> float:
    """How much the words of a prompt help; each counts once."""
    known = HELPFUL | HARMFUL
    return math.fsum(known.get(f" {word}", 0.0) for word in sorted(set(re.findall(r"\w+", text))))


def difficulty(question: str) -> float:
    """Between 0 and 2.5, fixed per question."""
    return int(hashlib.sha256(question.encode()).hexdigest()[:4], 16) / 0xFFFF * 2.5


class ToyWhiteBox:
    """Generates and WhiteBox over a dozen words. Counts its calls."""

    id = "toy"
    vocabulary = WORDS
    context = 64

    def __init__(self) -> None:
        self.calls = 0

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        for index, request in enumerate(requests):
            self.calls += 1
            text = request.prompt if isinstance(request.prompt, str) else request.prompt[-1].content
            question, _, prompt = text.partition("? ")
            surplus = effect(prompt) - difficulty(question)
            if request.temperature:
                dice = random.Random(f"{request.seed}").random()
                right = dice < 1 / (1 + math.exp(-2 * surplus))
            else:
                right = surplus > 0
            number = question.split()[-1]
            answer = f"Hm. The answer is {number if right else int(number) + 1}."
            yield index, Response(answer, len(text.split()), len(answer.split()))

    def encode(self, text: str, before: str = "") -> list[int]:
        space = " " if before.endswith(" ") and not text.startswith(" ") else ""
        pieces = re.findall("|".join(map(re.escape, sorted(WORDS, key=len, reverse=True))) + "|.", space + text)
        return [WORDS.index(piece) if piece in WORDS else len(WORDS) + ord(piece) for piece in pieces]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(WORDS[i] if i < len(WORDS) else chr(i - len(WORDS)) for i in ids)

    def propose(
        self, rows: Sequence[Row], ids: Sequence[int], position: int, k: int, allowed: Bools | None = None
    ) -> Proposals:
        logits = np.zeros((len(rows), len(WORDS)))
        for r, row in enumerate(rows):
            rng = np.random.default_rng([position, *row.before.encode()])
            logits[r] = rng.normal(size=len(WORDS)) * 0.3
        logprobs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        masked = np.where(allowed if allowed is not None else True, logprobs, -np.inf)
        top = np.argsort(-masked, axis=1)[:, :k]
        return Proposals(top, np.take_along_axis(masked, top, 1).astype(np.float32), len(rows) * (position + 4))

    def gradient(
        self,
        rows: Sequence[Row],
        ids: Sequence[int],
        positions: Sequence[int],
        among: Sequence[Sequence[int]],
        weights: Sequence[float] | None = None,
        objective: Objective = ANSWER_LOSS,
    ) -> Gradient:
        self.calls += 1
        each = HELPFUL | HARMFUL
        signs = [-1.0 if _is_right(row) else 1.0 for row in rows]
        pull = sum(s * w for s, w in zip(signs, weights or [1.0] * len(rows), strict=True))
        values = [
            np.array(
                [pull * (each.get(WORDS[t], 0.0) - each.get(WORDS[ids[p]], 0.0)) for t in tokens], dtype=np.float32
            )
            for p, tokens in zip(positions, among, strict=True)
        ]
        return Gradient(values, self.loss(rows, [ids] * len(rows), objective).loss, 2 * len(rows))

    def loss(self, rows: Sequence[Row], prompts: Sequence[Sequence[int]], objective: Objective = ANSWER_LOSS) -> Losses:
        self.calls += 1
        surplus = np.array(
            [
                effect(self.decode(ids)) - difficulty(row.before.split("?")[0])
                for row, ids in zip(rows, prompts, strict=True)
            ]
        )
        fluency = np.array([0.1 * len(ids) for ids in prompts], dtype=np.float32)
        toward = np.array([1.0 if _is_right(row) else -1.0 for row in rows])
        loss = (np.log1p(np.exp(-2 * toward * surplus)) + objective.fluency * fluency).astype(np.float32)
        return Losses(loss, surplus > 0, fluency, len(rows))


def _is_right(row: Row) -> bool:
    return row.before.split("?")[0].split()[-1] in re.findall(r"\d+", row.target)


def judge(example: Example, output: str) -> Judgement:
    """The last number of the output against the target."""
    found = re.findall(r"\d+", output)
    return Judgement(float(bool(found) and found[-1] == example.target), found[-1] if found else None)


def toy_task(train: int = 24, dev: int = 24) -> Task:
    """Questions whose answer is the number in them, if the prompt helps enough."""
    rows = [Example(f"row{i}", f"What is {i * 7 + 3}?", str(i * 7 + 3)) for i in range(train + dev)]
    return Task(
        "toy",
        rows[:train],
        rows[train:],
        Template("{input} {prompt}"),
        judge,
        extractor="So the answer is",
        seeds=("Answer the question.",),
    )
