"""Which replica a text belongs to, without any."""

from __future__ import annotations

import pytest

from steepest.models.replicas.homes import Homes
from steepest.models.replicas.model import _portions
from steepest.tasks.loading import load_task

QUESTIONS = [row.input for row in load_task("arithmetic").task.dev]


def shares(homes: Homes, texts: list[str], count: int = 4) -> dict[str, int]:
    """Text -> its replica."""
    found = homes.share_out(texts, list(map(len, texts)), count)
    return {texts[number]: home for home, share in enumerate(found) for number in share}


def test_every_text_has_a_replica_and_all_have_as_much_to_do() -> None:
    texts = [f"{question}\nThink." for question in QUESTIONS]
    found = Homes().share_out(texts, list(map(len, texts)), 4)
    assert sorted(number for share in found for number in share) == list(range(len(texts)))
    loads = [sum(len(texts[number]) for number in share) for share in found]
    assert max(loads) < 1.12 * sum(loads) / 4


@pytest.mark.parametrize("layout", ["{question}\n{prompt}", "{prompt}\n{question}"])
def test_rows_come_back_to_their_replica_under_other_prompts(layout: str) -> None:
    homes = Homes()

    def placed(prompt: str) -> list[int]:
        texts = [layout.format(question=question, prompt=prompt) for question in QUESTIONS]
        found = shares(homes, texts)
        return [found[text] for text in texts]

    first = placed("Think step by step.")
    again = [placed(prompt) for prompt in ("Think step by all.", "Work it out, number by number.", "Answer.")]
    stayed = sum(home == before for each in again for home, before in zip(each, first, strict=True))
    assert stayed > 0.85 * 3 * len(QUESTIONS)


def test_no_replica_gets_more_than_its_share_for_the_sake_of_homes() -> None:
    homes = Homes()
    for question in QUESTIONS:
        homes.keep(f"{question}\nThink.", 0)
    texts = [f"{question}\nThink." for question in QUESTIONS]
    found = homes.share_out(texts, list(map(len, texts)), 4)
    loads = [sum(len(texts[number]) for number in share) for share in found]
    assert max(loads) < 1.12 * sum(loads) / 4


def test_one_long_text_is_no_reason_to_leave_a_replica_idle() -> None:
    found = Homes().share_out(["x" * 1000, *QUESTIONS[:7]], [1000.0, *[1.0] * 7], 4)
    assert [0] in found and all(found)


def test_what_is_forgotten_has_no_home() -> None:
    homes = Homes(kept=2)
    for number, text in enumerate(("apples and pears", "houses to let", "1 2 3 4 5")):
        homes.keep(text, number)
    assert [homes.find(text) for text in ("apples and pears", "houses to let!", "0 1 2 3 4 5")] == [None, 1, 2]


def test_the_same_calls_give_the_same_shares() -> None:
    def all_of() -> list[dict[str, int]]:
        homes = Homes()
        return [shares(homes, [f"{q}\n{prompt}" for q in QUESTIONS]) for prompt in ("Think.", "Answer.")]

    assert all_of() == all_of()


def test_a_share_is_cut_so_that_its_end_can_be_taken_over() -> None:
    assert [len(part) for part in _portions(list(range(80)), 8)] == [40, 20, 10, 10]
    assert list(_portions(list(range(15)), 8)) == [list(range(15))]
    assert list(_portions([], 8)) == []
