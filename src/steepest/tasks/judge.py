"""A language model as judge: it reads an answer and the user's criteria, explains, and rates.

For tasks whose answers no rule can check, with or without an expected answer; GRAD-SUM's evaluation (arXiv
2407.12865). Ratings are asked for through the context, as the role "judge", so they are journaled and budgeted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from steepest import codec
from steepest.errors import TaskError
from steepest.tasks.metaprompt import MetaPrompt, Unusable, read_tagged, tagged
from steepest.types import Response

JUDGE = MetaPrompt(
    en="""\
{task}Judge what a language model said, by these criteria alone: {criteria}

Input: {input}
{expected}Model answer: {answer}

First explain in one or two sentences how well it meets the criteria, in <explanation> tags. Then rate it: {scale}. \
Write the number alone in <rating> tags.""",
    zh="""\
{task}请只按以下标准评价语言模型的回答：{criteria}

输入：{input}
{expected}模型回答：{answer}

先用一两句话说明它在多大程度上符合标准，写在 <explanation> 标签里。再评分：{scale}。把数字单独写在 <rating> 标签里。""",
)
TASK = MetaPrompt(en="Task: {description}\n\n", zh="任务：{description}\n\n")
EXPECTED = MetaPrompt(en="Expected answer: {target}\n", zh="正确答案：{target}\n")
BINARY = MetaPrompt(en="1 if it meets them, 0 if it does not", zh="符合写 1，不符合写 0")
GRADED = MetaPrompt(
    en="a whole number from 0 (meets none of them) to {top} (meets all of them)",
    zh="从 0（完全不符合）到 {top}（完全符合）的整数",
)

_NUMBER = re.compile(r"(\d{1,9})(?:\.0+)?(?:\s*(?:/|out of)\s*(\d+))?\.?")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge says of one answer."""

    score: float
    """The rating over the top of the scale: in [0, 1]."""
    explanation: str


@dataclass(frozen=True, slots=True)
class Judge:
    """The metric that asks a model, by criteria in the user's words.

    A reply without a rating is asked for once more, then the row is left out: unjudged is not wrong.
    """

    criteria: str
    """When an answer is good."""
    scale: int = 1
    """Top of the scale: 1 is right or wrong, N grades from 0 to N."""
    max_tokens: int = 512
    """Limit of one reply."""
    temperature: float = 0.7
    """Of the second attempt; the first is greedy."""
    message: MetaPrompt = JUDGE

    def __post_init__(self) -> None:
        if not self.criteria.strip():
            raise TaskError("a judge needs criteria, got none; write in a sentence or two when an answer is good")
        if self.scale < 1:
            raise TaskError(f"the top of a judge's scale must be at least 1, got {self.scale}; 1 is right or wrong")
        if self.message.slots != JUDGE.slots:
            raise TaskError(
                f"a judge's message has the slots {', '.join(sorted(JUDGE.slots))}, got "
                f"{', '.join(sorted(self.message.slots)) or 'none'}; use each of them"
            )
        if not self.temperature > 0:
            raise TaskError(f"a judge's second attempt is sampled, got temperature {self.temperature}; give 0.7")

    def ask(self, language: str, description: str, shown: str, target: str, output: str) -> str:
        """The message about one answer; `shown` is the row as the model saw it, `target` may be empty."""
        return self.message.fill(
            language,
            task=TASK.fill(language, description=description) if description else "",
            input=shown,
            expected=EXPECTED.fill(language, target=target) if target else "",
            answer=output.strip(),
            criteria=self.criteria,
            scale=BINARY.fill(language) if self.scale == 1 else GRADED.fill(language, top=str(self.scale)),
        )

    def read(self, reply: Response) -> Verdict:
        """The verdict in a reply; Unusable where there is no rating on the scale."""
        number = _NUMBER.fullmatch(read_tagged(reply, "rating")[-1])
        if number is None or number.group(2) not in (None, str(self.scale)) or int(number.group(1)) > self.scale:
            raise Unusable("off the scale")
        explanation = tagged(reply.text, "explanation")
        return Verdict(int(number.group(1)) / self.scale, explanation[-1] if explanation else "")


def open_judge(spec: Mapping[str, Any]) -> Judge:
    """The judge that {"criteria": ..., "scale": ...} describes. Raises TaskError."""
    judge: Judge = codec.decode(Judge, dict(spec), "answer: judge", TaskError)
    return judge
