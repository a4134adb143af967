"""Meta-prompts and what comes back: filled strictly, read from tags, refused with a reason before a call is spent.

Replies are read by plain tags, <prompt>...</prompt>, which small models can follow; nothing asks for JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

from steepest.asking import Batch
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

    replies = Replies(ctx, role, read, temperature=temperature, n=n, max_tokens=max_tokens)
    replies.add(prompts)
    return replies.lists()


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

    def open_batch() -> Batch:
        return ctx.infilling(role, temperature=temperature, max_tokens=max_tokens)

    replies = Replies(ctx, role, read, temperature=temperature, n=n, open_batch=open_batch)
    replies.add(gaps)
    return replies.lists()


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """What was read from a reply."""

    slot: int
    """n times the place of its prompt, plus its number among the n replies to it."""
    value: T


class Replies(Generic[T]):
    """What `read` makes of replies to prompts that are asked one by one, as early as each is known; see `ask`.

    Replies are read in the order of their prompts' places, however the prompts came; then, in the same order, those
    to the second attempts, which are asked for as soon as a first one has turned out to be unusable.
    """

    def __init__(
        self,
        ctx: Context,
        role: str,
        read: Callable[[Response], T],
        *,
        temperature: float,
        n: int = 1,
        max_tokens: int = 512,
        open_batch: Callable[[], Batch] | None = None,
    ) -> None:
        """`open_batch`: where replies come from; by default from the role's model as it is asked in words."""
        self._ctx = ctx
        self._read = read
        self._n = n
        self._attempts = ATTEMPTS if temperature > 0 else 1
        self._open = open_batch or (lambda: ctx.batch(role, temperature=temperature, max_tokens=max_tokens))
        self._batch = self._open()
        self._asked: dict[int, Prompt | Gap] = {}
        """By place."""
        self._waiting: dict[int, int] = {}
        """Slot -> place in the batch."""

    def add(self, prompts: Sequence[Prompt | Gap], first: int | None = None) -> None:
        """Ask; `first` is the place of the first prompt, the next one unless given."""
        start = len(self._asked) if first is None else first
        self._asked |= enumerate(prompts, start)
        self._waiting |= zip(count(start * self._n), self._batch.add(prompts, self._n))

    def foresee(self, prompts: Sequence[Prompt | Gap], follow: Callable[[int, T | None], None] | None = None) -> None:
        """Send now what will be added in any case, see `Batch.foresee`.

        `follow` hears what is read from the reply to each, by place, or None where nothing can be; of a reply that
        is asked for again it does not hear.
        """

        def heard(place: int, reply: Response) -> None:
            assert follow
            try:
                value = self._read(reply)
            except Unusable:
                if self._attempts == 1:
                    follow(place, None)
                return
            follow(place, value)

        self._batch.foresee(prompts, heard if follow else None)

    def readings(self) -> Iterator[Reading[T]]:
        """What was read, one by one. Nothing can be added afterwards."""
        batch, waiting, usable = self._batch, sorted(self._waiting.items()), 0
        batch.end()
        for attempt in range(self._attempts):
            again, missing = self._open(), list[tuple[int, int]]()
            for slot, place in waiting:
                try:
                    value = self._read(batch.answer(place))
                except Unusable as reason:
                    self._ctx.tally(f"unusable: {reason}")
                    if attempt < self._attempts - 1:
                        missing.append((slot, again.add([self._asked[slot // self._n]])[0]))
                    continue
                usable += 1
                yield Reading(slot, value)
            again.end()
            batch, waiting = again, missing
        self._ctx.tally("usable", usable)
        self._ctx.tally("dropped", len(self._waiting) - usable)

    def lists(self) -> list[list[T]]:
        """What was read by prompt, in the order of places."""
        readings: dict[int, list[T]] = {place: [] for place in sorted(self._asked)}
        for reading in sorted(self.readings(), key=lambda reading: reading.slot):
            readings[reading.slot // self._n].append(reading.value)
        return list(readings.values())


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
