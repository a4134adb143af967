"""`transformers serve` with the bundled model behind it: an OpenAI-compatible server that is not ours."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import steepest

NEEDED = ("torch", "transformers", "fastapi", "uvicorn", "openai")
"""Packages without which there is no such server."""
MODEL = "tiny"
"""The model's name there: a folder in the server's working folder."""
_PATIENCE = 120.0


@dataclass(frozen=True)
class Served:
    """A server that runs, and where it writes its log; pytest keeps the folder of the last sessions."""

    url: str
    folder: Path
    log: Path

    @property
    def model(self) -> str:
        """The model as steepest names it."""
        return f"openai:{MODEL}@{self.url}"

    @property
    def weights(self) -> Path:
        """The folder that the server has read."""
        return self.folder / MODEL

    @property
    def answered(self) -> int:
        """How many completions it was asked for and answered, by its own account."""
        return self.log.read_text(errors="replace").count('"POST /v1/chat/completions HTTP/1.1" 200')


def missing() -> list[str]:
    """What is not installed of what the server needs."""
    return [name for name in NEEDED if find_spec(name) is None]


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """A server of a copy of the bundled model, until the block ends."""
    bundled = Path(steepest.__file__).parent / "bundled" / "model"
    shutil.copytree(bundled, folder / MODEL)
    # Without this folder the server answers /v1/models with 500.
    (folder / "cache" / "hub").mkdir(parents=True)
    port = _free_port()
    served = Served(f"http://127.0.0.1:{port}/v1", folder, folder / "server.log")
    command = [Path(sys.executable).with_name("transformers"), "serve", MODEL, "--device", "cpu"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    environment = {**os.environ, "HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    with (
        served.log.open("wb") as log,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", process, served.log)
            yield served
        finally:
            _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _PATIENCE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < until and process.poll() is None:
        try:
            with opener.open(url, timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.2)
    raise AssertionError(f"`transformers serve` did not come up; its log, {log}, ends\n{log.read_text()[-3000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
