"""Pulling an answer out of prose: the statements that give one, what is marked, free text.

Everything here works on text in which full-width characters, LaTeX spacing and escapes were made plain, and keeps the
order of what it finds, so that the last statement wins. Numbers and labels have modules of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_Reads = Callable[[str, int], "Statement"]
_MOST = 64
"""Statements that are looked at, counted from the end."""
_PLAIN: dict[int, str] = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_PLAIN |= {ord("\u3000"): " ", ord("。"): ". ", ord("、"): ", ", ord("’"): "'"}
_PLAIN |= dict.fromkeys(map(ord, "\u2212\u2010\u2011"), "-")
_WIDE_COMMA = re.compile(r"，(?![0-9\uff10-\uff19]{3}(?![0-9\uff10-\uff19]))")
_REWRITTEN: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = (
    (("\\",), re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"\1/\2"),
    (("{,}",), re.compile(r"\{,\}"), ","),
    (("\\",), re.compile(r"(?<=\d)\\[,;!: ](?=\d)"), ","),
    (("\\",), re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:bf|rm|it)|mbox)\s*\{([^{}]*)\}"), r"\1"),
    (("\\",), re.compile(r"\\([$%&#_{}])"), r"\1"),
    (("\\",), re.compile(r"\\times"), "×"),
    (("<",), re.compile(r"<(?:final[_ ])?answer>", re.IGNORECASE), "\nAnswer: "),
    (("<",), re.compile(r"</(?:final[_ ])?answer>", re.IGNORECASE), "\n"),
    (("\u00a0", "\u202f", "\u2009"), re.compile(r"(?<=\d)[\u00a0\u202f\u2009](?=\d{3})"), ","),
    (
        ("negative", "minus", "负", "負"),
        re.compile(r"(?:\b(?:negative|minus)\s+|负|負)(?=[$€£¥]?\d)(?<!\d minus )"),
        "-",
    ),
)
"""What is written otherwise, in order: what a text must hold for it, the pattern, the replacement."""


def plain(text: str) -> str:
    """The text with full-width digits and punctuation, LaTeX fractions, spacing and escapes, answer tags made plain."""
    if not text.isascii():
        text = _WIDE_COMMA.sub(", ", text).translate(_PLAIN)
    # Most texts hold nothing of the kind, and to look for a word is many times faster than to try a pattern.
    for held, pattern, replacement in _REWRITTEN:
        if any(each in text for each in held):
            text = pattern.sub(replacement, text)
    return text


# -- statements -----------------------------------------------------------------------------------------------------

_MARKER = re.compile(
    r"\b(?:answers?|correct\s+(?:option|choice|label))\b(?:\s*\([^()\n]*\))?"
    r"(?:\s+(?:to|for|of|here|choice|option)\b[^.:=\n]{0,80}?|,[^.,:=\n]{1,40},)?[*_\s\"']*"
    r"(?:\b(?:is|are|would\s+be|will\s+be|must(?:\s+therefore)?\s+be|should\s+be|has\s+to\s+be)\b(?!\s+not\b)|[:=])"
    r"[*_\s:]*(?:(?:therefore|thus|then|hence|clearly|actually|simply|indeed),?[ \t]+(?=\S))?"
    r"|\bans\s*[:=.]\s*"
    r"|答案(?:应该|應該|应|應|就)?[*_\s]*(?:是|为|為|选|選|:|=)[*_\s:]*(?!不)"
    r"|(?<![不可被候备如果若])(?:选择|選擇|选|選)[*_\s:]*(?=[A-Z(\[])"
    r"|^[ \t]*####[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_CORRECTION = re.compile(
    r"(?:\b(?:wait|no|sorry|oops|hmm+|correction|actually|rather|i\s+meant?|scratch\s+that|on\s+second\s+thoughts?"
    r"|make\s+that|let\s+me\s+correct\s+(?:that|this|myself))\b[\s,:;.!*…\u2014\u2013-]*)+"
    r"(?P<is>(?:it|that|this|the\s+(?:\w+\s+)?(?:result|total|value|number|one))"
    r"(?:'s|\s+is|\s+should\s+be|\s+must\s+be)\s+(?:actually\s+|really\s+)?)?"
    r"|(?P<be>\b(?:it|that|this)\s+(?:should|must)\s+(?:actually\s+)?(?:be|have\s+been)\s+|(?<=[.!?\n]\s)So,?\s+it(?:'s|\s+is)\s+)"
    r"|(?:(?:不对|不對|等等|等一下|更正|错了|錯了|说错了|抱歉)[\s,:;.!]*)+(?P<shi>(?:应该|應該|应|結果|结果)?(?:是|为|為|选|選)[\s:]*)?"
    r"|(?P<ying>(?:应该|應該|应当)(?:是|为|為|选|選)|应为)[\s:]*",
    re.IGNORECASE,
)
_BREAK = re.compile(r"[.!?;*)}\u2026\u2014]\s*$|(?<=[^:\s])[ \t]*\n\s*$")
_WAIT = re.compile(r"wait|sorry|oops|i\s+mean|scratch|on\s+second|[^a-z]", re.IGNORECASE)
"""What takes an answer back even in the middle of a sentence."""
_MARKED = re.compile(r"\*\*((?:[^*\n]|(?<=\w)\*(?=\w))+)\*\*|(?<![\w$])\$([^$\n]+)\$(?![\w$])|__([^_\n]+)__")


@dataclass(frozen=True, slots=True)
class Statement:
    """A place where an output gives its answer: the text from there on."""

    text: str
    is_correction: bool = False
    """Whether it takes back an earlier one: "Wait, 7", "Actually, it is 7". The answer must follow at once."""
    is_direct: bool = False
    """Whether a correction lacks "it is": then the answer must stand alone, for more may follow "Wait,"."""


def statements(text: str) -> list[Statement]:
    """What follows each "answer is", "Answer:", "####" or stands in each \\boxed{}, and later corrections, in order.

    Of many only the last: a model that repeats itself says no more the hundredth time.
    """
    found: list[tuple[int, _Reads]] = [(m.end(), _as_statement) for m in _MARKER.finditer(text)]
    found += [(m.end(), _as_boxed) for m in _BOXED.finditer(text)]
    if not found:
        return []
    first = min(position for position, _ in found)
    found += [
        (m.end(), _as_mended if any(m.group("is", "be", "shi", "ying")) else _as_mended_at_once)
        for m in _CORRECTION.finditer(text, first)
        if _BREAK.search(text[max(0, m.start() - 20) : m.start()]) or _WAIT.match(text, m.start())
    ]
    found.sort(key=lambda item: item[0])
    return [read(text, position) for position, read in found[-_MOST:]]


def _as_statement(text: str, at: int) -> Statement:
    return Statement(text[at:])


def _as_boxed(text: str, at: int) -> Statement:
    return Statement(_braced(text, at))


def _as_mended(text: str, at: int) -> Statement:
    return Statement(text[at:], True)


def _as_mended_at_once(text: str, at: int) -> Statement:
    return Statement(text[at:], True, True)


def _braced(text: str, start: int) -> str:
    """Up to the brace that closes the one before `start`."""
    depth = 1
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[start:at]
    return text[start:]


def marked(text: str) -> list[str]:
    """What stands in **bold**, __bold__ or $math$, in order of appearance."""
    return [next(part for part in m.groups() if part is not None).strip() for m in _MARKED.finditer(text)]


_ABSTENTION = re.compile(
    r"(?:(?:\bcan\s?not|\bcan't|\bcould\s?n[o']t|\bcould\s+not|\bunable\s+to|\bimpossible\s+to|\bnot\s+possible\s+to"
    r"|\bno\s+way\s+(?:to|of))\s+(?:be\s+)?(?:\w+ly\s+)?(?:determin|answer|solv|say|tell|know|comput|calculat|find|conclude|decid|choos)\w*"
    r"|\b(?:not\s+enough|insufficient|too\s+little)\s+(?:information|data|detail)"
    r"|\b(?:do\s+not|don't)\s+(?:know|have\s+enough)"
    r"|无法(?:确定|回答|判断|计算|得出|作答)|無法(?:確定|回答|判斷|計算)|不能(?:确定|判断)|不知道|不清楚|信息不足|条件不足)"
    r"[^.!?;:\n]*?(?=\bbut\b|\bso\b|,\s*(?:therefore|thus|hence|yet|所以|因此|故|选|可能)|但|[.!?;:\n]|$)",
    re.IGNORECASE,
)


def after_abstention(text: str) -> str:
    """What follows the last "cannot be determined" and its like; all of it where there is none."""
    abstentions = list(_ABSTENTION.finditer(text))
    return text[abstentions[-1].end() :] if abstentions else text


def first_line(text: str) -> str:
    """The first line that holds something."""
    return next((line for line in text.splitlines() if line.strip(" *_$\t")), "")


def clause(text: str) -> str:
    """The first line that holds something, up to the end of its first sentence."""
    line = first_line(text)
    end = re.search(r"(?<=[\w\])}\"'*$]{3})[.!?;](?=\s)|(?<=[\d\u3040-\u9fff])[.!?;](?=\s)|\s\.(?=\s|$)", line)
    return line[: end.start()] if end else line


# -- free text ------------------------------------------------------------------------------------------------------

_ARTICLE = re.compile(r"^(?:the|an?)\s+(?=\S)", re.IGNORECASE)


def bare(text: str) -> str:
    """Without the markup, quotes and closing punctuation around it."""
    inner = text.strip().strip("*_`\"'“”$ \t").rstrip(".,;:!? ").strip("*_`\"'“”$ \t")
    return inner or text.strip()


def folded(text: str) -> str:
    """For comparison: bare, without case, leading article and runs of white space."""
    return " ".join(_ARTICLE.sub("", bare(plain(text)).casefold()).split())
