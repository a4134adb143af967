from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "scipy", "typer", "rich", "ruamel", "huggingface_hub")
SCRIPT = """
import json, sys, time
start = time.process_time()
import {module}
print(json.dumps([time.process_time() - start, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""


def measured(module: str) -> tuple[float, set[str]]:
    """CPU seconds of an import in a fresh process, and the libraries it brought in."""
    code = SCRIPT.format(module=module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, names = json.loads(done.stdout)
    return seconds, set(names)


@pytest.mark.parametrize("module", ["steepest", "steepest.engine", "steepest.spec", "steepest.models.opening"])
def test_importing_brings_in_nothing_heavy(module: str) -> None:
    _, names = measured(module)
    assert "steepest" in names
    assert not names & set(HEAVY)


def test_importing_the_package_is_quick() -> None:
    # The aim is 0.3 s; CPU time, the best of three, with room for slow machines.
    assert min(measured("steepest")[0] for _ in range(3)) < 0.6
