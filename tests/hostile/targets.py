"""What is fuzzed: functions of bytes that may raise nothing but our own errors, and valid inputs to begin from."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from steepest import codec, spec
from steepest.calls import CallLog, call_key
from steepest.errors import SpecError, SteepestError, TaskError
from steepest.exporting.pieces import fill, format_text, pieces_of, turns_of
from steepest.models.endpoint import replies
from steepest.objects import find_object
from steepest.reporting.difference import difference
from steepest.reporting.markup import element
from steepest.reporting.text import clean
from steepest.runfolder import RunInfo
from steepest.tasks.answers import Choice, Number, Text, YesNo, infer
from steepest.tasks.datasets import Columns, read_rows
from steepest.tasks.formats import Format, Odd, asked, read_file
from steepest.tasks.judge import Judge
from steepest.tasks.loading import load_task
from steepest.tasks.metaprompt import MetaPrompt, Unusable, read_tagged, tagged
from steepest.tasks.metrics import open_metric
from steepest.tasks.similarity import F1, Contains, ExactMatch, RougeL, SameSet
from steepest.tasks.task import Template
from steepest.types import Example, Response

logging.getLogger("steepest").addHandler(logging.NullHandler())  # repairs of journals are said, by the thousand here
logging.getLogger("steepest").propagate = False


@dataclass(frozen=True)
class Target:
    """One thing that reads what others wrote."""

    read: Callable[[bytes, Path], None]
    """Reads the bytes; whatever it may keep in files goes into the folder."""
    seeds: tuple[bytes, ...]
    """Valid inputs."""
    also: tuple[type[Exception], ...] = ()
    """Further exceptions that its documentation names."""

    def __call__(self, data: bytes, folder: Path) -> None:
        """Read `data`; AssertionError and whatever is not our own come through."""
        try:
            self.read(data, folder)
        except (SteepestError, *self.also) as error:
            said = str(error)
            assert said.strip(), "an error says something"


def text(data: bytes) -> str:
    """Bytes as text; with lone surrogates, as model output from JSON may hold them, where they are no UTF-8."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape")


