"""Whole runs against a server that fails in every way: they end as if nothing had happened, within their limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fault_harness import keys, left_behind
from fault_storm import Storm, calm
from fault_worlds import WORLDS

from models.endpoint.stub import Say, Stub, running
from steepest import api
from steepest.calls import CallLog
from steepest.context import Context, World
from steepest.engine import Run
from steepest.errors import BudgetSpent
from steepest.ledger import Ledger, Limits, Price, bound
from steepest.models.endpoint import Settings, open_endpoint
from steepest.models.endpoint.limits import Backoff
from steepest.testing.toy import toy_world
from steepest.types import Request, Usage

pytestmark = pytest.mark.slow

TEXT = [name for name in WORLDS if not name.startswith("greater")]


def carried(folder: Path, world: str, models: Mapping[str, Any], limits: Limits | None = None) -> Any:
    """What a run leaves behind."""
    plan = WORLDS[world].plan(models)
    with Run.create(folder, replace(plan, limits=limits or plan.limits, fail_on=1.0)) as run:
        api.carry_out(run)
    return left_behind(folder)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def storming(stack: ExitStack, servers: int, slowest: float = 0.0) -> list[Stub]:
    """Servers under one storm."""
    stubs = [stack.enter_context(running(Storm(slowest=slowest))) for _ in range(servers)]
    for stub in stubs:
        stub.came = stubs[0].came
    return stubs


def stormed(stack: ExitStack, world: str, stubs: list[Stub], **options: Any) -> dict[str, Any]:
    """The world's models behind these servers, with waits of milliseconds where there would be seconds."""
    url = ",".join(stub.url for stub in stubs)
    given = {"retries": 8, "concurrency": 32, "key_env": "NO_KEY", **options}
    return {
        role: stack.enter_context(closing(open_endpoint(Settings(role, url, **given), Backoff(0.002, 0.02))))
        for role in WORLDS[world].models()
    }


@pytest.mark.parametrize("servers", [1, 3])
@pytest.mark.parametrize("world", TEXT)
def test_a_run_in_a_storm_ends_as_in_a_calm(
    world: str, servers: int, tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steepest.models.endpoint.limits.LONGEST_RETRY_AFTER", 0.02)
    whole = carried(tmp_path / "calm", world, {role: calm()[role] for role in WORLDS[world].models()})
    stubs = storming(stack, servers)
    assert carried(tmp_path / "storm", world, stormed(stack, world, stubs)) == whole


@pytest.mark.parametrize(
    ("world", "what"),
    # What APE takes in all is less than one of its requests might take.
    [(world, what) for world in TEXT for what in ("calls", "tokens") if (world, what) != ("ape", "tokens")],
)
def test_a_limit_is_kept_in_a_storm_as_in_a_calm(
    world: str, what: str, tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steepest.models.endpoint.limits.LONGEST_RETRY_AFTER", 0.02)
    models = {role: calm()[role] for role in WORLDS[world].models()}
    most = carried(tmp_path / "endless", world, models)[1]["usage"][what] * 2 // 3
    limits = Limits(**{what: most})
    whole = carried(tmp_path / "calm", world, models, limits)
    stubs = storming(stack, 2)
    found = carried(tmp_path / "storm", world, stormed(stack, world, stubs), limits)
    result = found[1]
    # How much more is under way when a limit is met differs with what a model takes at once.
    unfinished, stopped = ([each[1].pop(name) for each in (found, whole)] for name in ("unfinished", "stopped"))
    assert found == whole
    assert all(result["usage"][what] + each[what] <= most for each in unfinished)
    assert all(each.startswith(f"the limit of {most:,} {what} would be passed") for each in stopped)


@pytest.mark.parametrize("limits", [Limits(calls=201), Limits(tokens=24_000), Limits(dollars=0.05)])
def test_not_one_call_nor_token_passes_a_limit_with_many_under_way(
    limits: Limits, tmp_path: Path, stack: ExitStack
) -> None:
    """Batches of 64, then of fewer and fewer, until not one more request fits."""
    prices = {"task": Price(2.0, 8.0)}
    answered: Counter[str] = Counter()
    stubs = storming(stack, 2, slowest=0.05)
    for stub in stubs:
        stub.heard = lambda asked, say: answered.update(
            [asked.text] if asked.body["max_tokens"] > 1 and b'"usage"' in say.body else []
        )
    models = stormed(stack, "opro", stubs)
    log = stack.enter_context(closing(CallLog(tmp_path / "calls.jsonl")))
    ledger = Ledger(log, 0, limits, Usage(), prices=prices)
    world, asked = World(toy_world().task, models, log, 0, lambda event: None, prices), 0
    with Context(world, ledger) as ctx:
        size = 64
        while size:
            questions = [f"Level 1: what is {asked + i} + 1?{' a' * 100}" for i in range(size)]
            asked += size
            try:
                ctx.generate("task", questions, max_tokens=8)
            except BudgetSpent:
                size //= 2
    spent, next_one = ctx.usage, bound(Request(f"Level 1: what is 100 + 1?{' a' * 100}", max_tokens=8))
    assert sum(stub.peak for stub in stubs) > 32 and spent.calls > 100
    assert len(log) == len(set(keys(tmp_path))) == sum(answered.values()) == len(answered) == spent.calls
    if limits.calls:
        assert spent.calls == limits.calls
    if limits.tokens:
        assert limits.tokens - next_one.tokens < spent.tokens <= limits.tokens
    if limits.dollars:
        assert limits.dollars - prices["task"].of(next_one) < spent.dollars <= limits.dollars


def test_a_run_finds_its_answers_at_other_servers(tmp_path: Path, stack: ExitStack) -> None:
    """Begun with one server, gone on with when there are three, and when the first is no more."""
    first, *others = storming(stack, 3)
    whole = carried(tmp_path / "whole", "opro", stormed(stack, "opro", [first, *others]))
    folder, plan = tmp_path / "run", WORLDS["opro"].plan(stormed(stack, "opro", [first]))
    with Run.create(folder, replace(plan, fail_on=1.0)) as run:
        run.advance()
    with Run.open(folder, models=stormed(stack, "opro", [first, *others])) as run:
        run.advance()
    known = keys(folder)
    first.script = lambda asked: Say(fault="reset")
    with Run.open(folder, models=stormed(stack, "opro", [first, *others])) as run:
        api.carry_out(run)
    assert left_behind(folder) == whole
    assert keys(folder)[: len(known)] == known
    assert sorted(keys(folder)) == sorted(keys(tmp_path / "whole"))
