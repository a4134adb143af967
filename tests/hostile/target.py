"""What a fuzz target is: a function of bytes that may raise our own errors alone, and valid inputs to begin from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from hostile.mutations import mutated
from steepest.errors import SteepestError


@dataclass(frozen=True)
class Target:
    """One thing that reads what others wrote."""

    read: Callable[[bytes, Path], None]
    """Reads the bytes; whatever it may keep in files goes into the folder."""
    seeds: tuple[bytes, ...]
    """Valid inputs."""
    also: tuple[type[Exception], ...] = ()
    """Further exceptions that its documentation names."""
    change: Callable[[bytes, Random], bytes] = mutated
    """Makes a valid input invalid."""

    def __call__(self, data: bytes, folder: Path) -> None:
        """Read `data`; AssertionError and whatever is not our own come through."""
        try:
            self.read(data, folder)
        except (SteepestError, *self.also) as error:
            said = str(error)
            assert said.strip(), "an error says something"


def text(data: bytes) -> str:
    """Bytes as text; with lone surrogates, as model output from JSON may hold them, where they are no UTF-8."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape")


def written(folder: Path, name: str, data: bytes) -> Path:
    """A file of the folder that holds the bytes."""
    path = folder / name
    path.write_bytes(data)
    return path


def encoded(texts: tuple[str, ...]) -> tuple[bytes, ...]:
    """Texts as seeds."""
    return tuple(each.encode() for each in texts)