def _written(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


# -- readers --------------------------------------------------------------------------------------------------------


def _rows(suffix: str) -> Callable[[bytes, Path], None]:
    def read(data: bytes, folder: Path) -> None:
        path = _written(folder, f"rows{suffix}", data)
        lenient = bool(data) and data[0] % 2 == 0
        found = read_rows(path, Columns("question", "answer"), skip_bad=lenient)
        for example in found.examples:
            codec.dumps(example).encode()

    return read


def _parquet(data: bytes, folder: Path) -> None:
    read_rows(_written(folder, "rows.parquet", data), Columns("question", "answer"), skip_bad=True)


def _task_file(data: bytes, folder: Path) -> None:
    if not (folder / "rows.csv").exists():
        _written(folder, "rows.csv", ROWS_CSV)
    load_task(_written(folder, "task.yaml", data))


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
    for record in read_file(_written(folder, f"file{suffix}", data[1:]), form):
        try:
            asked(record, form)
        except (TaskError, Odd) as error:
            assert str(error)


# -- text -----------------------------------------------------------------------------------------------------------


_ROW = Example("1", "2 + 2 {note} {x.__class__}?", "4", {"note": "{input} {prompt}", "x": "{note!r}"})


def _template(data: bytes, folder: Path) -> None:
    layout, _, prompt = text(data).partition("\x00")
    template = Template(layout, prompt[:20])
    said = "".join(message.content for message in template.render(prompt, _ROW))
    for leak in ("<class", "<function", "object at"):
        assert leak in layout + prompt or leak not in said, "only columns come in"
    turns = turns_of(template, prompt)
    filled = fill(turns, template.columns_used(prompt, _ROW))
    assert filled == template.render(prompt, _ROW), "exports ask the same"
    pieces = pieces_of(layout)
    row = {"input": "i", "prompt": "p", "note": "n", "x": "x"}
    if all(isinstance(piece, str) or piece.name in row for piece in pieces):
        whole = "".join(piece if isinstance(piece, str) else row[piece.name] for piece in pieces)
        assert format_text(pieces).format(**row) == whole, "only slots are filled"


def _meta_prompt(data: bytes, folder: Path) -> None:
    en, _, zh = text(data).partition("\x00")
    MetaPrompt(en, zh or en).fill("en", prompt="{rows} {prompt}", rows="{x.__class__}")


_KINDS = (Number(), Number(tolerance=0.01), Text(), YesNo(), Choice(("red", "green")), Choice(("(A)", "(B)", "(C)")))
_KINDS += (ExactMatch(), Contains(), F1(), RougeL(), SameSet())


def _extraction(data: bytes, folder: Path) -> None:
    output, _, target = text(data).partition("\x00")
    row = Example("1", "Options:\n(A) red\n(B) green\n(C) blue", target or "(A)", {})
    for kind in _KINDS:
        judged = kind(row, output)
        assert 0.0 <= judged.score <= 1.0
    infer([target, output])


def _tags(data: bytes, folder: Path) -> None:
    said = text(data)
    tagged(said, "prompt")
    read_tagged(Response(said, 1, 1, "stop"), "prompt")
    Judge("Is it good?", scale=5).read(Response(said, 1, 1, "stop"))


def _shown(data: bytes, folder: Path) -> None:
    said = text(data)
    shown = clean(said)
    assert "\x1b" not in shown and "\x9b" not in shown and "\x07" not in shown and "\r" not in shown
    assert clean(shown) == shown
    shown.encode()
    made = element("p", {"title": said}, said)
    assert made.count("<") == 2 and made.count(">") == 2, "text is no markup"
    half = len(shown) // 2
    runs = difference(shown[:half], shown[half:])
    assert "".join(run.text for run in runs if run.kind != "added") == shown[:half]
    assert "".join(run.text for run in runs if run.kind != "removed") == shown[half:]


# -- what programs wrote --------------------------------------------------------------------------------------------


def _journal(data: bytes, folder: Path) -> None:
    path = _written(folder, "calls.jsonl", data)
    with CallLog(path) as log:
        kept = list(log)
        for key in kept:
            answer = log.get(key)
            assert answer is not None
            _ = answer.response
    assert path.stat().st_size == len(data) - log.removed
    with CallLog(path) as again:
        assert list(again) == kept and not again.removed, "repairing is done once"


def _spec(data: bytes, folder: Path) -> None:
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        spec.with_settings("greater", [text(data)])
        return
    if isinstance(given, str | dict):
        spec.describe(spec.build(given))


def _name(data: bytes, folder: Path) -> None:
    name = text(data)
    if ".py" not in name and ":" in name and not name.startswith("steepest."):
        return  # importing whatever is installed is no test
    find_object(name, SpecError)


def _codec(data: bytes, folder: Path) -> None:
    found = codec.read(RunInfo, data, "run.json", SpecError)
    again = codec.read(RunInfo, codec.dumps(found), "run.json", SpecError)
    assert codec.dumps(again) == codec.dumps(found)


def _metric(data: bytes, folder: Path) -> None:
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        given = text(data)
    if isinstance(given, str | dict) and ":" not in json.dumps(given).replace('":', ""):
        open_metric(given, ["yes", "no"])


def _reply(data: bytes, folder: Path) -> None:
    replies.refusal(200 + 100 * (len(data) % 4) + len(data) % 30, {"Retry-After": text(data[:8])}, data)
    found = replies.response(data, ("END",), 10)
    found.text.encode()
    assert found.prompt_tokens >= 0 and found.output_tokens >= 0


# -- valid inputs ---------------------------------------------------------------------------------------------------

ROWS_CSV = b"question,answer,id\n" + b"".join(b'"What is %d + 1?",%d,r%d\n' % (n, n + 1, n) for n in range(24))
_TSV = ROWS_CSV.replace(b",", b"\t")
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


_OUTPUTS = (
    "2 + 2 is 4. The answer is **4**.\x004",
    "<answer>1,234.50 dollars</answer>\x00#### 1234.5",
    "Therefore, the final answer, written as a number in digits, is \\boxed{\\frac{3}{4}}\x003/4",
    "It is (B), no wait, actually: (C) blue.\x00(C)",
    "Not yes but no. 答案是三十五。\x0035",
    "twenty-one thousand and five, minus 1e-3, 50 %, \xbd, \u2160, \u0663\x0021005",
    "The answer is red or green, depending.\x00red",
)
_TAGGED = (
    "<think>Let me see <prompt>no</prompt></think><prompt>Add the numbers.</prompt>",
    "<explanation>Good.</explanation><rating>4/5</rating>",
    "<PROMPT> one </PROMPT><prompt>two",
)
_TEMPLATES = (
    "{input}\n{prompt}\x00Think {note}.",
    "{prompt}\x00Answer {input} by {note}, keep {} {0} {{x}} {x.__class__} {x[0]} {x!r} {x:>9}",
    "{{{input}}} {note} {prompt} {{ {% %}\x00{prompt}",
)
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
_RUN = {
    "format": 1,
    "steepest": "0.1.0",
    "created": "2026-11-20T10:00:00+00:00",
    "method": {"use": "greater", "mu": 3},
    "method_version": 1,
    "passed": {"task": "lies"},
    "task": {"name": "lies", "layout": "{input}\n{prompt}", "system": "", "extractor": "So", "metric": {"use": "text"}}
    | {"max_tokens": 96, "seeds": ["Answer."], "origin": "lies"},
    "models": {"task": {"name": "bundled", "options": {"a": 1.5}, "id": "b"}},
    "prompt": "Answer.",
    "seed": 7,
    "limits": {"steps": 4, "calls": None, "tokens": None, "seconds": "Infinity"},
    "versions": {"python": "3.11"},
    "git": None,
}
_SPECS = (
    b'{"use": "greater", "mu": 3, "k": 10}',
    b'{"use": "protegi", "select": {"use": "ucb", "budget": 50}}',
    b'{"use": "opro", "preset": "small"}',
    b'"ape"',
    b"mu=5",
    b"gradient=sampled",
    b"mu=[1, (2, 3), {'a': -1.5}]",
)
_CHAT = {"choices": [{"message": {"role": "assistant", "content": "4 END"}, "finish_reason": "stop"}]}
_REPLIES = (
    json.dumps(_CHAT | {"usage": {"prompt_tokens": 3, "completion_tokens": 1}}).encode(),
    json.dumps({"choices": [{"text": "4", "finish_reason": "length"}]}).encode(),
    json.dumps({"error": {"message": "maximum context length", "code": "x", "type": "y", "param": "model"}}).encode(),
    json.dumps({"detail": [{"msg": "extra inputs are not permitted"}]}).encode(),
)
_SHOWN = (
    "Say \x1b[31mit\x1b[0m\x1b]8;;http://x\x1b\\link\x1b]8;;\x07 \u202egnp.\x9b31m [bold]so[/bold]",
    "<script>alert(1)</script> & \"quoted\" 'single' \r\n\x85\u2028 e\u0301 \U0001f642 \u4f60\u597d",
)


def _table() -> bytes:
    pyarrow, parquet, file = import_module("pyarrow"), import_module("pyarrow.parquet"), BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(_DICTS), file, compression="none")
    return file.getvalue()


