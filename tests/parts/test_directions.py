from __future__ import annotations

from dataclasses import replace

import pytest

from scripted_optimizer import text_task
from steepest.parts.directions import shown_error, shown_errors
from steepest.tasks.task import Language
from steepest.types import Outcome

TASK = text_task()
ROW = TASK.train[0]


def test_a_row_has_the_right_answer_and_the_one_that_came() -> None:
    assert shown_error(TASK, Outcome(ROW, "I say warm.", 0.0, "warm")) == (
        "Input: hot\nExpected answer: cold\nModel answer: warm"
    )


@pytest.mark.parametrize(
    ("language", "shown"),
    [
        ("en", "Input: hot\nModel answer: warm\nExplanation: Not an opposite."),
        ("zh", "输入：hot\n模型回答：warm\n说明：Not an opposite."),
    ],
)
def test_without_a_right_answer_the_judges_reason_is_shown_and_no_empty_label(language: Language, shown: str) -> None:
    error = Outcome(replace(ROW, target=""), "warm", 0.0, "warm", explanation="Not an opposite.")
    assert shown_error(text_task(language=language), error) == shown


def test_blank_lines_stand_between_rows() -> None:
    error = Outcome(ROW, "warm", 0.0, "warm")
    assert shown_errors(TASK, [error, error]).count("\n\n") == 1
