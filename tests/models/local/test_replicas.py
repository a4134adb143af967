"""Replicas against the same model in this process: the same texts, numbers and accounts, whoever dies in between."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steepest import api
from steepest.engine import Run
from steepest.errors import ModelError
from steepest.events import CallsAnswered, Event
from steepest.ledger import Limits
from steepest.models import Generates, Infills, ScoresText, WhiteBox, open_model
from steepest.models.local import accounts
from steepest.models.local.model import LocalModel
from steepest.models.opening import Opened, opened
from steepest.models.replicas.model import Replicas
from steepest.spec import build
from steepest.tasks.loading import load_task
from steepest.types import Objective, Request, Row

pytestmark = pytest.mark.slow
TASK = load_task("arithmetic").task
GREATER = {"use": "greater", "rows": 4, "k": 2, "mu": 2}


@pytest.fixture(scope="session")
def bundled(ray_here: Any) -> Replicas:
    return open_model("bundled", replicas=2, threads=1)


@pytest.fixture(scope="session")
def tiny(ray_here: Any, folders: dict[str, Path]) -> Replicas:
    return open_model(f"hf:{folders['llama']}", replicas=2, threads=1)


@pytest.fixture(params=["bundled", "tiny"])
def both(request: pytest.FixtureRequest, folders: dict[str, Path]) -> tuple[Replicas, Any]:
    """Replicas, and the same model in this process."""
    name = {"bundled": "bundled", "tiny": f"hf:{folders['llama']}"}[request.param]
    return request.getfixturevalue(request.param), open_model(name)


def requests(count: int = 24, **changes: Any) -> list[Request]:
    """Questions of the bundled task under two prompts."""
    prompts = ("Think step by step.", "Answer the question.")
    asked = [TASK.template.render(prompt, row) for row in TASK.dev[: count // 2] for prompt in prompts]
    return [Request(prompt, **{"max_tokens": 40, **changes}) for prompt in asked]


def rows(count: int = 15) -> list[Row]:
    """Two rows in three have a question in common with another one."""
    found = []
    for i, row in enumerate(TASK.dev[:count]):
        question = TASK.dev[i // 3].input
        found.append(Row(f"{question}\n", "\nGo on.", f"Start {i}. The answer is", f" {row.target}"))
    return found


def kill_when(replicas: Replicas, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Have a replica die with its work undone: it stands still, and is killed when the tokens of a call are counted."""
    victim = replicas.pids[0]
    os.kill(victim, signal.SIGSTOP)
    count: Callable[..., int] = vars(accounts)[when]

    def counted(*arguments: Any) -> int:
        os.kill(victim, signal.SIGKILL)
        return count(*arguments)

    monkeypatch.setattr(accounts, when, counted)


