"""Algebra in a process of its own, which ends where it takes too long: nothing else bounds the time and memory of it.

`python -m steepest.tasks.algebra` reads a JSON line [gold, answer] after the other and writes 1 where they are equal.
"""

from __future__ import annotations

import atexit
import json
import logging
import subprocess
import sys
import threading
from contextlib import suppress
from functools import lru_cache

from steepest import processes

if sys.platform != "win32":
    import resource
    import signal

_SECONDS = 3.0
"""Of processor time for a pair. Not of the clock: what is equal must not depend on what else the machine does."""
_PATIENCE = 300.0
"""Seconds by the clock, for machines without that limit."""
_MEMORY = 4 << 30


class Algebra:
    """The process, begun when it is first needed, and again after it was ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        """One pair at a time."""
        atexit.register(self.close)

    def equal(self, gold: str, answer: str) -> bool:
        """Whether two expressions are equal; no where that cannot be told in time."""
        with self._lock:
            if self._process and self._process.poll() is not None:  # it ended between pairs
                self.close()
            process = self._process or self._begun()
            assert process.stdin is not None and process.stdout is not None, "both are pipes"
            alarm = threading.Timer(_PATIENCE, process.kill)
            alarm.start()
            said = b""
            try:
                with suppress(BrokenPipeError):
                    process.stdin.write(json.dumps([gold, answer]).encode() + b"\n")
                    process.stdin.flush()
                    said = process.stdout.readline()
            finally:
                alarm.cancel()
                if not said:  # it ended; or this was interrupted, and its answer would be taken for the next pair's
                    self.close()
            return said == b"1\n"

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with suppress(BrokenPipeError), process:  # what it did not take is written once more when it is closed
                pass

    def _begun(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            processes.command("steepest.tasks.algebra"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=processes.environment(),
        )
        return self._process


@lru_cache(maxsize=1)
def algebra() -> Algebra:
    """The process that all of this one share."""
    return Algebra()


def main() -> None:
    """Answer line by line, until there are no more: it ends with the process that began it."""
    from math_verify import parse, verify  # type: ignore[import-not-found, unused-ignore]

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns at every call that there is no limit
    if sys.platform != "win32":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    for line in sys.stdin:
        _limit(_SECONDS)
        try:
            # Its own time limits are alarms of Python, which powers of whole numbers do not hear.
            golds, answers = (parse(f"${text}$", parsing_timeout=None) for text in json.loads(line))
            equal = bool(verify(golds, answers, timeout_seconds=None))
        except (Exception, MemoryError):
            equal = False
        _limit(0)
        sys.stdout.write(f"{int(equal)}\n")
        sys.stdout.flush()


def _limit(seconds: float) -> None:
    """Have the system end this process after so much processor time, whatever it is doing then; 0: never."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, seconds)


if __name__ == "__main__":
    main()
