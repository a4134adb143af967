from __future__ import annotations

from steepest.cli.export import NAMES
from steepest.exporting import FORMATS


def test_the_command_names_every_format() -> None:
    assert NAMES.split(", ") == list(FORMATS)
