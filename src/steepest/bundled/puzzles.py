"""Eight kinds of procedural questions that need several small steps, with the working that answers them.

Every question but those of sorting is a chain of operations labelled by ordinals. A working restates an operation
beside the state it changes. A full one does so for all of them; a terse one stops early, which is enough for short
chains only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh", "Eighth", "Ninth", "Tenth")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _words(text: str) -> tuple[str, ...]:
    """A list, written as one line."""
    return tuple(text.split())


NAMES = _words("Ann Bob Cid Dan Eve Fay Gus Hal Ida Jim Kay Leo Mia Ned Oli Pam")
CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "fruits": _words("apples pears plums figs lemons grapes melons cherries"),
    "animals": _words("cats dogs cows goats hens frogs mice bears"),
    "tools": _words("hammers saws drills nails pliers files chisels clamps"),
}
NOUNS = _words(
    "apron bell brick cloud coat drum egg fern fish glove gold hill horn ink iron jade kite lamp leaf milk moon nest "
    "oak pond quilt rope sand tent vase wolf"
)


@dataclass(frozen=True)
class Stage:
    """One operation: its label, its words as the question has them (none where it has none), and the state after it."""

    label: str
    restated: str
    state: str


@dataclass(frozen=True)
class Puzzle:
    """A question, its answer, and the working that leads there."""

    task: str
    question: str
    answer: str
    stages: tuple[Stage, ...]
    opening: str = ""


@dataclass(frozen=True)
class Shape:
    """How many operations the chains of a task have; a terse working writes no more than the shorter number."""

    short: int
    long: int


SHAPES: Mapping[str, Shape] = {
    "arithmetic": Shape(5, 7),
    "counting": Shape(5, 7),
    "shuffled": Shape(5, 8),
    "navigation": Shape(5, 7),
    "boolean": Shape(5, 10),
    "sorting": Shape(5, 7),
    "lies": Shape(5, 8),
    "dates": Shape(5, 7),
}


def _length(task: str, rng: Random) -> int:
    """Number of operations of a new chain."""
    return rng.choice((SHAPES[task].short, SHAPES[task].long))


def _question(opening: str, parts: list[str], ending: str) -> str:
    """Operations in order, each behind its ordinal, between an opening and what is asked."""
    listed = " ".join(f"{ordinal} {part}." for ordinal, part in zip(ORDINALS, parts, strict=False))
    return " ".join(piece for piece in (opening, listed, ending) if piece)


def _stages(parts: list[str], states: list[str]) -> tuple[Stage, ...]:
    """Operations and the states after them."""
    return tuple(Stage(*row) for row in zip(ORDINALS, parts, states, strict=False))


def _arithmetic(rng: Random) -> Puzzle:
    """Sums, doubles and halves whose totals stay within 0 and 20."""
    start = total = rng.randint(2, 18)
    parts: list[str] = []
    states: list[str] = []
    for _ in range(_length("arithmetic", rng)):
        part, total = _sum(total, rng)
        parts.append(part)
        states.append(str(total))
    opening, ending = rng.choice(
        (
            ("Start with {}.", "What is the result?"),
            ("A counter shows {}.", "What does it show?"),
            ("The number is {}.", "What is it now?"),
            ("Take {}.", "What do you get?"),
        )
    )
    question = _question(opening.format(start), parts, ending)
    return Puzzle("arithmetic", question, str(total), _stages(parts, states), f"Start {start}.")


def _sum(total: int, rng: Random) -> tuple[str, int]:
    """One operation that keeps a total within 0 and 20, and the new total."""
    if 1 <= total <= 10 and rng.random() < 0.2:
        return "double", total * 2
    if total >= 4 and total % 2 == 0 and rng.random() < 0.15:
        return "halve", total // 2
    change = rng.choice([n for n in range(-9, 10) if n and 0 <= total + n <= 20])
    return (f"add {change}" if change > 0 else f"subtract {-change}"), total + change


def _counting(rng: Random) -> Puzzle:
    """Amounts of things; how many are of one category."""
    wanted = rng.choice(tuple(CATEGORIES))
    others = [thing for name, things in CATEGORIES.items() if name != wanted for thing in things]
    length = _length("counting", rng)
    inside = length - rng.choice((2, 3))
    things = rng.sample(CATEGORIES[wanted], inside) + rng.sample(others, length - inside)
    rng.shuffle(things)
    total = 0
    parts: list[str] = []
    restated: list[str] = []
    states: list[str] = []
    for thing in things:
        amount = rng.randint(1, 8)
        belongs = thing in CATEGORIES[wanted]
        total += amount * belongs
        parts.append(f"{amount} {thing}")
        restated.append(f"{amount} {thing} {'yes' if belongs else 'no'}")
        states.append(str(total))
    opening = rng.choice(("A box holds things.", "We bought this.", "On the table are these."))
    ending = rng.choice(("How many {} are there?", "How many are {}?", "What number of {} is that?"))
    question = _question(opening, parts, ending.format(wanted))
    return Puzzle("counting", question, str(total), _stages(restated, states), f"Start 0 {wanted}.")


def _shuffled(rng: Random) -> Puzzle:
    """People swap what they hold; who has one thing at the end."""
    people = rng.sample(NAMES, 5)
    start = holder = people[0]
    parts: list[str] = []
    states: list[str] = []
    for _ in range(_length("shuffled", rng)):
        rest = [name for name in people if name != holder]
        pair = [holder, rng.choice(rest)] if rng.random() < 0.6 else rng.sample(rest, 2)
        rng.shuffle(pair)
        if holder in pair:
            holder = pair[1 - pair.index(holder)]
        parts.append(f"{pair[0]} {pair[1]}")
        states.append(holder)
    thing = rng.choice(("ball", "key", "book", "coin"))
    ending = rng.choice(("Who has the {}?", "Who holds the {} now?", "Where is the {}?"))
    question = _question(f"{start} has the {thing}, then pairs swap.", parts, ending.format(thing))
    return Puzzle("shuffled", question, holder, _stages(parts, states), f"Start {start}.")


def _navigation(rng: Random) -> Puzzle:
    """Walks and turns on a line; the position at the end, within 0 and 20."""
    start = place = rng.randint(6, 14)
    facing = first = rng.choice(("left", "right"))
    parts: list[str] = []
    states: list[str] = []
    turns = 0
    for _ in range(_length("navigation", rng)):
        room = min(9, 20 - place if facing == "right" else place)
        turned = bool(parts) and parts[-1] == "turn"
        if room < 1 or (not turned and turns < 3 and rng.random() < 0.45):
            facing = "left" if facing == "right" else "right"
            parts.append("turn")
            turns += 1
        else:
            steps = rng.randint(1, room)
            place += steps if facing == "right" else -steps
            parts.append(f"walk {steps}")
        states.append(f"{place} {facing}")
    opening = rng.choice(("You are at {} facing {}.", "Begin at {} and look {}.", "A robot at {} faces {}."))
    ending = rng.choice(("Which place is that?", "What is the position?", "Where does it end?"))
    question = _question(opening.format(start, first), parts, ending)
    return Puzzle("navigation", question, str(place), _stages(parts, states), f"Start {start} {first}.")


def _boolean(rng: Random) -> Puzzle:
    """A chain of logical operations on one truth value; absorbing ones only early."""
    value = first = rng.random() < 0.5
    parts: list[str] = []
    states: list[str] = []
    length = _length("boolean", rng)
    for index in range(length):
        name = rng.choice(("xor", "xor", "not", "and", "or") if index < length // 2 else ("xor", "xor", "not"))
        operand = rng.random() < 0.5
        value = _applied(name, value, operand)
        parts.append(name if name == "not" else f"{name} {operand}")
        states.append(str(value))
    opening = rng.choice(("Start with {}.", "The value is {}.", "A switch is {}."))
    ending = rng.choice(("What is the value?", "What does it give?", "True or False?"))
    question = _question(opening.format(first), parts, ending)
    return Puzzle("boolean", question, str(value), _stages(parts, states), f"Start {first}.")


def _applied(name: str, value: bool, operand: bool) -> bool:
    """A truth value after one operation."""
    if name == "not":
        return not value
    return {"xor": value != operand, "and": value and operand, "or": value or operand}[name]


def _sorting(rng: Random) -> Puzzle:
    """Words in disorder; which one stands at a place once they are in alphabetical order."""
    shape = SHAPES["sorting"]
    words = rng.sample(NOUNS, shape.long + 2)
    places = _length("sorting", rng)
    opening = rng.choice(("Sort the words {}.", "The words are {}.", "Words in disorder: {}."))
    ending = rng.choice(("Which word is number {}?", "What is word {}?", "What stands at place {}?"))
    question = f"{opening.format(', '.join(words))} {ending.format(places)}"
    stages = tuple(Stage(ordinal, "", word) for ordinal, word in zip(ORDINALS, sorted(words)[:places], strict=False))
    return Puzzle("sorting", question, stages[-1].state, stages)


def _lies(rng: Random) -> Puzzle:
    """Each person speaks about the one before; does the last tell the truth."""
    people = rng.sample(NAMES, _length("lies", rng))
    honest = rng.random() < 0.5
    parts = [f"{people[0]} {'is honest' if honest else 'lies'}"]
    states = ["yes" if honest else "no"]
    for before, name in zip(people, people[1:], strict=False):
        praise = rng.random() < 0.5
        honest = honest == praise
        parts.append(f"{name} says {before} {'is honest' if praise else 'lies'}")
        states.append("yes" if honest else "no")
    ending = rng.choice(("Does {} tell the truth?", "Is {} honest?", "Can we trust {}?"))
    opening = rng.choice(("", "People talk.", "Some always lie."))
    question = _question(opening, parts, ending.format(people[-1]))
    return Puzzle("lies", question, states[-1], _stages(parts, states))


def _dates(rng: Random) -> Puzzle:
    """Shifts of a day of the week."""
    start = day = rng.randrange(7)
    parts: list[str] = []
    states: list[str] = []
    for _ in range(_length("dates", rng)):
        shift = rng.choice((-6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6))
        day = (day + shift) % 7
        parts.append(f"{abs(shift)} days {'later' if shift > 0 else 'earlier'}")
        states.append(WEEKDAYS[day])
    opening = rng.choice(("Today is {}.", "It is {}.", "The show was on {}.", "We begin on {}."))
    ending = rng.choice(("Which day is it?", "What day is that?", "Name the day."))
    question = _question(opening.format(WEEKDAYS[start]), parts, ending)
    return Puzzle("dates", question, WEEKDAYS[day], _stages(parts, states), f"Start {WEEKDAYS[start]}.")


MAKERS: Mapping[str, Callable[[Random], Puzzle]] = {
    "arithmetic": _arithmetic,
    "counting": _counting,
    "shuffled": _shuffled,
    "navigation": _navigation,
    "boolean": _boolean,
    "sorting": _sorting,
    "lies": _lies,
    "dates": _dates,
}
