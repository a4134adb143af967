"""Rows of CSV, TSV, JSONL, JSON, Parquet or Python -> examples. Cells are text and stay as they are."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steepest.errors import TaskError, nearest
from steepest.tasks.references import with_references
from steepest.tasks.tables import Rows, parquet_rows, rows_of
from steepest.types import Example, content_id

_OTHER_MARKS = re.compile(r"[;\t|]")
"""What some spreadsheets put between columns instead of commas."""
_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
_SURROGATE = re.compile("[\ud800-\udfff]")


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
class Record:
    """One row as it was read, and where it stands."""

    place: str
    """ "rows.csv, line 7" or "row 3"."""
    values: Mapping[str, Any]
    fault: str = ""
    """Why it cannot be used, on one line with its place; then there are no values."""


@dataclass(frozen=True, slots=True)
class Read:
    """What became of the rows of a file."""

    examples: tuple[Example, ...]
    places: tuple[str, ...]
    """Where each example stands."""
    faults: tuple[str, ...]
    """Why rows were left out, each with its place."""

    def place_of(self) -> dict[str, str]:
        """Id -> place of the first row with it."""
        return {e.id: place for e, place in zip(self.examples[::-1], self.places[::-1], strict=True)}


def joined(parts: Mapping[str, Read]) -> Read:
    """All of what was read, the names of the parts before the places."""
    named = [(f"{part} " if part else "", read) for part, read in parts.items()]
    return Read(
        tuple(example for _, read in named for example in read.examples),
        tuple(f"{name}{place}" for name, read in named for place in read.places),
        tuple(f"{name}{fault}" for name, read in named for fault in read.faults),
    )


def is_data_file(path: str | Path) -> bool:
    """Whether the name is that of a data file, by its ending."""
    return Path(path).suffix.lower() in _SUFFIXES


def read_examples(data: str | Path | Rows, columns: Columns = Columns()) -> list[Example]:
    """All rows as examples, in order; rows that were given no id and say the same have the same id.

    Raises TaskError, with the line, for a missing file or column, empty cells, duplicate ids, fewer than two rows.
    """
    return list(read_rows(data, columns).examples)


def read_rows(data: str | Path | Rows, columns: Columns = Columns(), skip_bad: bool = False) -> Read:
    """The same with the place of each row; with `skip_bad`, rows that cannot be used are left out and named."""
    found: list[Example] = []
    places: dict[str, str] = {}
    faults: list[str] = []
    form = ""
    for record in records(data, skip_bad):
        try:
            example = _example(record, columns)
            form = form or _form(record.values[columns.input])
            if _form(record.values[columns.input]) != form:
                number = list(record.values).index(columns.input) + 1
                raise TaskError(
                    f"{record.place}, column {number}: {columns.input!r} must be of one type in all rows, {form} so "
                    f"far, got {_form(record.values[columns.input])}; correct the row"
                )
            if columns.id is not None and example.id in places:
                raise TaskError(
                    f"{record.place}: ids must differ, got {example.id!r}, which {places[example.id]} has too; "
                    f"correct one of them or leave the id column out"
                )
        except TaskError as error:
            if not skip_bad:
                raise
            faults.append(str(error))
            continue
        places[example.id if columns.id is not None else str(len(found))] = record.place
        found.append(example)
    name = str(data) if isinstance(data, str | Path) else "the rows"
    if len(found) < 2:
        raise TaskError(
            f"data needs rows to learn from and rows to test on, got {len(found)} in {name}; give 20 or more"
            + (f"; {len(faults)} could not be used, the first: {faults[0]}" if faults else "")
        )
    return Read(tuple(found), tuple(places.values()), tuple(faults))


def first_columns(data: str | Path | Rows) -> tuple[str, ...]:
    """Names of the columns of the first row."""
    return tuple(next((row.values for row in records(data, lenient=True) if not row.fault), {}))


def question_key(example: Example, shown: Sequence[str] = ()) -> str:
    """A hash of what the model is shown of an example, target and id aside."""
    return content_id(example.input, *(example.meta[column] for column in shown))


def _example(row: Record, columns: Columns) -> Example:
    if row.fault:
        raise TaskError(row.fault)
    values = {column: as_text(value) for column, value in row.values.items()}

    def cell(column: str) -> str:
        if column not in values:
            hint = nearest(column, values)
            if len(values) == 1 and (mark := _OTHER_MARKS.search(next(iter(values)))):
                hint = f"the only one has {mark[0]!r} in its name; put commas between columns, or tabs and name it .tsv"
            raise TaskError(f"{row.place}: there is no column {column!r}; {hint}")
        if not values[column].strip():
            number = list(values).index(column) + 1
            raise TaskError(
                f"{row.place}, column {number}: the column {column!r} must not be empty; fill it or remove the row"
            )
        return values[column]

    gold = row.values.get(columns.target)
    if any(isinstance(each, Mapping) for each in (gold if isinstance(gold, list | tuple) else [gold])):
        number = list(values).index(columns.target) + 1
        raise TaskError(
            f"{row.place}, column {number}: {columns.target!r} must be text, a number or a list of them, got an "
            f"object; name the column that holds the answer"
        )
    lacks_target = columns.target_may_lack and not values.get(columns.target, "").strip()
    question = cell(columns.input)
    target, *further = [""] if lacks_target else _targets(gold, cell(columns.target))
    shown = [cell(column) for column in columns.shown]
    name = cell(columns.id).strip() if columns.id is not None else content_id(question, *shown, target)
    used = {columns.input, columns.target, columns.id} - set(columns.shown)
    meta = {k: v for k, v in values.items() if k not in used}
    return Example(name, question, target, with_references(meta, further))


def _form(value: Any) -> str:
    return "an object" if isinstance(value, Mapping) else "a list" if isinstance(value, list | tuple) else "text"


def _targets(value: Any, text: str) -> list[str]:
    """The right answers: of a list any, else the text."""
    if not isinstance(value, list | tuple):
        return [text.strip()]
    return [answer for each in value if (answer := as_text(each).strip())]


# -- formats --------------------------------------------------------------------------------------------------------


def records(data: str | Path | Rows, lenient: bool = False) -> Iterator[Record]:
    """The rows of a file or from Python; `lenient` reads on after bytes that are no UTF-8, as faults of their rows."""
    if not isinstance(data, str | Path):
        return (_record(row, f"row {number}") for number, row in enumerate(rows_of(data), 1))
    path = Path(data)
    if not is_data_file(path):
        raise TaskError(f"a data file must be one of {', '.join(_SUFFIXES)}, got {str(path)!r}; convert or rename it")
    if path.suffix.lower() == ".parquet":
        _must_exist(path)
        return (_record(row, f"{path}, row {number}") for number, row in enumerate(parquet_rows(path), 1))
    text = read_text(path, lenient)
    match path.suffix.lower():
        case ".jsonl":
            return jsonl(path, text)
        case ".json":
            return _json(path, text)
        case suffix:
            return delimited(path, text, "\t" if suffix == ".tsv" else ",")


def _must_exist(path: Path) -> None:
    try:
        if path.is_file():
            return
        near = list(path.parent.iterdir()) if path.parent.is_dir() else []
    except OSError as refused:
        raise TaskError(f"a data file must be readable, got {str(path)!r} ({refused.strerror}); correct it") from None
    files = [str(path.parent / each.name) for each in near if is_data_file(each)]
    hint = nearest(str(path), files) if files else f"there is no data file in {str(path.parent)!r}"
    raise TaskError(f"a data file must exist, got {str(path)!r}; {hint}")


def read_text(path: Path, lenient: bool = False) -> str:
    """The text of a file; where `lenient`, bytes that are no UTF-8 become lone surrogates."""
    _must_exist(path)
    try:
        content = path.read_bytes()
    except OSError as refused:
        raise TaskError(f"a data file must be readable, got {str(path)!r} ({refused.strerror}); correct it") from None
    if lenient:
        return content.decode("utf-8-sig", "surrogateescape")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise TaskError(
            f"a data file must be UTF-8 text, got byte 0x{error.object[error.start]:02x} at offset {error.start} of "
            f"{str(path)!r}, line {line}; save it as UTF-8"
        ) from None


def delimited(path: Path, text: str, delimiter: str, names: Sequence[str] = ()) -> Iterator[Record]:
    """Rows of CSV text; without `names` for the columns, the first row has them."""
    lines = list(_lines(text))
    name = {"\t": "tab", ";": "semicolon"}.get(delimiter, "comma")
    header = list(names)
    start = before = 0
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = start + before + 1
        place = f"{path}, line {line}"
        try:
            fields = next(reader, None)
        except csv.Error as error:
            remedy = "check the quotes" + (", or give such long texts as JSONL" if "limit" in str(error) else "")
            fault = f"{place}: {error}; {remedy}"
            if not header:
                raise TaskError(fault) from None
            yield Record(place, {}, fault)
            # A quote that is never closed takes in what follows, so reading goes on at the next line.
            start, before = line, 0
            reader = csv.reader(lines[start:], delimiter=delimiter, strict=True)
            continue
        before = reader.line_num
        if fields is None:
            return
        if not fields:
            continue
        if not header:
            header = _header(fields, place)
        elif len(fields) != len(header):
            fault = f"{place}: a row has as many fields as the header, {len(header)}, got {len(fields)}; "
            yield Record(place, {}, f"{fault}quote fields that hold a {name}")
        else:
            yield _record(dict(zip(header, fields, strict=True)), place)


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


def jsonl(path: Path, text: str) -> Iterator[Record]:
    """Rows of text with one JSON object a line."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            place = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                fault = f"{place}: not JSON, {error.msg} at character {error.colno}; correct the line"
                yield Record(place, {}, fault)
            except (ValueError, RecursionError) as error:
                yield Record(place, {}, f"{place}: no data that can be read, {error}; correct the line")
            else:
                yield _record(row, place)


