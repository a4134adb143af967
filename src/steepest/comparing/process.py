"""`python -m steepest.comparing.process FOLDER`: one cell in a process of its own, which ends when its parent does."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from steepest import api
from steepest.engine import Run
from steepest.errors import SteepestError


def main(folder: Path) -> int:
    """Carry the run in `folder` to its result; 0, or 2 with the reason on standard error."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with Run.open(folder) as run:
            api.carry_out(run)
    except SteepestError as error:
        sys.stderr.write(f"{' '.join(str(error).split())}\n")
        return 2
    return 0


def _end_with_parent() -> None:
    """Two processes must never write one journal: whoever goes on with a comparison starts from a quiet folder."""
    # Not through sys.stdin, whose lock would still be held when this process ends by itself.
    while os.read(0, 1):
        pass
    os._exit(3)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
