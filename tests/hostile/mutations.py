"""Valid inputs made invalid: bytes changed, doubled, cut, and replaced by what readers stumble over."""

from __future__ import annotations

from random import Random

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


def mutated(seed: bytes, dice: Random, most: int = 6) -> bytes:
    """`seed` with some changes."""
    data = bytearray(seed)
    for _ in range(dice.randint(1, most)):
        _change(data, dice)
    return bytes(data)


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
