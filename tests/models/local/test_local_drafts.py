"""Drafts change how fast an answer comes, never the answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engines import Slow, answers, engine, prompt_ids
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import Family

from steepest.models.alike import Alike, as_bytes
from steepest.models.local.drafts import Draft, Drafts, Trust
from steepest.types import Request

PROMPT = "How many apples are there?"
LENGTH = 36
NO_END = (10**6,)


@pytest.fixture(scope="module")
def true_answer(families: dict[str, Family]) -> dict[str, list[int]]:
    return {name: Slow(family).ids(PROMPT, LENGTH, NO_END) for name, family in families.items()}


def drafted(family: Family, draft: list[int], request: Request, ends: tuple[int, ...] = ()) -> tuple[object, object]:
    """The answer with that draft at hand, and what it took."""
    model = engine(family, ends=ends or family.local._loaded.ends)
    model._loaded.drafts.keep(prompt_ids(model, PROMPT), draft)
    (answer,) = answers(model, [request])
    return answer, model.work


def plain_answer(family: Family, request: Request, ends: tuple[int, ...] = ()) -> object:
    (answer,) = answers(engine(family, ends=ends or family.local._loaded.ends), [request])
    return answer


def test_a_right_draft_is_taken_over(family: Family, true_answer: dict[str, list[int]]) -> None:
    truth, request = true_answer[family.name], Request(PROMPT, max_tokens=LENGTH)
    assert not set(truth) & set(family.local._loaded.ends)
    answer, work = drafted(family, truth, request)
    assert answer == Slow(family).answer(request, family.local._loaded.ends)
    # 8 guesses beside the prompt, then 16, then the rest, and behind each of them one more token.
    assert (work.guessed, work.right, work.steps) == (LENGTH - 3, LENGTH - 3, 0)


@pytest.mark.parametrize("place", [0, 1, 7, 8, 9, 20, LENGTH - 1])
def test_a_draft_that_is_wrong_somewhere(llama: Family, true_answer: dict[str, list[int]], place: int) -> None:
    truth, request = true_answer["llama"], Request(PROMPT, max_tokens=LENGTH)
    expected = Slow(llama).answer(request, llama.local._loaded.ends)
    for other in (truth[:place] + [9] + truth[place + 1 :], truth[:place], truth[:place] + [9, 11] + truth[place:],
                  truth[:place] + truth[place + 2 :], truth + truth[:place]):  # fmt: skip
        answer, work = drafted(llama, other, request)
        assert answer == expected
        assert work.right <= work.guessed <= LENGTH + 8 * 8
        assert work.read <= len(prompt_ids(llama.local, PROMPT)) - 1 + LENGTH + work.guessed - work.right


@pytest.mark.parametrize("change", ["other", "more", "fewer"])
def test_texts_that_meet_again_are_drafted_again(llama: Family, true_answer: dict[str, list[int]], change: str) -> None:
    truth = true_answer["llama"]
    pairs = list(zip(truth, truth[1:], strict=False))
    assert len(set(pairs)) > 20  # Otherwise nothing tells where they meet.
    other = {
        "other": truth[:4] + [9] * 3 + truth[7:],
        "more": truth[:4] + [9] * 3 + truth[4:],
        "fewer": truth[:4] + truth[7:],
    }
    answer, work = drafted(llama, other[change], Request(PROMPT, max_tokens=LENGTH))
    assert answer == Slow(llama).answer(Request(PROMPT, max_tokens=LENGTH), llama.local._loaded.ends)
    assert work.right >= 20
    assert work.steps < 14


@pytest.mark.parametrize("place", range(1, 14))
def test_an_answer_that_ends_inside_its_draft(llama: Family, true_answer: dict[str, list[int]], place: int) -> None:
    """By the end token, the limit, or a stop string, wherever it falls."""
    truth, slow = true_answer["llama"], Slow(llama)
    limited = Request(PROMPT, max_tokens=place)
    answer, work = drafted(llama, truth, limited)
    assert answer == slow.answer(limited, llama.local._loaded.ends)
    assert work.guessed <= place - 1
    ends, free = (truth[place],), Request(PROMPT, max_tokens=LENGTH)
    answer, work = drafted(llama, truth, free, ends)
    assert answer == slow.answer(free, ends) and answer.finish == "stop"
    assert work.right <= answer.output_tokens
    text = slow.answer(free, NO_END).text
    stopped = replace(free, stop=("never there", text[place : place + 2]))
    answer, _ = drafted(llama, truth, stopped)
    assert answer == slow.answer(stopped, llama.local._loaded.ends) and answer.finish == "stop"


def test_a_draft_that_ends_where_the_answer_goes_on(llama: Family, true_answer: dict[str, list[int]]) -> None:
    truth, end = true_answer["llama"], llama.local._loaded.ends[0]
    answer, work = drafted(llama, [*truth[:6], end], Request(PROMPT, max_tokens=LENGTH))
    assert answer == Slow(llama).answer(Request(PROMPT, max_tokens=LENGTH), llama.local._loaded.ends)
    assert (work.guessed, work.right) == (7, 6)


def test_samples_are_not_drafted(llama: Family, true_answer: dict[str, list[int]]) -> None:
    request = Request(PROMPT, temperature=1.0, max_tokens=LENGTH, seed=3)
    answer, work = drafted(llama, true_answer["llama"], request)
    assert (answer, work.guessed) == (plain_answer(llama, request), 0)


def test_the_answer_to_a_like_prompt_is_the_draft(llama: Family) -> None:
    model = engine(llama)
    answers(model, [Request(f"{PROMPT} {end}", max_tokens=12) for end in ("Think.", "Yes")])
    before = model.work
    answers(model, [Request(f"{PROMPT} Think", max_tokens=12)])
    assert model.work.guessed > before.guessed
    unlike = engine(llama)
    answers(unlike, [Request("No", max_tokens=12)])
    answers(unlike, [Request("Use only addition, then give the actual correct answer. " * 2, max_tokens=12)])
    assert unlike.work.guessed == 0


def test_the_nearest_prompt_wins() -> None:
    drafts = Drafts()
    row, prompt = list(range(100, 130)), list(range(10, 20))
    drafts.keep([*prompt, *row], [1])
    drafts.keep([*prompt[:5], 99, *prompt[6:], *reversed(row)], [2])
    found = drafts.find([*prompt[:5], 98, *prompt[6:], *row])
    assert found is not None and found.guess(8) == [1]
    assert drafts.find([1, 2, 3]) is None


@pytest.mark.parametrize(("guessed", "right", "first"), [(8, 8, 64), (8, 6, 4), (8, 1, 1), (8, 0, 0)])
def test_as_many_tokens_are_tried_as_were_right_in_a_row(guessed: int, right: int, first: int) -> None:
    trust = Trust()
    assert trust.first == 8
    for _ in range(500):
        trust.tell(guessed, right)
    assert trust.first == first
    tries = sum(trust.draft([1, 2]) is not None for _ in range(320))
    assert tries == (320 if first else 10), "what does not pay is tried again from time to time"
    for _ in range(500):
        trust.tell(8, 8)
    assert trust.first > 4, "what was told long ago counts little"


def test_other_words_and_other_rows_are_trusted_apart() -> None:
    drafts, prompt = Drafts(), list(range(40))
    drafts.keep(prompt, [1])
    other_word, other_row = [*prompt[:9], 99, *prompt[10:]], [*prompt[:9], *range(100, 114), *prompt[23:]]
    for _ in range(100):
        draft = drafts.find(other_row)
        if draft:
            draft.tell(8, 0)
    assert drafts.find(other_row) is None
    found = drafts.find(other_word)
    assert found is not None and found.guess(8) == [1]


def test_an_answer_to_a_prompt_more_alike_is_worth_waiting_for() -> None:
    drafts, coming, prompt = Drafts(), Alike(), list(range(40))
    near, far = [*prompt[:9], 99, *prompt[10:]], [*prompt[:9], *range(100, 105), *prompt[14:]]
    assert drafts.waits(prompt, coming) is None
    coming.add(as_bytes(far))
    assert drafts.waits(prompt, coming) == as_bytes(far)
    coming.add(as_bytes(near))
    assert drafts.waits(prompt, coming) == as_bytes(near)
    drafts.keep([*prompt[:8], 99, 99, *prompt[10:]], [1])
    assert drafts.waits(prompt, coming) == as_bytes(near), "the draft at hand is less alike"
    drafts.keep(near, [1])
    assert drafts.waits(prompt, coming) is None, "there is a draft as good"
    coming.add(as_bytes(prompt))
    assert drafts.waits(prompt, coming) == as_bytes(prompt)
    for _ in range(100):
        found = drafts.find(prompt[:-1] + [5])
        if found:
            found.tell(8, 1)
    coming.remove(as_bytes(prompt))
    coming.remove(as_bytes(prompt))
    assert drafts.waits(prompt[:-1] + [6], coming) is None, "such drafts do not pay"


@pytest.mark.parametrize("batch_tokens", [64, 200, 4096])
def test_prompts_that_differ_by_a_word_take_over_the_first_ones_answer(llama: Family, batch_tokens: int) -> None:
    """Within one call, in whatever order, and whether or not they fit in at once; samples wait for nobody."""
    model, slow = engine(llama), Slow(llama)
    model._loaded.batch_tokens = batch_tokens
    prompts = [f"{PROMPT} {word}" for word in ("Think.", "Think!", "Think.", "Think", "Think?")]
    greedy = [Request(prompt, max_tokens=LENGTH) for prompt in prompts]
    samples = [Request(prompt, temperature=1.0, max_tokens=LENGTH, seed=i) for i, prompt in enumerate(prompts)]
    found = answers(model, [*greedy, *samples])
    assert found[:5] == [slow.answer(request, llama.local._loaded.ends) for request in greedy]
    assert found[5:] == [plain_answer(llama, request) for request in samples]
    assert model.work.guessed > 0
    again = model.work
    assert answers(model, list(reversed(greedy))) == list(reversed(found[:5]))
    assert model.work.right > again.right


def test_the_oldest_answers_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steepest.models.local.drafts._KEPT", 3)
    drafts = Drafts()
    for n in range(5):
        drafts.keep([n] * 6, [n])
    found = [drafts.find([n] * 6) for n in range(5)]
    assert [each is not None and each.guess(1) == [n] for n, each in enumerate(found)] == [
        False,
        False,
        True,
        True,
        True,
    ]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=40), st.lists(st.integers(0, 5), min_size=1, max_size=40), st.data())
def test_a_draft_says_what_stands_where_the_text_is(draft: list[int], text: list[int], data: st.DataObject) -> None:
    """While text and draft agree, the guesses are the draft's next tokens; they are never more than asked for."""
    one, place = Draft(draft, Trust()), 0
    while place < len(text):
        most = data.draw(st.integers(0, 10))
        guess = one.guess(most)
        assert len(guess) <= most
        if text[:place] == draft[:place]:
            assert guess == draft[place : place + len(guess)]
        count = data.draw(st.integers(1, len(text) - place))
        one.follow(text[place - 1] if place else -1, text[place : place + count])
        one.tell(len(guess), data.draw(st.integers(0, len(guess))))
        place += count
