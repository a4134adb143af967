"""Tables of other libraries, by what they are called: none of these libraries is needed unless its table is given."""

from __future__ import annotations

import importlib
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from steepest.errors import TaskError

Rows = Sequence[Mapping[str, Any]] | Collection[Any]
"""Rows given from Python: a list of dicts, or a table of pandas, polars, pyarrow or datasets."""


def rows_of(data: Rows) -> Iterable[Any]:
    """The rows of what was given, cells as Python values, missing ones as None. Raises TaskError for what has none."""
    table: Any = data
    library = type(data).__module__.partition(".")[0]
    kind = type(data).__name__
    if library == "datasets" and kind.endswith("DatasetDict"):
        raise TaskError(f"a data set's rows are those of one of its splits, got all of {', '.join(table)}; give one")
    match library, kind:
        case "pandas", "DataFrame":
            names = [str(column) for column in table.columns]
            return (
                {name: _given(value) for name, value in zip(names, row, strict=True)}
                for row in table.itertuples(index=False, name=None)
            )
        case "polars", "DataFrame":
            return (dict(row) for row in table.iter_rows(named=True))
        case "polars", "LazyFrame":
            return (dict(row) for row in table.collect().iter_rows(named=True))
        case "pyarrow", "Table" | "RecordBatch":
            return list(table.to_pylist())
        case "datasets", _:
            return list(table)
        case _ if isinstance(data, Sequence):
            return data
        case _:
            raise TaskError(
                f"rows are a list of dicts or a table of pandas, polars, pyarrow or datasets, got {library}.{kind}; "
                f"give a list of dicts"
            )


def _given(value: Any) -> Any:
    """The value, or None where pandas marks it as missing: NaN, NaT or NA."""
    missing = (isinstance(value, float) and math.isnan(value)) or type(value).__name__ in ("NAType", "NaTType")
    if type(value).__module__ == "numpy":
        return value.tolist()
    return None if missing else value


def parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a Parquet file. Raises TaskError where pyarrow is missing or the file is none."""
    arrow = library("pyarrow", "data", f"{str(path)!r} is Parquet")
    parquet = importlib.import_module("pyarrow.parquet")
    try:
        rows: Iterator[Mapping[str, Any]] = iter(parquet.read_table(path).to_pylist())
    except (arrow.ArrowException, OSError, ValueError, OverflowError) as error:
        # The latter for cells that Python has no value for: text that is no UTF-8, dates before the year 1.
        reason = str(error).partition("\n")[0]
        raise TaskError(f"a .parquet file must be Parquet, got {str(path)!r}: {reason}; write it again") from None
    return rows


def library(name: str, extra: str, need: str) -> Any:
    """An optional library; TaskError with the remedy where it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise TaskError(f"{need}, which takes the library {name}, got none; pip install 'steepest[{extra}]'") from None
