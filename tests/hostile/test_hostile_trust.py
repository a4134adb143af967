"""A run folder of someone else runs no code and asks no server before its user named them; one's own goes on."""

from __future__ import annotations

import json
import os
import shlex
import stat
from pathlib import Path
from typing import Any

import pytest

import steepest
from cli.commands import METHOD, Said, Shell, toy_rows, write_rows
from hostile.test_hostile_code import EVIL
from models.endpoint.stub import running, said
from steepest import trusting
from steepest.errors import StateError

MINE = "def answer(request):\n    return 'x'\ndef score(example, output):\n    return float(len(output) % 2)\n"


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    write_rows(tmp_path / "toy.csv", toy_rows())
    (tmp_path / "mine.py").write_text(MINE)
    return Shell(capsys, tmp_path)


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "evil.py").write_text(EVIL)
    return tmp_path / "elsewhere" / "evil.py"


def ran(evil: Path) -> bool:
    return evil.with_name("ran").exists()


def finished(shell: Shell) -> Path:
    """A run of one's own, with code of one's own."""
    rows = ("--data", "toy.csv", "--input", "question", "--answer", "mine.py:score")
    model = ("--model", "scripted", "--option", "answer=mine.py:answer")
    done = shell("run", METHOD, *rows, *model, "--steps", "1")
    assert done.code == 0, done.err
    return shell.runs[-1]


def changed(run: Path, **changes: Any) -> None:
    """The same as if someone else had written run.json."""
    told = json.loads((run / "run.json").read_text())
    for name, change in changes.items():
        told["task" if name == "metric" else "models" if name == "model" else name] |= (
            {"metric": change} if name == "metric" else {"task": {**told["models"]["task"], **change}}
        )
    (run / "run.json").write_text(json.dumps(told))


def going_on(shell: Shell, run: Path) -> dict[str, Said]:
    """Everything that carries on what a run folder names."""
    new = ("--model", "scripted", "--option", "answer=mine.py:answer", "--out", f"out-{run.name}")
    return {
        "resume": shell("resume", run, "--steps", "2"),
        "eval": shell("eval", run),
        "verify": shell("export", run, "--to", "json", "--verify"),
        "task": shell("run", METHOD, "--task", run, *new[:4], "--steps", "0"),
        "compare": shell("compare", METHOD, "--task", run, *new[:4], "--calls", "300", "--seeds", "1", "--out", "c"),
        "transfer": shell("transfer", run, *new),
    }


def test_runs_of_ones_own_go_on_without_a_question(shell: Shell) -> None:
    run = finished(shell)
    moved = run.rename(run.with_name("moved"))
    for name, done in going_on(shell, moved).items():
        assert done.code in (0, 1) and "steepest trust" not in done.err, (name, done.err)
    assert steepest.resume(moved, steps=2, quiet=True).folder == moved


@pytest.mark.parametrize("where", ["metric", "model", "option"])
def test_code_that_a_strangers_run_names_is_not_run(shell: Shell, evil: Path, where: str) -> None:
    run = finished(shell)
    name = f"{evil}:{'score' if where == 'metric' else 'answer' if where == 'option' else 'Evil'}"
    change = {"use": name} if where == "metric" else {"name": name, "options": {}}
    change = {"options": {"answer": name}} if where == "option" else change
    changed(run, **{"metric" if where == "metric" else "model": change})
    for command, done in going_on(shell, run).items():
        # With models of one's own, a run folder lends its rows and its metric alone.
        if where == "metric" or command in ("resume", "eval", "verify"):
            assert done.code == 2 and "steepest trust" in done.err and name in done.err, (command, done.err)
    assert not ran(evil)
    with pytest.raises(StateError, match="came from elsewhere or was changed"):
        steepest.resume(run, quiet=True)
    assert not ran(evil)


def test_a_module_is_code_too(shell: Shell) -> None:
    run = finished(shell)
    changed(run, model={"options": {"answer": "subprocess:getoutput"}})
    assert "subprocess:getoutput" in shell("resume", run, "--steps", "2").err
    changed(run, metric={"use": "os:system"})
    assert "names os:system" in shell("run", METHOD, "--task", run, "--model", "scripted").err


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_metric_written_otherwise_names_no_code(shell: Shell, evil: Path, wrapped: bool) -> None:
    run = finished(shell)
    changed(run, metric={"use": {"use": f"{evil}:score"}} if wrapped else {f"{evil}:score": {}})
    shell("export", run, "--to", "json")
    assert not ran(evil), "nothing is run by reading a folder"
    for command, done in going_on(shell, run).items():
        assert done.code == 2 and not ran(evil), (command, done.err)


def test_a_part_named_by_text_alone_is_code_too(shell: Shell, evil: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(evil.parent))
    shell("run", "opro", *shell.rows, "--model", "scripted", "--calls", "60")
    (run,) = shell.runs
    told = json.loads((run / "run.json").read_text())
    told["method"] = {"use": "protegi", "select": "evil:Evil"}
    (run / "run.json").write_text(json.dumps(told))
    assert "names evil:Evil" in shell("resume", run, "--calls", "61").err
    assert not ran(evil)


