"""The process that does algebra: it may end, and whoever waits for it may be interrupted."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from steepest.tasks.algebra import Algebra

pytest.importorskip("math_verify")


@pytest.fixture
def algebra() -> Iterator[Algebra]:
    algebra = Algebra()
    yield algebra
    algebra.close()


def test_a_process_that_was_ended_is_begun_again(algebra: Algebra) -> None:
    assert algebra.equal("x + x", "2x")
    process = algebra._process
    assert process
    process.kill()
    process.wait()
    assert algebra.equal("x + x", "2x")


def test_the_answer_to_an_interrupted_pair_is_not_taken_for_the_next_ones(algebra: Algebra) -> None:
    class Interrupted(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            raise KeyboardInterrupt

    process = algebra._begun()
    assert process.stdout
    process.stdout, pipe = Interrupted(), process.stdout
    with pytest.raises(KeyboardInterrupt):
        algebra.equal("x", "x + 1")
    process.stdout = pipe
    assert algebra.equal("x + x", "2x")
    pipe.close()
