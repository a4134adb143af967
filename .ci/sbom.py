"""What is installed, as CycloneDX 1.6: sbom-core.json of the package alone, sbom.json of the environment of the tests.

    python .ci/sbom.py [--may-be-offline]

Each is made twice, which must come out the same, and is checked against the schema; exit code 1 where that fails. 3
where a tool or a package could not be had; 0 with --may-be-offline, and said as loudly.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from audit import ROOT, TOOLS, last_line, tools


class Missing(Exception):
    """What could not be had, in a line."""


class Wrong(Exception):
    """What is wrong with a bill, in a line."""


def made(python: Path) -> str:
    """The bill of materials of an environment, valid by the schema."""
    command = [str(TOOLS / "bin" / "cyclonedx-py"), "environment", "--output-reproducible", "--spec-version", "1.6"]
    command += ["--validate", "--mc-type", "library", "--output-format", "JSON", str(python)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Wrong(last_line(done.stderr))
    return done.stdout.replace(ROOT.as_uri(), "file:///")  # where this checkout happens to be


def write(python: Path, path: Path) -> None:
    """Into a file, if it comes out the same twice."""
    once, again = made(python), made(python)
    if once != again:
        raise Wrong(f"{path.name} comes out differently each time")
    path.write_text(once, "utf-8")
    count = len(json.loads(once)["components"])
    print(f"sbom: {path.name}, {count} components, valid by the schema, the same twice")


def core(folder: Path) -> Path:
    """An environment with the package and what it needs, nothing else; its Python."""
    steps = (
        [sys.executable, "-m", "venv", "--without-pip", str(folder)],
        [sys.executable, "-m", "pip", "--python", str(folder), "install", "--quiet", "--constraint"]
        + [str(ROOT / "constraints.txt"), str(ROOT)],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Missing(last_line(done.stderr))
    return folder / "bin" / "python"


def main() -> int:
    """Both, and what became of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--may-be-offline", action="store_true", help="nothing made is no failure")
    parser.add_argument("--out", type=Path, default=ROOT)
    given = parser.parse_args()
    try:
        if missing := tools():
            raise Missing(f"the tools could not be installed: {missing}")
        with tempfile.TemporaryDirectory() as place:
            write(core(Path(place) / "core"), given.out / "sbom-core.json")
        everything = ROOT / ".venv" / "bin" / "python"
        if everything.exists():
            write(everything, given.out / "sbom.json")
    except Missing as why:
        print(f"sbom: NOT MADE, {why}")
        return 0 if given.may_be_offline else 3
    except Wrong as why:
        print(f"sbom: WRONG, {why}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
