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


def shown_error(task: Task, error: Outcome) -> str:
    """A row with the right answer and the one that came."""
    return ERROR.fill(
        task.language,
        input=shown_input(task, error.example),
        target=error.example.target,
        answer=shown_answer(error),
    )


def shown_errors(task: Task, errors: Sequence[Outcome]) -> str:
    """Rows that were answered wrongly, blank lines between them."""
    return "\n\n".join(shown_error(task, error) for error in errors)
