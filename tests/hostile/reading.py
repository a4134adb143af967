"""Targets: files that others wrote, which are rows, task files, benchmarks, journals and run folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from hostile.mutations import behind, mutated_json
from hostile.target import Target, written
from reporting.folders import run_json, side, step_json, write_run
from steepest import codec
from steepest.calls import CallLog, call_key
from steepest.errors import StateError, TaskError
from steepest.reporting import words
from steepest.reporting.html import page
from steepest.reporting.read import read_run
from steepest.runfolder import RunFolder
from steepest.tasks.datasets import Columns, read_rows
from steepest.tasks.formats import Format, Odd, asked, read_file
from steepest.tasks.loading import load_task
from steepest.tasks.source import restore_task


def _rows(suffix: str) -> Callable[[bytes, Path], None]:
    def read(data: bytes, folder: Path) -> None:
        path = written(folder, f"rows{suffix}", data)
        lenient = bool(data) and data[0] % 2 == 0
        found = read_rows(path, Columns("question", "answer"), skip_bad=lenient)
        for example in found.examples:
            codec.dumps(example).encode()

    return read


def _parquet(data: bytes, folder: Path) -> None:
    read_rows(written(folder, "rows.parquet", data), Columns("question", "answer"), skip_bad=True)


def _task_file(data: bytes, folder: Path) -> None:
    if not (folder / "rows.csv").exists():
        written(folder, "rows.csv", ROWS_CSV)
    load_task(written(folder, "task.yaml", data))


_FORMATS = (
    (".json", Format("examples", shape="bigbench")),
    (".json", Format("examples", shape="induction")),
    (".tsv", Format("labelled", input="{text}", target="label", labels={"0": "no", "1": "yes"})),
    (".csv", Format("csv", ("q", "a", "b", "gold"), "options", "{q}", "gold", ("a", "b"))),
    (".csv", Format("semicolons", input="{q} {a}", target="gold", shown={"a": "a"})),
    (".jsonl", Format(input="{question}", target="answer", shape="options", options=("options",))),
    (".jsonl", Format(input="{turns}", shape="turns", target="")),
    (".json", Format(input="{question}", target="answer", shape="paragraphs")),
    (".jsonl", Format(input="{text}", target="rating", shape="rating", labels={"low": "bad", "high": "good"})),
)


def _benchmark(data: bytes, folder: Path) -> None:
    suffix, form = _FORMATS[data[0] % len(_FORMATS)] if data else _FORMATS[0]
    for record in read_file(written(folder, f"file{suffix}", data[1:]), form):
        try:
            asked(record, form)
        except (TaskError, Odd) as error:
            assert str(error)


def _journal(data: bytes, folder: Path) -> None:
    path = written(folder, "calls.jsonl", data)
    with CallLog(path) as log:
        kept = list(log)
        for key in kept:
            answer = log.get(key)
            assert answer is not None
            _ = answer.response
    assert path.stat().st_size == len(data) - log.removed
    with CallLog(path) as again:
        assert list(again) == kept and not again.removed, "repairing is done once"


# -- run folders ----------------------------------------------------------------------------------------------------

_FILES = ("run.json", "steps/00000.json", "steps/00001.json", "result.json", "test.jsonl", "data/dev.jsonl")


def _small_run(folder: Path) -> Path:
    """A finished run of few rows, quick to report."""
    prompts = ["Answer the question.", "Answer step by step."]
    run = write_run(folder, prompts=prompts, dev=[0.5, 0.8], fixed=4, broken=1)
    keep = {"test.jsonl": 12, **{f"data/{part}.jsonl": 3 for part in ("train", "dev", "test")}}
    for name, count in keep.items():
        written(run, name, b"".join((run / name).read_bytes().splitlines(keepends=True)[:count]))
    for step, prompt in enumerate(prompts):
        told = step_json(step, prompt, 0.5, [])
        told["referee"]["scores"] = {f"dev-{n}": float(n != step) for n in range(3)}
        written(run, f"steps/{step:05d}.json", json.dumps(told).encode())
    return run


def _run_folder(data: bytes, folder: Path) -> None:
    """A run folder with one file replaced: read, told, reported, and taken as a task."""
    run = folder / "run"
    if not run.exists():
        _small_run(run)
    path = run / _FILES[data[0] % len(_FILES) if data else 0]
    before = path.read_bytes()
    path.write_bytes(data[1:])
    try:
        for look in (_reported, _restored):
            try:
                look(run)
            except StateError as refused:
                assert str(refused).strip()
    finally:
        path.write_bytes(before)


def _reported(run: Path) -> None:
    tables = read_run(run)
    words.lead(tables)
    shown = page(tables)
    shown.encode()
    assert "<script" not in shown and "\x1b" not in shown


def _restored(run: Path) -> None:
    restore_task(run)
    folder = RunFolder(run)
    folder.info()
    folder.steps(dict[str, Any])
    folder.result()


# -- valid inputs ---------------------------------------------------------------------------------------------------

ROWS_CSV = b"question,answer,id\n" + b"".join(b'"What is %d + 1?",%d,r%d\n' % (n, n + 1, n) for n in range(24))
_FEW_CSV = b"".join(ROWS_CSV.splitlines(keepends=True)[:6])
_TSV = _FEW_CSV.replace(b",", b"\t")
_DICTS = [{"question": f"Is {n} odd?", "answer": ["no", "yes"][n % 2], "note": [str(n), None, "x"]} for n in range(6)]
_JSONL = "".join(json.dumps(row) + "\n" for row in _DICTS).encode()
_YAML = b"""\
name: sums
data: rows.csv
input: question
target: answer
id: id
layout: "{input} {prompt}"
system: |
  You add.
