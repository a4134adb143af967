"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path | None, typer.Option(metavar="FILE", help="Rows: .csv, .tsv, .jsonl, .json or .parquet.")]
TaskName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Bundled task, benchmark, task file (.yaml) or run folder.")
]
DataDir = Annotated[Path | None, typer.Option(metavar="FOLDER", help="With a benchmark's original files [the hub].")]
SkipBadRows = Annotated[
    bool, typer.Option("--skip-bad-rows", help="Leave out rows that cannot be used, and name them.")
]
Model = Annotated[str, typer.Option(metavar="MODEL", help="Answers the rows; see `steepest list models`.")]
Optimizer = Annotated[str | None, typer.Option(metavar="MODEL", help="Writes prompts [the model].")]
Embedder = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Makes vectors of prompts, for parts that ask for them.")
]
Judge = Annotated[str | None, typer.Option(metavar="MODEL", help="Rates answers by --criteria [the model].")]
Options = Annotated[
    list[str],
    typer.Option(metavar="NAME=VALUE", help="Option of the model, e.g. device=cuda; optimizer.NAME, judge.NAME."),
]
Replicas = Annotated[
    int | None, typer.Option(metavar="N", help="So many copies of a local model, by Ray; 0: none but this process.")
]
RayAddress = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="The Ray cluster for them [one of this machine's own].")
]
RayCells = Annotated[
    str | None,
    typer.Option(
        "--ray-address", metavar="HOST:PORT", help="A Ray cluster that carries all out; local: one made here."
    ),
]
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
Criteria = Annotated[str | None, typer.Option(metavar="TEXT", help="When an answer is good, for a judge to rate by.")]
Description = Annotated[str | None, typer.Option(metavar="TEXT", help="What the task is, for methods and judges.")]
Language = Annotated[str | None, typer.Option(metavar="en|zh", help="Of the rows and of meta-prompts [by the rows].")]
MaxTokens = Annotated[int | None, typer.Option(metavar="N", help="Limit of one answer [256].")]
Steps = Annotated[int | None, typer.Option(metavar="N", help="End after so many steps.")]
Calls = Annotated[int | None, typer.Option(metavar="N", help="Never make more model calls in the search.")]
Tokens = Annotated[
    int | None,
    typer.Option(metavar="N", help="Never read and write more tokens in the search (a last white-box call may)."),
]
Dollars = Annotated[float | None, typer.Option(metavar="X", help="Never spend more on the search, by --price.")]
Prices = Annotated[
    list[str],
    typer.Option(
        "--price",
        metavar="[ROLE=]READ/WRITTEN",
        help="Dollars per million tokens, e.g. 0.15/0.60 or optimizer=2.5/10.",
    ),
]
FailOn = Annotated[
    float | None,
    typer.Option(metavar="SHARE", help="Stop where more of a batch (and over 4 requests) goes unanswered [0.2]."),
]
Seconds = Annotated[float | None, typer.Option(metavar="S", help="Begin no step after so many seconds.")]
Patience = Annotated[int | None, typer.Option(metavar="N", help="End after so many steps without a gain on dev.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on standard output.")]
