from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from steepest.bundled import source, world
from steepest.engine import Run
from steepest.errors import TaskError
from steepest.tasks import BUNDLED, Choice, Number, TaskSpec, Text, YesNo, load_task
from steepest.tasks.judge import Judge
from steepest.tasks.source import TaskSource
from steepest.tasks.splitting import Splits
from testing_methods import toy_plan

SUMS = [{"question": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(60)]
TASK = """
data: rows.json
input: question
target: answer
layout: "Q: {input}\\n{prompt}"
answer: number
prompt: [Add., Think.]
max_tokens: 32
splits: {train: 0.4, dev: 0.3, test: 0.3, most_train: 5}
"""


def task_file(folder: Path, text: str = TASK) -> Path:
    (folder / "rows.json").write_text(json.dumps(SUMS))
    path = folder / "sums.yaml"
    path.write_text(text)
    return path


def test_task_file_says_everything(tmp_path: Path) -> None:
    source = load_task(task_file(tmp_path))
    task = source.task
    assert (task.name, task.max_tokens, task.seeds) == ("sums", 32, ("Add.", "Think."))
    assert task.metric == Number()
    assert task.extractor == Number().extractor
    assert task.template.render("Add.", task.train[0])[0].content == f"Q: {task.train[0].input}\nAdd."
    assert len(task.train) == 5
    assert {e.input for e in (*task.train, *task.dev, *source.test)} <= {row["question"] for row in SUMS}


SPLIT = {"train": SUMS[:20], "dev": SUMS[20:35], "test": SUMS[35:]}
QA: dict[str, Any] = {"input": "question", "target": "answer"}


def asked(source: TaskSource) -> dict[str, set[str]]:
    return {split: {row.input for row in source.rows(split)} for split in SPLIT}


def test_rows_that_are_split_already_stay_so(tmp_path: Path) -> None:
    given = {split: {row["question"] for row in rows} for split, rows in SPLIT.items()}
    source = load_task(TaskSpec(SPLIT, **QA))
    assert asked(source) == given and source.notes == () and source.task.metric == Number()
    shuffled = {split: rows[::-1] for split, rows in SPLIT.items()}
    assert load_task(TaskSpec(shuffled, **QA)) == source
    for split, rows in SPLIT.items():
        (tmp_path / f"{split}.json").write_text(json.dumps(rows))
    text = "data: {train: train.json, dev: dev.json, test: test.json}\ninput: question\ntarget: answer\n"
    (tmp_path / "sums.yaml").write_text(text)
    assert asked(load_task(tmp_path / "sums.yaml")) == given


def test_no_two_given_splits_ask_the_same() -> None:
    rows = {"train": SUMS[:24], "dev": SUMS[20:38], "test": [*SUMS[35:], SUMS[59]]}
    source = load_task(TaskSpec(rows, **QA))
    assert [len(source.rows(split)) for split in SPLIT] == [20, 15, 25]
    assert [note.text for note in source.notes] == [
        "test: 1 repeated row left out",
        "3 dev rows left out: a test row asks the same",
        "4 train rows left out: a dev row asks the same",
    ]
    assert source.notes[0].rows[0].startswith("row 26 = row 25 (id ")


def test_given_splits_are_searched_for_duplicates_too() -> None:
    again = {"question": SUMS[40]["question"].upper(), "answer": SUMS[40]["answer"]}
    (note,) = load_task(TaskSpec({**SPLIT, "train": [*SUMS[:20], again]}, **QA)).notes
    assert "1 of them one of another split" in note.text
    assert "train row 21" in note.rows[0] and "test row 6" in note.rows[0]


def test_bad_rows_are_told_with_their_split() -> None:
    bad = {**SPLIT, "dev": [*SUMS[20:35], {"question": "What?", "answer": "a lot"}, {"question": "", "answer": "1"}]}
    with pytest.raises(TaskError, match="^dev: row 17, column 1: the column 'question' must not be empty"):
        load_task(TaskSpec(bad, **QA))
    with pytest.raises(TaskError, match="^dev: row 16, column 2: "):
        load_task(TaskSpec({**bad, "dev": bad["dev"][:-1]}, **QA))
    (note,) = load_task(TaskSpec(bad, **QA), skip_bad_rows=True).notes
    assert note.text == "2 bad rows skipped" and all(row.startswith("dev row 1") for row in note.rows)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"train": SUMS, "test": SUMS},
            "rows in a mapping are those of train, dev and test, got train, test; name all",
        ),
        ({"question": ["a", "b"]}, "got question; name all three, or give a list of rows"),
        ({**SPLIT, "dev": SUMS[:1]}, "^dev: data needs rows"),
        ({**SPLIT, "train": SUMS[20:35]}, "at least 2 rows, got train 0, dev 15, test 25; give more, and different"),
        ({**SPLIT, "dev": None}, "^dev: rows are a list of dicts or a table"),
    ],
)
def test_splits_that_cannot_be_used_are_refused(data: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message) as refused:
        load_task(TaskSpec(data, **QA))
    assert "\n" not in str(refused.value)


