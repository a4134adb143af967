"""What bad rows get: one line with file, row and column; or, skipped, a note that counts and names them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from steepest.errors import TaskError
from steepest.tasks import Choice, Number, TaskSource, TaskSpec, YesNo, load_task

SUMS = [{"question": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(40)]
CSV = "question,answer\n" + "".join(f"{row['question']},{row['answer']}\n" for row in SUMS)


def jsonl(rows: Sequence[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def labelled(*labels: str, last: Any) -> str:
    rows = [{"question": f"Row {i}?", "answer": labels[i % len(labels)]} for i in range(40)]
    return jsonl([*rows, {"question": "Row 41?", "answer": last}])


def load(folder: Path, name: str, content: str | bytes, skip: bool = False, **fields: Any) -> TaskSource:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_task(TaskSpec(path, **{"input": "question", "target": "answer", "skip_bad_rows": skip, **fields}))


@pytest.mark.parametrize(
    ("name", "content", "answer", "message"),
    [
        # wrong columns
        ("a.csv", CSV + "What?,3,4\n", "auto", r"a\.csv, line 42: a row has as many fields as the header, 2, got 3"),
        ("a.csv", CSV + "What?\n", "auto", r"a\.csv, line 42: a row has as many fields as the header, 2, got 1"),
        (
            "a.jsonl",
            jsonl([*SUMS, {"question": "q", "anser": "1"}]),
            "auto",
            r"line 41: there is no column 'answer'; did you mean 'anser'",
        ),
        ("a.jsonl", jsonl([*SUMS, ["q", "1"]]), "auto", r"line 41: a row is an object of columns, got list"),
        # mixed types
        ("a.csv", CSV + "What?,many\n", "auto", r"line 42, column 2: where answers are numbers .* got 'many'"),
        ("a.jsonl", labelled("yes", "no", last=True), "auto", r"line 41, column 2: .*labels yes, no, got 'True'"),
        ("a.jsonl", jsonl([*SUMS, {"question": {"a": 1}, "answer": 1}]), "auto", r"line 41, column 1: .*got an object"),
        ("a.jsonl", jsonl([*SUMS, {"question": ["q"], "answer": 1}]), "auto", r"line 41, column 1: .*got a list"),
        ("a.jsonl", jsonl([*SUMS, {"question": "q", "answer": {"a": 1}}]), "text", r"line 41, column 2: .*an object"),
        ("a.jsonl", jsonl([*SUMS, {"question": "q", "answer": [{}]}]), "text", r"line 41, column 2: .*an object"),
        # empty
        ("a.csv", CSV + " ,3\n", "auto", r"line 42, column 1: the column 'question' must not be empty"),
        ("a.csv", CSV + "What?,\n", "auto", r"line 42, column 2: the column 'answer' must not be empty"),
        ("a.jsonl", jsonl(SUMS) + '{"question": "q", "answer": NaN}\n', "auto", r"line 41, column 2: .*not be empty"),
        ("a.jsonl", jsonl([*SUMS, {"question": "q", "answer": ["", " "]}]), "auto", r"line 41, column 2: .*be empty"),
        # broken text
        ("a.csv", CSV.encode() + b"caf\xe9?,3\n", "auto", r"(byte 0xe9 .*line 42|line 42, column 1: .*UTF-8)"),
        ("a.jsonl", jsonl(SUMS).encode() + b'{"question": "\xe9", "answer": "3"}\n', "auto", r"line 41"),
        ("a.jsonl", jsonl(SUMS) + '{"question": "\\ud800", "answer": "3"}\n', "auto", r"line 41, column 1: .*UTF-8"),
        ("a.jsonl", jsonl(SUMS) + '{"question"\n', "auto", r"line 41: not JSON"),
        ("a.jsonl", jsonl(SUMS) + f'{{"question": "q", "answer": {"9" * 5000}}}\n', "auto", r"line 41: no data that"),
        # quoting
        ("a.csv", CSV + '"What" is it?,3\n', "auto", r"line 42: ',' expected after '\"'; check the quotes"),
        ("a.csv", CSV.replace("What is 5", '"What is 5'), "auto", r"line 7: unexpected end of data; check the quotes"),
        # labels
        ("a.jsonl", labelled("red", "blue", last="green"), "choice:red,blue", r"line 41, column 2: .*got 'green'"),
        ("a.jsonl", labelled("yes", "no", last="maybe"), "yes_no", r"line 41, column 2: .*no, yes, got 'maybe'"),
        ("a.jsonl", labelled("valid", "invalid", last="vlid"), "auto", r"line 41, column 2: .*got 'vlid'"),
        ("a.csv", CSV + "What?,many\n", "number", r"line 42, column 2: where answers are numbers .* got 'many'"),
    ],
)
def test_a_bad_row_is_named_or_skipped(tmp_path: Path, name: str, content: Any, answer: str, message: str) -> None:
    with pytest.raises(TaskError, match=message) as refused:
        load(tmp_path, name, content, answer=answer)
    assert "\n" not in str(refused.value)
    source = load(tmp_path, name, content, skip=True, answer=answer)
    note = source.notes[0]
    assert note.text == "1 bad row skipped"
    assert len(note.rows) == 1
    assert source.task.metric == load(tmp_path, f"good-{name}", good(name, content), answer=answer).task.metric
    with pytest.raises(TaskError, match=message):
        raise TaskError(note.rows[0])


def good(name: str, content: str | bytes) -> str:
    """The same without its bad row."""
    text = content.decode(errors="replace") if isinstance(content, bytes) else content
    lines = [line for line in text.splitlines(keepends=True) if '"What is 5' not in line or name != "a.csv"]
    return "".join(lines[:41] if name == "a.csv" else lines[:40])


def test_a_quote_that_is_never_closed_costs_one_row_and_no_other(tmp_path: Path) -> None:
    broken = CSV.replace("What is 5 ", '"What is 5 ').replace("What is 20 ", '"What is 20 ')
    source = load(tmp_path, "rows.csv", broken, skip=True)
    (note,) = source.notes
    assert note.text == "2 bad rows skipped"
    assert ["line 7" in note.rows[0], "line 22" in note.rows[1]] == [True, True]


def test_a_broken_header_is_refused_even_where_rows_may_be_skipped(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"line 1: .*check the quotes"):
        load(tmp_path, "rows.csv", '"question"s,answer\n' + CSV, skip=True)


def test_long_fields_are_given_otherwise(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"line 42: .*give such long texts as JSONL"):
        load(tmp_path, "rows.csv", CSV + "a" * 200_000 + ",3\n")


def test_all_skipped_rows_are_counted_the_first_named_on_the_line(tmp_path: Path) -> None:
    source = load(tmp_path, "rows.csv", CSV + "What?,\n" * 6, skip=True)
    (note,) = source.notes
    assert len(note.rows) == 6
    assert str(note).startswith("6 bad rows skipped: ") and str(note).endswith("; and 3 more")
    assert "line 42" in str(note) and "line 45" not in str(note) and "\n" not in str(note)


def test_a_column_that_no_row_has_is_no_bad_row(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"got 0 in .*; 40 could not be used, the first: .*did you mean 'answer'"):
        load(tmp_path, "rows.csv", CSV, skip=True, target="anser")


def test_a_split_without_rows_is_refused(tmp_path: Path) -> None:
    few = "question,answer\n" + "".join(f"Row {i}?,{i}\n" for i in range(4))
    with pytest.raises(TaskError, match=r"each split needs at least 2 rows, got train \d, dev \d, test \d of 4"):
        load(tmp_path, "rows.csv", few)


@pytest.mark.parametrize("content", ["[" * 100_000, "null", '{"a": 1}', "<html>", "\ufeff"])
def test_files_of_something_else_are_one_line(tmp_path: Path, content: str) -> None:
    for skip in (False, True):
        with pytest.raises(TaskError, match=r"rows\.json") as refused:
            load(tmp_path, "rows.json", content, skip=skip)
        assert "\n" not in str(refused.value)


def test_a_third_label_that_many_rows_have_is_meant(tmp_path: Path) -> None:
    assert load(tmp_path, "rows.jsonl", labelled("yes", "no", "maybe", last="no")).task.metric == Choice(
        ("maybe", "no", "yes")
    )


def test_spellings_of_two_labels_are_two_labels(tmp_path: Path) -> None:
    assert load(tmp_path, "rows.jsonl", labelled("yes", "no", "Yes", last="NO")).task.metric == YesNo(("yes", "no"))


def test_numbers_among_texts_are_texts(tmp_path: Path) -> None:
    rows = [{"question": f"q{i}", "answer": "12" if i % 3 else f"word {i}"} for i in range(60)]
    assert not isinstance(load(tmp_path, "rows.jsonl", jsonl(rows)).task.metric, Number)


def test_a_label_of_one_row_is_noted(tmp_path: Path) -> None:
    rows = [{"question": f"q{i}", "answer": ("red", "blue", "gray")[i % 3]} for i in range(90)]
    source = load(tmp_path, "rows.jsonl", jsonl([*rows, {"question": "q90", "answer": "grey"}]))
    (note,) = source.notes
    assert note.text == "1 label in one row only, perhaps mistyped"
    assert note.rows[0].endswith("rows.jsonl, line 91: 'grey'")


def test_other_marks_between_columns_are_told(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="no column 'question'; the only one has ';' in its name; put commas"):
        load(tmp_path, "rows.csv", CSV.replace(",", ";"))


def test_one_right_answer_for_all_rows_is_noted(tmp_path: Path) -> None:
    rows = [{"question": f"q{i}", "answer": "7"} for i in range(60)]
    (note,) = load(tmp_path, "rows.jsonl", jsonl(rows)).notes
    assert note.text == "all rows have the same right answer, '7': a prompt can just say it"


def test_a_metric_that_raises_names_the_row(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def score(example, output):\n    return 1 / 0\n")
    task = load(tmp_path, "rows.csv", CSV, answer=f"{tmp_path / 'mine.py'}:score").task
    row = task.dev[0]
    with pytest.raises(TaskError, match="ZeroDivisionError: division by zero from .*mine.py:score on row") as refused:
        task.rule(row, "3")
    assert row.id in str(refused.value) and row.input in str(refused.value)
