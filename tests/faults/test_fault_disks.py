"""Disks that fill up, folders that cannot be written, journals that were damaged."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fault_harness import Forks, Whole, check, keys, left_behind, undisturbed

from steepest.calls import Call, CallLog
from steepest.engine import Run
from steepest.ledger import Limits
from testing_methods import toy_plan

WORLD = "opro"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)  # some jobs give up the rights of root, before which nothing is read-only
        yield Path(folder)


@pytest.fixture(scope="module")
def whole(forks: Forks, place: Path) -> Whole:
    return undisturbed(forks, place, WORLD)


@pytest.fixture
def run(place: Path, request: pytest.FixtureRequest) -> Path:
    return place / "".join(c if c.isalnum() else "-" for c in request.node.name)


def is_one_line(err: str) -> bool:
    return err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_full_disk(forks: Forks, whole: Whole, run: Path, share: float) -> None:
    ended = forks(run, world=WORLD, kind="byte", at=int(share * whole.counts["byte"]), how="full")
    assert ended.found_the_disk_full, ended.err
    assert forks(run, world=WORLD).code == 0
    check(run, whole, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_file_that_may_not_grow(forks: Forks, whole: Whole, run: Path, seed: int) -> None:
    """The kernel writes a part of the line, and says so only when the rest is to be written."""
    size = (run.parent / "whole" / "calls.jsonl").stat().st_size
    limit = random.Random(seed).randrange(size // 4, size)
    ended = forks(run, world=WORLD, limit=limit, watched=False)
    assert ended.code == 2 and is_one_line(ended.err), ended.err
    assert (run / "calls.jsonl").stat().st_size <= limit
    assert forks(run, world=WORLD).code == 0
    check(run, whole, 1)


def test_whoever_interrupts_amid_a_line_may_go_on_in_the_same_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times, remember = itertools.count(), CallLog._remember

    def interrupted(log: CallLog, call: Call, size: int) -> None:
        if next(times) == 30:
            raise KeyboardInterrupt
        remember(log, call, size)

    monkeypatch.setattr(CallLog, "_remember", interrupted)
    for name in ("cut", "whole"):
        with Run.create(tmp_path / name, toy_plan(limits=Limits(steps=2))) as run:
            try:
                list(run.until())
            except KeyboardInterrupt:
                list(run.until())
            run.finish()
    assert next(times) > 60
    assert left_behind(tmp_path / "cut") == left_behind(tmp_path / "whole")
    assert keys(tmp_path / "cut") == keys(tmp_path / "whole")


@pytest.mark.slow
def test_a_folder_that_cannot_be_written(forks: Forks, whole: Whole, run: Path) -> None:
    assert forks(run, world=WORLD, how="SIGKILL", kind="call", at=30).was_killed
    before = (run / "calls.jsonl").read_bytes()
    modes = {path: path.stat().st_mode for path in (run, *run.rglob("*"))}
    for path, mode in modes.items():
        path.chmod(mode & 0o555)
    run.with_name(f"{run.name}.log").chmod(0o666)
    ended = forks(run, world=WORLD, nobody=True)
    assert ended.code == 2 and is_one_line(ended.err), ended.err
    assert "Permission denied" in ended.err and (run / "calls.jsonl").read_bytes() == before
    for path, mode in modes.items():
        path.chmod(mode)
    assert forks(run, world=WORLD).code == 0
    check(run, whole, 1)


def cut(journal: Path, dice: random.Random) -> None:
    data = journal.read_bytes()
    last = data[:-1].rindex(b"\n") + 1
    journal.write_bytes(data[: dice.randrange(last + 1, len(data))])


def zeroed(journal: Path, dice: random.Random) -> None:
    data = journal.read_bytes()
    last = data[:-1].rindex(b"\n") + 1
    journal.write_bytes(data[:last] + bytes(dice.randrange(1, 5000)))


def garbled(journal: Path, dice: random.Random) -> None:
    data = journal.read_bytes()
    last = data[:-1].rindex(b"\n") + 1
    journal.write_bytes(data[:last] + dice.randbytes(dice.randrange(1, 300)).replace(b"\n", b"?") + b"\n")


@pytest.mark.slow
@pytest.mark.parametrize("damage", [cut, zeroed, garbled])
@pytest.mark.parametrize("seed", range(2))
def test_a_damaged_last_line_is_cut_off_and_its_call_made_again(
    forks: Forks, whole: Whole, run: Path, damage: Callable[[Path, random.Random], None], seed: int
) -> None:
    dice = random.Random(seed)
    assert forks(run, world=WORLD, how="SIGKILL", kind="call", at=dice.randrange(20, 80)).was_killed
    damage(run / "calls.jsonl", dice)
    ended = forks(run, world=WORLD)
    assert ended.code == 0, ended.err
    assert "the last line was torn" in ended.err
    check(run, whole, 2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_damage_further_up_is_an_error_that_changes_nothing(forks: Forks, whole: Whole, run: Path, seed: int) -> None:
    dice = random.Random(seed)
    assert forks(run, world=WORLD, how="SIGKILL", kind="call", at=60).was_killed
    journal = run / "calls.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    number = dice.randrange(len(lines) - 1)
    spoilt = [*lines[:number], lines[number][: dice.randrange(10, 100)] + b"\n", *lines[number + 1 :]]
    journal.write_bytes(b"".join(spoilt))
    ended = forks(run, world=WORLD)
    assert ended.code == 2 and is_one_line(ended.err), ended.err
    assert f"line {number + 1} is not a call" in ended.err
    assert journal.read_bytes() == b"".join(spoilt)
    # Whoever removes the line pays for its call again where it is needed, and for no other.
    journal.write_bytes(b"".join([*lines[:number], *lines[number + 1 :]]))
    assert forks(run, world=WORLD).code == 0
    found = keys(run)
    assert len(found) == len(set(found))
    assert set(whole.keys) - set(found) <= {json.loads(lines[number])["key"]}


@pytest.mark.slow
@pytest.mark.parametrize("kept", [0, 100, -1], ids=["empty", "half", "zeros"])
def test_a_last_step_that_a_power_cut_spoilt_is_done_again(forks: Forks, whole: Whole, run: Path, kept: int) -> None:
    assert forks(run, world=WORLD, how="SIGKILL", kind="call", at=60).was_killed
    last = max((run / "steps").iterdir())
    data = last.read_bytes()
    last.write_bytes(data[:kept] if kept >= 0 else bytes(len(data)))
    ended = forks(run, world=WORLD)
    assert ended.code == 0 and f"{last.name} is not JSON, as after a power cut" in ended.err, ended.err
    check(run, whole, 1)


@pytest.mark.slow
def test_a_run_that_was_cut_off_while_it_was_made_can_be_made_again(forks: Forks, whole: Whole, run: Path) -> None:
    assert forks(run, world=WORLD, how="SIGKILL", kind="byte", at=200).was_killed
    assert not (run / "run.json").exists()
    assert forks(run, world=WORLD).code == 0
    check(run, whole, 1)
    shutil.rmtree(run)
