"""Exports used as their users would use them: what reaches a server on loopback, and what the answers score."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from subjects import finished_run

import steepest
from models.endpoint.stub import Asked, Say, Stub, running, said
from steepest.cli import main
from steepest.exporting.subject import Subject, subject_of

pytestmark = pytest.mark.slow

POST = """
import json, sys, urllib.request

def post(messages, **decoding):
    body = json.dumps({"model": "stub", "messages": messages, **decoding}).encode()
    request = urllib.request.Request(sys.argv[1] + "/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as response:
        return json.load(response)["choices"][0]["message"]["content"]

rows = json.load(open("columns.json"))
"""
PYTHON = (
    POST
    + """
import prompt
said = [post(prompt.build(row), temperature=0.0, max_tokens=prompt.DECODING["max_tokens"]) for row in rows]
"""
)
LANGCHAIN = (
    POST
    + """
from langchain_core.language_models import SimpleChatModel
from prompt_template import DECODING, PROMPT

ROLES = {"system": "system", "human": "user", "ai": "assistant"}

class Posting(SimpleChatModel):
    _llm_type = "posting"

    def _call(self, messages, stop=None, run_manager=None, **decoding):
        return post([{"role": ROLES[each.type], "content": each.content} for each in messages], **decoding)

chain = PROMPT | Posting().bind(**DECODING)
said = [chain.invoke(row).content for row in rows]
"""
)
DSPY = (
    POST
    + """
import dspy
from program import Program

dspy.configure(lm=dspy.LM("openai/stub", api_base=sys.argv[1], api_key="none", cache=False))
program = Program()
said = [program(**row).output for row in rows]
"""
)
MLFLOW = (
    POST
    + """
import mlflow
from register_prompt import NAME

prompt = mlflow.genai.load_prompt(f"prompts:/{NAME}/1")
tokens = int(prompt.tags["max_tokens"])
said = [post(prompt.format(**row), temperature=float(prompt.tags["temperature"]), max_tokens=tokens) for row in rows]
"""
)
LM_EVAL = """
import json, sys
import lm_eval
from lm_eval.tasks import TaskManager

# As the command line does, but for the index of thousands of tasks that come with lm-eval.
model = {"model": "stub", "base_url": sys.argv[1] + "/chat/completions", "num_concurrent": 1, "max_retries": 1}
tasks = TaskManager(include_path=".", include_defaults=False)
found = lm_eval.simple_evaluate(
    "local-chat-completions", model, ["steepest_rows"], task_manager=tasks, apply_chat_template=True
)
samples = found["samples"]["steepest_rows"]
scores = {json.loads(each["doc"]["example"])["id"]: each["score"] for each in samples}
said = {"scores": scores, "mean": found["results"]["steepest_rows"]["score,none"]}
json.dump(said, open("said.json", "w"))
"""
DRIVERS = {
    "python": ("prompt.py", PYTHON),
    "langchain": ("prompt_template.py", LANGCHAIN),
    "dspy": ("program.py", DSPY),
    "mlflow": ("register_prompt.py", MLFLOW),
}
NEEDED = {"langchain": "langchain_core", "dspy": "dspy", "mlflow": "mlflow", "lm-eval": "lm_eval"}


def answer(asked: Asked) -> Say:
    """Something that depends on every character of the messages."""
    digest = hashlib.sha256(json.dumps(asked.body["messages"]).encode()).hexdigest()
    return said(digest[: 10 + int(digest[0], 16)])


@dataclass(frozen=True)
class Served:
    """A run of a model on loopback."""

    stub: Stub
    run: Path
    subject: Subject

    @property
    def model(self) -> str:
        return f"openai:stub@{self.stub.url}"

    def heard(self, before: int) -> None:
        """What the server was asked since then is what the run had asked: each row once, decoded alike."""
        bodies = [asked.body for asked in self.stub.asked[before:]]
        render = self.subject.source.task.template.render
        wanted = [[vars_of(turn) for turn in render(self.subject.prompt, row)] for row in self.subject.rows]
        assert sorted(json.dumps(body["messages"]) for body in bodies) == sorted(json.dumps(each) for each in wanted)
        assert {body["temperature"] for body in bodies} == {0}
        assert {body.get("max_tokens", body.get("max_completion_tokens")) for body in bodies} == {256}
        assert not any(body.get("stop") for body in bodies)

    def score(self, outputs: Sequence[str]) -> dict[str, float]:
        """Outputs of the rows, by the run's metric."""
        rule = self.subject.source.task.rule
        return {row.id: rule(row, output).score for row, output in zip(self.subject.rows, outputs, strict=True)}


def vars_of(turn: steepest.Message) -> dict[str, str]:
    return {"role": turn.role, "content": turn.content}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch, running(answer) as stub:
        patch.setenv("OPENAI_API_KEY", "none")
        run = finished_run(tmp_path_factory.mktemp("served"), model=f"openai:stub@{stub.url}", options={})
        yield Served(stub, run, subject_of(run))


def called(command: Sequence[str | Path], folder: Path, **settings: str) -> str:
    """What a command prints, that is offline but for this machine."""
    environment = {
        **os.environ,
        "DO_NOT_TRACK": "1",
        "DSPY_CACHEDIR": str(folder),
        "HF_HOME": str(folder),
        "HF_HUB_OFFLINE": "1",
        "LANGSMITH_TRACING": "false",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PROMPTFOO_CONFIG_DIR": str(folder),
        "PROMPTFOO_DISABLE_TELEMETRY": "1",
        "PROMPTFOO_DISABLE_UPDATE": "1",
        "PROMPTFOO_PYTHON": sys.executable,
        **settings,
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode in (0, 100), done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def needs(to: str) -> None:
    if to in NEEDED and find_spec(NEEDED[to]) is None:
        pytest.skip(f"{NEEDED[to]} is not installed")


@pytest.mark.parametrize("to", DRIVERS)
def test_python_programs_ask_and_score_as_the_run_did(to: str, served: Served, tmp_path: Path) -> None:
    needs(to)
    name, driver = DRIVERS[to]
    steepest.export(served.run, to, out=tmp_path / name)
    rows = [served.subject.columns(row) for row in served.subject.rows]
    (tmp_path / "columns.json").write_text(json.dumps(rows))
    (tmp_path / "driver.py").write_text(driver + "\njson.dump(said, open('said.json', 'w'))\n")
    registry = {"MLFLOW_TRACKING_URI": (tmp_path / "registry").as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true"}
    if to == "mlflow":
        assert "registered rows-best, version 1" in called([sys.executable, name], tmp_path, **registry)
    before = len(served.stub.asked)
    called([sys.executable, "driver.py", served.stub.url], tmp_path, **registry)
    served.heard(before)
    assert served.score(json.loads((tmp_path / "said.json").read_bytes())) == served.subject.recorded("dev")


def test_lm_eval_asks_and_scores_as_the_run_did(served: Served, tmp_path: Path) -> None:
    needs("lm-eval")
    folder = steepest.export(served.run, "lm-eval", out=tmp_path / "task").path
    assert folder is not None
    (folder / "driver.py").write_text(LM_EVAL)
    before = len(served.stub.asked)
    called([sys.executable, "driver.py", served.stub.url], folder)
    served.heard(before)
    results, recorded = json.loads((folder / "said.json").read_bytes()), served.subject.recorded("dev")
    assert results["scores"] == recorded
    assert results["mean"] == pytest.approx(sum(recorded.values()) / len(recorded))


def test_promptfoo_asks_and_scores_as_the_run_did(promptfoo: str, served: Served, tmp_path: Path) -> None:
    folder = steepest.export(served.run, "promptfoo", out=tmp_path / "eval").path
    assert folder is not None
    before = len(served.stub.asked)
    called([promptfoo, "eval", "--no-cache", "--no-write", "--no-table", "--output", "said.json"], folder)
    served.heard(before)
    results: list[Any] = json.loads((folder / "said.json").read_text())["results"]["results"]
    rows = served.subject.rows
    assert {rows[each["vars"]["row"]].id: each["score"] for each in results} == served.subject.recorded("dev")


def test_steepest_asks_and_scores_the_task_file_as_the_run_did(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steepest.export(served.run, "yaml", out=tmp_path / "task")
    before = len(served.stub.asked)
    task = str(tmp_path / "task" / "task.yaml")
    asked = ["eval", "--task", task, "--model", served.model, "--split", "dev", "--json"]
    assert main([*asked, "--answer", served.subject.metric["use"]]) == 0
    served.heard(before)
    recorded = served.subject.recorded("dev")
    score = json.loads(capsys.readouterr().out)["score"]["mean"]
    assert score == pytest.approx(sum(recorded.values()) / len(recorded))
