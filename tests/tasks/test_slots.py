"""Prompts with slots of their own: "Answer {question} from {context}."."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from steepest.engine import Run
from steepest.errors import TaskError
from steepest.ledger import Limits
from steepest.methods.greater import Greater
from steepest.models.opening import Opened
from steepest.models.scripted import Scripted
from steepest.parts.text import Gate, Unusable
from steepest.plan import Plan, check
from steepest.tasks import TaskSpec, load_task
from steepest.tasks.loading import language_of
from steepest.tasks.source import TaskSource, restore_task
from steepest.tasks.task import Task, Template, slots_of
from testing_methods import Adder
from toy_whitebox import ToyWhiteBox, toy_task

ROWS = [
    {"question": f"Who is {n}?", "context": f"Guest {n} is Ann.", "target": "Ann", "working": "secret"}
    for n in range(60)
]
PROMPT = "Answer {question} from {context}. Write {n: 1} or {}."


def source(**fields: Any) -> TaskSource:
    return load_task(TaskSpec(ROWS, **{"prompt": PROMPT, **fields}))


def asked(task: Task, prompt: str) -> str:
    return task.template.render(prompt, task.train[0])[-1].content


def test_slots_are_names_in_braces() -> None:
    assert slots_of('{b} {a} {b} {} {1} {a b} {"k": {c}} {{d}}') == ("b", "a", "c", "d")


def test_columns_are_filled_in_and_other_braces_stay() -> None:
    task = source().task
    assert task.template == Template("{prompt}")
    row = task.train[0]
    assert row.input in {each["question"] for each in ROWS}
    expected = f"Answer {row.input} from {row.meta['context']}. Write {{n: 1}} or {{}}."
    assert asked(task, task.seeds[0]) == expected


def test_rows_that_ask_the_same_of_another_context_are_other_rows() -> None:
    rows = [{"question": "Who?", "context": f"Guest {n} is Ann.", "target": "Ann"} for n in range(40)]
    loaded = load_task(TaskSpec(rows, prompt="{question} {context}"))
    assert len({row.id for row in (*loaded.task.train, *loaded.task.dev, *loaded.test)}) == 40


def test_braces_in_a_row_are_text() -> None:
    rows = [{"question": f"{{context}} {n}?", "context": "here", "target": "Ann"} for n in range(40)]
    task = load_task(TaskSpec(rows, prompt="{question} {context}")).task
    assert asked(task, "{question} {context}") == f"{task.train[0].input} here"


@pytest.mark.parametrize(
    ("fields", "column"),
    [
        ({}, "question"),
        ({"prompt": "{context}: {question}"}, "context"),
        ({"prompt": "{context}: {question}", "input": "question"}, "question"),
        ({"prompt": "{context}: {input}", "input": "question"}, "question"),
    ],
)
def test_the_question_is_the_first_slot_unless_given(fields: dict[str, str], column: str) -> None:
    assert source(**fields).task.train[0].input in {row[column] for row in ROWS}


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("Answer {queston}.", r"got \{queston\}; did you mean 'question'"),
        ("{question} is {target}.", r"must be columns with what is asked, got \{target\}"),
        ("Solve {x}.", r"give a layout with \{input\}"),
    ],
)
def test_a_slot_that_is_no_column_is_refused(prompt: str, message: str) -> None:
    with pytest.raises(TaskError, match=message) as refused:
        source(prompt=prompt)
    assert "\n" not in str(refused.value)


def test_a_layout_of_the_users_own_keeps_braces_as_they_are() -> None:
    task = source(layout="{input}\n{prompt}", input="question", prompt="Solve {x}.").task
    assert asked(task, "Solve {x}.").endswith("\nSolve {x}.")
    assert not task.template.prompt_slots("Solve {x}.")


def test_the_prompt_may_be_given_beside_the_task(tmp_path: Path) -> None:
    loaded = load_task(TaskSpec(ROWS, input="question"), prompt="From {context}: {question}")
    assert loaded.task.template == Template("{prompt}")
    assert load_task("arithmetic", prompt="Add.").task.seeds == ("Add.",)


def test_candidates_keep_every_slot_and_get_no_other() -> None:
    gate = Gate(source().task)
    assert gate.admit("From {context}, answer: {question}") == "From {context}, answer: {question}"
    for text, reason in (
        ("Answer {question}.", "slots lost"),
        ("{question} {context} {answer}", "slots invented"),
        ("{question} {context} {working}", "slots invented"),
    ):
        with pytest.raises(Unusable, match=reason):
            gate.admit(text)


def plan(loaded: TaskSource, method: Any = None, model: Any = None) -> Plan:
    model = model or Scripted(lambda request: "Ann")
    return Plan(method or Adder(), loaded.task, loaded.test, {"task": Opened("", model)}, limits=Limits(steps=1))


def test_rows_must_enter_somewhere() -> None:
    with pytest.raises(TaskError, match="rows must enter through {input} in the layout or a column in braces"):
        check(plan(source(layout="Answer: {prompt}", prompt="Be brief.", input="question")))


def test_every_initial_prompt_is_checked() -> None:
    with pytest.raises(TaskError, match="rows must enter"):
        check(plan(source(prompt=("{question}", "Be brief."))))


def test_a_run_folder_gives_the_task_again(tmp_path: Path) -> None:
    made = plan(source(description="Answer.", language="zh"))
    with Run.create(tmp_path / "run", made) as run:
        assert run.advance().best.mean in (0.0, 1.0)
    assert restore_task(tmp_path / "run").task == made.task


def test_gradients_need_a_prompt_in_one_piece() -> None:
    task = replace(toy_task(train=4, dev=4), template=Template("{prompt}"), seeds=("{input} please",))
    test = load_task("arithmetic").test
    refused = Plan(Greater(), task, test, {"task": Opened("", ToyWhiteBox())})
    with pytest.raises(TaskError, match="greater needs a prompt without slots, got '{input} please'"):
        check(refused)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is 1 + 1?", "en"),
        ("小明有 3 个苹果，又买了 5 个。", "zh"),
        ("x = 1234567890 个", "en"),
        ("¿Cuántas manzanas?", "en"),
        ("", "en"),
    ],
)
def test_language_is_counted(text: str, language: str) -> None:
    assert language_of([text]) == language


def test_language_is_that_of_the_rows_unless_given() -> None:
    rows = [{"input": f"小明有{n}个苹果，小红有几个？", "target": str(n)} for n in range(40)]
    assert load_task(TaskSpec(rows)).task.language == "zh"
    assert load_task(TaskSpec(rows, language="en")).task.language == "en"
