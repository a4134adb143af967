from __future__ import annotations

from pathlib import Path

import pytest
from subjects import finished_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("export"))
