from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import METHOD, MODEL, Shell

import steepest
from steepest.cli import COMMANDS
from steepest.methods.greater import Greater


def test_run_says_the_verdict_first_and_how_to_have_it_again(shell: Shell) -> None:
    said = shell.run("--steps", "6")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == "The new prompt is better."
    assert "p < 0.0001" in said.out
    assert re.search(r"^initial +Answer the question\. *$", said.out, re.MULTILINE)
    assert re.search(r"^best +Answer the question\. \{\+.*\+\} *$", said.out, re.MULTILINE)
    report = next(line.split()[1] for line in lines if line.startswith("report"))
    assert (shell.folder / report).is_file()
    again = next(line.removeprefix("again").strip() for line in lines if line.startswith("again"))
    assert again.startswith(f"steepest run {METHOD}") and "--steps 6" in again


def test_the_command_to_have_it_again_gives_the_same_result(shell: Shell) -> None:
    import shlex

    first = shell.run("--json", "--seed", "3", "--set", "batch=6", "--prompt", "Say it.").json
    again = next(line for line in shell("show", shell.runs[0]).out.splitlines() if line.startswith("again"))
    second = shell(*shlex.split(again)[2:], "--json").json
    for result in (first, second):
        result["usage"].pop("seconds")
        result["measuring"].pop("seconds")
        result.pop("run")
    assert first == second


def test_json_is_the_content_of_the_result_file_and_nothing_else(shell: Shell) -> None:
    said = shell.run("--json")
    assert said.out == (shell.runs[0] / "result.json").read_text()
    result = said.json
    assert result["verdict"] in ("better", "no_difference", "worse")
    assert result["prompt"]["initial"] == "Answer the question."
    for side in ("initial", "best"):
        assert {"mean", "low", "high", "n"} <= set(result["test"][side])
    assert {"calls", "tokens", "seconds"} <= set(result["usage"])
    assert (result["method"], result["task"], result["seed"]) == (METHOD, "toy", 0)
    assert result["models"] == {"task": "scripted"}


def test_progress_goes_to_standard_error_as_plain_lines(shell: Shell) -> None:
    steps = [line for line in shell.run().err.splitlines() if line.startswith("step ")]
    assert [line.split(" · ")[0] for line in steps] == ["step 0 of 2", "step 1 of 2", "step 2 of 2"]
    assert re.fullmatch(
        r"step 2 of 2 · dev [\d.]+ % \([\d.]+ to [\d.]+\) · \d+ calls · [\d,]+ tokens · best: Answer .*", steps[-1]
    )


def test_run_folders_never_collide(shell: Shell) -> None:
    shell.run("--steps", "0")
    shell.run("--steps", "0")
    first, second = shell.runs
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-adder-toy", first.name)
    assert second.name == f"{first.name}-2"


def test_resume_goes_on_to_the_same_result(shell: Shell) -> None:
    whole = shell.run("--steps", "4", "--json").json
    shell.run("--steps", "1")
    resumed = shell("resume", shell.runs[1], "--steps", "4", "--json").json
    assert resumed["prompt"] == whole["prompt"]
    assert resumed["test"] == whole["test"]
    assert resumed["usage"] | {"seconds": 0} == whole["usage"] | {"seconds": 0}
    assert resumed["steps"] == 4


def test_a_second_look_at_the_test_rows_is_said(shell: Shell) -> None:
    assert shell.run("--steps", "1", "--json").json["test_opened"] == 1
    assert "test rows were opened" not in shell("show", shell.runs[0]).out
    said = shell("resume", shell.runs[0], "--steps", "2")
    assert "The test rows were opened 2 times;" in said.out
    assert "The test rows were opened 2 times;" in (shell.runs[0] / "report.html").read_text()


def test_limits_end_a_run_and_say_why(shell: Shell) -> None:
    result = shell.run("--steps", "50", "--calls", "60", "--json").json
    assert result["usage"]["calls"] <= 60
    assert "60 calls" in result["stopped"]


def test_interruption_says_how_to_go_on_and_nothing_is_lost(shell: Shell) -> None:
    (shell.folder / "mine.py").write_text(
        "from pathlib import Path\n"
        "from steepest.testing.toy import toy_answer\n"
        "asked = []\n"
        "def answer(request):\n"
        "    asked.append(request)\n"
        "    if len(asked) == 70 and not Path('go').exists():\n"
        "        raise KeyboardInterrupt\n"
        "    return toy_answer(request)\n"
    )
    run = ("run", METHOD, *shell.rows, "--model", "scripted", "--option", "answer=mine.py:answer", "--steps", "4")
    cut = shell(*run)
    assert cut.code == 130
    assert cut.out == ""
    assert f"interrupted; go on with: steepest resume {shell.runs[0].relative_to(shell.folder)}" in cut.err
    (shell.folder / "go").touch()
    finished = len((shell.runs[0] / "calls.jsonl").read_text().splitlines())
    resumed = shell("resume", shell.runs[0], "--json").json
    whole = shell(*run, "--json").json
    assert resumed["test"] == whole["test"]
    assert resumed["usage"]["calls"] == whole["usage"]["calls"]
    keys = [json.loads(line)["key"] for line in (shell.runs[0] / "calls.jsonl").read_text().splitlines()]
    assert len(keys) == len(set(keys)) > finished


