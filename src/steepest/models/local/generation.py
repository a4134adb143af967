"""Decoding, greedy or sampled so that a sample depends on its own seed and logits alone.

Texts of any length share one batch, and one that ends makes room for the next. Beginnings that were read before, in
this call or an earlier one, are not read again. An earlier answer to a like question is a draft of the next one: what
the model would have written anyway is taken over many tokens at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from steepest.errors import ModelError
from steepest.models import Ints
from steepest.models.alike import Alike, as_bytes
from steepest.models.local import plain
from steepest.models.local.batching import batches
from steepest.models.local.choosing import Asked, Dice, Stops
from steepest.models.local.drafts import Draft
from steepest.models.local.layout import Layout
from steepest.models.local.loaded import Loaded
from steepest.models.local.passes import heavy, read, size, wave
from steepest.models.local.prefixes import Name
from steepest.models.local.slots import Slots
from steepest.types import Request, Response

_REFILL = 0.25
"""Requests that wait begin when there is room for this share of a batch."""
_ABOUT = 16
"""Tokens by which prompts of about the same length may differ."""
_IDLE = 1 / 16
"""Free slots are closed up when they are this share of all."""
_AHEAD = 0.25
"""Drafts are tried when this share of the texts has one that agrees so far."""


def generate(loaded: Loaded, layout: Layout, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
    """Yield (index, response) as requests finish."""
    yield from go_on(loaded, layout, requests, layout.ids([layout.text(r.prompt) for r in requests]))


def go_on(
    loaded: Loaded, layout: Layout, requests: Sequence[Request], prompts: Sequence[list[int]]
) -> Iterator[tuple[int, Response]]:
    """Yield (index, response) as these ids are gone on with, about the shortest first.

    What leaves no room for a token is answered first, as failed.
    """
    for request in requests:
        if request.temperature > 0 and request.seed is None:
            raise ModelError(f"a sampled request needs a seed, got None at temperature {request.temperature}; give one")
    asked = []
    for index, (request, prompt) in enumerate(zip(requests, prompts, strict=True)):
        if len(prompt) < loaded.context:
            asked.append(Asked(index, request, prompt, min(len(prompt) + request.max_tokens, loaded.context)))
        else:
            reason = f"context overflow: {len(prompt):,} tokens do not fit in {loaded.context:,}"
            yield index, Response("", finish="failed", reason=reason)
    # Of about the same length, in the order asked: the first of like prompts is the others' draft, and often the one
    # that they were made from.
    asked.sort(key=lambda each: (len(each.prompt) // _ABOUT, each.index))
    while asked:
        answered = set[int]()
        try:
            for number, response in _answers(loaded, layout, asked):
                answered.add(number)
                yield asked[number].index, response
        except torch.cuda.OutOfMemoryError as error:
            loaded.halve(error)
        asked = [each for number, each in enumerate(asked) if number not in answered]


def _answers(loaded: Loaded, layout: Layout, asked: Sequence[Asked]) -> Iterator[tuple[int, Response]]:
    if not loaded.ragged:
        yield from plain.answers(loaded, layout, asked)
        return
    with loaded.slots() as slots:
        yield from Decoding(loaded, layout, asked, slots).run()


class Decoding:
    """A call's answers on their way. Requests are known by their numbers, the texts being written by their slots."""

    def __init__(self, loaded: Loaded, layout: Layout, asked: Sequence[Asked], slots: Slots) -> None:
        self._loaded = loaded
        self._layout = layout
        self._asked = asked
        requests = [each.request for each in asked]
        self._dice = Dice(requests)
        self._stops = Stops(layout, requests, loaded.width, loaded.ends)
        self._ending = np.zeros(loaded.width, np.bool_)
        self._ending[list(loaded.ends)] = True
        self._names = [as_bytes([*each.prompt, *each.written]) for each in asked]
        self._claimed = set[Name]()
        self._waiting = list(range(len(asked)))
        self._written = Alike()
        """Prompts of the likeliest answers that are being written."""
        self._after: dict[bytes, list[int]] = {}
        """By such a prompt: requests that wait for its answer as their draft."""
        self._slots = slots
        self._numbers = np.zeros(0, np.int64)
        """[slots], which request each one answers; -1 for a free one."""
        self._texts = np.zeros((0, max((each.most for each in asked), default=0)), np.int64)
        """[slots, tokens], prompts and what was written."""
        self._lengths, self._begun, self._ends = (np.zeros(0, np.int64) for _ in range(3))
        """[slots], tokens of each text, of its prompt, and at most. All but the last of them were read."""
        self._drafts: dict[int, Draft] = {}
        """By slot."""
        self._done: list[tuple[int, Response]] = []
        """Answers that were not handed out yet."""

    def run(self) -> Iterator[tuple[int, Response]]:
        """Yield (number, response) as texts end. When memory runs out, what was written is noted."""
        while self._waiting or (self._numbers >= 0).any():
            try:
                with torch.inference_mode():
                    self._advance()
            except torch.cuda.OutOfMemoryError:
                self._note()
                yield from self._done
                raise
            done, self._done = self._done, []
            yield from done

    def _note(self) -> None:
        for slot in np.nonzero(self._numbers >= 0)[0].tolist():
            text = self._texts[slot, self._begun[slot] : self._lengths[slot]]
            self._asked[self._numbers[slot]].written[:] = text.tolist()

    def _advance(self) -> None:
        """Whatever is to be done next: begin texts, or try drafts, if it pays, and write a token of every text."""
        (running,) = np.nonzero(self._numbers >= 0)
        room = self._room(running)
        if room and room >= _REFILL * (room + len(running)):
            self._begin(running, room)
            return
        if len(running) <= (1 - _IDLE) * (running[-1] + 1):
            running = self._close_up(running)
        tried = self._ahead(running)
        if tried < len(running) and not self._done:
            self._step(running)

    def _room(self, running: Ints) -> int:
        """How many of those that wait can begin now."""
        widest = int(self._ends[running].max(initial=0))
        room = 0
        for number in self._waiting:
            widest = max(widest, self._asked[number].most)
            if (len(running) + room + 1) * widest > self._loaded.batch_tokens and len(running) + room:
                break
            room += 1
        return room

    def _begin(self, running: Ints, room: int) -> None:
        """Read the prompts of the next requests, except those that begin as another one that is being read."""
        coming, same = self._waiting[:room], dict[bytes, list[int]]()
        for number in coming:
            same.setdefault(self._names[number], []).append(number)
        now, after = self._with_drafts([numbers[0] for numbers in same.values()])
        for first, prompt in after.items():
            self._after.setdefault(prompt, []).extend(same[self._names[first]])
        placed = {number for first in (*now, *after) for number in same[self._names[first]]}
        self._waiting = [number for number in self._waiting if number not in placed]
        if not now:
            return
        self._make_room(running, coming)
        drafts = {number: self._draft(number) for number in now}
        weights = {number: self._weight(number, drafts[number]) for number in now}
        free = iter(np.nonzero(self._numbers < 0)[0].tolist())
        order = sorted(now, key=weights.__getitem__)
        # Neighbours in a batch are neighbours in memory: what they have read need not be gathered.
        slots = {number: self._place(next(free), number, drafts[number]) for number in order}
        copies = {
            number: [self._place(next(free), copy, self._draft(copy)) for copy in same[self._names[number]][1:]]
            for number in order
        }
        for batch in batches(order, weights.__getitem__, self._loaded.pass_tokens):
            self._read_first([slots[number] for number in batch], [copies[number] for number in batch])

    def _with_drafts(self, firsts: Sequence[int]) -> tuple[list[int], dict[int, bytes]]:
        """Which of these begin now, and for which prompt's answer others wait, where drafts pay and they have none."""
        drafts, after, sure = self._loaded.drafts, dict[int, bytes](), list[int]()
        for number in firsts:
            prompt, likeliest = self._asked[number].prompt, self._asked[number].request.temperature == 0
            like = drafts.waits(prompt, self._written) if likeliest else None
            if like is not None:
                after[number] = like
                continue
            sure.append(number)
            if likeliest:
                self._written.add(as_bytes(prompt))
        now, later = wave(self._loaded.prefixes, self._names, sure, self._claimed)
        for number in later:
            self._written.remove(as_bytes(self._asked[number].prompt))
        return now, after

    def _draft(self, number: int) -> Draft | None:
        """A draft of the answer to a request, where it is to be the likeliest one."""
        asked = self._asked[number]
        draft = self._loaded.drafts.find(asked.prompt) if asked.request.temperature == 0 else None
        if draft:
            draft.follow(asked.prompt[-1], asked.written)
        return draft

    def _weight(self, number: int, draft: Draft | None) -> int:
        """What beginning with a request weighs in a pass."""
        begun = len(self._names[number]) // 4
        guessed = len(self._guessed(draft, self._asked[number].most - begun))
        return size(self._loaded, self._names[number], 1 + guessed, guessed)

    def _make_room(self, running: Ints, coming: Sequence[int]) -> None:
        """Have a slot for each text, as wide as the longest one can become, and no more than that."""
        count = len(running) + len(coming)
        widest = max([*self._ends[running].tolist(), *(self._asked[number].most for number in coming)])
        if count <= len(self._numbers) and widest < self._slots.columns:
            return
        self._close_up(running)
        # A little more, lest every longer text copies all others.
        widest = min(widest + widest // 8, self._texts.shape[1])
        self._slots.reserve(count, widest + 1)
        left = len(running)
        self._numbers = np.concatenate([self._numbers[:left], np.full(count - left, -1)])
        self._lengths, self._begun, self._ends = (
            np.concatenate([each[:left], np.zeros(count - left, np.int64)])
            for each in (self._lengths, self._begun, self._ends)
        )
        texts = np.zeros((count, self._texts.shape[1]), np.int64)
        texts[:left] = self._texts[:left]
        self._texts = texts

    def _place(self, slot: int, number: int, draft: Draft | None) -> int:
        """Give a slot to a request."""
        asked = self._asked[number]
        text = [*asked.prompt, *asked.written]
        self._texts[slot, : len(text)] = text
        self._numbers[slot], self._lengths[slot] = number, len(text)
        self._begun[slot], self._ends[slot] = len(asked.prompt), asked.most
        if draft:
            self._drafts[slot] = draft
        return slot

    def _guess(self, slot: int) -> list[int]:
        """What a text's draft says comes next."""
        return self._guessed(self._drafts.get(slot), int(self._ends[slot] - self._lengths[slot]))

    def _guessed(self, draft: Draft | None, room: int) -> list[int]:
        """What a draft says comes next; the last token that there is room for is not guessed."""
        return draft.guess(room - 1) if draft else []

    def _close_up(self, running: Ints) -> Ints:
        """Move the last texts to free slots before them, so that a step looks at nothing else; where they are now."""
        count = len(running)
        late, free = running[running >= count], np.setdiff1d(np.arange(count), running)
        self._slots.copy(late, free)
        for each in (self._numbers, self._lengths, self._begun, self._ends, self._texts):
            each[free] = each[late]
        self._numbers[late], self._slots.lengths[late] = -1, 0
        for source, target in zip(late.tolist(), free.tolist(), strict=True):
            if source in self._drafts:
                self._drafts[target] = self._drafts.pop(source)
        return np.arange(count)

    def _ahead(self, running: Ints) -> int:
        """Try out drafts, if it pays; of how many texts."""
        guesses = {slot: guess for slot in self._drafts if (guess := self._guess(slot))}
        if len(guesses) < max(_AHEAD * len(running), 1):
            return 0
        weights = {slot: max(len(guess) + 1, heavy(self._loaded, len(guess) + 1)) for slot, guess in guesses.items()}
        for batch in batches(sorted(guesses, key=weights.__getitem__), weights.__getitem__, self._loaded.pass_tokens):
            self._read_on(np.asarray(sorted(batch)), [guesses[slot] for slot in sorted(batch)])
        return len(guesses)

    def _read_first(self, slots: list[int], copies: Sequence[list[int]]) -> None:
        """Read prompts, and guesses behind them; `copies` are slots whose texts are the same."""
        guesses = [self._guess(slot) for slot in slots]
        lengths = self._lengths[slots]
        texts = [[*self._texts[s, :n].tolist(), *g] for s, n, g in zip(slots, lengths, guesses, strict=True)]
        guessed = list(map(len, guesses))
        places = [range(len(text) - count - 1, len(text)) for text, count in zip(texts, guessed, strict=True)]
        logits = read(self._loaded, self._slots, np.asarray(slots), texts, places, guessed)
        owners = np.repeat(np.arange(len(slots)), list(map(len, copies)))
        if len(owners):
            others = [slot for of_one in copies for slot in of_one]
            self._slots.copy(np.asarray(slots)[owners], np.asarray(others))
            firsts = np.cumsum(guessed) - guessed + np.arange(len(slots))
            logits = torch.cat([logits, logits[torch.from_numpy(firsts[owners]).to(logits.device)]])
            slots, guesses = [*slots, *others], [*guesses, *([] for _ in others)]
        self._choose(np.asarray(slots), guesses, logits)

    def _read_on(self, slots: Ints, guesses: Sequence[list[int]]) -> None:
        """Read the last token of some texts, and guesses behind it."""
        widths = np.asarray([len(guess) + 1 for guess in guesses])
        tokens = np.zeros((len(slots), int(widths.max())), np.int64)
        tokens[:, 0] = self._texts[slots, self._lengths[slots] - 1]
        for row, guess in enumerate(guesses):
            tokens[row, 1 : len(guess) + 1] = guess
        self._loaded.work.read += int(widths.sum())
        rows, columns = np.nonzero(np.arange(tokens.shape[1]) < widths[:, None])
        wanted = slots[rows], self._lengths[slots[rows]] - 1 + columns
        self._choose(slots, guesses, self._slots.read(slots, tokens, widths, wanted))

    def _step(self, running: Ints) -> None:
        """Read the last token of all texts. Free slots go along: to leave them out, all others would be copied."""
        every = np.arange(running[-1] + 1)
        tokens = np.zeros((len(every), 1), np.int64)
        tokens[running, 0] = self._texts[running, self._lengths[running] - 1]
        widths = np.where(self._numbers[every] >= 0, 1, 0)
        self._loaded.work.read += len(running)
        self._loaded.work.steps += 1
        logits = self._slots.read(every, tokens, widths, (running, self._lengths[running] - 1))
        self._choose(running, [[]] * len(running), logits)

    def _choose(self, slots: Ints, guesses: Sequence[list[int]], logits: Any) -> None:
        """Write on: what follows each text, each guess that was right, and the first one that was not."""
        counts = np.asarray(list(map(len, guesses))) + 1
        rows = np.repeat(np.arange(len(slots)), counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        before = self._lengths[slots]
        written = before - self._begun[slots]
        chosen = self._dice.choose(logits, self._numbers[slots[rows]], written[rows] + within)
        new = np.full((len(slots), int(counts.max())), -1)
        new[rows, within] = chosen
        guessed = np.full_like(new, -2)
        guessed[rows, within] = [token for guess in guesses for token in (*guess, -2)]
        right = (new == guessed).cumprod(1).sum(1)
        finished = self._write(slots, new, right + 1)
        tried, taken = int(counts.sum()) - len(counts), int(np.minimum(right, self._lengths[slots] - before).sum())
        self._loaded.work.guessed += tried
        self._loaded.work.right += taken
        for slot, guess, many in zip(slots.tolist(), guesses, right.tolist(), strict=True):
            if guess:
                self._drafts[slot].tell(len(guess), many)
        # What was read behind the last right guess is of no use.
        self._slots.lengths[slots] = self._lengths[slots] - 1
        for slot, _ in finished:
            self._drafts.pop(slot, None)
        for place in [place for place, slot in enumerate(slots.tolist()) if slot in self._drafts]:
            slot, length = slots[place], before[place]
            last, *added = self._texts[slot, length - 1 : self._lengths[slot]].tolist()
            self._drafts[slot].follow(last, added)
        self._end(finished)

    def _write(self, slots: Ints, new: Ints, counts: Ints) -> list[tuple[int, bool]]:
        """Add the first counts[i] tokens of new[i] to each text; those that end, and whether by their own doing."""
        finished = list[tuple[int, bool]]()
        going = np.ones(len(slots), np.bool_)
        for column in range(int(counts.max())):
            rows = np.nonzero(going & (counts > column))[0]
            which, tokens = slots[rows], new[rows, column]
            self._texts[which, self._lengths[which]] = tokens
            self._lengths[which] += 1
            ended = self._ending[tokens]
            for place in np.nonzero(self._stops.watched[self._numbers[which]])[0].tolist():
                slot = which[place]
                answer = self._texts[slot, self._begun[slot] : self._lengths[slot]].tolist()
                ended[place] |= self._stops.reached(int(self._numbers[slot]), answer)
            done = ended | (self._lengths[which] >= self._ends[which])
            going[rows[done]] = False
            finished += zip(which[done].tolist(), ended[done].tolist(), strict=True)
        return finished

    def _end(self, finished: Sequence[tuple[int, bool]]) -> None:
        """Answers of the texts that are finished; their slots are free."""
        slots = [slot for slot, _ in finished]
        texts = [self._texts[slot, : self._lengths[slot]] for slot in slots]
        for (slot, by_itself), text in zip(finished, texts, strict=True):
            number, answer = int(self._numbers[slot]), text[self._begun[slot] :].tolist()
            asked = self._asked[number]
            if asked.request.temperature == 0:
                self._loaded.drafts.keep(asked.prompt, answer)
                self._written.remove(as_bytes(asked.prompt))
                self._waiting[:0] = self._after.pop(as_bytes(asked.prompt), [])
            self._done.append((number, self._stops.response(number, asked, answer, by_itself)))
        self._numbers[slots] = -1
        self._loaded.prefixes.store(self._slots, slots, [as_bytes(text[:-1]) for text in texts])
        self._slots.lengths[slots] = 0
