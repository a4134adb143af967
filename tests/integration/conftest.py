from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from server import Served, missing, serving

from cli.commands import Shell


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The server, one for all tests."""
    if absent := missing():
        pytest.skip(f"`transformers serve` needs {', '.join(absent)}; pip install 'steepest[local,dev]'")
    with serving(tmp_path_factory.mktemp("server")) as served:
        yield served


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says of OpenAI, these tests do not."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The command line, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return Shell(capsys, tmp_path)
