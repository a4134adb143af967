from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from http_runs import journal
from server import Served

from cli.commands import Said, Shell
from models.endpoint.stub import error, running
from steepest.tasks.loading import load_task

pytestmark = pytest.mark.slow

SMALL = ("--set", "samples=2", "--set", "exemplars=2", "--set", "max_tokens=48", "--steps", "1")
SPLITS = "splits: {most_train: 6, most_dev: 6, most_test: 8}\n"


@pytest.fixture(scope="module")
def rows() -> str:
    """Some rows of the bundled task: all of them would be a thousand calls."""
    source = load_task("shuffled")
    examples = (*source.task.dev, *source.task.train)[:80]
    return json.dumps([{"input": example.input, "target": example.target} for example in examples])


@pytest.fixture
def shuffled(rows: str, shell: Shell) -> str:
    """A task file with these rows."""
    (shell.folder / "rows.json").write_text(rows)
    (shell.folder / "shuffled.yaml").write_text(f"data: rows.json\nanswer: text\nmax_tokens: 32\n{SPLITS}")
    return "shuffled.yaml"


def refused(said: Said) -> str:
    """What a command says that has failed: one line, behind the progress of a run that had begun."""
    assert said.code in (2, 3) and said.out == ""
    (line,) = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert said.err.endswith(f"{line}\n") and "Traceback" not in said.err
    return line


def nothing_paid(folder: Path) -> bool:
    """Whether a run folder can be gone on with, and holds no step, no answer and no result."""
    steps = list((folder / "steps").glob("*"))
    return (folder / "run.json").is_file() and not (steps or journal(folder) or (folder / "result.json").exists())


def test_a_run_with_a_server_behind_it(shell: Shell, shuffled: str, served: Served) -> None:
    said = shell("run", "opro", "--task", shuffled, "--model", served.model, *SMALL)
    assert said.code == 0, said.err
    (folder,) = shell.runs
    result = json.loads((folder / "result.json").read_text())
    assert result["sentence"].partition(":")[0].split(".")[0] in said.out
    assert re.search(rf"^models +{re.escape(served.model)} as task and optimizer$", said.out, re.M)
    assert {call["role"] for call in journal(folder)} == {"task", "optimizer"}
    again = next(line for line in said.out.splitlines() if line.startswith("again"))
    assert f"--task {shuffled} --model {served.model}" in again
    shown = shell("show", folder, "--prompt")
    assert shown.out == result["prompt"]["best"] + "\n"


def test_a_model_that_the_server_does_not_have(shell: Shell, shuffled: str, served: Served) -> None:
    line = refused(shell("run", "opro", "--task", shuffled, "--model", f"openai:nobody@{served.url}", *SMALL))
    (folder,) = shell.runs
    assert "requested 'nobody'" in line and served.url in line
    assert line.endswith(f"go on with: steepest resume {folder.relative_to(shell.folder)}")
    assert nothing_paid(folder)


def test_a_url_that_is_no_api(shell: Shell, shuffled: str, served: Served) -> None:
    url = served.url.replace("/v1", "/v2")
    line = refused(shell("run", "opro", "--task", shuffled, "--model", f"openai:tiny@{url}", *SMALL))
    assert f"{url} does not know the model 'tiny' or is not the address of an API (HTTP 404" in line
    assert nothing_paid(shell.runs[0])


def test_nobody_listens(shell: Shell, shuffled: str) -> None:
    model = "openai:tiny@http://127.0.0.1:9/v1"
    line = refused(shell("run", "opro", "--task", shuffled, "--model", model, *SMALL))
    assert "no server can be reached at http://127.0.0.1:9/v1" in line and "start it, or correct the url" in line
    assert nothing_paid(shell.runs[0])


def test_a_server_that_wants_a_key(shell: Shell, shuffled: str) -> None:
    with running(lambda asked: error(401, "who are you?")) as stub:
        line = refused(shell("run", "opro", "--task", shuffled, "--model", f"openai:tiny@{stub.url}", *SMALL))
    assert f"{stub.url} wants a key (HTTP 401), and the variable OPENAI_API_KEY is not set; export it" in line
    assert nothing_paid(shell.runs[0])


@pytest.mark.parametrize(
    ("model", "rule"),
    [
        ("openai:gpt-5", "needs a key, and the variable OPENAI_API_KEY is not set"),
        ("openai:tiny@127.0.0.1:9/v1", "a server's URL begins with http:// or https://"),
        ("openai:tiny@localhost/v1", "a server's URL begins with http:// or https://"),
        ("openai:tiny@ftp://127.0.0.1/v1", "a server's URL begins with http:// or https://"),
        ("openai:@http://127.0.0.1:9/v1", "needs the name of a model"),
        ("openai:tiny@http://me:secret@127.0.0.1:9/v1", "carry no user, password or query"),
    ],
)
def test_what_is_refused_before_anybody_is_asked(model: str, rule: str, shell: Shell, shuffled: str) -> None:
    line = refused(shell("run", "opro", "--task", shuffled, "--model", model, *SMALL))
    assert rule in line and "secret" not in line
    assert shell.runs == []
