from __future__ import annotations

import os
from pathlib import Path
from shutil import which

import pytest
from subjects import finished_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("export"))


@pytest.fixture
def promptfoo(monkeypatch: pytest.MonkeyPatch) -> str:
    """promptfoo, which is on the PATH or named by STEEPEST_PROMPTFOO."""
    if named := os.environ.get("STEEPEST_PROMPTFOO"):
        monkeypatch.setenv("PATH", f"{Path(named).parent}{os.pathsep}{os.environ['PATH']}")
    found = which("promptfoo")
    assert found or not named, f"no promptfoo at {named}"
    if found is None:
        pytest.skip("promptfoo is not on the PATH, and STEEPEST_PROMPTFOO names none")
    return found
