from __future__ import annotations

import json
from pathlib import Path

import pytest

from steepest.errors import TaskError
from steepest.tasks.datasets import Columns, read_examples

QA = Columns("question", "answer")


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", 'question,answer,note\n"a, b\nc",1,x\nd,2,\n'),
        ("rows.csv", '\ufeffquestion,answer,note\r\n"a, b\nc",1,x\r\nd,2,\r\n'),
        ("rows.tsv", 'question\tanswer\tnote\n"a, b\nc"\t1\tx\nd\t2\t\n'),
        (
            "rows.jsonl",
            '{"question": "a, b\\nc", "answer": 1, "note": "x"}\n\n{"question": "d", "answer": "2", "note": null}',
        ),
        (
            "rows.json",
            '[{"question": "a, b\\nc", "answer": 1, "note": ["x"]}, {"question": "d", "answer": 2, "note": ""}]',
        ),
        (
            "rows.json",
            '{"canary": 0, "all": [{"question": "a, b\\nc", "answer": 1, "note": "x"}, '
            '{"question": "d", "answer": 2, "note": ""}]}',
        ),
        (
            "rows.json",
            '{"question": "a, b\\nc", "answer": 1, "note": "x"}\n{"question": "d", "answer": 2, "note": ""}\n',
        ),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, content: str) -> None:
    examples = read_examples(written(tmp_path, name, content), QA)
    assert [(e.input, e.target, dict(e.meta)) for e in examples] == [
        ("a, b\nc", "1", {"note": "x"}),
        ("d", "2", {"note": ""}),
    ]


def test_cells_stay_text(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.csv", "question,answer\n007,None\n1.50,NA\n")
    assert [(e.input, e.target) for e in read_examples(path, QA)] == [("007", "None"), ("1.50", "NA")]


def test_unusual_line_separators_end_no_row(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.csv", "question,answer\na\u0085b,1\nc\u2028d,2\n")
    assert [e.input for e in read_examples(path, QA)] == ["a\u0085b", "c\u2028d"]
    lines = "".join(json.dumps({"question": f"a\u2028{n}", "answer": n}, ensure_ascii=False) + "\n" for n in (1, 2))
    assert len(read_examples(written(tmp_path, "rows.jsonl", lines), QA)) == 2


def test_python_rows_and_ids() -> None:
    rows = [{"question": "a", "answer": True, "key": 1}, {"question": "b", "answer": 2.5, "key": 2}]
    examples = read_examples(rows, Columns("question", "answer", "key"))
    assert [(e.id, e.target) for e in examples] == [("1", "True"), ("2", "2.5")]


def test_content_ids_depend_on_what_is_shown_only() -> None:
    def ids(columns: Columns, **changed: str) -> str:
        row = {"question": "a", "answer": "b", "story": "s", "line": "1"} | changed
        return read_examples([row, row | {"question": "other"}], columns)[0].id

    shown = Columns("question", "answer", shown=("story",))
    assert ids(shown) == ids(shown, line="2")
    assert ids(shown) != ids(shown, story="t")
    assert ids(QA) == ids(QA, story="t")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", "question,answr\na,1\nb,2\n", r"line 2: there is no column 'answer'; did you mean 'answr'\?"),
        ("rows.csv", "question,answer\na,1\n", "got 1 in"),
        ("rows.csv", "question,answer\n", "got 0 in"),
        ("rows.csv", "", "got 0 in"),
        ("rows.csv", 'question,answer\n"a\nb",1\n ,2\n', "line 4, column 1: the column 'question' must not be empty"),
        ("rows.csv", "question,answer\na,1\nb,\n", "line 3, column 2: the column 'answer' must not be empty"),
        ("rows.csv", "question,answer\na,1\nb,2,3\n", "line 3: a row has as many fields as the header, 2, got 3"),
        ("rows.csv", 'question,answer\na,1\n"b,2\n', "line 3: unexpected end of data; check the quotes"),
        ("rows.csv", "question,question\na,1\nb,2\n", "got 'question' twice"),
        ("rows.csv", b"question,answer\n\xff,1\nb,2\n", "must be UTF-8 text, got byte 0xff"),
        ("rows.jsonl", '{"question": "a", "answer": 1}\n{"question"\n', "line 2: not JSON"),
        ("rows.jsonl", '{"question": "a", "answer": 1}\n[1]\n', "line 2: a row is an object of columns, got list"),
        ("rows.json", '{"a": [], "b": []}', "one list of rows, got a, b"),
        ("rows.json", "[\n{]", "line 2: not JSON"),
        ("rows.json", "3", "a list of objects, got int"),
        ("rows.xlsx", "", r"one of \.csv, \.tsv, \.jsonl, \.json"),
    ],
)
def test_bad_data_is_one_line_with_the_place(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(TaskError, match=message) as caught:
        read_examples(written(tmp_path, name, content), QA)
    assert "\n" not in str(caught.value)


def test_duplicate_ids_name_both_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.csv", "question,answer,n\na,1,x\nb,2,y\nc,3,x\n")
    with pytest.raises(TaskError, match="line 4: ids must differ, got 'x', which .*line 2 has too"):
        read_examples(path, Columns("question", "answer", "n"))


def test_missing_file_names_the_nearest(tmp_path: Path) -> None:
    written(tmp_path, "rows.csv", "")
    with pytest.raises(TaskError, match=r"must exist, got .*rowz\.csv'; did you mean .*rows\.csv'\?"):
        read_examples(tmp_path / "rowz.csv", QA)