def test_a_server_that_a_strangers_run_names_is_not_asked(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_SECRET", "sk-planted-9f8e7d6c5b4a39281706")
    run = finished(shell)
    with running(lambda asked: said("x")) as server:
        changed(run, model={"name": f"openai:m@{server.url}", "options": {"key_env": "CLOUD_SECRET"}})
        name = f"CLOUD_SECRET@{server.url}"
        for command, done in going_on(shell, run).items():
            if command in ("resume", "eval", "verify"):
                assert done.code == 2 and name in done.err, (command, done.err)
        assert not server.asked
        named = trusting.named(json.loads((run / "run.json").read_text()))
        assert shell("trust", run, *named).code == 0
        assert "steepest trust" not in shell("eval", run).err
        assert server.asked and server.asked[0].authorization == "Bearer sk-planted-9f8e7d6c5b4a39281706"


def test_trusting_is_naming_all_of_it(shell: Shell, evil: Path) -> None:
    run = finished(shell)
    assert "trusted, names" in shell("trust", run).out
    changed(run, metric={"use": f"{evil}:score"})
    listed = shell("trust", run)
    assert listed.code == 0 and f"{evil}:score" in listed.out and "not trusted" in listed.out
    names = trusting.named(json.loads((run / "run.json").read_text()))
    assert len(names) == 4
    for given in (names[:1], names[1:], (*names, "more:so"), ("yes",)):
        refused = shell("trust", run, *given)
        assert refused.code == 2 and "name all that it has run" in refused.err
    assert "steepest trust" in shell("eval", run).err and not ran(evil)
    command = shlex.split(listed.out.rpartition("all of that: ")[2])
    assert shell(*command[1:]).out == "trusted\n"
    assert shell("eval", run).code == 0 and ran(evil)
    told = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(told | {"prompt": "Another."}))
    assert "steepest trust" in shell("eval", run).err, "what is changed is another's again"


def test_code_inside_the_folder_is_refused_even_then(shell: Shell) -> None:
    run = finished(shell)
    (run / "evil.py").write_text(EVIL)
    changed(run, metric={"use": f"{run}/evil.py:score"})
    names = trusting.named(json.loads((run / "run.json").read_text()))
    assert shell("trust", run, *names).code == 0
    assert "full path outside of it" in shell("resume", run, "--steps", "2").err
    assert not ran(run / "evil.py")


def test_what_is_no_run_is_not_trusted(shell: Shell) -> None:
    for text in ("[1]", "3", '{"method": 3}'):
        (shell.folder / "run.json").write_text(text)
        refused = shell("trust", shell.folder, "x")
        assert refused.code == 2 and "has format None" in refused.err


def test_the_list_is_the_users_own(shell: Shell) -> None:
    run = finished(shell)
    kept = shell.folder / "state" / "steepest" / "trusted"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600 and stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert len(kept.read_text().splitlines()) == 1
    for path, mode in ((kept, 0o666), (kept.parent, 0o777)):
        before = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode)
        assert "steepest trust" in shell("eval", run).err
        names = trusting.named(json.loads((run / "run.json").read_text()))
        assert "where nobody else can write" in shell("trust", run, *names).err
        path.chmod(before)
    assert shell("eval", run).code == 0


