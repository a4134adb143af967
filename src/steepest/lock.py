"""One writer per folder: a lock that the operating system lets go of however its process ends, `kill -9` included.

The file stays; what counts is whether it is locked, never whether it is there. It says who holds it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import sys
import time
import weakref
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from steepest.errors import StateError

FILE = ".lock"
GRACE = 1.0
"""Seconds to wait for a process that was told to end and has not quite."""
_HELD = (errno.EAGAIN, errno.EACCES)
_NONE = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
"""What file systems say that have no locks."""

if sys.platform == "win32":
    import msvcrt

    _NO_LINK = 0

    def _lock(file: IO[bytes]) -> None:
        # Windows keeps others from reading what is locked, so that is a byte behind all that is written.
        file.seek(1 << 30)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)

    def _keep_from_forks(lock: Lock) -> None:
        """There are none."""
else:
    import fcntl

    _NO_LINK = os.O_NOFOLLOW
    """A link that came with a folder would have another file emptied."""

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _keep_from_forks(lock: Lock) -> None:
        """A forked process would hold the lock as well, and may outlive this one."""
        held = weakref.ref(lock)

        def let_go() -> None:
            if there := held():
                there.release()

        os.register_at_fork(after_in_child=let_go)


class Lock:
    """The right to write into a folder, held from `acquire` to `release`. Whoever only reads needs none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock, in a folder that is made if it is missing; StateError where another one holds it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # A file that is not there is made; what another one wrote into it is kept until the lock is ours.
            file = os.fdopen(os.open(self.folder / FILE, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o666), "r+b", buffering=0)
        except OSError as refused:
            raise StateError(
                f"a run needs a folder that can be made and written, got {self.folder} ({refused.strerror}); "
                "name another place, or allow it"
            ) from None
        try:
            _wait_for(file, self.folder)
            holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": _now()}
            file.truncate(0)
            file.write(json.dumps(holder).encode() + b"\n")
        except OSError as refused:
            file.close()
            raise StateError(
                f"a run needs a folder that can be written, got {self.folder} ({refused.strerror}); make room there"
            ) from None
        except BaseException:
            file.close()
            raise
        self._file = file
        _keep_from_forks(self)

    def release(self) -> None:
        """Let go of it; again is nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _wait_for(file: IO[bytes], folder: Path) -> None:
    until = time.monotonic() + GRACE
    while True:
        try:
            _lock(file)
            return
        except OSError as refused:
            if refused.errno in _NONE:
                logging.getLogger("steepest").warning(
                    "%s: the file system has no locks (%s); see to it that no other process writes there",
                    folder,
                    refused.strerror,
                )
                return
            if refused.errno not in _HELD:
                raise
            if time.monotonic() >= until:
                raise StateError(
                    f"one process at a time writes into a folder, got {folder}, which is held by {_holder(file)}; "
                    "wait for it, end it, or name another folder"
                ) from None
        time.sleep(0.02)


def _holder(file: IO[bytes]) -> str:
    """What the file says of who holds it."""
    file.seek(0)
    try:
        said = json.loads(file.read())
        return f"process {said['pid']} on {said['host']} since {said['since']}"
    except (ValueError, KeyError, TypeError):
        return "a process that has not said which"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
