from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steepest.reporting.difference import Run, difference, tokens


def kinds(old: str, new: str) -> list[tuple[str, str]]:
    return [(run.kind, run.text) for run in difference(old, new)]


def test_words_are_the_unit() -> None:
    assert kinds("Answer the question.", "Answer this hard question.") == [
        ("equal", "Answer"),
        ("removed", " the"),
        ("added", " this hard"),
        ("equal", " question."),
    ]


def test_characters_are_the_unit_where_words_are_not_spaced() -> None:
    assert kinds("请回答问题。", "请仔细回答问题!") == [
        ("equal", "请"),
        ("added", "仔细"),
        ("equal", "回答问题"),
        ("removed", "。"),
        ("added", "!"),
    ]


def test_mixed_scripts() -> None:
    assert tokens("用Python写 it's ok: สวั नमस्ते 1_000") == [
        "用", "Python", "写", " it's", " ok", ":", " ส", "วั", " नमस्ते", " 1_000",
    ]  # fmt: skip


def test_equal_and_empty_prompts() -> None:
    assert difference("Same words.", "Same words.") == [Run("equal", "Same words.")]
    assert difference("", "") == []
    assert difference("", "New.") == [Run("added", "New.")]
    assert difference("Old.", "") == [Run("removed", "Old.")]


def test_a_word_that_moved_to_the_front_is_still_the_same_word() -> None:
    assert kinds("Now answer", "answer") == [("removed", "Now "), ("equal", "answer")]
    assert kinds("a\nb", "a b") == [("equal", "a"), ("removed", "\n"), ("added", " "), ("equal", "b")]


def test_what_was_removed_stands_before_what_was_added() -> None:
    assert kinds("a\nb", "x b") == [("removed", "a\n"), ("added", "x "), ("equal", "b")]


def test_common_words_are_not_taken_for_junk() -> None:
    old = "the cat and the dog" + " the cat and the dog" * 60
    assert kinds(old, old + " run") == [("equal", old), ("added", " run")]


pieces = st.lists(st.sampled_from(["the", "a", " ", "\n", "'", "don't", "问", "题", ".", "é", "\u0301", "x1"]))


@given(pieces.map("".join) | st.text(), pieces.map("".join) | st.text())
@pytest.mark.timeout(60)
def test_runs_spell_both_prompts(old: str, new: str) -> None:
    runs = difference(old, new)
    assert "".join(r.text for r in runs if r.kind != "added") == old
    assert "".join(r.text for r in runs if r.kind != "removed") == new
    assert all(a.kind != b.kind for a, b in zip(runs, runs[1:], strict=False))
    assert all(run.text for run in runs)
