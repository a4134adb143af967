"""Rows of CSV, TSV, JSONL, JSON or Python -> examples. Cells are text and stay as they are."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steepest.errors import TaskError, nearest
from steepest.types import Example, content_id

Rows = Sequence[Mapping[str, Any]]
"""Rows given from Python, for example a list of dicts."""

_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column is what. Further columns go into `Example.meta`."""

    input: str = "input"
    target: str = "target"
    id: str | None = None
    """None: ids are hashes of what the model is shown and of the target."""
    shown: tuple[str, ...] = ()
    """Further columns that the model is shown (the layout's slots)."""
    target_may_lack: bool = False
    """Whether rows may have no right answer: where a judge rates."""


@dataclass(frozen=True, slots=True)
class Cells:
    """One row as text, and where it stands."""

    place: str
    """ "rows.csv, line 7" or "row 3"."""
    values: Mapping[str, str]


def is_data_file(path: str | Path) -> bool:
    """Whether the name is that of a data file, by its ending."""
    return Path(path).suffix.lower() in _SUFFIXES


def read_examples(data: str | Path | Rows, columns: Columns = Columns()) -> list[Example]:
    """All rows as examples, in order; rows that were given no id and say the same have the same id.

    Raises TaskError, with the line, for a missing file or column, empty cells, duplicate ids, fewer than two rows.
    """
    rows = list(_read(Path(data)) if isinstance(data, str | Path) else _given(data))
    name = str(data) if isinstance(data, str | Path) else "the rows"
    if len(rows) < 2:
        raise TaskError(
            f"data needs rows to learn from and rows to test on, got {len(rows)} in {name}; give 20 or more"
        )
    examples = [_example(row, columns) for row in rows]
    if columns.id is not None:
        _refuse_duplicates(rows, columns.id)
    return examples


def first_columns(data: str | Path | Rows) -> tuple[str, ...]:
    """Names of the columns of the first row."""
    rows = _read(Path(data)) if isinstance(data, str | Path) else _given(data)
    return tuple(next((row.values for row in rows), {}))


def question_key(example: Example, shown: Sequence[str] = ()) -> str:
    """A hash of what the model is shown of an example, target and id aside."""
    return content_id(example.input, *(example.meta[column] for column in shown))


def _example(row: Cells, columns: Columns) -> Example:
    def cell(column: str) -> str:
        if column not in row.values:
            raise TaskError(f"{row.place}: there is no column {column!r}; {nearest(column, row.values)}")
        if not row.values[column].strip():
            raise TaskError(f"{row.place}: the column {column!r} must not be empty; fill it or remove the row")
        return row.values[column]

    lacks_target = columns.target_may_lack and not row.values.get(columns.target, "").strip()
    question, target = cell(columns.input), "" if lacks_target else cell(columns.target).strip()
    shown = [cell(column) for column in columns.shown]
    name = cell(columns.id).strip() if columns.id is not None else content_id(question, *shown, target)
    used = {columns.input, columns.target, columns.id} - set(columns.shown)
    return Example(name, question, target, {k: v for k, v in row.values.items() if k not in used})


def _refuse_duplicates(rows: Iterable[Cells], column: str) -> None:
    places: dict[str, str] = {}
    for row in rows:
        name = row.values[column].strip()
        if name in places:
            raise TaskError(
                f"{row.place}: ids must differ, got {name!r}, which {places[name]} has too; correct one of them or "
                f"leave the id column out"
            )
        places[name] = row.place


# -- formats --------------------------------------------------------------------------------------------------------


def _read(path: Path) -> Iterator[Cells]:
    if not is_data_file(path):
        raise TaskError(f"a data file must be one of {', '.join(_SUFFIXES)}, got {str(path)!r}; convert or rename it")
    text = _text(path)
    match path.suffix.lower():
        case ".jsonl":
            return _jsonl(path, text)
        case ".json":
            return _json(path, text)
        case suffix:
            return _csv(path, text, "\t" if suffix == ".tsv" else ",")


