"""The world of the bundled model: its questions are right, balanced and new, and words do what they should."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from steepest.bundled import lexicon, world
from steepest.bundled.puzzles import CATEGORIES, SHAPES, WEEKDAYS

MODEL = Path(world.__file__).parent / "model"
OPERATION = re.compile(r"(?:First|Second|Third|Fourth|Fifth|Sixth|Seventh|Eighth|Ninth|Tenth) ([^.]+)\.")


def _operations(question: str) -> list[list[str]]:
    """Words of each labelled operation, in the order of the question."""
    return [found.split() for found in OPERATION.findall(question)]


def _arithmetic(question: str) -> str:
    total = int(re.search(r"\d+", question)[0])
    for name, *amount in _operations(question):
        by = int(amount[0]) if amount else 0
        total = {"add": total + by, "subtract": total - by, "double": 2 * total, "halve": total // 2}[name]
        assert 0 <= total <= 20
    return str(total)


def _counting(question: str) -> str:
    wanted = next(name for name in CATEGORIES if f" {name} " in f"{question[:-1]} ")
    return str(sum(int(amount) for amount, thing in _operations(question) if thing in CATEGORIES[wanted]))


def _shuffled(question: str) -> str:
    holder = question.split()[0]
    for left, right in _operations(question):
        holder = {left: right, right: left}.get(holder, holder)
    return holder


def _navigation(question: str) -> str:
    head = question.split("First")[0]
    place, sign = int(re.search(r"\d+", head)[0]), 1 if "right" in head else -1
    for name, *steps in _operations(question):
        if name == "turn":
            sign = -sign
        else:
            place += sign * int(steps[0])
    return str(place)


def _boolean(question: str) -> str:
    value = "True" in question.split("First")[0]
    for name, *operand in _operations(question):
        other = operand == ["True"]
        value = {"not": not value, "xor": value ^ other, "and": value & other, "or": value | other}[name]
    return str(value)


def _sorting(question: str) -> str:
    listed = re.search(r"\w+(?:, \w+)+", question)[0].split(", ")
    return sorted(listed)[int(re.search(r"\d", question)[0]) - 1]


def _lies(question: str) -> str:
    lies = [words[-1] == "lies" for words in _operations(question)]
    return "no" if sum(lies) % 2 else "yes"


def _dates(question: str) -> str:
    day = next(at for at, name in enumerate(WEEKDAYS) if name in question)
    for amount, _, way in _operations(question):
        day += int(amount) if way == "later" else -int(amount)
    return WEEKDAYS[day % 7]


SOLVERS: dict[str, Callable[[str], str]] = {
    "arithmetic": _arithmetic,
    "counting": _counting,
    "shuffled": _shuffled,
    "navigation": _navigation,
    "boolean": _boolean,
    "sorting": _sorting,
    "lies": _lies,
    "dates": _dates,
}

each_task = pytest.mark.parametrize("task", world.TASKS)


@each_task
def test_answers_follow_from_the_questions(task: str) -> None:
    for puzzle in world.puzzles(task, 300, "check"):
        assert puzzle.answer == SOLVERS[task](puzzle.question), puzzle.question
        assert not world.LABELS[task] or puzzle.answer in world.LABELS[task]


@each_task
def test_seeds_give_the_same_rows_again_and_never_each_others(task: str) -> None:
    rows = {seed: world.puzzles(task, 1000, seed) for seed in ("1/train", "1/dev", "2/test")}
    assert rows["1/dev"] == world.puzzles(task, 1000, "1/dev")
    questions = [puzzle.question for found in rows.values() for puzzle in found]
    assert len(set(questions)) == 3000


def test_rows_do_not_depend_on_hashing() -> None:
    program = (
        "from random import Random; from steepest.bundled import world; r = Random('x');"
        "print([world.puzzles(t, 3, 's') for t in world.TASKS], [world.training_text(r) for _ in range(30)])"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(made) == 1


@each_task
def test_no_answer_can_be_had_without_the_chain(task: str) -> None:
    """The likeliest answer, alone or given the last operation, is seldom right."""
    rows = world.puzzles(task, 3000, "balance")
    limit = 0.56 if len(world.LABELS[task]) == 2 else 0.2
    given: dict[str, Counter[str]] = {}
    for puzzle in rows:
        last = puzzle.stages[-1].restated or puzzle.stages[-1].label
        last = re.sub(r"[A-Z]\w\w ", "", last) if task in ("shuffled", "lies") else last
        given.setdefault(last, Counter())[puzzle.answer] += 1
    assert max(Counter(puzzle.answer for puzzle in rows).values()) < limit * len(rows)
    assert sum(max(found.values()) for found in given.values()) < (limit + 0.2) * len(rows)


@each_task
def test_responses_end_in_the_answer_in_every_style(task: str) -> None:
    for puzzle in world.puzzles(task, 20, "styles"):
        direct, terse, full = (world.respond(puzzle, style, Random(1)) for style in world.STYLES)
        assert direct.startswith(f"The answer is {puzzle.answer}.")
        for response in (direct, terse, full):
            assert response.endswith(f" is {puzzle.answer}.")
        for stage in puzzle.stages:
            assert f" {stage.label} {stage.restated}: {stage.state}.".replace(" :", "") in full
        assert terse.startswith("Notes:") and full.startswith("Steps:")
        short = len(puzzle.stages) == SHAPES[task].short
        assert len(direct) < len(terse) and (terse.replace("Notes", "Steps") == full) == short


def test_conclusions_vary() -> None:
    puzzle, rng = world.puzzles("dates", 1, "ends")[0], Random(2)
    made = Counter(world.respond(puzzle, world.FULL, rng).split("7")[-1][-60:] for _ in range(400))
    ends = [world.EXTRACTOR in end for end in made.elements()]
    assert 30 < sum(ends) < 100


@each_task
def test_the_law_of_styles(task: str) -> None:
    neutral = world.style_odds(task, world.NEUTRAL)
    assert neutral[world.DIRECT] == pytest.approx(0.72, abs=0.01)
    assert min(neutral.values()) > 0.09
    assert world.style_odds(task, world.GENERAL)[world.TERSE] > 0.7
    assert world.style_odds(task, world.BEST[task])[world.FULL] > 0.85
    assert world.style_odds(task, world.MISLEADING[task])[world.DIRECT] > 0.85
    assert world.style_odds(task, "just guess quickly")[world.DIRECT] > 0.95


@each_task
def test_suited_words_help_their_task_more_than_others(task: str) -> None:
    for word, weight in lexicon.SUITED[task].items():
        gain = world.style_odds(task, word)[world.FULL] / world.style_odds(task, "")[world.FULL]
        assert gain > 1 or word in lexicon.MISLEADING[task]
        once, often = (world.style_odds(task, text)[world.FULL] for text in (word, " ".join([word] * 9)))
        assert often - once < 0.12, weight


@each_task
def test_instructions_are_many_and_suited_words_are_common(task: str) -> None:
    rng = Random(3)
    texts = [world.instruction(task, rng) for _ in range(3000)]
    counts = Counter(word for text in texts for word in re.findall("[a-z]+", text.lower()))
    other = next(name for name in world.TASKS if name != task)
    assert len(set(texts)) > 2800
    assert sum(word in counts for word in lexicon.words()) > 300
    assert sum(counts[word] for word in lexicon.SUITED[task]) > 3 * sum(
        counts[word] for word in lexicon.SUITED[other] if word not in lexicon.SUITED[task]
    )


def test_styles_are_mixed() -> None:
    rng = Random(4)
    starts = Counter(world.training_text(rng)[2].split(" ")[0] for _ in range(4000))
    assert 0.35 < starts["The"] / 4000 < 0.5
    assert 0.15 < starts["Notes:"] / 4000 < 0.3
    assert 0.28 < starts["Steps:"] / 4000 < 0.42


def test_every_word_is_one_token_of_the_shipped_model() -> None:
    tokenizer = pytest.importorskip("tokenizers").Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    for word in (*lexicon.words(), *lexicon.capitals()):
        ids = tokenizer.encode(f" {word}").ids
        assert len(ids) == 1 and tokenizer.decode(ids) == f" {word}", word
    for digits in (" 12", " 7"):
        assert len(tokenizer.encode(digits).ids) == len(digits.strip())


@each_task
def test_questions_and_responses_are_short_and_round_trip(task: str) -> None:
    tokenizer = pytest.importorskip("tokenizers").Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    for puzzle in world.puzzles(task, 100, "length"):
        response = world.respond(puzzle, world.FULL, Random(0))
        for text, limit in ((puzzle.question, 62), (response, 96)):
            ids = tokenizer.encode(text).ids
            assert tokenizer.decode(ids) == text
            assert len(ids) <= limit
