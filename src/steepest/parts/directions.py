"""What went wrong, as optimizers are shown it: the same labels in every method that learns from errors."""

from __future__ import annotations

from collections.abc import Sequence

from steepest.parts.text import MetaPrompt, shown_answer, shown_input
from steepest.tasks.task import Task
from steepest.types import Outcome

ERROR = MetaPrompt(
    en="Input: {input}\nExpected answer: {target}\nModel answer: {answer}",
    zh="输入：{input}\n正确答案：{target}\n模型回答：{answer}",
)
JUDGED = MetaPrompt(en="Input: {input}\nModel answer: {answer}", zh="输入：{input}\n模型回答：{answer}")
"""In place of `ERROR` for rows without a right answer."""
EXPLANATION = MetaPrompt(en="\nExplanation: {text}", zh="\n说明：{text}")
"""Added where a judge or a metric said why."""


def shown_error(task: Task, error: Outcome) -> str:
    """A row with the right answer, if it has one, the one that came, and what was said of that."""
    language, target, told = task.language, error.example.target, error.explanation
    shown = {"input": shown_input(task, error.example), "answer": shown_answer(error)}
    lines = ERROR.fill(language, target=target, **shown) if target else JUDGED.fill(language, **shown)
    return lines + (EXPLANATION.fill(language, text=told) if told else "")


def shown_errors(task: Task, errors: Sequence[Outcome]) -> str:
    """Rows that were answered wrongly, blank lines between them."""
    return "\n\n".join(shown_error(task, error) for error in errors)
