"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path | None, typer.Option(metavar="FILE", help="Rows: .csv, .tsv, .jsonl or .json.")]
TaskName = Annotated[str | None, typer.Option(metavar="NAME", help="Bundled task, task file (.yaml) or run folder.")]
Model = Annotated[str, typer.Option(metavar="MODEL", help="bundled, hf:NAME, hf:./folder or file.py:Class.")]
Options = Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="Option of the model, e.g. device=cuda.")]
Input = Annotated[str | None, typer.Option(metavar="COLUMN", help="Column with the question [input].")]
Target = Annotated[str | None, typer.Option(metavar="COLUMN", help="Column with the right answer [target].")]
Id = Annotated[str | None, typer.Option(metavar="COLUMN", help="Column with ids [hash of the content].")]
Layout = Annotated[
    str | None, typer.Option(metavar="TEXT", help=r"The user's turn, \n for a new line ['{input}\n{prompt}'].")
]
Answer = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help="number, choice, yes_no, text, exact_match, contains, choice:red,green or file.py:function "
        "[by the targets].",
    ),
]
MaxTokens = Annotated[int | None, typer.Option(metavar="N", help="Limit of one answer [256].")]
Steps = Annotated[int | None, typer.Option(metavar="N", help="End after so many steps.")]
Calls = Annotated[int | None, typer.Option(metavar="N", help="Never make more model calls in the search.")]
Tokens = Annotated[int | None, typer.Option(metavar="N", help="End after so many tokens read and written.")]
Seconds = Annotated[float | None, typer.Option(metavar="S", help="Begin no step after so many seconds.")]
Patience = Annotated[int | None, typer.Option(metavar="N", help="End after so many steps without a gain on dev.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on standard output.")]
