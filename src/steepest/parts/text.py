"""Meta-prompts and what comes back: filled strictly, read from tags, refused with a reason before a call is spent.

Replies are read by plain tags, <prompt>...</prompt>, which small models can follow; nothing asks for JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from steepest.context import Context
from steepest.tasks.metaprompt import MetaPrompt as MetaPrompt
from steepest.tasks.metaprompt import Unusable as Unusable
from steepest.tasks.metaprompt import read_tagged as read_tagged
from steepest.tasks.metaprompt import spoken as spoken
from steepest.tasks.metaprompt import tagged as tagged
from steepest.tasks.task import Task
from steepest.types import Candidate, Example, Gap, Outcome, Prompt, Response

T = TypeVar("T")

ATTEMPTS = 3
"""How often one reply is asked for before it is given up: once, and twice more."""
GRAMS: Mapping[str, int] = {"en": 8, "zh": 16}
"""So many words (Chinese: characters) in a row that also stand in a training row are copied from it."""
MARKS = ("prompt", "reason", "feedback", "summary", "rating", "explanation", "blank", "slot", "ins")
"""Tags of the meta-prompts; a prompt that still holds one is refused."""

_SLOT = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_WORD = re.compile(r"[぀-ヿ㐀-鿿]|[^\W_぀-ヿ㐀-鿿]+(?:'[^\W_぀-ヿ㐀-鿿]+)*")
_MARK = re.compile(rf"</?(?:{'|'.join(MARKS)}|think|thinking|thought)\b[^<>]*>|\[/?INS\]", re.IGNORECASE)
_MONOLOGUE = re.compile(
    r"((okay|ok|hmm+|wait|alright|let me (think|see|start)|let's see|first, i (need|should|will)|"
    r"i need to|the user (wants|asks|is asking))\b|好的，|嗯|让我(想|看|先))",
    re.IGNORECASE,
)


def words(text: str) -> list[str]:
    """The words of a text, in lower case; every Chinese character is one."""
    return _WORD.findall(text.lower())


def changed_words(old: str, new: str) -> int:
    """How many words were inserted, deleted or replaced between two texts (Levenshtein, by words)."""
    before, after = words(old), words(new)
    row = list(range(len(after) + 1))
    for i, left in enumerate(before, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(after, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


def ask(
    ctx: Context,
    role: str,
    prompts: Sequence[Prompt],
    read: Callable[[Response], T],
    *,
    temperature: float,
    n: int = 1,
    max_tokens: int = 512,
) -> list[list[T]]:
    """What `read` makes of n replies to each prompt, in order; replies it refuses are asked for again.

    `read` raises Unusable for a reply that it cannot use. Sampled replies are asked for up to ATTEMPTS times, all
    that are missing in one batch; greedy ones once, as they would come out the same. What stays unusable is dropped.
    The reasons are counted in the step's record, under "unusable: REASON", "usable" and "dropped".
    """

    def replies(which: Sequence[int]) -> list[Response]:
        return ctx.generate(role, [prompts[i] for i in which], temperature=temperature, max_tokens=max_tokens)

    return _read_again(ctx, len(prompts), n, replies, read, temperature > 0)


def fill(
    ctx: Context,
    role: str,
    gaps: Sequence[Gap],
    read: Callable[[Response], T],
    *,
    temperature: float,
    n: int = 1,
    max_tokens: int = 512,
) -> list[list[T]]:
    """What `read` makes of n texts written into each gap; otherwise as `ask`."""

    def replies(which: Sequence[int]) -> list[Response]:
        return ctx.infill(role, [gaps[i] for i in which], temperature=temperature, max_tokens=max_tokens)

    return _read_again(ctx, len(gaps), n, replies, read, temperature > 0)


def _read_again(
    ctx: Context,
    count: int,
    n: int,
    replies: Callable[[Sequence[int]], list[Response]],
    read: Callable[[Response], T],
    is_sampled: bool,
) -> list[list[T]]:
    """See `ask`; `replies` asks once, for a reply to each of the prompts at these places among `count`."""
    slots = [prompt for prompt in range(count) for _ in range(n)]
    found: dict[int, T] = {}
    for _ in range(ATTEMPTS if is_sampled else 1):
        missing = [slot for slot in range(len(slots)) if slot not in found]
        if not missing:
            break
        for slot, reply in zip(missing, replies([slots[slot] for slot in missing]), strict=True):
            try:
                found[slot] = read(reply)
            except Unusable as reason:
                ctx.tally(f"unusable: {reason}")
    ctx.tally("usable", len(found))
    ctx.tally("dropped", len(slots) - len(found))
    readings: list[list[T]] = [[] for _ in range(count)]
    for slot, reading in sorted(found.items()):
        readings[slots[slot]].append(reading)
    return readings


class Gate:
    """What a proposed prompt must be before a call is spent on it; knows what was proposed before it.

    Made anew in each step, from what is known by then; `admit` adds to what is known.
    """

    def __init__(self, task: Task, known: Iterable[str] = (), max_words: int = 400) -> None:
        """`known`: prompts that were scored before, refused as duplicates; `max_words`: Chinese characters count."""
        self._known = {_folded(text) for text in known}
        self._max_words = max_words
        self._slots = frozenset(task.template.prompt_slots(task.seeds[0]))
        self._gram = GRAMS[task.language]
        allowed = set(self._grams(" \n".join(task.seeds)))
        self._copied = {gram for row in (*task.train, *task.dev) for gram in self._grams(row.input)} - allowed

    def admit(self, text: str) -> str:
        """The prompt, cleaned of quotes and fences; Unusable with the reason where it must not be tried."""
        prompt = cleaned(text)
        if reason := self._refusal(prompt):
            raise Unusable(reason)
        self._known.add(_folded(prompt))
        return prompt

    def _refusal(self, prompt: str) -> str:
        checks = {
            "empty": not words(prompt),
            "thinking": bool(_MONOLOGUE.match(prompt)),
            "leftover tags": bool(_MARK.search(prompt)),
            "too long": len(words(prompt)) > self._max_words,
            "slots lost": bool(self._slots - set(_SLOT.findall(prompt))),
            "slots invented": bool(self._slots) and bool(set(_SLOT.findall(prompt)) - self._slots),
            "copied row": any(gram in self._copied for gram in self._grams(prompt)),
            "duplicate": _folded(prompt) in self._known,
        }
        return next((reason for reason, is_so in checks.items() if is_so), "")

    def _grams(self, text: str) -> list[tuple[str, ...]]:
        """All runs of so many words; a shorter text of five or more words is one run."""
        found = words(text)
        if 5 <= len(found) < self._gram:
            return [tuple(found)]
        return [tuple(found[i : i + self._gram]) for i in range(len(found) - self._gram + 1)]


def read_prompt(response: Response, gate: Gate) -> str:
    """The new prompt of a reply: the first <prompt> span that the gate admits."""
    return gate.admit(read_tagged(response, "prompt")[0])


def cleaned(text: str) -> str:
    """A prompt without code fences, surrounding quotes, bold marks and outer white space."""
    text = re.sub(r"^```\w*\n(.*?)\n?```$", r"\1", text.strip(), flags=re.DOTALL).strip()
    for left, right in ('""', "''", "``", "“”", "‘’", "「」"):
        if len(text) > 1 and text[0] == left and text[-1] == right and left not in text[1:-1]:
            text = text[1:-1].strip()
    return text.replace("**", "")


def fresh(candidates: Iterable[Candidate], known: Iterable[Candidate] = ()) -> list[Candidate]:
    """Candidates whose text is neither among `known` nor came before, in order."""
    seen = {candidate.id for candidate in known}
    kept = []
    for candidate in candidates:
        if candidate.id not in seen:
            seen.add(candidate.id)
            kept.append(candidate)
    return kept


def percent(score: float) -> str:
    """A score in [0, 1] as the whole number from 0 to 100 that meta-prompts speak of; 0.29 is "29"."""
    return str(round(score * 100))


def shown_input(task: Task, example: Example) -> str:
    """A row as meta-prompts show it: its input, or every column that the task's template uses, by name."""
    return task.template.shown(task.seeds[0], example)


def shown_answer(outcome: Outcome, limit: int = 400) -> str:
    """What the model answered: the answer found in its output, or the end of the output where none was."""
    return outcome.answer if outcome.answer is not None else outcome.output.strip()[-limit:]


def _folded(text: str) -> str:
    """A prompt as duplicates are recognised: white space and case apart, all the same."""
    return " ".join(text.lower().split())
