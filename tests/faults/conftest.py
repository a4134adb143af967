from __future__ import annotations

from collections.abc import Iterator

import pytest
from fault_harness import Forks


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    with Forks() as begun:
        yield begun
