"""Exports in the programs they are for: what these make of hostile prompts and rows is what was scored."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from subjects import LISTED, ROWS, TEMPLATES, cases, subject

from steepest.exporting import FORMATS, store
from steepest.exporting.subject import Subject
from steepest.tasks.task import Template
from steepest.types import Example

LIBRARIES = {"langchain": "langchain_core", "dspy": "dspy", "mlflow": "mlflow", "lm-eval": "lm_eval"}
TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.text("{}%#-$ axs\\\"'\n\r\t中🙂")
TAKEN = ("not", "true", "none", "None", "self", "loop", "range", "lm", "signature", "demos", "config", "column_x", "x")
"""Names of columns that a library may have for something else."""


def made(to: str, given: Subject, place: Path, rows: Sequence[Example]) -> str:
    """Write, rebuild, compare; and say what rebuilt it."""
    form = FORMATS[to]
    rebuilt = form.rebuild(store(form.write(given), place / "out", form.is_folder), given, rows)
    assert list(rebuilt.messages) == [given.source.task.template.render(given.prompt, row) for row in rows]
    return rebuilt.by


@pytest.fixture(params=LIBRARIES)
def to(request: pytest.FixtureRequest) -> str:
    """A format whose library is installed."""
    if find_spec(LIBRARIES[request.param]) is None:
        pytest.skip(f"{LIBRARIES[request.param]} is not installed")
    name: str = request.param
    return name


@pytest.mark.parametrize("number", range(len(cases())))
def test_a_library_makes_the_messages_that_were_scored(to: str, number: int, run: Path, tmp_path: Path) -> None:
    template, prompt = cases()[number]
    by = made(to, subject(run, prompt, template), tmp_path, ROWS)
    assert by.partition(" ")[0].replace("-", "_").startswith(LIBRARIES[to])


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_library_gives_any_text_back(
    to: str, run: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    prompt, system, *texts = data.draw(st.lists(TEXT, min_size=8, max_size=8))
    rows = [Example(f"row-{n}", text, "target", {"note": text[::-1]}) for n, text in enumerate(texts)]
    template = Template("{{{input}}\n{prompt}%{note}", system)
    made(to, subject(run, prompt, template, rows), tmp_path_factory.mktemp("any"), rows)


def test_columns_may_be_named_as_a_library_names_its_own(to: str, run: Path, tmp_path: Path) -> None:
    rows = [Example("1", "in", "target", {name: f"{{{name}}}" for name in TAKEN})]
    template = Template("{input} {prompt}" + "".join(f" {{{name}}}" for name in TAKEN), "example")
    made(to, subject(run, "Think.", template, rows), tmp_path, rows)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 4, 7, 8, 9, 11, 12])
def test_promptfoo_makes_the_messages_that_were_scored(number: int, promptfoo: str, run: Path, tmp_path: Path) -> None:
    template, prompt = cases()[number]
    assert made("promptfoo", subject(run, prompt, template), tmp_path, ROWS).startswith("promptfoo ")


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_langchain_dumps_and_loads_the_template(run: Path, tmp_path: Path) -> None:
    load = pytest.importorskip("langchain_core.load", reason="langchain-core is not installed")
    given = subject(run, LISTED, TEMPLATES[2])
    path = store(FORMATS["langchain"].write(given), tmp_path / "x.py", False)
    prompt = load.loads(load.dumps(runpy.run_path(str(path))["PROMPT"]), allowed_objects="all")
    said = prompt.invoke(given.columns(ROWS[1])).to_messages()
    (wanted,) = given.source.task.template.render(given.prompt, ROWS[1])
    assert [message.content for message in said] == [wanted.content]
