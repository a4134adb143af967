"""Templates, terminals, names of files and tables: text stays text."""

from __future__ import annotations

import ast
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

import steepest
from cli.commands import METHOD, MODEL, Shell, toy_rows, write_rows
from models.endpoint import stub
from reporting.folders import write_run
from steepest.errors import SteepestError, TaskError
from steepest.exporting.pieces import fill, fill_jinja, format_text, jinja_text, pieces_of, turns_of
from steepest.models.scripted import Scripted
from steepest.reporting.difference import difference
from steepest.reporting.text import clean, one_line
from steepest.tasks.datasets import Record, read_examples
from steepest.tasks.formats import Format, asked
from steepest.tasks.loading import TaskSpec, load_task
from steepest.tasks.metaprompt import MetaPrompt
from steepest.tasks.task import Template
from steepest.types import Example

PACKAGE = Path(__file__).parents[2] / "src" / "steepest"
REACHING = "{x.__class__} {x[0]} {x!r} {x:>9} {0} {} {{note}} {x.__init__.__globals__[os]} %(note)s ${note} {{{{x}}}}"
ROW = Example("1", "What? {note} {prompt}", "4", {"note": "{input} {x.__class__}", "x": "X"})
ESCAPES = (
    "\x1b[2J\x1b[31mred\x1b[0m \x1b]0;owned\x07 \x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\ "
    "\x1b]52;c;ZXZpbA==\x07 \x1bPq#0\x1b\\ \x9b31m \x9d0;owned\x9c \x07 ok\rgone \x08\x7f \u202egnp.\u2066x "
    "[red]so[/red] [link=http://rich.example]l[/link] [/] [@click=app.bell]b[/] :bomb:"
)
UNFIT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]|owned|ZXZpbA|evil|\U0001f4a3"
)
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


# -- templates ------------------------------------------------------------------------------------------------------


def test_templates_fill_named_slots_and_reach_nothing() -> None:
    (said,) = Template("{input} " + REACHING + " {prompt}").render(REACHING, ROW)
    filled = REACHING.replace("{note}", "{input} {x.__class__}").replace("{{{{x}}}}", "{{{X}}}")
    assert said.content == f"What? {{note}} {{prompt}} {filled} {REACHING}"
    (by_prompt,) = Template("{prompt}").render(f"{REACHING} {{input}}", ROW)
    assert by_prompt.content == f"{filled} What? {{note}} {{prompt}}", "cells are filled in, and not filled themselves"


def test_slots_that_are_no_columns_are_refused() -> None:
    for layout in ("{input} {prompt} {__class__}", "{input} {prompt} {id}", "{input} {prompt} {meta}"):
        with pytest.raises(TaskError, match="must be columns of the data"):
            Template(layout).render("p", ROW)


def test_meta_prompts_fill_named_slots_and_reach_nothing() -> None:
    said = MetaPrompt(f"{{rows}} {REACHING.replace('{note}', '').replace('{x}', '')}", "{rows} {rows}")
    assert "{x.__class__} {x[0]} {x!r} {x:>9} {0} {}" in said.fill("en", rows="{rows} {x.__class__}")
    assert said.fill("zh", rows="{rows}") == "{rows} {rows}"


def test_exported_templates_reach_nothing_either() -> None:
    columns = {"input": "{x.__class__}", "note": "{{ note }}", "x": "{0}"}
    for text in (REACHING, "{input}" + REACHING, "{{{input}}}}", "{{ 7 * 7 }} {% if x %} {# n #} {input}"):
        pieces = pieces_of(text)
        whole = "".join(piece if isinstance(piece, str) else columns[piece.name] for piece in pieces)
        assert format_text(pieces).format(**columns) == whole
        assert fill_jinja(jinja_text(pieces), columns) == whole
    template = Template("{input} " + REACHING + " {prompt}")
    assert fill(turns_of(template, REACHING), template.columns_used("", ROW)) == template.render(REACHING, ROW)


def test_cells_of_benchmarks_are_not_filled_again() -> None:
    row = Record("row 1", {"question": "Say {answer}.", "hint": "{question}", "answer": "secret"})
    found = asked(row, Format(input="{question} ({hint})", target="answer"))
    assert found.input == "Say {answer}. ({question})"


# -- terminals ------------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    rows = [(question + ESCAPES.replace("\r", ""), target) for question, target in toy_rows()]
    write_rows(tmp_path / "toy.csv", rows)
    (tmp_path / "said.py").write_text(f"def answer(request):\n    return 'no ' + {ESCAPES!r}\n")
    return Shell(capsys, tmp_path)


