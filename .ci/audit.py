"""Known vulnerabilities of what constraints.txt pins, and whether they could be looked for at all.

    python .ci/audit.py [--may-be-offline]

Exit code 0: everything was looked up, and nothing was found but what ACCEPTED says. 1: something was found. 3: not
checked, because the tool or its source could not be reached, or knew nothing of some package; 0 with --may-be-offline,
and said as loudly.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / ".venv-audit"
ACCEPTED: Mapping[str, str] = {
    "CVE-2025-69872": "diskcache unpickles its own files; it comes with dspy and lm-eval (extra exports) and is never "
    "opened by steepest; no fixed release",
}
"""What is known, with the reason why it is put up with: see SECURITY.md."""


@dataclass(frozen=True)
class Audit:
    """What came of it."""

    checked: int
    unknown: Sequence[str]
    """Packages that the source knows nothing of."""
    found: Sequence[str]
    """Vulnerabilities that nobody accepted."""
    accepted: Sequence[str]

    @property
    def code(self) -> int:
        """The exit code."""
        return 1 if self.found else 3 if self.unknown or not self.checked else 0


def read(report: Mapping[str, Any]) -> Audit:
    """What pip-audit's JSON says. It counts a package that it could not look up as one without vulnerabilities."""
    found, accepted, unknown = [], [], []
    for package in report["dependencies"]:
        if "skip_reason" in package:
            unknown.append(package["name"])
        for flaw in package.get("vulns", ()):
            names = {flaw["id"], *flaw.get("aliases", ())}
            line = f"{package['name']} {package['version']}: {', '.join(sorted(names))}"
            known = names & set(ACCEPTED)
            (accepted if known else found).append(line)
    return Audit(len(report["dependencies"]) - len(unknown), unknown, found, accepted)


def tools() -> str:
    """Install the tools; why that failed, or nothing."""
    python = TOOLS / "bin" / "python"
    steps = [] if python.exists() else [[sys.executable, "-m", "venv", str(TOOLS)]]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--requirement"]
    for step in (*steps, [*pip, str(ROOT / ".ci" / "audit-requirements.txt")]):
        try:
            done = subprocess.run(step, capture_output=True, text=True, check=False)
        except OSError as missing:
            return str(missing)
        if done.returncode:
            return last_line(done.stderr)
    return ""


def last_line(text: str) -> str:
    """The last line that holds something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason given")


def main() -> int:
    """Look, and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--may-be-offline", action="store_true", help="not checked is no failure")
    given = parser.parse_args()
    if missing := tools():
        print(f"audit: NOT CHECKED, the tools could not be installed: {missing}")
        return 0 if given.may_be_offline else 3
    command = [str(TOOLS / "bin" / "pip-audit"), "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    command += ["--format", "json", "--requirement", str(ROOT / "constraints.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        audit = read(json.loads(done.stdout))
    except (ValueError, KeyError):
        print(f"audit: NOT CHECKED, the source could not be asked: {last_line(done.stderr)}")
        return 0 if given.may_be_offline else 3
    for line in audit.found:
        print(f"audit: VULNERABLE, {line}")
    for line in audit.accepted:
        print(f"audit: accepted, {line}")
    if audit.unknown:
        some = ", ".join([*audit.unknown[:5], *(["..."] if audit.unknown[5:] else [])])
        print(f"audit: NOT CHECKED, the source knows nothing of {len(audit.unknown)} packages: {some}")
    ends = f"{len(audit.found)} vulnerabilities, {len(audit.accepted)} accepted"
    print(f"audit: {audit.checked} packages looked up, {ends}")
    return 0 if audit.code == 3 and given.may_be_offline else audit.code


if __name__ == "__main__":
    sys.exit(main())
