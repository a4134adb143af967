"""The audit says what it could not look up, and never passes for it; the bill of materials is valid."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / ".venv-audit" / "bin" / "cyclonedx-py"


def module(name: str) -> ModuleType:
    spec = spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    found = module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    return module("audit")


@pytest.fixture
def sbom(audit: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [*sys.path])
    return module("sbom")


def package(name: str, *flaws: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "version": "1", "vulns": [{"id": flaw, "aliases": ["GHSA-1"]} for flaw in flaws], **more}


UNKNOWN = {"name": "b", "skip_reason": "Dependency not found on PyPI and could not be audited: b (1)"}


@pytest.mark.parametrize(
    ("dependencies", "code"),
    [
        ([package("a"), package("b")], 0),
        ([package("a"), UNKNOWN], 3),
        ([UNKNOWN, UNKNOWN], 3),
        ([], 3),
        ([package("a", "PYSEC-1")], 1),
        ([package("a", "PYSEC-1"), UNKNOWN], 1),
        ([package("diskcache", "CVE-2025-69872")], 0),
        ([package("diskcache", "CVE-2025-69872", "CVE-2027-1")], 1),
    ],
)
def test_an_audit_that_looked_nothing_up_is_none(audit: ModuleType, dependencies: list[Any], code: int) -> None:
    assert audit.read({"dependencies": dependencies}).code == code


def test_what_is_put_up_with_is_told(audit: ModuleType) -> None:
    security = (ROOT / "SECURITY.md").read_text("utf-8")
    assert all(name in security for name in audit.ACCEPTED)


def test_tools_that_were_half_made_are_made_again(
    audit: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "TOOLS", tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    assert "nothing" in audit.tools()


@pytest.mark.parametrize(("missing", "bills", "code"), [("no network", [], 0), ("", ["{}", "{ }"], 1), ("", [None], 1)])
def test_a_bill_that_is_wrong_is_a_failure_and_one_that_cannot_be_had_is_none(
    sbom: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, bills: list[Any], code: int
) -> None:
    said = [subprocess.CompletedProcess([], bill is None, bill or "", "invalid") for bill in bills]
    monkeypatch.setattr(sbom, "tools", lambda: missing)
    monkeypatch.setattr(sbom, "core", lambda folder: folder)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: said.pop(0))
    monkeypatch.setattr(sys, "argv", ["sbom.py", "--may-be-offline", "--out", str(tmp_path)])
    assert sbom.main() == code


@pytest.mark.slow
@pytest.mark.skipif(not TOOL.exists(), reason="`make sbom` installs cyclonedx-py, which makes and checks the bill")
def test_a_bill_of_materials_is_valid_and_the_same_twice() -> None:
    command = [str(TOOL), "environment", "--output-reproducible", "--validate", "--output-format", "JSON"]
    made = [subprocess.run([*command, sys.executable], capture_output=True, check=True).stdout for _ in range(2)]
    assert made[0] == made[1]
    assert {"numpy", "pydantic", "aiohttp"} <= {each["name"] for each in json.loads(made[0])["components"]}