answer: {use: number, tolerance: 0.01}
description: >-
  Sums, 'of' two.
language: en
prompt: [Add., "Add \\u00e9 carefully."]
max_tokens: 64
splits: {train: 0.25, dev: 0.25, test: 0.5, most_train: 4}
skip_bad_rows: true
"""


def _benchmarks() -> Iterator[bytes]:
    examples: list[Any] = [
        {"examples": [{"input": "a", "target_scores": {"x": 1, "y": 0}}, {"input": "b", "target": ["c"]}]},
        {"examples": {"1": {"input": "a", "output": "b"}, "2": {"cause": "a", "effect": "b"}}},
        b"good film\t1\nbad film\t0\n",
        b"what?,red,green,A\nwho?,he,she,1\n",
        b"q;a;gold\none;two;three\n",
        {"question": "q {answer}", "options": ["A)x", "B)y"], "answer": "A"},
        {"turns": ["one", "two"]},
        [{"question": "q", "answer": "a", "context": [["t", ["s", "s"]]]}],
        {"text": "t", "rating": 0.9},
    ]
    for number, example in enumerate(examples):
        yield bytes([number]) + (example if isinstance(example, bytes) else json.dumps(example).encode())


_RESPONSE = {"text": "4", "prompt_tokens": 3, "output_tokens": 1, "finish": "stop"}
_CALLS = "".join(
    codec.line(
        {
            "key": call_key("m", "generate", {"prompt": f"q{n}"}),
            "step": n,
            "role": "task",
            "model": "m",
            "kind": "generate",
            "request": {"prompt": f"q{n}", "temperature": 0.0},
            "response": {**_RESPONSE, "finish": "failed"} if n == 2 else _RESPONSE,
        }
    )
    + "\n"
    for n in range(4)
).encode()


def _runs() -> Iterator[bytes]:
    """Valid content of each file of a run folder, behind the number of the file."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as place:
        run = _small_run(Path(place) / "run")
        for number, name in enumerate(_FILES):
            yield bytes([number]) + (run / name).read_bytes()
    told = run_json("Say {note}.") | {"limits": {"seconds": "Infinity"}, "passed": {"data": "a b.csv", "set": ["k=3"]}}
    told["task"] |= {"seeds": ["Say {note}."], "notes": [{"text": "1 row left out", "rows": ["row 2"]}]}
    told["models"]["judge"] = {"name": "openai:m@http://x/v1", "options": {"rpm": 3}, "id": "m"}
    yield b"\x00" + json.dumps(told).encode()
    tried = [{"position": 1, "old": " a", "new": " b", "rank": 1, "predicted": "NaN", "before": 0.5, "after": 0.6}]
    step = step_json(1, "Say it.", 0.5, [{**each, "accepted": True} for each in tried])
    step["referee"]["scores"] = {"dev-0": 0.25, "dev-1": 0.5}
    yield b"\x02" + json.dumps(step | {"counts": {"unusable: no tags": 3}}).encode()
    row = {"id": "t", "input": "q", "target": "a", "initial": side(0, 1), "best": side(1, 1) | {"explanation": "so"}}
    graded = row | {"id": "u", "best": side(1, 1) | {"score": 0.25}}
    failed = row | {"id": "v", "initial": {"output": "", "answer": None, "score": None, "finish": "failed"}}
    yield b"\x04" + b"\n".join(json.dumps(each).encode() for each in (row, graded, failed))


def _table() -> bytes:
    pyarrow, parquet, file = import_module("pyarrow"), import_module("pyarrow.parquet"), BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(_DICTS), file, compression="none")
    return file.getvalue()


TARGETS: Mapping[str, Target] = {
    "csv": Target(_rows(".csv"), (_FEW_CSV,)),
    "tsv": Target(_rows(".tsv"), (_TSV,)),
    "json": Target(_rows(".json"), (json.dumps(_DICTS).encode(), json.dumps({"data": _DICTS}).encode())),
    "jsonl": Target(_rows(".jsonl"), (_JSONL,)),
    **({"parquet": Target(_parquet, (_table(),))} if find_spec("pyarrow") else {}),
    "task-file": Target(_task_file, (_YAML, b"data: rows.csv\ninput: question\ntarget: answer\n")),
    "benchmark": Target(_benchmark, tuple(_benchmarks())),
    "journal": Target(_journal, (_CALLS,), change=mutated_json),
    "run-folder": Target(_run_folder, tuple(_runs()), change=behind(1)),
}
"""By name."""
