"""Code runs where its user names it, and nowhere else."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.commands import METHOD, MODEL, Shell, toy_rows, write_rows
from steepest import processes
from steepest.errors import SpecError, StateError, TaskError
from steepest.objects import find_object, refuse_carried
from steepest.tasks.algebra import Algebra
from steepest.tasks.loading import load_task

PACKAGE = Path(__file__).parents[2] / "src" / "steepest"
EVIL = "from pathlib import Path\nPath(__file__).with_name('ran').write_text('')\n" + (
    "def score(example, output):\n    return 1.0\ndef answer(request):\n    return 'x'\n"
    "class Evil:\n    id = 'evil'\n    def generate(self, requests): yield from ()\n"
)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "toy.csv", toy_rows())
    return Shell(capsys, tmp_path)


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "evil.py").write_text(EVIL)
    return tmp_path / "elsewhere" / "evil.py"


def ran(evil: Path) -> bool:
    return evil.with_name("ran").exists()


def test_the_package_neither_evaluates_text_nor_unpickles_it() -> None:
    banned = {"eval", "exec", "compile", "__import__"}
    modules = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [node.func.id] if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else []
            assert not banned & set(names), f"{path}: {names}"
            imported = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not modules & {name.partition(".")[0] for name in imported}, f"{path}: {imported}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "YAML":
                kinds = [each.value.value for each in node.keywords if isinstance(each.value, ast.Constant)]
                assert "safe" in kinds, f"{path}: YAML is read by the safe reader"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in {("os", "system"), ("torch", "load")}, path
            if isinstance(node, ast.keyword) and node.arg == "shell":
                raise AssertionError(f"{path}: no shell")


def hostile_run(shell: Shell, evil: Path) -> Path:
    """A finished run whose run.json names code as metric, as the model and as its answers."""
    assert shell.run().code == 0
    (run,) = shell.runs
    told = json.loads((run / "run.json").read_text())
    told["task"]["metric"] = {"use": f"{evil}:score"}
    told["models"]["task"] |= {"name": f"{evil}:Evil", "options": {"answer": f"{evil}:answer"}}
    told["method"]["use"] = f"{evil}:Evil"
    (run / "run.json").write_text(json.dumps(told))
    return run


@pytest.mark.parametrize(
    "to", ["text", "json", "yaml", "python", "langchain", "dspy", "mlflow", "promptfoo", "lm-eval"]
)
def test_exports_run_nothing_that_a_run_folder_names(shell: Shell, evil: Path, to: str) -> None:
    run = hostile_run(shell, evil)
    said = shell("export", run, "--to", to, "--out", shell.folder / f"out-{to}")
    assert said.code == 0, said.err
    assert not ran(evil)


def test_reports_and_lists_run_nothing_that_a_run_folder_names(shell: Shell, evil: Path) -> None:
    run = hostile_run(shell, evil)
    for arguments in (("report", run), ("show", run), ("show", run, "--prompt"), ("list", "runs")):
        assert shell(*arguments).code == 0
    assert not ran(evil)


def test_a_run_says_which_code_it_goes_on_with(shell: Shell, evil: Path) -> None:
    model = ("--model", "scripted", "--option", f"answer={evil}:answer")
    assert shell("run", METHOD, *shell.rows, *model, "--steps", "1").code == 0
    (run,) = shell.runs
    said = shell("resume", run, "--steps", "2")
    assert said.code == 0 and f"note: runs {evil}:answer, which" in said.err
    plain = shell("run", METHOD, *shell.rows, "--model", "scripted", "--steps", "0")
    assert plain.code == 0 and "note: runs" not in shell("resume", shell.runs[1], "--steps", "1").err


@pytest.mark.parametrize("place", ["inside", "relative", "around"])
def test_a_run_folder_brings_no_code_along(shell: Shell, place: str) -> None:
    assert shell.run("--steps", "0").code == 0
    (run,) = shell.runs
    carried = run / "evil.py"
    carried.write_text(EVIL)
    name = {"inside": f"{run.resolve()}/evil.py", "relative": f"runs/{run.name}/evil.py"}
    named = name.get(place, f"{run.resolve()}/data/../evil.py")
    for where in ("metric", "model", "option"):
        told = json.loads((run / "run.json").read_text())
        before = json.dumps(told)
        if where == "metric":
            told["task"]["metric"] = {"use": f"{named}:score"}
        elif where == "model":
            told["models"]["task"] |= {"name": f"{named}:Evil", "options": {}}
        else:
            told["models"]["task"]["options"] = {"answer": f"{named}:answer"}
        (run / "run.json").write_text(json.dumps(told))
        for arguments in (("resume", run, "--steps", "1"), ("eval", run)):
            said = shell(*arguments)
            assert said.code == 2 and "names code by a full path outside of it" in said.err, (where, arguments)
        (run / "run.json").write_text(before)
    assert not ran(carried)


PLANTED = ("json", "resource", "math_verify", "steepest", "typer")


def test_a_folder_that_is_worked_in_brings_no_modules_along(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a downloaded task, beside which the commands are given."""
    assert shell.run("--steps", "0").code == 0
    (run,) = shell.runs
    for name in PLANTED:
        (shell.folder / f"{name}.py").write_text("open('ran', 'w')")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(shell.folder))])
    algebra = Algebra()
    algebra.equal("x", "y")
    algebra.close()
    done = shell("compare", METHOD, "--task", run, *MODEL, "--calls", "300", "--seeds", "1", "--out", "compared")
    assert done.code == 0, done.err
    assert not (shell.folder / "ran").exists()


