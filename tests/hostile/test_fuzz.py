"""The short fuzzing: no input makes a reader fail otherwise than by saying what is wrong; fuzz.py is the long one."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostile.mutations import TOKENS
from hostile.targets import TARGETS

CRASHES = sorted((Path(__file__).parent / "crashes").iterdir())
"""What once was raised, or took for ever; named TARGET-WORDS."""
anything = st.binary(max_size=60) | st.lists(st.sampled_from(TOKENS), max_size=12).map(b"".join)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        yield Path(place)


@pytest.mark.parametrize("name", TARGETS)
def test_valid_inputs_are_read(name: str, folder: Path) -> None:
    for seed in TARGETS[name].seeds:
        TARGETS[name](seed, folder)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=40, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=anything, number=st.integers(0, 2**32))
def test_whatever_comes_is_read_or_refused(name: str, folder: Path, data: bytes, number: int) -> None:
    target, dice = TARGETS[name], Random(number)
    target(data, folder)
    target(target.change(dice.choice(target.seeds), dice)[:2_000], folder)


@pytest.mark.parametrize("path", CRASHES, ids=lambda path: path.name)
def test_what_crashed_once_is_read_or_refused(path: Path, folder: Path) -> None:
    name = max((name for name in TARGETS if path.name.startswith(name)), key=len, default="")
    if not name:
        pytest.skip("needs a library that is not installed")
    began = time.process_time()
    TARGETS[name](path.read_bytes(), folder)
    assert time.process_time() - began < 5
