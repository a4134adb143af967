"""Python processes of the package's own: modules that it runs beside this one."""

from __future__ import annotations

import os
import sys


def command(module: str, *arguments: str) -> list[str]:
    """What runs a module, in an environment by `environment`."""
    # Without -P it would look for modules in the working folder first, and what lies there may be someone else's.
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(**defaults: str) -> dict[str, str]:
    """This process's variables over `defaults`, and the places in which it finds modules."""
    return {**defaults, **os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
