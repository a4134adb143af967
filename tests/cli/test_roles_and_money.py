from __future__ import annotations

import json
import re
from pathlib import Path

from commands import MODEL, Shell

ASKER = "testing_methods:Asker"
OPTIMIZER = ("--optimizer", "scripted", "--option", "optimizer.answer=steepest.testing.toy:toy_answer")


def run(shell: Shell, *arguments: str) -> list[str]:
    return ["run", ASKER, *shell.rows, *MODEL, *OPTIMIZER, "--steps", "2", *arguments]


def test_roles_and_dollars_are_told_at_the_end(shell: Shell) -> None:
    said = shell(*run(shell, "--price", "task=1/2", "--price", "optimizer=100/400"))
    assert said.code == 0
    assert re.search(
        r"^cost +\d+ calls and [\d,]+ tokens \(\$[\d.]+\) to search, .* \(\$[\d.]+\) to measure$", said.out, re.M
    )
    assert re.search(r"^models +scripted as task and optimizer$", said.out, re.M)
    assert re.search(r"step 2 of 2 · .* tokens · \$0\.\d{4} · ", said.err)
    report = (shell.runs[0] / "report.html").read_text()
    assert "of it optimizer" in report and ">Dollars<" in report
    again = next(line for line in said.out.splitlines() if line.startswith("again"))
    assert "--price task=1/2 --price optimizer=100/400" in again and "--optimizer scripted" in again


def test_a_dry_run_says_the_most_it_costs_and_does_nothing(shell: Shell) -> None:
    said = shell(*run(shell, "--price", "1/2", "--dry-run"))
    assert said.code == 0 and said.err == ""
    rows = {line.split("  ")[0]: line.split("  ") for line in said.out.splitlines()}
    rows = {name: [cell.strip() for cell in cells if cell.strip()] for name, cells in rows.items()}
    assert {"search: task", "search: optimizer", "measuring on dev: task", "test: task"} <= set(rows)
    optimizer = rows["search: optimizer"]
    assert optimizer[1:5] == ["scripted", "0", "3", "6"]
    assert optimizer[-1].startswith("$")
    assert "Which word would help here?" in said.out and "Limits of the search: 2 steps." in said.out
    assert not (shell.folder / "runs").exists()


def test_a_dry_run_of_a_white_box_method_gives_calls_only(shell: Shell) -> None:
    said = shell("run", "greater", *shell.rows, *MODEL, "--dry-run")
    assert said.code == 2 and "WhiteBox" in said.err


def test_a_model_that_goes_down_ends_the_run_with_the_line_that_resumes_it(shell: Shell) -> None:
    (shell.folder / "mine.py").write_text(
        "from pathlib import Path\n"
        "from steepest.testing.toy import toy_answer\n"
        "from steepest.types import Response\n"
        "asked = []\n"
        "def answer(request):\n"
        "    asked.append(request)\n"
        "    down = len(asked) > 60 and not Path('up').exists()\n"
        "    return Response('', 0, 0, 'failed', 'HTTP 503') if down else toy_answer(request)\n"
    )
    model = ("--model", "scripted", "--option", "answer=mine.py:answer")
    cut = shell("run", "testing_methods:Adder", *shell.rows, *model, "--steps", "3", "--fail-on", "0")
    folder = shell.runs[0].relative_to(shell.folder)
    assert cut.code == 2 and "mostly: HTTP 503" in cut.err
    assert cut.err.splitlines()[-1].endswith(f"go on with: steepest resume {folder}")
    (shell.folder / "up").touch()
    resumed = shell("resume", folder, "--fail-on", "0.5", "--json").json
    whole = shell.run("--steps", "3", "--json").json
    assert (resumed["test"], resumed["counts"]) == (whole["test"], whole["counts"])


def test_unanswered_rows_are_told(shell: Shell) -> None:
    (shell.folder / "mine.py").write_text(
        "from steepest.testing.toy import toy_answer\n"
        "from steepest.types import Response\n"
        "def answer(request):\n"
        "    said = toy_answer(request)\n"
        "    return Response('', 9, 0, 'failed', 'too long for the model') if said[-1] == '7' else said\n"
    )
    said = shell(
        "run",
        "testing_methods:Adder",
        *shell.rows,
        *MODEL[:3],
        "answer=mine.py:answer",
        "--steps",
        "1",
        "--fail-on",
        "1",
    )
    assert re.search(
        r"^note +\d+ requests? of the search got no answer: task: too long for the model \d+$", said.out, re.M
    )
    steps = [json.loads(path.read_text()) for path in sorted((shell.runs[0] / "steps").iterdir())]
    assert sum(step["counts"].get("unanswered: task: too long for the model", 0) for step in steps) > 0
    assert "Proposals" in (shell.runs[0] / "report.html").read_text()


def test_prices_are_written_read_over_written(shell: Shell) -> None:
    for given, message in (
        (["--price", "cheap"], "a price is READ/WRITTEN in dollars per million tokens, got 'cheap'"),
        (["--price", "1/2", "--price", "task=1/2"], "one price for all roles stands alone"),
        (["--price", "taks=1/2"], "did you mean 'task'"),
        (["--fail-on", "3"], "a share of requests from 0 to 1"),
    ):
        said = shell(*run(shell, *given))
        assert said.code == 2 and message in said.err, said.err
    assert not Path("runs").exists()


def test_parts_and_servers_are_listed(shell: Shell) -> None:
    assert re.search(r"^ucb +\S", shell("list", "parts").out, re.M)
    assert "openai:MODEL@URL" in shell("list", "models").out
    methods = shell("list", "methods").out
    assert all(re.search(rf"^{name} +\S", methods, re.M) for name in ("greater", "ape", "opro", "gradsum"))


def test_resume_takes_other_options_where_the_answers_stay_the_same(shell: Shell) -> None:
    shell(*run(shell))
    (folder,) = shell.runs
    option = "answer=steepest.testing.toy:toy_answer"
    refused = shell("resume", str(folder), "--steps", "3", "--option", "optimizer.answer=go.py:other")
    assert refused.code == 2 and "go.py" in refused.err
    refused = shell("resume", str(folder), "--steps", "3", "--option", "judge.answer=go.py:other")
    assert refused.code == 2 and "an option for a role needs that role's model" in refused.err
    refused = shell("resume", str(folder), "--steps", "3", "--replicas", "2")
    assert refused.code == 2 and "no option 'replicas'" in refused.err
    resumed = shell("resume", str(folder), "--steps", "3", "--option", option, "--option", f"optimizer.{option}")
    assert resumed.code == 0, resumed.err
