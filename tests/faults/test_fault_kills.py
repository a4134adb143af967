"""Every method, killed at random moments and resumed: as if nothing had happened. `make test-faults` kills more."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_harness import Forks, check, killed, undisturbed
from fault_worlds import WORLDS

from steepest.spec import METHODS, describe

KILLS = 3


def test_every_method_is_here() -> None:
    assert {describe(world.plan(world.models()).method)["use"] for world in WORLDS.values()} == set(METHODS)


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_killed_at_random_moments(forks: Forks, tmp_path: Path, world: str) -> None:
    found = killed(forks, tmp_path, world, KILLS)
    assert found.kills.total() >= KILLS
    assert found.lost <= found.kills.total()


@pytest.mark.slow
@pytest.mark.parametrize("moment", [{"kind": "rename", "at": n} for n in range(10)], ids=lambda m: f"rename {m['at']}")
def test_killed_before_and_after_each_of_the_first_files_is_put_in_its_place(
    forks: Forks, tmp_path: Path, moment: dict[str, int]
) -> None:
    whole = undisturbed(forks, tmp_path, "gpo")
    folder = tmp_path / "run"
    assert forks(folder, world="gpo", how="SIGKILL", **moment).was_killed
    assert forks(folder, world="gpo").code == 0
    check(folder, whole, 1)


@pytest.mark.slow
def test_a_clock_that_jumps_changes_nothing(forks: Forks, tmp_path: Path) -> None:
    for world in ("opro", "greater"):
        (place := tmp_path / world).mkdir()
        whole = undisturbed(forks, place, world)
        folder = place / "run"
        half = whole.counts["call"] // 2
        assert forks(folder, world=world, clock=1, how="SIGKILL", kind="call", at=half).was_killed
        assert forks(folder, world=world, clock=2).code == 0
        check(folder, whole, 1)
