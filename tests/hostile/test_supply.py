"""The audit says what it could not look up, and never passes for it; the bill of materials is valid."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / ".venv-audit" / "bin" / "cyclonedx-py"


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["audit"] = module
    spec.loader.exec_module(module)
    return module


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


@pytest.mark.slow
@pytest.mark.skipif(not TOOL.exists(), reason="`make sbom` installs cyclonedx-py, which makes and checks the bill")
def test_a_bill_of_materials_is_valid_and_the_same_twice() -> None:
    command = [str(TOOL), "environment", "--output-reproducible", "--validate", "--output-format", "JSON"]
    made = [subprocess.run([*command, sys.executable], capture_output=True, check=True).stdout for _ in range(2)]
    assert made[0] == made[1]
    assert {"numpy", "pydantic", "aiohttp"} <= {each["name"] for each in json.loads(made[0])["components"]}
