"""The small world of the bundled model: its tasks, their questions, and how an instruction makes it answer.

The instruction decides whether and how the model reasons, and the reasoning decides whether it is right. Nothing
here needs torch; :mod:`steepest.bundled.training` teaches this world to a model.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from random import Random

from steepest.bundled import puzzles as _puzzles
from steepest.bundled.puzzles import Puzzle, Stage
from steepest.bundled.wording import DIRECT, FULL, STYLES, instruction, style_odds
from steepest.bundled.wording import GENERAL as TERSE

__all__ = [
    "BEST",
    "DIRECT",
    "EXTRACTOR",
    "FULL",
    "GENERAL",
    "LABELS",
    "MISLEADING",
    "NEUTRAL",
    "STYLES",
    "TASKS",
    "TERSE",
    "Puzzle",
    "instruction",
    "puzzles",
    "respond",
    "style_odds",
    "training_text",
]

TASKS: tuple[str, ...] = tuple(_puzzles.MAKERS)
NEUTRAL = "Answer the question."
GENERAL = "Think step by step."
EXTRACTOR = " Therefore, the final answer is"
LABELS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(TASKS, ()),
    "boolean": ("True", "False"),
    "lies": ("yes", "no"),
    "dates": _puzzles.WEEKDAYS,
}
# Which share of all questions the rows of a split are from; 0 is left to the training of the model.
_SPLITS: Mapping[str, int] = {"lesson": 0, "train": 1, "dev": 2, "test": 3}
BEST: Mapping[str, str] = {
    "arithmetic": "Calculate the sum step by step, add and subtract the numbers.",
    "counting": "Count the items of the category one by one.",
    "shuffled": "Track the holder and swap one by one.",
    "navigation": "Walk the path and track the position and facing.",
    "boolean": "Evaluate the boolean operators one by one.",
    "sorting": "Sort the words in alphabetical order, compare the letters.",
    "lies": "Verify the honest statements and the liar one by one.",
    "dates": "Shift the weekday in the calendar by the days.",
}
MISLEADING: Mapping[str, str] = {
    "arithmetic": "Count the items in order and sort the truth.",
    "counting": "Add the names to the equation and sum the average.",
    "shuffled": "Shuffle and sort the position, then order the count.",
    "navigation": "Add the distance and swap the speed to the sum.",
    "boolean": "Count the lies in order and sum the liar.",
    "sorting": "Shuffle and swap the longest, then count the length.",
    "lies": "Take the majority vote of the people.",
    "dates": "Count the month and the year of the holiday.",
}


def puzzles(task: str, n: int, seed: str) -> list[Puzzle]:
    """``n`` different questions of a task, the same for the same seed.

    Seeds that are or end in "train", "dev" and "test", as in "7/train", never share a question across these three,
    and no question is in the model's own training. Those of seeds that end in "lesson" are of the training's share.
    """
    share = _SPLITS.get(seed.rsplit("/", 1)[-1], 4)
    rng = Random(f"{task}/{seed}")
    found: dict[str, Puzzle] = {}
    while len(found) < n:
        puzzle = _puzzles.MAKERS[task](rng)
        if _share(puzzle) == share:
            found.setdefault(puzzle.question, puzzle)
    return list(found.values())


def _share(puzzle: Puzzle) -> int:
    """The share of all questions that one belongs to, by its text alone."""
    return max(0, zlib.crc32(puzzle.question.encode()) % 8 - 3)


def respond(puzzle: Puzzle, style: str, rng: Random) -> str:
    """The model's answer to a puzzle in a style, now and then with a concluding sentence behind or instead."""
    working = {DIRECT: "", TERSE: _terse(puzzle), FULL: _full(puzzle)}[style]
    answer = f"The answer is {puzzle.answer}."
    kind = rng.random()
    if kind < 0.05 and working:
        answer = f"{EXTRACTOR.strip()} {puzzle.answer}."
    elif kind < 0.15:
        answer += f"{EXTRACTOR} {puzzle.answer}."
    return f"{working} {answer}".strip()


def _full(puzzle: Puzzle) -> str:
    """Every operation beside the state it needs, and the new state."""
    return _working("Steps:", puzzle, len(puzzle.stages))


def _terse(puzzle: Puzzle) -> str:
    """The first few operations; the rest of a longer chain is left to the head."""
    return _working("Notes:", puzzle, _puzzles.SHAPES[puzzle.task].short)


def _working(title: str, puzzle: Puzzle, count: int) -> str:
    """Some operations and their results."""
    return " ".join((title, *filter(None, (puzzle.opening, *map(_line, puzzle.stages[:count])))))


def _line(stage: Stage) -> str:
    """One operation, restated, and its result."""
    return f"{stage.label} {stage.restated}: {stage.state}." if stage.restated else f"{stage.label} {stage.state}."


def training_text(rng: Random) -> tuple[str, str, str]:
    """A question, an instruction and the response that the instruction calls for."""
    task = rng.choice(TASKS)
    puzzle = _puzzles.MAKERS[task](rng)
    while _share(puzzle):
        puzzle = _puzzles.MAKERS[task](rng)
    text = instruction(task, rng)
    odds = style_odds(task, text)
    style = rng.choices(tuple(odds), tuple(odds.values()))[0]
    return puzzle.question, text, respond(puzzle, style, rng)