SAID = ("--model", "scripted", "--option", "answer=said.py:answer")


def test_commands_print_text_whatever_they_are_given(shell: Shell) -> None:
    prompt = f"Say it. {ESCAPES}"
    run = shell("run", METHOD, *shell.rows, *SAID, "--prompt", prompt, "--steps", "1")
    (folder,) = shell.runs
    calls = [
        run,
        shell("run", METHOD, *shell.rows, *SAID, "--prompt", prompt, "--dry-run", "--steps", "1"),
        shell("resume", folder, "--steps", "2"),
        shell("show", folder),
        shell("list", "runs"),
        shell("report", folder),
        shell("eval", folder),
        shell("diagnose", *shell.rows, *SAID, "--prompt", prompt, "--calls", "300", "--out", "found"),
        shell("compare", METHOD, *shell.rows, *SAID, "--prompt", prompt, "--calls", "300", "--seeds", "1"),
    ]
    for said in calls:
        assert said.code in (0, 2)
        found = UNFIT.search(said.out + said.err)
        assert found is None, (found, (said.out + said.err)[max(0, found.start() - 80) :][:160])
    assert all("[red]so[/red]" in said.out + said.err for said in (run, calls[3], calls[4]))


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", f"x{ESCAPES}", "--task", "lies", *MODEL),
        ("run", METHOD, "--task", f"lies{ESCAPES}", *MODEL),
        ("run", METHOD, "--data", f"{ESCAPES}.csv", *MODEL),
        ("run", METHOD, "--data", "toy.csv", "--input", f"question{ESCAPES}", *MODEL),
        ("run", METHOD, "--data", "toy.csv", "--input", "question", "--answer", f"a{ESCAPES}", *MODEL),
        ("run", METHOD, "--data", "toy.csv", "--input", "question", "--answer", f"{ESCAPES}.py:x", *MODEL),
        ("run", METHOD, "--data", "toy.csv", "--input", "question", "--set", f"{ESCAPES}=1", *MODEL),
        ("run", METHOD, "--data", "toy.csv", "--input", "question", "--model", f"m{ESCAPES}"),
        ("run", METHOD, "--data", "toy.csv", f"--in{ESCAPES}put", "question"),
        ("export", f"runs/{ESCAPES}"),
        ("show", f"greater{ESCAPES}"),
        (f"r{ESCAPES}un",),
    ],
)
def test_errors_are_one_line_of_text(shell: Shell, arguments: tuple[str, ...]) -> None:
    said = shell(*(argument.replace("\r", "") for argument in arguments))
    assert said.code == 2 and said.out == ""
    assert re.fullmatch(r"error: [^\n]+\n", said.err)
    assert not CONTROL.search(said.err)


def test_json_stays_json(shell: Shell) -> None:
    prompt = f"Say it. {ESCAPES}"
    found = shell("run", METHOD, *shell.rows, *SAID, "--prompt", prompt, "--steps", "1", "--json")
    assert found.json["prompt"]["best"].startswith("Say it. \x1b[2J")
    (folder,) = shell.runs
    measured = shell("eval", *shell.rows, *SAID, "--prompt", prompt, "--json")
    assert measured.json["prompt"] == prompt
    compared = ("compare", METHOD, "--task", folder, *SAID, "--calls", "300", "--seeds", "1", "--out", "compared")
    for said in (
        found,
        measured,
        shell(*compared, "--json"),
        shell("transfer", folder, *SAID, "--out", "carried", "--json"),
        shell("diagnose", *shell.rows, *SAID, "--prompt", prompt, "--calls", "300", "--out", "found", "--json"),
    ):
        assert "\x9b31m" in json.dumps(said.json, ensure_ascii=False) and not CONTROL.search(said.out)


def test_names_of_folders_and_warnings_are_text(shell: Shell) -> None:
    assert shell("run", METHOD, *shell.rows, *SAID, "--steps", "1").code == 0
    folder = shell.runs[0].rename(shell.folder / f"a{ESCAPES.replace('/', '')}")
    with (folder / "calls.jsonl").open("ab") as journal:
        journal.write(b'{"torn')
    calls = [shell("resume", folder, "--steps", "2"), shell("report", folder), shell("trust", folder)]
    assert "the last line was torn" in calls[0].err
    for said in calls:
        assert said.code == 0 and not CONTROL.search(said.out + said.err)


