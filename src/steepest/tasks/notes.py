"""What reading the data brought up: said in a line, with the rows that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SHOWN = 3
"""Rows that a line names."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something about the rows that whoever reads the result should know."""

    text: str
    """What it is and how many rows it is about, in a line."""
    rows: tuple[str, ...] = ()
    """Every such row: where it stands, its id, and what is the matter with it."""

    def __str__(self) -> str:
        """On one line, with the first rows."""
        if not self.rows:
            return self.text
        more = f"; and {len(self.rows) - _SHOWN} more" if len(self.rows) > _SHOWN else ""
        return f"{self.text}: {'; '.join(self.rows[:_SHOWN])}{more}"


def counted(n: int, of: str = "row") -> str:
    """ "1 row", "1,200 rows"."""
    return f"{n:,} {of}" if n == 1 else f"{n:,} {of}s"


def skipped(faults: Sequence[str]) -> list[Note]:
    """What to say of bad rows, where there were any."""
    return [Note(f"{counted(len(faults), 'bad row')} skipped", tuple(faults))] if faults else []