def test_where_nothing_can_be_kept_a_run_still_ends(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    (shell.folder / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(shell.folder / "file"))
    run = finished(shell)
    refused = shell("resume", run, "--steps", "2")
    assert refused.code == 2 and "steepest trust" in refused.err
    names = trusting.named(json.loads((run / "run.json").read_text()))
    assert "XDG_STATE_HOME" in shell("trust", run, *names).err


@pytest.mark.parametrize(
    ("told", "names"),
    [
        ({"method": {"use": "greater", "mu": 3}, "models": {"task": {"name": "bundled", "options": {}}}}, ()),
        ({"models": {"task": {"name": "hf:org/model", "options": {"device": "cuda:0"}}}}, ()),
        (
            {"models": {"task": {"name": "hf:m", "options": {"trust_remote_code": True}}}},
            ("hf:m with trust_remote_code",),
        ),
        ({"models": {"task": {"name": "openai:m@http://a/v1", "options": {}}}}, ("OPENAI_API_KEY@http://a/v1",)),
        ({"models": {"task": {"name": "openai:m@x@https://a/v1", "options": {"key_env": "K"}}}}, ("K@https://a/v1",)),
        ({"models": {"task": {"name": "openai:m", "options": {"url": "http://b"}}}}, ("OPENAI_API_KEY@http://b",)),
        (
            {"models": {"task": {"name": "openai:m@http://a", "options": {"url": "http://a,http://b"}}}},
            ("OPENAI_API_KEY@http://a,http://b",),
        ),
        ({"models": {"task": {"name": "hf:m", "options": {"place": "ray://x:1"}}}}, ("ray://x:1",)),
        (
            {"models": {"task": {"name": "hf:m", "options": {"trust_remote_code": None}}}},
            ("hf:m with trust_remote_code",),
        ),
        ({"models": {"judge": {"name": "/x/y.py:Model", "options": {"n": 3}}}}, ("/x/y.py:Model",)),
        ({"models": {"task": {"name": "scripted", "options": {"answer": "os:system"}}}}, ("os:system",)),
        ({"method": {"use": "protegi", "select": [{"use": "a.b:C", "x": {"use": "d:E"}}]}}, ("a.b:C", "d:E")),
        ({"method": {"use": "protegi", "select": "a.b:C", "more": ["d:E.F", "Say: yes", "a b:C"]}}, ("a.b:C", "d:E.F")),
        ({"method": {"use": "opro", "wording": "see /x/f.py:g"}}, ("see /x/f.py:g",)),
        ({"method": {"use": "x", "by": {"use": "sentence-transformer", "model": "org/name"}}}, ()),
        (
            {"method": {"use": "x", "by": {"use": "sentence-transformer", "model": "."}}},
            (". with its code",),
        ),
        ({"task": {"metric": {"use": "m:f"}}}, ("m:f",)),
        ({"task": {"metric": {"use": "choice", "labels": ["a:b"]}}}, ()),
        ({"task": None, "models": 3, "method": []}, ()),
    ],
)
def test_what_is_named(told: dict[str, Any], names: tuple[str, ...]) -> None:
    assert trusting.named(told) == names


def test_a_folder_that_names_nothing_needs_no_trust(shell: Shell) -> None:
    done = shell("run", "opro", *shell.rows, "--model", "scripted", "--calls", "60")
    assert done.code in (0, 2, 3)
    (run,) = shell.runs
    assert not (shell.folder / "state").exists()
    told = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(told))
    assert "steepest trust" not in shell("eval", run).err
    assert "nothing to trust" in shell("trust", run).out


def test_a_list_in_anothers_hands_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "getuid") or os.getuid() != 0:
        pytest.skip("only root can give files away")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    trusting.remember(b"x", {"task": {"metric": {"use": "a:b"}}})
    assert trusting.is_trusted(b"x")
    os.chown(tmp_path / "steepest" / "trusted", 1234, 1234)
    assert not trusting.is_trusted(b"x")


@pytest.mark.parametrize("name", [".lock", "calls.jsonl", "report.html", "report.html.tmp", "result.json.tmp"])
def test_links_in_a_folder_lead_no_writing_elsewhere(shell: Shell, name: str) -> None:
    assert shell.run("--steps", "1").code == 0
    (run,) = shell.runs
    victim = shell.folder / "victim"
    victim.write_text("precious\nhalf a line")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(victim)
    for arguments in (("report", run), ("resume", run, "--steps", "2"), ("export", run, "--to", "json")):
        assert shell(*arguments).code in (0, 2)
    assert victim.read_text() == "precious\nhalf a line"


def test_a_folder_of_steps_that_is_a_link_is_written_nowhere(shell: Shell) -> None:
    assert shell.run("--steps", "1").code == 0
    (run,) = shell.runs
    (run / "steps").rename(shell.folder / "victim")
    (run / "steps").symlink_to(shell.folder / "victim")
    before = sorted((shell.folder / "victim").iterdir())
    refused = shell("resume", run, "--steps", "2")
    assert refused.code == 2 and "not a link" in refused.err
    assert sorted((shell.folder / "victim").iterdir()) == before


@pytest.mark.parametrize("linked", ["cells", "one"])
def test_links_in_a_comparison_lead_to_no_run_elsewhere(shell: Shell, linked: str) -> None:
    asked = ("compare", METHOD, "--task", finished(shell), "--calls", "300", "--seeds", "1", "--out", "c")
    model = ("--model", "scripted", "--option", "answer=mine.py:answer")
    assert shell(*asked, *model).code == 0
    (cell,) = (shell.folder / "c" / "cells").iterdir()
    (cell / "result.json").unlink()
    place, victim = cell.parent if linked == "cells" else cell, shell.folder / "victim"
    place.rename(victim)
    place.symlink_to(victim)
    refused = shell(*asked, *model)
    assert refused.code == 2 and "not a link" in refused.err
    assert not list(victim.rglob("result.json"))


def test_a_cell_that_is_a_strangers_writes_its_error_nowhere_else(shell: Shell) -> None:
    asked = ("compare", METHOD, "--task", finished(shell), "--calls", "300", "--seeds", "1", "--out", "c")
    model = ("--model", "scripted", "--option", "answer=mine.py:answer")
    assert shell(*asked, *model).code == 0
    (cell,) = (shell.folder / "c" / "cells").iterdir()
    (cell / "result.json").unlink()
    victim = shell.folder / "victim"
    victim.write_text("precious")
    (cell / "stderr.txt").symlink_to(victim)
    assert shell(*asked, *model).code == 0
    assert victim.read_text() == "precious" and (cell / "result.json").is_file()