def _encoded(texts: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(each.encode() for each in texts)


TARGETS: Mapping[str, Target] = {
    "csv": Target(_rows(".csv"), (ROWS_CSV,)),
    "tsv": Target(_rows(".tsv"), (_TSV,)),
    "json": Target(_rows(".json"), (json.dumps(_DICTS).encode(), json.dumps({"data": _DICTS}).encode())),
    "jsonl": Target(_rows(".jsonl"), (_JSONL,)),
    **({"parquet": Target(_parquet, (_table(),))} if find_spec("pyarrow") else {}),
    "task-file": Target(_task_file, (_YAML, b"data: rows.csv\ninput: question\ntarget: answer\n")),
    "benchmark": Target(_benchmark, tuple(_benchmarks())),
    "template": Target(_template, _encoded(_TEMPLATES)),
    "meta-prompt": Target(_meta_prompt, (b"Improve {prompt}: {rows} {x[0]} {}\x00{rows} {prompt}",), (ValueError,)),
    "extraction": Target(_extraction, _encoded(_OUTPUTS)),
    "tags": Target(_tags, _encoded(_TAGGED), (Unusable,)),
    "shown": Target(_shown, _encoded(_SHOWN)),
    "journal": Target(_journal, (_CALLS,)),
    "spec": Target(_spec, _SPECS),
    "name": Target(_name, (b"steepest.spec:METHODS", b"mine.py:Class", b"steepest.types:Example.id")),
    "codec": Target(_codec, (json.dumps(_RUN).encode(),)),
    "metric": Target(_metric, (b'{"use": "choice", "labels": ["a", "b"]}', b'{"judge": {"criteria": "c"}}', b"number")),
    "reply": Target(_reply, _REPLIES, (replies.Unusable,)),
}
"""By name."""