def test_processes_find_modules_where_this_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "beside.py").write_text("print('found')")
    monkeypatch.chdir(tmp_path)
    for path, said in (["", *sys.path], b"found\n"), ([path for path in sys.path if path], b""):
        monkeypatch.setattr(sys, "path", path)
        done = subprocess.run(
            processes.command("beside"), env=processes.environment(), capture_output=True, check=False
        )
        assert done.stdout == said


def test_names_of_code_are_found_in_any_setting(tmp_path: Path) -> None:
    inside = f"{tmp_path}/x.py:Y"
    for value in (inside, {"a": [{"b": inside}]}, ("x.py:Y",)):
        with pytest.raises(StateError, match="brings|names code by a full path"):
            refuse_carried(value, tmp_path)
    refuse_carried({"use": "greater", "n": 3, "file": "/elsewhere/x.py:Y", "label": "choice:a.py,b"}, tmp_path)


def test_a_run_folder_names_no_cluster_to_join(shell: Shell) -> None:
    assert shell.run("--steps", "0").code == 0
    (run,) = shell.runs
    told = json.loads((run / "run.json").read_text())
    told["models"]["task"] |= {"name": "bundled", "options": {"replicas": 1, "ray_address": "192.0.2.1:6379"}}
    (run / "run.json").write_text(json.dumps(told))
    for arguments in (("resume", run, "--steps", "1"), ("eval", run)):
        said = shell(*arguments)
        assert said.code == 2 and "a run folder names no cluster" in said.err, arguments


def test_a_task_file_names_no_code(shell: Shell, evil: Path) -> None:
    task = shell.folder / "elsewhere" / "task.yaml"
    for answer in ("evil.py:score", "{use: evil.py:score}", f"{evil}:score", "subprocess:call"):
        task.write_text(
            f"data: ../toy.csv\ninput: question\nanswer: {json.dumps(answer) if answer[0] != '{' else answer}\n"
        )
        with pytest.raises(TaskError, match="a task file names no code to be run, got answer"):
            load_task(task)
        said = shell("run", METHOD, "--task", task, "--model", "scripted", "--steps", "1")
        assert said.code == 2 and "--answer" in said.err
    assert not ran(evil)
    said = shell("run", METHOD, "--task", task, "--answer", f"{evil}:score", "--model", "scripted", "--steps", "0")
    assert said.code == 0, said.err
    assert ran(evil)
    assert "leave it out" in shell("eval", "--task", "lies", "--answer", "text", "--model", "scripted").err


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":",
        "x:",
        ".x:y",
        "math:pi.real",
        "steepest.spec:METHODS.x",
        "a\0b.py:X",
        "~nobody-here/x.py:X",
        "x" * 300 + ".py:X",
    ],
)
def test_names_of_nothing_are_refused(name: str) -> None:
    with pytest.raises(SpecError):
        find_object(name, SpecError)


BILLION = "a: &a [x,x]\n" + "".join(
    f"{b}: &{b} [*{a},*{a},*{a},*{a}]\n" for a, b in zip("abcdefghijklmno", "bcdefghijklmnop", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BILLION + "data: *p\n", "line 2: a task file has no references"),
        ("data: &a [*a]\n", "no references"),
        ("data: rows.csv\nname: !!python/object/apply:os.abort []\n", "not YAML"),
        ("data: rows.csv\nname: !!python/name:os.abort\n", "not YAML"),
        ("data: rows.csv\nname: 2001-99-99\n", "not YAML that can be read"),
        ("data: rows.csv\nname: \x07\n", "not YAML that can be read"),
        ("data: rows.csv\nanswer: " + "[" * 5000, "at most 20 deep"),
        ("data: rows.csv\nname: 2026-11-30", "name must be of text, numbers, lists and mappings"),
        ("data: !!binary aGk=", "must be of text"),
        ("data: rows.csv\nsplits: {most_test: 2026-11-30}", "must be of text"),
        ("data: rows.csv\nanswer: {judge: {criteria: !!set {a}}}", "must be of text"),
        ("data: rows.csv\nanswer: {use: choice, labels: ['', a]}", "labels must be a list of words"),
        ("data: rows.csv\nanswer: 'yes_no:a,'", "labels must be a list of words"),
        ("data: rows.csv\nanswer: {use: choice, labels: {a: b}}", "labels must be a list of words"),
        ("data: rows.csv\nanswer: {use: choice, labels: 'a, b'}", "labels must be a list of words"),
        ("data: rows.csv\nanswer: {use: text, ask: [a]}", "ask must be text"),
        (
            "data: rows.csv\nanswer: {judge: {criteria: c, message: {en: '{a}', zh: '{a}'}}}",
            "the slots answer, criteria",
        ),
    ],
)
def test_task_files_are_data(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "task.yaml").write_text(text)
    (tmp_path / "rows.csv").write_text("input,target\nWhich?,a\nWhat?,b\n")
    with pytest.raises(TaskError, match=message) as refused:
        load_task(tmp_path / "task.yaml")
    assert len(str(refused.value)) < 2000


def test_task_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_bytes(b"data: \xff\xfe\n")
    with pytest.raises(TaskError, match="must be UTF-8"):
        load_task(tmp_path / "task.yaml")
