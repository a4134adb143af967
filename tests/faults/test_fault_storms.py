"""Whole runs against a server that fails in every way: they end as if nothing had happened, within their limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fault_harness import left_behind
from fault_storm import Storm, calm
from fault_worlds import WORLDS

from models.endpoint.stub import Stub, running
from steepest import api
from steepest.engine import Run
from steepest.ledger import Limits
from steepest.models.endpoint import Settings, open_endpoint
from steepest.models.endpoint.limits import Backoff

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


def storming(stack: ExitStack, servers: int) -> list[Stub]:
    """Servers under one storm."""
    stubs = [stack.enter_context(running(Storm())) for _ in range(servers)]
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
