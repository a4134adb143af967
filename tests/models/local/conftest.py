"""The tiny models, built and opened once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import FAMILIES, Family, opened, save


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    return {name: save(name, base / name) for name in FAMILIES}


@pytest.fixture(scope="session")
def families(folders: dict[str, Path]) -> dict[str, Family]:
    torch.set_num_threads(1)
    return {name: opened(name, folder) for name, folder in folders.items()}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest, families: dict[str, Family]) -> Family:
    return families[request.param]


@pytest.fixture
def llama(families: dict[str, Family]) -> Family:
    return families["llama"]


@pytest.fixture(scope="session")
def llama_and_mistral(families: dict[str, Family]) -> list[Family]:
    return [families["llama"], families["mistral"]]