def parsed_json(path: Path, text: str) -> Any:
    """The value of a JSON file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise TaskError(
            f"{path}, line {error.lineno}: not JSON, {error.msg} at character {error.colno}; correct the line"
        ) from None
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{path}: no data that can be read, {error}; correct the file") from None


def listed(path: Path, rows: Sequence[Any]) -> Iterator[Record]:
    """Rows of a list in a file."""
    return (_record(row, f"{path}, row {number}") for number, row in enumerate(rows, 1))


def _json(path: Path, text: str) -> Iterator[Record]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            return jsonl(path, text)
        content = parsed_json(path, text)
    if isinstance(content, dict):
        lists = {key: value for key, value in content.items() if isinstance(value, list)}
        if len(lists) != 1:
            raise TaskError(
                f"{path}: a JSON object must hold one list of rows, got {', '.join(sorted(lists)) or 'none'}; keep one"
            )
        content = next(iter(lists.values()))
    if not isinstance(content, list):
        raise TaskError(f"{path}: JSON data is a list of objects, got {type(content).__name__}; write [{{...}}, ...]")
    return listed(path, content)


def _record(row: Any, place: str) -> Record:
    if not isinstance(row, Mapping):
        got = type(row).__name__
        return Record(place, {}, f'{place}: a row is an object of columns, got {got}; write {{"input": ...}}')
    values = {str(column): value for column, value in row.items()}
    for number, (column, value) in enumerate(values.items(), 1):
        if _SURROGATE.search(column) or (isinstance(value, str | list | dict) and _SURROGATE.search(as_text(value))):
            fault = f"{place}, column {number}: {column!r} must be UTF-8 text and is not; save it as UTF-8"
            return Record(place, {}, fault)
    return Record(place, values)


def as_text(value: Any) -> str:
    """Text as it is, numbers as written, a list of texts as lines, None and NaN as nothing, other things as JSON."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str | bool | int | float):
        return str(value)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    if isinstance(value, list | tuple | Mapping):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
