"""Every format gives the very messages back that were scored, whatever is in the prompt and in the rows."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from subjects import HOSTILE, ROWS, TEMPLATES, cases, subject

import steepest
from steepest.exporting import FORMATS, store
from steepest.exporting.rebuilding import OWN
from steepest.exporting.subject import Subject, subject_of
from steepest.tasks.loading import load_task
from steepest.types import Message

LIBRARIES = {"langchain": "langchain_core", "dspy": "dspy", "mlflow": "mlflow", "lm-eval": "lm_eval"}
"""What rebuilds messages, where it is installed."""
PYTHON = ("python", "dspy", "langchain", "mlflow")


def wanted(given: Subject) -> list[tuple[Message, ...]]:
    return [given.source.task.template.render(given.prompt, row) for row in ROWS]


def check(to: str, given: Subject, place: Path) -> str:
    """Write, rebuild, compare; and say what rebuilt it."""
    form = FORMATS[to]
    path = store(form.write(given), place / "out", form.is_folder)
    rebuilt = form.rebuild(path, given, ROWS)
    assert list(rebuilt.messages) == wanted(given)
    return rebuilt.by


def without_library(to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if to == "promptfoo":
        monkeypatch.setattr("steepest.exporting.promptfoo.which", lambda name: None)
    elif to in LIBRARIES:
        module = to.replace("-", "_")
        monkeypatch.setattr(f"steepest.exporting.{module}.is_installed", lambda name: False)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("number", range(len(cases())))
def test_the_messages_are_those_that_were_scored(
    to: str, number: int, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template, prompt = cases()[number]
    without_library(to, monkeypatch)
    check(to, subject(run, prompt, template), tmp_path)


@pytest.mark.parametrize("to", PYTHON)
def test_an_exported_file_never_executes_the_prompt(to: str, run: Path) -> None:
    """The file's code is the same whatever the prompt: prompts are constants of it."""

    def skeleton(prompt: str) -> str:
        (source,) = FORMATS[to].write(subject(run, prompt, TEMPLATES[0])).values()
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant):
                node.value = 0
        return ast.dump(tree)

    assert {skeleton(prompt) for prompt in HOSTILE} == {skeleton("Think.")}


def test_the_python_file_needs_nothing_of_ours(run: Path, tmp_path: Path) -> None:
    given = subject(run, HOSTILE[2], TEMPLATES[1])
    store(FORMATS["python"].write(given), tmp_path / "prompt.py", False)
    (tmp_path / "row.json").write_text(json.dumps(given.columns(ROWS[3])))
    code = "import json, prompt; print(json.dumps(prompt.build(json.load(open('row.json')))))"
    said = subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path[:] = ['.', *sys.path[:-1]]; {code}"],
                          cwd=tmp_path, capture_output=True, check=True, text=True)  # fmt: skip
    assert [Message(**turn) for turn in json.loads(said.stdout)] == list(wanted(given)[3])


def test_the_python_file_asks_for_the_answer_as_the_run_does(run: Path, tmp_path: Path) -> None:
    given = subject(run, "Think.", TEMPLATES[0])
    given = replace(given, source=replace(given.source, task=replace(given.source.task, extractor="So it is")))
    names: dict[str, object] = {}
    exec(FORMATS["python"].write(given)["prompt.py"], names)
    follow_up = names["follow_up"]
    assert callable(follow_up)
    assert follow_up([], "Hm.") == [{"role": "assistant", "content": "Hm. So it is"}]
    assert follow_up([], "") == [{"role": "assistant", "content": "So it is"}]
    assert names["FOLLOW_UP"] == {"text": "So it is", "max_tokens": 16}


def test_columns_that_are_no_text_are_refused(run: Path) -> None:
    names: dict[str, object] = {}
    exec(FORMATS["python"].write(subject(run, "Think.", TEMPLATES[0]))["prompt.py"], names)
    build = names["build"]
    assert callable(build)
    with pytest.raises(TypeError, match="columns are text, got int in 'input'"):
        build({"input": 3})


def test_the_text_is_the_prompt_to_the_byte(run: Path, tmp_path: Path) -> None:
    for number, prompt in enumerate(HOSTILE):
        path = store(FORMATS["text"].write(subject(run, prompt, TEMPLATES[0])), tmp_path / str(number), False)
        assert path.read_bytes() == prompt.encode()


def test_json_says_where_the_prompt_comes_from(run: Path) -> None:
    data = json.loads(steepest.export(run, "json").text)
    result = json.loads((run / "result.json").read_text())
    assert data["provenance"]["test"] == result["test"] and data["provenance"]["verdict"] == result["verdict"]
    assert data["prompt"] == result["prompt"]["best"]
    assert data["decoding"] == {"temperature": 0.0, "max_tokens": 256, "stop": []}
    first = json.loads(steepest.export(run, "json", which="initial").text)
    assert first["prompt"] == result["prompt"]["initial"] == HOSTILE[1]


