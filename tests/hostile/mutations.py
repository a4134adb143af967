"""Valid inputs made invalid: bytes changed, doubled, cut, replaced by what readers stumble over; JSON by its values."""

from __future__ import annotations

import json
from copy import deepcopy
from random import Random
from typing import Any

_TOKENS = (
    *("\x00", "\n", "\r\n", "\r", "\t", '"', "'", ",", ";", ":", "{", "}", "{{", "}}", "[", "]", "(", ")"),
    *("{x.__class__}", "{x[0]}", "{x!r}", "{0}", "{}", "{input}", "{prompt}", "{note}", "${x}", "%s", "{%", "{#"),
    *("NaN", "Infinity", "-1", "1e999", "null", "true", "0x1f", "1_000", "9" * 25, "9" * 5000, "-0.0", "1/0", "00"),
    *("!!python/object/apply:os.system [x]", "&a ", "*a", "<<: *a", "? ", "- ", "|", ">", "%YAML 1.1\n---\n", "..."),
    *("2001-99-99", "2001-12-14t21:59:43.10-05:00", "0o7", "!!binary x", "!!set {a}", "!!omap [a: b]", "=", "~"),
    *("\x1b[31m", "\x1b]0;t\x07", "\x9b", "\x9d", "\u202e", "\ufeff", "\u2028", "\x85", "\ud800", "\U0001f642"),
    *("</think>", "<think>", "<prompt>", "</prompt>", "<rating>", "</rating>", "<", ">", "&", "\u0301"),
    *("The answer is ", "(A)", "no, ", "one hundred ", "million ", "####", "\\boxed{", "**", "$", "\\frac{1}{0}"),
    *("\u4e07\u4ebf", "\u4e5d", "\u00bd", "\u0663", "\u2460", "\u216f", '{"use": "greater"}', '"use"', "\\ud800"),
    *("../", "/", "C:\\", "~", ".py:", ":", "steepest.", "__class__", "\\u0000"),
)
TOKENS: tuple[bytes, ...] = tuple(token.encode("utf-8", "surrogatepass") for token in _TOKENS)
_NUMBERS = (0, -1, 1, 0.5, 2, -0.0, 1e-320, 1e308, 10**18, 10**400, float("nan"), float("inf"), -float("inf"))
_VALUES = (*_NUMBERS, None, True, False, "", "NaN", "Infinity", [], {}, [[]], {"": {}}, "x" * 3000, "\ud800")


def mutated(seed: bytes, dice: Random, most: int = 6) -> bytes:
    """`seed` with some changes."""
    data = bytearray(seed)
    for _ in range(dice.randint(1, most)):
        _change(data, dice)
    return bytes(data)


def mutated_json(seed: bytes, dice: Random) -> bytes:
    """`seed`, JSON or JSON lines, with some values changed; changed as bytes where it is neither, and now and then."""
    lines = seed.split(b"\n")
    whole = dice.random() < 0.1
    at = dice.randrange(len(lines))
    try:
        data = [json.loads(lines[at])]
    except (ValueError, RecursionError):
        whole = True
    if whole:
        return mutated(seed, dice)
    for _ in range(dice.choice((1, 1, 2, 4))):
        _revalue(data, dice)
    lines[at] = json.dumps(data[0]).encode("utf-8", "surrogatepass")
    return b"\n".join(lines)


def behind(first: int) -> Any:
    """Changes JSON behind the first so many bytes, which mean something of their own, and those now and then."""

    def change(seed: bytes, dice: Random) -> bytes:
        head = bytes(dice.randrange(256) for _ in range(first)) if dice.random() < 0.05 else seed[:first]
        return head + mutated_json(seed[first:], dice)

    return change


def _revalue(data: Any, dice: Random) -> None:
    """Change one value somewhere in a list or an object."""
    place = data
    while True:
        keys = list(range(len(place))) if isinstance(place, list) else list(place)
        if not keys:
            return
        key = dice.choice(keys)
        if not (isinstance(place[key], list | dict) and place[key] and dice.random() < 0.85):
            break
        place = place[key]
    match dice.randrange(6):
        case 0 if place is not data:
            del place[key]
        case 1 if isinstance(place, list) and place is not data:
            place[key:key] = [deepcopy(place[key]) for _ in range(dice.choice((1, 3)))]
        case 2 if isinstance(place, dict):
            place[dice.choice(_TOKENS)] = deepcopy(place[key])
        case 3 if isinstance(place[key], str):
            cut = dice.randint(0, len(place[key]))
            place[key] = place[key][:cut] + dice.choice(_TOKENS) + place[key][cut:]
        case 4 if isinstance(place[key], int | float):
            place[key] = dice.choice(_NUMBERS)
        case _:
            place[key] = deepcopy(dice.choice(_VALUES))


def _change(data: bytearray, dice: Random) -> None:
    at = dice.randint(0, len(data))
    end = min(len(data), at + dice.choice((1, 1, 2, 5, 20, 100)))
    match dice.randrange(8):
        case 0 | 1 | 2:
            data[at:at] = dice.choice(TOKENS)
        case 3:
            data[at:end] = b""
        case 4:
            data[at:at] = data[at:end] * dice.choice((1, 2, 30))
        case 5:
            data[at:end] = dice.choice(TOKENS)
        case 6:
            data[at:end] = bytes(dice.randrange(256) for _ in range(end - at))
        case 7:
            other = dice.randint(0, len(data))
            data[at:end] = data[other : other + dice.randint(1, 30)]
