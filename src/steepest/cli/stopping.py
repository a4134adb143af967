"""Being ended from outside: Ctrl-C, a scheduler's SIGTERM, a terminal that is closed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

INTERRUPTED = 128 + signal.SIGINT
SIGNALS = ("SIGTERM", "SIGHUP")
"""What ends a command as Ctrl-C does, where nobody has decided otherwise (as `nohup` does)."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Around a command: whoever ends it gets the exit code that shells know, 128 + the signal, and no traceback."""
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    taken = [each for each in signal.Signals if each.name in SIGNALS and signal.getsignal(each) is signal.SIG_DFL]
    for each in taken:
        signal.signal(each, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(_code(received)) from None
    except typer.Exit as left:
        if left.exit_code != INTERRUPTED:
            raise
        raise typer.Exit(_code(received)) from None
    finally:
        for each in taken:
            signal.signal(each, signal.SIG_DFL)


def _code(received: list[int]) -> int:
    return 128 + received[0] if received else INTERRUPTED
