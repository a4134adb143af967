from __future__ import annotations

from pathlib import Path

import pytest
from commands import Shell, toy_rows, write_rows


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "toy.csv", toy_rows())
    return Shell(capsys, tmp_path)