def test_torn_journal_line_is_repaired_and_said(shell: Shell, caplog: pytest.LogCaptureFixture) -> None:
    shell.run("--steps", "1")
    with (shell.runs[0] / "calls.jsonl").open("a") as journal:
        journal.write('{"key": "ab')
    assert shell("resume", shell.runs[0], "--steps", "2").code == 0
    assert "torn" in caplog.text


def test_eval_measures_the_best_prompt_of_a_run(shell: Shell) -> None:
    result = shell.run("--steps", "4", "--json").json
    measured = shell("eval", shell.runs[0], "--json").json
    assert measured["prompt"] == result["prompt"]["best"]
    assert measured["score"] == result["test"]["best"]
    dev = shell("eval", shell.runs[0], "--split", "dev", "--json").json
    assert dev["score"] == result["dev"]["best"]
    assert " on " in shell("eval", shell.runs[0]).out.splitlines()[0]


def test_eval_measures_any_prompt_on_any_rows(shell: Shell) -> None:
    good, bad = (
        shell("eval", "--prompt", prompt, *shell.rows, *MODEL, "--json").json["score"]["mean"]
        for prompt in ("carefully stepwise check units", "Just say it.")
    )
    assert (good, bad) == (1.0, 0.0)


def test_report_is_written_again(shell: Shell) -> None:
    shell.run("--steps", "0")
    report = shell.runs[0] / "report.html"
    report.unlink()
    assert shell("report", shell.runs[0]).out.strip() == str(report)
    assert report.is_file()


def test_lists(shell: Shell) -> None:
    shell.run("--steps", "0")
    assert "greater" in shell("list", "methods").out
    assert "hf:NAME" in shell("list", "models").out
    assert "arithmetic" in shell("list", "tasks").out
    assert "no_difference" in shell("list", "runs").out


def test_show_gives_settings_with_texts_and_defaults(shell: Shell) -> None:
    said = shell("show", "greater").out
    assert f"  mu={Greater().mu}\n      Shortlisted edits" in said
    assert "arXiv" in said


def test_show_gives_the_bare_prompt(shell: Shell) -> None:
    best = shell.run("--steps", "4", "--json").json["prompt"]["best"]
    assert shell("show", shell.runs[0], "--prompt").out == best + "\n"


def test_help_and_version(shell: Shell) -> None:
    assert all(f"\n  {command}" in shell("--help").out for command in COMMANDS)
    assert shell().out == shell("--help").out
    assert shell("--version").out.strip() == steepest.__version__
    for command in COMMANDS:
        assert shell(command, "--help").out.startswith(f"Usage: steepest {command}")


def test_help_is_fast_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from steepest.cli import main; main(['--help'])\n"
        "print([m for m in ('numpy', 'torch', 'scipy', 'steepest.engine') if m in sys.modules])"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert time.perf_counter() - started < 5.0


def test_installed_command_exits_with_the_code_of_the_error(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("steepest")
    done = subprocess.run([command, "list", "metods"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: there is no list of 'metods'; did you mean 'methods'?\n"


def test_a_method_is_written_as_in_compare(shell: Shell) -> None:
    said = shell("run", f"{METHOD}:wide,batch=6", *shell.rows, *MODEL, "--steps", "1", "--set", "tags=a,b")
    assert said.code == 0
    assert shell.runs[0].name.endswith("adder-toy")
    method = json.loads((shell.runs[0] / "run.json").read_text())["method"]
    assert (method["batch"], method["tags"]) == (6, ["a", "b"])
    again = next(line for line in said.out.splitlines() if line.startswith("again"))
    assert f"steepest run {METHOD} " in again and "--set preset=wide --set batch=6" in again


def test_the_package_is_a_command_too() -> None:
    said = subprocess.run([sys.executable, "-m", "steepest", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout == f"{steepest.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "runs/none"), "a run folder holds a run.json, got 'runs/none'"),
        (("show", "opro", "--prompt"), "--prompt prints that of a run, got 'opro'"),
        (("show", "OPRA"), "did you mean 'opro'"),
        (("export", "runs/none"), "Missing option '--to'; see `steepest export --help`"),
        (("rnu",), "see `steepest --help`"),
        (("run", "opro", "--task", "lies", "--model", "gpt-4o"), "write openai: before one behind a server"),
    ],
)
def test_a_mistake_is_answered_with_what_to_do(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    refused = shell(*arguments)
    assert refused.code == 2
    assert said in refused.err
