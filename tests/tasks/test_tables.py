"""Tables of pandas, polars, pyarrow and datasets, and Parquet files, where these libraries are at hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from steepest.errors import TaskError
from steepest.tasks import Number, TaskSpec, load_task
from steepest.tasks.datasets import Columns, read_examples
from steepest.types import Example

QA = Columns("question", "answer")
DATA: dict[str, list[Any]] = {
    "question": ["What is 1 + 1?", "一加一？", *(f"What is {i} + 1?" for i in range(2, 40))],
    "answer": [2, 2, *range(3, 41)],
    "note": ["x", None, *["y"] * 38],
    "share": [0.5, None, *[1.0] * 38],
}
LISTS: list[list[str]] = [["two", "2"], ["zwei"], *[[str(i)] for i in range(38)]]


def first(examples: list[Example]) -> list[tuple[str, str, dict[str, str]]]:
    return [(e.input, e.target, dict(e.meta)) for e in examples[:2]]


EXPECTED = [
    ("What is 1 + 1?", "2", {"note": "x", "share": "0.5"}),
    ("一加一？", "2", {"note": "", "share": ""}),
]


def test_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(DATA)
    assert first(read_examples(frame, QA)) == EXPECTED
    indexed = frame.set_index(pandas.Index(range(100, 140)))
    assert first(read_examples(indexed, QA)) == EXPECTED
    frame["answer"] = frame["answer"].astype("Int64")
    assert first(read_examples(frame, QA)) == EXPECTED
    frame.loc[3, "answer"] = pandas.NA
    with pytest.raises(TaskError, match=r"row 4, column 2: the column 'answer' must not be empty"):
        read_examples(frame, QA)
    with pytest.raises(TaskError, match=r"row 1: there is no column 'anser'; did you mean 'answer'"):
        read_examples(frame, Columns("question", "anser"))


def test_polars() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(DATA)
    assert first(read_examples(frame, QA)) == EXPECTED
    assert first(read_examples(frame.lazy(), QA)) == EXPECTED
    several = frame.with_columns(answer=polars.Series(LISTS))
    example = read_examples(several, QA)[0]
    assert (example.target, example.meta["target+"]) == ("two", '["2"]')


def test_pyarrow() -> None:
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table(DATA)
    assert first(read_examples(table, QA)) == EXPECTED
    assert first(read_examples(table.to_batches()[0], QA)) == EXPECTED


def test_datasets() -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict(DATA)
    assert first(read_examples(rows, QA)) == EXPECTED
    with pytest.raises(TaskError, match="one of its splits, got all of train; give one"):
        read_examples(datasets.DatasetDict(train=rows), QA)


def test_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    parquet.write_table(arrow.table({**DATA, "several": LISTS}), path)
    assert first(read_examples(path, QA)) == [
        (question, target, {**meta, "several": "\n".join(several)})
        for (question, target, meta), several in zip(EXPECTED, LISTS, strict=False)
    ]
    source = load_task(TaskSpec(path, input="question", target="answer"))
    assert source.task.metric == Number()
    with pytest.raises(TaskError, match=r"rows\.parquet, row 2, column 3: the column 'note' must not be empty"):
        read_examples(path, Columns("question", "note"))
    path.write_text("question,answer\n")
    with pytest.raises(TaskError, match=r"a \.parquet file must be Parquet, got .*rows\.parquet") as refused:
        read_examples(path, QA)
    assert "\n" not in str(refused.value)


def test_parquet_without_its_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(TaskError, match=r"is Parquet, which takes the library pyarrow.*pip install 'steepest\[data\]'"):
        read_examples(tmp_path / "rows.parquet", QA)


def test_other_tables_are_refused() -> None:
    with pytest.raises(TaskError, match=r"a list of dicts or a table of pandas, polars, pyarrow or datasets, got"):
        read_examples({1, 2}, QA)
    with pytest.raises(TaskError, match=r"row 1: a row is an object of columns, got tuple"):
        read_examples([("a", "b"), ("c", "d")], QA)