def test_what_a_server_says_is_warned_of_as_text(shell: Shell) -> None:
    with stub.running(lambda _: stub.error(500, ESCAPES)) as bad, stub.running(lambda _: stub.said("4")) as good:
        measured = shell("eval", *shell.rows, "--model", f"openai:m@{bad.url},{good.url}")
    assert measured.code == 0 and "is rested" in measured.err
    assert not CONTROL.search(measured.err)


@pytest.mark.parametrize(
    "text", ["\x9d" * 100_000, "\x90a" * 50_000, "\x1b]" * 50_000, "\x9b0" * 50_000, "\x1b[0;" * 25_000]
)
def test_cleaning_takes_time_in_proportion(text: str) -> None:
    began = time.process_time()
    assert not UNFIT.search(clean(text)) and len(one_line(text, 80)) <= 80
    assert time.process_time() - began < 2


@pytest.mark.parametrize("n", [100, 400, 3_000, 20_000])
def test_prompts_that_repeat_themselves_are_compared_in_time(n: int) -> None:
    began = time.process_time()
    old, new = "a " * n, "a b " * n
    runs = difference(old, new)
    assert time.process_time() - began < 8
    assert "".join(run.text for run in runs if run.kind != "added") == old
    assert "".join(run.text for run in runs if run.kind != "removed") == new


def test_a_report_of_prompts_that_repeat_themselves_is_written(tmp_path: Path) -> None:
    from steepest.reporting.html import write

    began = time.process_time()
    write(write_run(tmp_path / "run", prompts=["go " * 5_000, "go on " * 5_000], dev=[0.4, 0.8]))
    assert time.process_time() - began < 20


# -- tables and names -----------------------------------------------------------------------------------------------


def test_no_table_is_written_that_a_spreadsheet_would_compute() -> None:
    """Rows are written as JSON lines alone; a writer of CSV would have to guard cells that begin with = + - @."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("to_csv", "to_excel", "write_csv", "DictWriter"), path
                assert not (node.attr == "writer" and ast.unparse(node.value) == "csv"), path


NAMES = (
    "../../out",
    "/etc/out",
    "C:\\out",
    "..",
    ".",
    "con",
    "nul.txt",
    "a\0b",
    "\x1b]0;x\x07",
    "x" * 300,
    "\U0001d400" * 300,
)


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def rows(n: int = 80) -> list[dict[str, Any]]:
    return [{"input": f"What is {i} + 1?", "target": f"{i + 1}", "id": f"{NAMES[i % 11]}{i}"} for i in range(n)]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_names_cannot_leave_their_folder(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "deep" / "inner"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    task = TaskSpec(rows(), name=name, id="id", answer="exact_match")
    given: dict[str, Any] = {"data": task, "model": "scripted", "method": METHOD, "steps": 0, "quiet": True}
    result = steepest.optimize("Say it.", runs=inner / "runs", **given)
    assert result.folder is not None and result.folder.parent == inner / "runs"
    assert re.fullmatch(r"[\w-]+", result.folder.name)
    for to in ("yaml", "json", "lm-eval", "mlflow", "promptfoo"):
        steepest.export(result.folder, to, out=inner / f"export-{to}")
    found = steepest.compare(
        {f"label {name}": METHOD}, data=task, model=Scripted(), seeds=1, calls=300, out=inner / "compared", quiet=True
    )
    assert not found.failed
    assert all(re.fullmatch(r"[\w-]+", cell.name) for cell in (inner / "compared" / "cells").iterdir())
    assert files(tmp_path) == files(inner)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "~nobody-here/x", "toy.csv/x", "\ud800", "."])
def test_paths_that_no_file_can_have_are_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.csv").write_text("input,target\na,b\n")
    for suffix in (".csv", ".jsonl", ".json"):
        with pytest.raises(TaskError):
            read_examples(f"{name}{suffix}")
    for task in (name, f"{name}.yaml", f"bbh/{name}"):
        with pytest.raises(SteepestError):
            load_task(task)


def test_a_task_file_with_a_hostile_name_stays_text(shell: Shell) -> None:
    (shell.folder / "task.yaml").write_text(f"data: toy.csv\ninput: question\nname: {json.dumps('../' + ESCAPES)}\n")
    said = shell("run", METHOD, "--task", "task.yaml", *SAID, "--steps", "0")
    assert said.code == 0, said.err
    assert not UNFIT.search(said.out + said.err)
    assert [path.parent for path in shell.runs] == [shell.folder / "runs"]