def same(found: Sequence[Any], expected: Sequence[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        # Rounding goes by the largest: sums of what cancels.
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=max(1e-3, 1e-4 * np.abs(other).max(initial=0)))


def test_they_can_do_what_the_model_can(bundled: Replicas) -> None:
    assert isinstance(bundled, Generates) and isinstance(bundled, ScoresText) and isinstance(bundled, WhiteBox)
    assert not isinstance(bundled, Infills)


def test_the_tokenizer_answers_here(both: tuple[Replicas, Any]) -> None:
    ours, one = both
    assert (ours.id, ours.context, ours.vocabulary) == (one.id, one.context, one.vocabulary)
    ids = one.encode("Think step by step.", "What?\n")
    assert ours.encode("Think step by step.", "What?\n") == ids and ours.decode(ids) == one.decode(ids)


@pytest.mark.parametrize("changes", [{}, {"temperature": 1.0, "seed": 7}, {"stop": ("Second", "e")}])
def test_texts_are_the_same(both: tuple[Replicas, Any], changes: dict[str, Any]) -> None:
    ours, one = both
    asked = [*requests(**changes), Request("word " * 4000, max_tokens=3)]
    found = list(ours.generate(asked))
    assert sorted(index for index, _ in found) == list(range(len(asked)))
    assert dict(found) == dict(one.generate(asked))


def test_nothing_is_asked_of_nothing(bundled: Replicas) -> None:
    assert list(bundled.generate([])) == [] and bundled.logprobs([]) == []


@pytest.mark.parametrize("objective", [Objective(), Objective(fluency=0.3, temperature=0.5, reduction="mean")])
def test_gradients_are_the_same(both: tuple[Replicas, Any], objective: Objective) -> None:
    ours, one = both
    given, ids = rows(), one.encode("Think step by step.", "\n")
    positions, among = [1, 3], [list(range(50)), list(range(200, 300))]
    weights = [0.5 + i for i in range(len(given))]
    found, expected = (model.gradient(given, ids, positions, among, weights, objective) for model in both)
    same([*found.values, found.loss], [*expected.values, expected.loss])
    assert found.tokens == expected.tokens


def test_losses_are_the_same(both: tuple[Replicas, Any]) -> None:
    ours, one = both
    ids = one.encode("Think step by step.", "\n")
    given = [*rows(), *rows(4)]
    prompts = [ids if i % 2 else ids[1:] for i in range(len(given))]
    found, expected = (model.loss(given, prompts) for model in both)
    same([found.loss, found.fluency], [expected.loss, expected.fluency])
    assert found.tokens == expected.tokens and (found.correct == expected.correct).all()


def test_proposals_are_the_same(both: tuple[Replicas, Any]) -> None:
    ours, one = both
    ids = one.encode("Think step by step.", "\n")
    allowed = np.arange(len(one.vocabulary)) % 3 > 0
    found, expected = (model.propose(rows(), ids, 2, 5, allowed) for model in both)
    assert found.tokens == expected.tokens and (found.ids == expected.ids).mean() > 0.95
    same([found.logprobs], [expected.logprobs])


def test_likelihoods_are_the_same(both: tuple[Replicas, Any]) -> None:
    pairs = [(request.prompt, f" It is {i}.") for i, request in enumerate(requests())]
    found, expected = (model.logprobs(pairs) for model in both)
    same([each.logprobs for each in found], [each.logprobs for each in expected])
    assert [each.tokens for each in found] == [each.tokens for each in expected]


def test_errors_are_those_of_the_model(bundled: Replicas) -> None:
    ids = bundled.encode("Think.", "\n")
    with pytest.raises(ModelError, match="a row needs a target"):
        bundled.loss([Row("What?\n", "", "It is", "")], [ids])
    with pytest.raises(ModelError, match="needs a seed"):
        list(bundled.generate([Request("What?", temperature=1.0)]))
    assert len(list(bundled.generate(requests()))) == 24


def test_an_answer_is_there_before_the_last_one_is(bundled: Replicas) -> None:
    coming = bundled.generate([*requests(16), Request("Start with 5.", max_tokens=150)])
    next(coming)
    assert " 2 replicas" in f" {bundled.status}" and "0 at work" not in bundled.status
    coming.close()
    assert "0 at work" in bundled.status and "0 waiting" in bundled.status


def test_a_killed_replicas_answers_are_given_by_others(bundled: Replicas, caplog: pytest.LogCaptureFixture) -> None:
    asked = requests(60, max_tokens=60)
    victim = bundled.pids[1]
    os.kill(victim, signal.SIGSTOP)
    coming = bundled.generate(asked)
    found = [next(coming)]
    os.kill(victim, signal.SIGKILL)
    found += coming
    assert "a replica of" in caplog.text and "died" in caplog.text
    assert len(found) == len(asked) and dict(found) == dict(open_model("bundled").generate(asked))


def test_a_killed_replicas_gradient_is_computed_by_others(
    bundled: Replicas, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given, ids = rows(), bundled.encode("Think step by step.", "\n")
    expected = open_model("bundled").gradient(given, ids, [1], [range(200)])
    kill_when(bundled, monkeypatch, "to_descend")
    found = bundled.gradient(given, ids, [1], [range(200)])
    assert "died" in caplog.text
    same([*found.values, found.loss], [*expected.values, expected.loss])
    assert found.tokens == expected.tokens


def test_a_replica_that_hangs_is_begun_again(
    bundled: Replicas, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked, victim = requests(24, max_tokens=24), bundled.pids[1]
    expected = dict(open_model("bundled").generate(asked))
    monkeypatch.setattr(bundled._crew, "_timeout", 8.0)
    os.kill(victim, signal.SIGSTOP)
    found = list(bundled.generate(asked))
    assert "nothing was heard of it for 8 seconds" in caplog.text
    assert len(found) == len(asked) and dict(found) == expected
    assert victim not in bundled.pids and not Path(f"/proc/{victim}").exists()


def started(folder: Path, steps: int, model: Opened, observers: Sequence[Any] = ()) -> Run:
    """A small search on the bundled model."""
    source = load_task("arithmetic")
    few = replace(source.task, train=source.task.train[:12], dev=source.task.dev[:12], max_tokens=60)
    source = replace(source, task=few, test=source.test[:2])
    plan = api.make_plan(build(GREATER), source, {"task": model}, 0, Limits(steps=steps), {})
    return Run.create(folder, plan, observers)


def told(run: Run) -> list[Any]:
    """What a run has decided and paid."""
    return [
        (
            record.best.candidate,
            record.referee,
            record.accounts,
            record.referee_usage,
            [(trial.position, trial.old, trial.new, trial.rank, trial.accepted) for trial in record.trials],
        )
        for record in run.records
    ]


def scores(run: Run) -> list[float]:
    """By what the method chose."""
    return [score for record in run.records for score in record.best.scores.values()]


def test_a_run_goes_on_when_a_replica_dies_and_then_without_any(
    bundled: Replicas, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[int] = []

    def kill(event: Event) -> None:
        if isinstance(event, CallsAnswered) and event.phase == "step" and event.step == 1:
            assert "2 replicas" in event.status
            heard.append(event.answered)
            if len(heard) == 2:
                os.kill(bundled.pids[0], signal.SIGKILL)

    with started(tmp_path / "one", 2, opened("bundled")) as alone:
        list(alone.until())
    replicated = Opened("bundled", bundled, {"replicas": 2, "threads": 1})
    with started(tmp_path / "two", 1, replicated, [kill]) as shared:
        list(shared.until())
    assert "died" in caplog.text
    with Run.open(tmp_path / "two", limits=Limits(steps=2), options={"replicas": 0}) as resumed:
        assert isinstance(resumed._world.models["task"], LocalModel)
        list(resumed.until())
        assert told(resumed) == told(alone)
        assert scores(resumed) == pytest.approx(scores(alone), abs=1e-3)
    assert capsys.readouterr().out == ""


def test_nothing_of_ray_can_be_reached_from_elsewhere(bundled: Replicas) -> None:
    """Every port on which a process of this one's Ray listens."""
    if not Path("/proc/net/tcp").exists():
        pytest.skip("reads /proc")
    owners = family()
    found = [address for address, inode in listening() if inode in owners]
    assert len(found) >= 4 and set(found) == {"loopback"}


def family() -> set[str]:
    """Inodes of the sockets of all processes that this one has brought forth, and of its own."""
    parents = {
        int(stat.parent.name): int(stat.read_text().rpartition(")")[2].split()[1])
        for stat in Path("/proc").glob("[0-9]*/stat")
    }
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    links = [os.readlink(fd) for pid in ours for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()]
    return {link[8:-1] for link in links if link.startswith("socket:")}


def listening() -> Iterator[tuple[str, str]]:
    """(loopback or the address, inode) of every socket that listens."""
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                host = fields[1].partition(":")[0]
                yield "loopback" if host.endswith("0100007F") else host, fields[9]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replicas": -1}, "a whole number from 1 on, got -1"),
        ({"ray_address": "here:6379"}, "a whole number from 1 on, got None"),
        ({"replicas": 100}, "every replica needs a core, got 8 for 100"),
        ({"replicas": 2, "timeout": 0}, "a number of seconds above 0, got 0"),
        ({"replicas": 2, "device": "cuda"}, "every replica needs a GPU, got 0 for 2"),
        ({"replicas": 2, "device": "cuda:1"}, "got device 'cuda:1'"),
    ],
)
def test_what_cannot_be_had_is_refused(ray_here: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        open_model("bundled", **options)


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModelError, match=r"need ray, which is not installed; pip install 'steepest\[ray\]'"):
        open_model("bundled", replicas=2)