def test_given_splits_take_no_shares() -> None:
    with pytest.raises(TaskError, match="splits are shares of rows in one piece"):
        TaskSpec(SPLIT, splits=Splits(most_test=5), **QA)


def task_files_in_the_docs() -> list[str]:
    page = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text()
    return [block.partition("```")[0] for block in page.split("```yaml\n")[1:]]


def test_the_task_file_with_a_judge_in_the_docs_works(tmp_path: Path) -> None:
    (tmp_path / "doc.yaml").write_text(task_files_in_the_docs()[0])
    rows = ({"letter": f"Where is parcel {i}?"} for i in range(40))
    (tmp_path / "letters.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = load_task(tmp_path / "doc.yaml").task
    assert task.metric == Judge("A friendly reply that settles every question of the letter.", 5)
    assert task.template.render(task.seeds[0], task.train[0])[0].content == f"Reply to {task.train[0].input}."
    assert task.description.startswith("Letters")


def test_the_task_file_in_the_docs_works(tmp_path: Path) -> None:
    (tmp_path / "doc.yaml").write_text(task_files_in_the_docs()[1])
    rows = ({"question": f"q{i}", "answer": ("entailed", "not entailed")[i % 2]} for i in range(40))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = load_task(tmp_path / "doc.yaml")
    assert source.task.metric == Choice(("entailed", "not entailed"))
    assert source.task.max_tokens == 512


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("target: answer", "targt: answer"), "unknown key 'targt'; did you mean 'target'"),
        (("most_train", "mos_train"), "splits: unknown key 'mos_train'; did you mean 'most_train'"),
        (("max_tokens: 32", "max_tokens: many"), "max_tokens"),
        (("max_tokens: 32", "max_tokens: 0"), "at least 1, got 0"),
        (("{prompt}", "{promt}"), r"needs \{prompt\} exactly once"),
        (("layout: ", "layout: ["), "line 6: not YAML"),
        (("rows.json", "row.json"), r"must exist, got .*did you mean .*rows\.json"),
        (("answer: number", "answer: numbr"), "did you mean 'number'"),
        (("[Add., Think.]", '""'), "must not be empty"),
        (("{input}\\n", "{input} {hint}"), "there is no column 'hint'"),
        (("data: rows.json", "name: x"), "at least data"),
    ],
)
def test_bad_task_files_are_refused(tmp_path: Path, changed: tuple[str, str], message: str) -> None:
    with pytest.raises(TaskError, match=message) as caught:
        load_task(task_file(tmp_path, TASK.replace(*changed)))
    assert "\n" not in str(caught.value)


def test_unknown_names_get_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="did you mean 'arithmetic'"):
        load_task("arithmetik")
    with pytest.raises(TaskError, match="a task file must exist"):
        load_task(tmp_path / "none.yaml")


def test_labels_come_from_the_rows_of_all_splits() -> None:
    rows = [{"input": f"q{i}", "target": "yes" if i != 7 else "no"} for i in range(40)]
    source = load_task(rows)
    assert source.task.metric == YesNo(("yes", "no"))


def test_worked_solutions_become_bare_answers() -> None:
    rows = [{"input": f"q{i}", "target": f"Because of <<{i}>>.\n#### {i},000"} for i in range(40)]
    assert {len(e.target.split()) for e in load_task(rows).test} == {1}


def test_source_is_restored_from_a_run_folder_alone(tmp_path: Path) -> None:
    spec = TaskSpec(SUMS, name="sums", input="question", target="answer", system="Be brief.\u2028Please.")
    source = load_task(spec)
    with Run.create(tmp_path / "run", toy_plan(task=source.task, test=source.test)):
        restored = load_task(tmp_path / "run")
    assert restored.task == source.task
    assert restored.test == source.test


def test_every_bundled_task_is_there() -> None:
    assert tuple(world.TASKS) == BUNDLED


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_task_has_disjoint_splits_and_judges_its_own_answers(name: str) -> None:
    source = load_task(name)
    rows = (*source.task.train, *source.task.dev, *source.test)
    assert [len(source.rows(split)) for split in ("train", "dev", "test")] == [64, 100, 300]
    assert len({row.input for row in rows}) == 464
    for row in rows:
        assert source.task.metric(row, f"Steps: some. The answer is {row.target}.").score == 1.0
        assert source.task.metric(row, f"Hm. {source.task.extractor} {row.target}").score == 1.0


def test_bundled_rows_depend_on_the_seed_and_test_rows_not_on_the_other_sizes() -> None:
    small = source("lies", train=4, dev=4, test=20)
    assert small.test == source("lies", train=64, dev=4, test=20).test
    other = source("lies", seed=1, train=4, dev=4, test=20)
    assert {row.id for row in small.test}.isdisjoint(row.id for row in other.test)


def test_bundled_answers_have_a_kind() -> None:
    kinds = {name: type(load_task(name).task.metric) for name in ("arithmetic", "boolean", "shuffled")}
    assert kinds == {"arithmetic": Number, "boolean": YesNo, "shuffled": Text}


def test_unknown_bundled_task_is_refused() -> None:
    with pytest.raises(TaskError, match="did you mean 'dates'"):
        source("date")
