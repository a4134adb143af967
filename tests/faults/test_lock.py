"""One writer per folder: the second is refused, the dead hold nothing, and who only reads is let in."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import steepest
from steepest import lock
from steepest.cli import main
from steepest.engine import Run
from steepest.errors import SpecError, StateError
from steepest.ledger import Limits
from steepest.lock import Lock
from steepest.models.scripted import Scripted
from steepest.testing.toy import toy_answer, toy_model
from testing_methods import Adder, toy_plan

HOLDER = """
import sys, time
from pathlib import Path
from steepest.lock import Lock
with Lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


FORKING = """
import os, sys, time
from pathlib import Path
from steepest.lock import Lock
with Lock(Path(sys.argv[1])):
    if os.fork() == 0:
        print("forked", flush=True)
        time.sleep(60)
    else:
        os.wait()
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "GRACE", 0.05)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds tmp_path/run."""
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "run")], stdout=subprocess.PIPE)
    assert holder.stdout and holder.stdout.readline() == b"held\n"
    yield holder
    holder.kill()
    holder.wait()
    holder.stdout.close()


def begun(path: Path) -> Path:
    with Run.create(path, toy_plan(limits=Limits(steps=1))) as run:
        list(run.until())
        run.finish()
    return path


def test_the_second_is_told_who_the_first_is_on_one_line(tmp_path: Path, held: subprocess.Popen[bytes]) -> None:
    with pytest.raises(StateError) as refused:
        Lock(tmp_path / "run").acquire()
    said = str(refused.value)
    assert re.search(rf"got {tmp_path}/run, which is held by process {held.pid} on \S+ since \d{{4}}-\S+; wait", said)
    assert "\n" not in said


def test_whoever_is_killed_holds_nothing(tmp_path: Path, held: subprocess.Popen[bytes]) -> None:
    held.kill()
    with Lock(tmp_path / "run"):
        written = json.loads((tmp_path / "run" / lock.FILE).read_text())
        assert written["pid"] == os.getpid()
    assert (tmp_path / "run" / lock.FILE).is_file()


def test_a_moment_is_given_to_a_process_that_is_ending(
    tmp_path: Path, held: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "GRACE", 30.0)
    started = time.monotonic()
    subprocess.Popen(["sh", "-c", f"sleep 0.2; kill -9 {held.pid}"]).wait()
    with Lock(tmp_path / "run"):
        assert time.monotonic() - started < 10


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is forked there")
def test_what_a_killed_process_had_forked_holds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKING, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as holder:
        assert holder.stdout and holder.stdout.readline() == b"forked\n"
        try:
            with pytest.raises(StateError, match=f"held by process {holder.pid}"):
                Lock(tmp_path / "run").acquire()
            holder.kill()
            holder.wait()
            with Lock(tmp_path / "run"):
                pass
        finally:
            os.killpg(holder.pid, signal.SIGKILL)


def test_one_process_cannot_write_twice_either(tmp_path: Path) -> None:
    with Lock(tmp_path / "run") as first:
        with pytest.raises(StateError, match=f"held by process {os.getpid()} on"):
            Lock(tmp_path / "run").acquire()
        first.release()
        with Lock(tmp_path / "run"):
            pass


def test_a_run_is_locked_from_its_beginning_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with Run.create(path, toy_plan(limits=Limits(steps=1))) as run:
        with pytest.raises(StateError, match="one process at a time"):
            Run.open(path, models={"task": toy_model()})
        list(run.until())
    with Run.open(path, models={"task": toy_model()}), pytest.raises(StateError, match="one process at a time"):
        steepest.resume(path, quiet=True)


def test_a_run_that_cannot_be_opened_is_not_left_locked(tmp_path: Path) -> None:
    path = begun(tmp_path / "run")
    for _ in range(2):
        with pytest.raises(StateError, match="now has 'another'"):
            Run.open(path, models={"task": Scripted(toy_answer, "another")})
    with Lock(path):
        pass


def test_a_folder_that_another_is_about_to_fill_is_refused(tmp_path: Path, held: subprocess.Popen[bytes]) -> None:
    with pytest.raises(StateError, match=f"held by process {held.pid}"):
        Run.create(tmp_path / "run", toy_plan())
    held.kill()
    held.wait()
    Run.create(tmp_path / "run", toy_plan()).close()


def test_runs_that_begin_at_the_same_moment_get_a_folder_each(tmp_path: Path) -> None:
    ready, got = threading.Barrier(4), list[Path]()

    def begin(seed: int) -> None:
        given: dict[str, Any] = {"data": rows(), "model": toy_model(), "method": Adder(), "steps": 1}
        ready.wait()
        got.append(steepest.optimize(**given, seed=seed, runs=tmp_path, quiet=True).folder)

    begun = [threading.Thread(target=begin, args=(seed,)) for seed in range(4)]
    for each in begun:
        each.start()
    for each in begun:
        each.join()
    assert len(set(got)) == 4
    with pytest.raises(SpecError):
        steepest.optimize(data=rows(), model=toy_model(), method=Adder(), steps=-1, runs=tmp_path, quiet=True)
    assert {path for path in tmp_path.iterdir()} == set(got)


def test_readers_are_let_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = begun(tmp_path / "run")
    with Lock(path):
        reading = ["show", path], ["show", path, "--prompt"], ["report", path], ["list", "runs", "--runs", tmp_path]
        for command in reading:
            code = main(list(map(str, command)))
            assert code == 0, capsys.readouterr().err
        assert main(["resume", str(path)]) == 2
    assert "error: one process at a time writes into a folder" in capsys.readouterr().err


def compared(out: Path, **more: Any) -> Any:
    return steepest.compare([Adder()], data=rows(), seeds=2, calls=80, model=toy_model(), out=out, quiet=True, **more)


def rows() -> list[dict[str, str]]:
    return [{"input": f"Level {1 + n % 4}: what is {n} + {n}?", "target": str(2 * n)} for n in range(40)]


def test_comparisons(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert not compared(out).failed
    with Lock(out), pytest.raises(StateError, match="one process at a time"):
        compared(out)
    cell = min((out / "cells").iterdir())
    (cell / "result.json").unlink()
    with Lock(cell):
        (failed,) = compared(out).failed
    assert f"got {cell}, which is held by process {os.getpid()}" in failed.error
    assert not compared(out).failed


def test_transfers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = begun(tmp_path / "run"), tmp_path / "out"
    given = ["transfer", str(path), "--model", "scripted", "--out", str(out), "--rows", "4"]
    with Lock(out):
        assert main(given) == 2
    assert "one process at a time" in capsys.readouterr().err
    assert main(given) == 0


def test_a_file_system_without_locks_is_gone_on_with_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(file: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock, "_lock", no_locks)
    begun(tmp_path / "run")
    assert "has no locks" in caplog.text


def test_what_stands_in_the_way_of_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="a folder that can be made and written, got .*file"):
        Lock(tmp_path / "file").acquire()
