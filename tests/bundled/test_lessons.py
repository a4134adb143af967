"""The lessons of the bundled model: what the teacher says follows from what it is shown, and runs ask for it."""

from __future__ import annotations

import re
from itertools import islice
from random import Random

import pytest

from steepest.bundled import lexicon, world
from steepest.bundled.lessons import RIGHT, StandIn, lessons
from steepest.bundled.teacher import Teacher
from steepest.parts.directions import ERROR
from steepest.parts.text import tagged
from steepest.spec import METHODS
from steepest.types import Message, Request

ASK_PROMPT = "Put the new prompt in <prompt>...</prompt>."


def said(task: str, asked: str, n: int = 40) -> list[str]:
    requests = [Request(asked, temperature=1.0, seed=seed) for seed in range(n)]
    return [response.text for _, response in Teacher(task).generate(requests)]


def suited(task: str, text: str) -> set[str]:
    return set(re.findall("[a-z]+", text.lower())) & set(lexicon.SUITED[task])


def share_suited(task: str, asked: str) -> float:
    """Mean number of words in the new prompts that suit the task."""
    prompts = [tagged(reply, "prompt")[0] for reply in said(task, asked, 200)]
    return sum(len(suited(task, prompt)) for prompt in prompts) / len(prompts)


def test_the_same_seed_gives_the_same_lessons() -> None:
    first, again, other = (list(islice(lessons(seed), 30)) for seed in ("a", "a", "b"))
    assert first == again
    assert first != other


def test_every_kind_of_reply_is_taught_with_its_tags() -> None:
    found = list(islice(lessons("kinds"), 250))
    assert {lesson.kind for lesson in found} == {"prompt", "reason", "feedback", "summary", "rating", "thoughts"}
    for lesson in found:
        assert lesson.kind == "thoughts" or tagged(lesson.reply, lesson.kind)
        assert lesson.turns[-1].role == "user"


def test_lessons_never_show_a_question_of_the_tasks_rows() -> None:
    asked = "\n".join(turn.content for lesson in islice(lessons("rows"), 120) for turn in lesson.turns)
    for task in world.TASKS:
        for split in ("train", "dev", "test"):
            assert not [p for p in world.puzzles(task, 40, f"0/{split}") if p.question in asked]


def test_every_text_method_is_taught() -> None:
    from steepest.bundled.lessons import _SETTINGS

    assert set(_SETTINGS) == set(METHODS) - {"greater"}


@pytest.mark.parametrize("task", world.TASKS)
def test_a_reason_makes_better_prompts_than_examples_alone(task: str) -> None:
    puzzle = world.puzzles(task, 1, "0/lesson")[0]
    error = ERROR.fill("en", input=puzzle.question, target=puzzle.answer, answer="?")
    words = " and ".join(list(lexicon.SUITED[task])[:4])
    alone = f"Prompt: Go.\n\n{error}\n\n{ASK_PROMPT}"
    told = f"Prompt: Go.\n\n{error}\n\nWhat is wrong with the prompt: it lacks {words}.\n\n{ASK_PROMPT}"
    assert share_suited(task, told) > share_suited(task, alone) + 0.4


def test_prompts_with_high_scores_are_taken_from() -> None:
    good, bad = "Track the holder and swap.", "Guess the weather quickly."
    shown = f"Prompt: {bad}\nScore: 3\n\nPrompt: {good}\nScore: 90\n\nInput: Who has it?\nAnswer: Ann\n\n{ASK_PROMPT}"
    replies = " ".join(said("shuffled", shown)).lower()
    assert replies.count("swap") > 3 * replies.count("weather")
    assert replies.count("track") + replies.count("holder") > 20


def test_a_summary_keeps_what_is_said_often() -> None:
    feedback = "- Ask to verify the liar.\n" * 5 + "- Ask to count the month.\n"
    asked = f"Feedback:\n{feedback}\nWrite the paragraph in <summary> tags."
    replies = [tagged(reply, "summary")[0] for reply in said("lies", asked)]
    assert sum("verify" in reply for reply in replies) > sum("month" in reply for reply in replies)
    assert sum("verify" in reply and "liar" in reply for reply in replies) > len(replies) / 3


@pytest.mark.parametrize(("answer", "rating"), [("The answer is 7.", "1"), ("Steps: 4. The answer is 9.", "0")])
def test_the_judge_compares_the_answer_with_the_expected_one(answer: str, rating: str) -> None:
    asked = f"Judge.\n\nInput: 3 + 4?\nExpected answer: 7\nModel answer: {answer}\n\nWrite it in <rating> tags."
    assert tagged(said("arithmetic", asked, 1)[0], "rating") == [rating]


def test_several_reasons_are_given_where_several_are_asked_for() -> None:
    asked = "Prompt: Go.\nNumber of different reasons to give: 3\nPut each reason in <reason>...</reason>."
    assert all(len(set(tagged(reply, "reason"))) == 3 for reply in said("dates", asked, 10))


@pytest.mark.parametrize("style", world.STYLES)
def test_the_stand_in_is_right_as_often_as_its_style_allows(style: str) -> None:
    puzzles = world.puzzles("arithmetic", 400, "0/lesson")
    instruction = {world.DIRECT: "Just guess quickly.", world.FULL: world.BEST["arithmetic"]}.get(style)
    instruction = instruction or "Think carefully. Show your reasoning step by step."
    model = StandIn({puzzle.question: puzzle for puzzle in puzzles})
    asked = [Request((Message("user", f"{puzzle.question} {instruction}"),)) for puzzle in puzzles]
    right = [
        response.text.endswith(f" is {puzzle.answer}.")
        for puzzle, (_, response) in zip(puzzles, model.generate(asked), strict=True)
    ]
    assert abs(sum(right) / len(right) - RIGHT[style]) < 0.1


def test_invented_words_are_no_hints() -> None:
    rng = Random(0)
    made = "".join(rng.choices("qxz", k=8))
    asked = f"Prompt: Go.\n\nWhat is wrong with the prompt: it lacks {made}.\n\n{ASK_PROMPT}"
    assert made not in " ".join(said("boolean", asked))
