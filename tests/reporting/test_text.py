from __future__ import annotations

import pytest

from steepest.reporting.text import clean, one_line


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;http://example.org\x1b\\a link\x1b]8;;\x1b\\", "a link"),
        ("\x1bPdevice\x1b\\x", "x"),
        ("\x1b(Bplain\x1b", "plain"),
        ("\x1b]never closed", "never closed"),
        ("bell\x07 null\x00 back\x08 next\x85", "bell null back next"),
        ("one\r\ntwo\rthree\tfour\n", "one\ntwo\nthree\tfour\n"),
        ("exe.\u202egnp\u2066", "exe.gnp"),
        ("half \ud83d", "half \ufffd"),
        ("问题 é 👩‍👧 नमस्ते", "问题 é 👩‍👧 नमस्ते"),
    ],
)
def test_only_what_can_be_shown_is_left(raw: str, shown: str) -> None:
    assert clean(raw) == shown


def test_one_line_collapses_and_cuts() -> None:
    assert one_line("  a\n\n b\x1b[0m\tc ", 20) == "a b c"
    assert one_line("word " * 10, 12) == "word word w…"
    assert one_line("x" * 12, 12) == "x" * 12