def _text(path: Path) -> str:
    if not path.is_file():
        near = path.parent.iterdir() if path.parent.is_dir() else ()
        files = [str(path.parent / each.name) for each in near if is_data_file(each)]
        hint = nearest(str(path), files) if files else f"there is no data file in {str(path.parent)!r}"
        raise TaskError(f"a data file must exist, got {str(path)!r}; {hint}")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaskError(
            f"a data file must be UTF-8 text, got byte 0x{error.object[error.start]:02x} at offset {error.start} of "
            f"{str(path)!r}; save it as UTF-8"
        ) from None


def _csv(path: Path, text: str, delimiter: str) -> Iterator[Cells]:
    reader = csv.reader(_lines(text), delimiter=delimiter, strict=True)
    name = "tab" if delimiter == "\t" else "comma"
    header: list[str] = []
    line = 1
    try:
        for fields in reader:
            place, line = f"{path}, line {line}", reader.line_num + 1
            if not fields:
                continue
            if not header:
                header = _header(fields, place)
            elif len(fields) != len(header):
                raise TaskError(
                    f"{place}: a row has as many fields as the header, {len(header)}, got {len(fields)}; quote fields "
                    f"that hold a {name}"
                )
            else:
                yield Cells(place, dict(zip(header, fields, strict=True)))
    except csv.Error as error:
        raise TaskError(f"{path}, line {line}: {error}; check the quotes") from None


def _lines(text: str) -> Iterator[str]:
    """Physical lines with their ends, as the csv module wants them: only \\n, \\r and \\r\\n end one."""
    start = 0
    while start < len(text):
        ends = [at for at in (text.find("\n", start), text.find("\r", start)) if at >= 0]
        end = min(ends, default=len(text) - 1)
        end += text.startswith("\r\n", end)
        yield text[start : end + 1]
        start = end + 1


def _header(fields: Sequence[str], place: str) -> list[str]:
    names = [field.strip() for field in fields]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise TaskError(f"{place}: column names must differ, got {twice!r} twice; rename one")
    return names


def _jsonl(path: Path, text: str) -> Iterator[Cells]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            place = f"{path}, line {number}"
            yield _cells(_parsed(line, place), place)


def _json(path: Path, text: str) -> Iterator[Cells]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return _jsonl(path, text)
        raise TaskError(
            f"{path}, line {error.lineno}: not JSON, {error.msg} at character {error.colno}; correct the line"
        ) from None
    if isinstance(content, dict):
        lists = {key: value for key, value in content.items() if isinstance(value, list)}
        if len(lists) != 1:
            raise TaskError(
                f"{path}: a JSON object must hold one list of rows, got {', '.join(sorted(lists)) or 'none'}; keep one"
            )
        content = next(iter(lists.values()))
    if not isinstance(content, list):
        raise TaskError(f"{path}: JSON data is a list of objects, got {type(content).__name__}; write [{{...}}, ...]")
    return (_cells(row, f"{path}, row {number}") for number, row in enumerate(content, 1))


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise TaskError(f"{place}: not JSON, {error.msg} at character {error.colno}; correct the line") from None


def _given(rows: Rows) -> Iterator[Cells]:
    return (_cells(row, f"row {number}") for number, row in enumerate(rows, 1))


def _cells(row: Any, place: str) -> Cells:
    if not isinstance(row, Mapping):
        raise TaskError(f'{place}: a row is an object of columns, got {type(row).__name__}; write {{"input": ...}}')
    return Cells(place, {str(column): _as_text(value) for column, value in row.items()})


def _as_text(value: Any) -> str:
    """Text as it is, numbers as written, a list of texts as lines, None as nothing, anything else as JSON."""
    if value is None:
        return ""
    if isinstance(value, str | bool | int | float):
        return str(value)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    return json.dumps(value, ensure_ascii=False, default=str)
