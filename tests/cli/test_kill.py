"""`steepest run`, killed in the middle, then `steepest resume`: as if nothing had happened."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commands import Shell, write_rows

TESTS = Path(__file__).parents[1]
MODEL = """
import sys
import time
from pathlib import Path

sys.path.insert(0, {tests!r})
from toy_whitebox import ToyWhiteBox, judge


class Slow(ToyWhiteBox):
    # Notes what is asked, and what is in the journal when the next one is asked.
    def __init__(self, log):
        super().__init__()
        self.log = Path(log)

    def note(self, *what):
        with self.log.open("a") as file:
            file.write(repr(what) + "\\n")

    def generate(self, requests):
        for index, response in super().generate(requests):
            self.note("asked", requests[index])
            time.sleep(0.002)
            yield index, response
            self.note("done", requests[index])

    def gradient(self, *given):
        self.note("asked", "gradient", given)
        time.sleep(0.02)
        return super().gradient(*given)
"""
METHOD = ("greater", "--set", "k=6", "--set", "rows=8", "--set", "margin=0", "--set", "gradient=sampled")
METHOD += ("--set", "samples=3", "--set", "preset=paper", "--set", "select=expected")
ROWS = ("--data", "rows.csv", "--layout", "{input} {prompt}", "--answer", "slow.py:judge", "--steps", "6")


def begin(shell: Shell) -> None:
    (shell.folder / "slow.py").write_text(MODEL.format(tests=str(TESTS)))
    write_rows(shell.folder / "rows.csv", [(f"What is {i * 7 + 3}?", str(i * 7 + 3)) for i in range(40)], COLUMNS)


COLUMNS = ("input", "target")


def run(log: str) -> tuple[str, ...]:
    return ("run", *METHOD, *ROWS, "--model", "slow.py:Slow", "--option", f"log={log}", "--json")


def kill_after(lines: int, journal: Path, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while not (journal.is_file() and journal.read_bytes().count(b"\n") >= lines):
        assert process.poll() is None and time.monotonic() < until, "the run ended or never began"
        time.sleep(0.002)
    process.kill()
    process.wait()


def told(result: Any) -> Any:
    for part in ("usage", "measuring"):
        del result[part]["seconds"]
    del result["run"]
    return result


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


@pytest.mark.slow
def test_killed_and_resumed_through_the_command_line(shell: Shell) -> None:
    begin(shell)
    whole = shell(*run("whole.txt"))
    assert whole.code == 0, whole.err
    first = shell.runs[0]
    calls = len(lines(first / "calls.jsonl"))
    command = [Path(sys.executable).with_name("steepest"), *run(str(shell.folder / "cut.txt"))]
    with subprocess.Popen(command, cwd=shell.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        cut = first.with_name(f"{first.name}-2")
        kill_after(calls // 2, cut / "calls.jsonl", process)
    before = lines(shell.folder / "cut.txt")
    assert not (cut / "result.json").exists()
    assert len(list((cut / "steps").glob("*.json"))) > 1
    resumed = shell("resume", cut, "--json")
    assert resumed.code == 0, resumed.err
    assert told(resumed.json) == told(whole.json)
    for path in sorted((first / "steps").glob("*.json")):
        one, other = (json.loads(p.read_text()) for p in (path, cut / "steps" / path.name))
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    keys = [json.loads(line)["key"] for line in lines(cut / "calls.jsonl")]
    assert len(keys) == len(set(keys)) == calls
    done = {line.removeprefix("('done', ") for line in before if line.startswith("('done'")}
    after = lines(shell.folder / "cut.txt")[len(before) :]
    asked_again = {line.removeprefix("('asked', ") for line in after if line.startswith("('asked'")}
    assert done and asked_again and not done & asked_again
