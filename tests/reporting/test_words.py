from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from folders import put, run_json, write_run

from steepest.reporting.html import page
from steepest.reporting.read import Tables, read_run
from steepest.reporting.words import (
    advice,
    command,
    duration,
    effort,
    headline,
    lead,
    players,
    plural,
    points,
    replies,
    unanswered,
)


def tables(folder: Path, fixed: int, broken: int) -> Tables:
    return read_run(write_run(folder / f"{fixed}-{broken}", fixed=fixed, broken=broken))


def test_headlines(tmp_path: Path) -> None:
    assert headline(tables(tmp_path, 40, 3).result) == "The new prompt is better."
    assert headline(tables(tmp_path, 6, 4).result) == "No real difference: keep your prompt."
    assert headline(tables(tmp_path, 3, 30).result) == "The new prompt is worse: keep yours."
    assert headline(None) == "Not finished: no verdict yet."
    same = read_run(write_run(tmp_path / "same", prompts=["a", "a"], dev=[0.5, 0.5], fixed=0, broken=0))
    assert headline(same.result) == "No better prompt was found: keep yours."
    assert lead(same).endswith("Yours answers 45.0 % of 100 held-out rows correctly.")


def test_the_lead_has_both_accuracies_the_difference_and_p(tmp_path: Path) -> None:
    assert lead(tables(tmp_path, 40, 3)) == (
        "The new prompt answers 85.0 % of 100 held-out rows correctly, the initial prompt 48.0 %: "
        "+37.0 points (95 % interval +26.0 to +47.0), p < 0.0001."
    )


def test_advice_only_where_more_rows_could_settle_it(tmp_path: Path) -> None:
    # 10 of 100 rows differ and the gain is 2 points: (1.96 sqrt(.1) + 0.8416 sqrt(.1 - .0004))² / .0004
    assert "about 1,960 held-out rows" in advice(tables(tmp_path, 6, 4))
    assert advice(tables(tmp_path, 4, 6)) == "" == advice(tables(tmp_path, 40, 3))


def test_an_unfinished_run_says_how_far_it_is(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", finished=False)
    assert lead(read_run(run)).startswith("3 steps done. The best prompt so far reaches 87.0 % on 200 dev rows")
    assert effort(read_run(run)).startswith("3 steps in 10 s.")
    for path in (run / "steps").iterdir():
        path.unlink()
    assert lead(read_run(run)) == "No step is committed yet."


def test_the_command_can_be_typed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    asked = run_json('It\'s "a" $prompt;\nrm')
    put(run / "run.json", asked)
    words = shlex.split(command(read_run(run)))
    assert words[:3] == ["steepest", "run", "greater"]
    assert words[3:] == [
        *("--task", "lies", "--model", "bundled", "--prompt", asked["prompt"], "--seed", "7"),
        *("--max-tokens", "96", "--set", "gradient=sampled", "--set", "mu=3"),
    ]


def test_a_run_that_kept_no_arguments_can_be_done_again_on_its_rows(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    put(run / "run.json", run_json("Answer.") | {"passed": {}})
    assert command(read_run(run)) == (
        f"steepest run greater --task {run} --model bundled --prompt Answer. --seed 7 --steps 40"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (10, "10 s"),
        (59.7, "1 min 0 s"),
        (161, "2 min 41 s"),
        (7380, "2 h 3 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_small_words() -> None:
    assert [plural(1, "row"), plural(2000, "row")] == ["1 row", "2,000 rows"]
    assert [points(0.374), points(-0.02), points(-0.0001)] == ["+37.4", "-2.0", "0.0"]


def of_roles(folder: Path) -> Tables:
    """A run of an optimizer and a task model, some of whose replies could not be used."""
    write_run(folder)
    info = json.loads((folder / "run.json").read_text())
    model = info["models"]["task"]
    info["models"] = {"task": model, "optimizer": {**model, "name": "openai:big"}, "judge": {**model}}
    put(folder / "run.json", info)
    usage = {"calls": 10, "prompt_tokens": 900, "output_tokens": 300, "reused": 0, "dollars": 0.5}
    for path in (folder / "steps").iterdir():
        counts = {"usable": 4, "dropped": 1, "unusable: duplicate": 2, "unusable: no tags": 3}
        counts["unanswered: optimizer: HTTP 503"] = 1
        step = {**json.loads(path.read_text()), "counts": counts}
        put(path, {**step, "usage": usage, "accounts": {"task": {**usage, "calls": 4}, "optimizer": usage}})
    return read_run(folder)


def test_replies_are_counted_with_their_reasons(tmp_path: Path) -> None:
    tables = of_roles(tmp_path / "run")
    assert replies(tables) == "16 usable, 4 given up; unusable: no tags 12, duplicate 8"
    assert unanswered(tables) == "4 requests of the search got no answer: optimizer: HTTP 503 4"
    assert players(tables) == "bundled as task and judge; openai:big as optimizer"
    plain = read_run(write_run(tmp_path / "plain"))
    assert (replies(plain), unanswered(plain), players(plain)) == ("", "", "bundled")


def test_the_report_tells_roles_replies_and_dollars(tmp_path: Path) -> None:
    told = page(of_roles(tmp_path / "run"))
    assert "openai:big as optimizer" in told and "of it optimizer" in told
    assert "<h2>Proposals</h2>" in told and "unusable: no tags" in told and "$2.00" in told
    plain = page(read_run(write_run(tmp_path / "plain")))
    assert "Proposals" not in plain and "Dollars" not in plain