def test_the_task_file_gives_the_run_s_splits_again(run: Path, tmp_path: Path) -> None:
    exported = steepest.export(run, "yaml", out=tmp_path / "task")
    again, source = load_task(tmp_path / "task" / "task.yaml", answer="exact_match"), subject_of(run).source
    assert again.task.dev == source.task.dev and again.test == source.test and again.task.train == source.task.train
    assert again.task.template == source.task.template and again.task.seeds == (subject_of(run).prompt,)
    assert "of the run" in exported.text


def test_rows_that_cannot_be_split_as_in_the_run_are_the_held_out_ones(run: Path, tmp_path: Path) -> None:
    given = subject(run, "Think.", TEMPLATES[1])
    store(FORMATS["yaml"].write(given), tmp_path / "task", True)
    again = load_task(tmp_path / "task" / "task.yaml", answer="exact_match")
    assert {row.id for split in ("train", "dev", "test") for row in again.rows(split)} == {
        row.id for row in given.source.test
    }


def test_rows_of_test_that_cannot_be_split_bring_the_others_along_and_a_warning(run: Path, tmp_path: Path) -> None:
    given = subject_of(run)
    task = given.source.task
    swapped = replace(given.source, task=replace(task, train=task.dev, dev=task.train))
    files = FORMATS["yaml"].write(replace(given, source=swapped))
    assert "optimistic" in files["task.yaml"]
    store(files, tmp_path / "task", True)
    assert load_task(tmp_path / "task" / "task.yaml", answer="exact_match").task.seeds == (given.prompt,)


def test_the_scoring_file_is_the_run_s_metric(run: Path, tmp_path: Path) -> None:
    for to, rows in (("lm-eval", "rows.jsonl"), ("promptfoo", "rows.json")):
        path = steepest.export(run, to, out=tmp_path / to).path
        assert path is not None
        names: dict[str, object] = {"__file__": str(path / "scoring.py")}
        exec((path / "scoring.py").read_text(), names)
        score = names["process_results" if to == "lm-eval" else "get_assert"]
        assert callable(score)
        source = subject_of(run).source
        for at, row in enumerate(source.task.dev[:3]):
            output = "x" * (at + 2)
            doc = json.loads((path / rows).read_text().split("\n")[at]) if to == "lm-eval" else {}
            said = score(doc, [output])["score"] if to == "lm-eval" else score(output, {"vars": {"row": at}})
            assert said == source.task.rule(row, output).score > 0


@pytest.mark.parametrize(
    ("name", "options", "id", "place"),
    [
        ("openai:m@http://a/v1", {}, "openai:chat:m", {"apiBaseUrl": "http://a/v1"}),
        ("openai:m@x@http://a/v1,http://b/v1", {}, "openai:chat:m@x", {"apiBaseUrl": "http://a/v1"}),
        (
            "openai:m",
            {"url": "http://a/v1", "key_env": "MINE"},
            "openai:chat:m",
            {"apiBaseUrl": "http://a/v1", "apiKeyEnvar": "MINE"},
        ),
        ("openai:m@http://a/v1", {"key_env": "keyring:servers/me"}, "echo", None),
        ("openai:{{ env.HOME }}@http://a/v1", {}, "echo", None),
        ("openai:m@http://a/{% raw %}/v1", {}, "echo", None),
        ("bundled", {}, "echo", None),
    ],
)
def test_promptfoo_asks_the_run_s_server_with_its_key(
    run: Path, name: str, options: dict[str, str], id: str, place: dict[str, str] | None
) -> None:
    given = subject_of(run)
    models = {"task": replace(given.info.models["task"], name=name, options=options)}
    written = FORMATS["promptfoo"].write(replace(given, info=replace(given.info, models=models)))
    (line,) = [line for line in written["promptfooconfig.yaml"].split("\n") if line.startswith("providers: ")]
    decoding = {"temperature": 0, "max_tokens": given.source.task.max_tokens}
    config = {} if place is None else {"config": decoding | place}
    assert json.loads(line.removeprefix("providers: ")) == [{"id": id, **config}]


@pytest.mark.parametrize("to", FORMATS)
def test_a_run_s_own_export_is_faithful_without_any_library(
    to: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_library(to, monkeypatch)
    path = steepest.export(run, to, out=tmp_path / "out").path
    assert path is not None
    given = subject_of(run)
    rebuilt = FORMATS[to].rebuild(path, given, given.rows)
    assert list(rebuilt.messages) == [given.source.task.template.render(given.prompt, row) for row in given.rows]
    assert rebuilt.by == OWN or to in ("python", "yaml")
