"""One step's questions to models: sent as early as may be, answered in any order, decided upon in the program's.

A method is written one call after another. `Context.batch` opens a batch that can grow; its answers are waited for
one by one, and until then further batches can be begun, so that the work of several candidates, and of the next stage
for those that are ready, is under way together. What holds:

- Everything is decided in the caller's thread, in the order of the program: seeds, accounts, limits, and what a
  method does. Which answer came first changes the order of lines in the journal and nothing else.
- A model that `Overlaps` is sent questions at once. Others are asked when an answer of theirs is waited for, and then
  for everything that has gathered, as one batch for each role.
- Answers are written down by the caller's thread alone, while it waits for any of them.
- Until it is answered, a question counts with the most that it can cost. What might not fit a limit so waits until
  all that is under way has been answered, and what overlaps and is begun after it waits behind it; then its account
  goes by portions (see `Ledger.portions`), as if one batch had followed the other.
- What the program will ask in any case can be foreseen: it is sent as soon as what it depends on is there, in any
  order, unless a limit is so near that the order of accounts could decide which call it forbids. When its turn comes,
  it is under way or answered.
- An error, or an interruption, while waiting cancels what is under way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any

from steepest.calls import Call, CallLog, call_key
from steepest.codec import JSON, decode, encode
from steepest.errors import ModelError, StateError
from steepest.ledger import Ledger, bound
from steepest.lots import Kind, Lot
from steepest.types import Gap, Infill, Prompt, Request, Response, Usage
from steepest.waiting import heard

REASON = 80
"""Characters by which reasons of unanswered requests are told apart."""

Question = Request | Infill
Follow = Callable[[Response], None]
"""Hears of an answer as soon as it is there, whatever the program waits for; may foresee, and nothing else."""


@dataclass(frozen=True, slots=True)
class _Open:
    """A question without an answer."""

    lot: Lot
    question: Question


class _Flight:
    """Questions that were sent together."""

    def __init__(self, asked: Mapping[str, _Open]) -> None:
        self.keys = list(asked)
        self.questions = [each.question for each in asked.values()]
        self.lots = {id(each.lot): each.lot for each in asked.values()}
        self.waiting = set(range(len(asked)))
        self.cancel: Callable[[], None] = lambda: None


class Asking:
    """A step's questions, see above."""

    def __init__(
        self, log: CallLog, ledger: Ledger, told: Callable[[int, int], None], tally: Callable[[str], None], share: float
    ) -> None:
        """`told(answered, needed)` hears of every answer, `tally` counts those that failed; `share`: of a lot's
        questions that may.
        """
        self._log = log
        self._ledger = ledger
        self._told = told
        self._tally = tally
        self._share = share
        self._open: dict[str, _Open] = {}
        """What was sent and is not answered."""
        self._later: dict[str, _Open] = {}
        """What is not sent yet."""
        self._has_waited = False
        """Whether anything that overlaps had to wait, for fear of a limit."""
        self._foreseen: dict[str, Lot] = {}
        """What was foreseen and is not asked yet, with the lot that foresaw it."""
        self._followers: dict[str, list[Follow]] = {}
        """Who hears of an answer as it comes."""
        self._flights: list[_Flight] = []
        self._heard: SimpleQueue[tuple[_Flight, int, Response | BaseException]] = SimpleQueue()

    def begin(self, lot: Lot, questions: Sequence[Question]) -> list[str]:
        """Have `questions` answered; the names by which to wait for them."""
        keys = [call_key(lot.model.id, lot.kind, encode(question)) for question in questions]
        asked = {key: _Open(lot, question) for key, question in zip(keys, questions, strict=True)}
        lot.size += len(asked)
        for key in asked:
            self._take_over(key, lot)
        lot.needed += sum(not (key in self._open or key in self._later or self._log.get(key)) for key in asked)
        blocked = not lot.overlaps or any(each.lot.overlaps for each in self._later.values())
        if blocked or not self._launched(lot, asked):
            self._has_waited |= lot.overlaps
            self._later.update({key: each for key, each in asked.items() if key not in self._later})
        return keys

    def foresee(self, lot: Lot, questions: Sequence[Question], follow: Callable[[int, Response], None] | None) -> None:
        """Send now what is going to be asked in any case, if it can be sent; `follow` hears of answers by place.

        Nothing comes of it where a limit might end the step: there, the program's order alone decides.
        """
        if not lot.overlaps or self._has_waited:
            return
        keys = [call_key(lot.model.id, lot.kind, encode(question)) for question in questions]
        asked = {key: _Open(lot, question) for key, question in zip(keys, questions, strict=True)}
        if not self._ledger.has_room(lot.role, _bounds(asked)):
            return
        new = [key for key in asked if not (key in self._open or self._log.get(key))]
        if self._launched(lot, asked):
            lot.needed += len(new)
            self._foreseen |= dict.fromkeys(new, lot)
            if follow:
                for place, key in enumerate(keys):
                    self.heard(key, partial(follow, place))

    def heard(self, key: str, follow: Follow) -> None:
        """Have `follow` hear of an answer: now, or as soon as it is there."""
        if key in self._open or key in self._later:
            self._followers.setdefault(key, []).append(follow)
        else:
            follow(self._response(key))

    def end(self, lot: Lot) -> None:
        """Say that nothing is to be added to a lot; ModelError where too much of it went unanswered."""
        lot.is_whole = True
        lot.check(self._share)

    def answer(self, key: str) -> Response:
        """An answer, waited for."""
        with self._cancelling():
            while key in self._later or key in self._open:
                if key in self._open:
                    self._hear()
                else:
                    self._settle(key)
        return self._response(key)

    def drain(self) -> None:
        """Wait for all that is under way, for accounts that are to be exact."""
        with self._cancelling():
            while self._flights:
                self._hear()

    def settle(self) -> None:
        """Wait for all that is under way, and foresee nothing more."""
        self._followers.clear()
        self.drain()

    def cancel(self) -> None:
        """Give up what is under way."""
        self._followers.clear()
        for flight in self._flights:
            flight.cancel()
        # What has arrived meanwhile is paid.
        while not self._heard.empty():
            flight, index, said = self._heard.get()
            if isinstance(said, Response) and index in flight.waiting:
                self._record(flight, index, said)
        self._flights.clear()

    def _take_over(self, key: str, lot: Lot) -> None:
        """Have a failure count for the lot that asks, where another one foresaw the question."""
        other = self._foreseen.pop(key, lot)
        if other is lot:
            return
        if key in self._open:
            self._open[key] = _Open(lot, self._open[key].question)
            for each, more in ((other, -1), (lot, 1)):
                each.needed += more
                each.under_way += more
        elif reason := _failure(self._response(key)):
            other.reasons[reason] -= 1
            lot.reasons[reason] += 1

    def _response(self, key: str) -> Response:
        response: Response = decode(Response, self._ledger.response(key), "a journaled answer", StateError)
        return response

    @contextmanager
    def _cancelling(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.cancel()
            raise

    def _settle(self, key: str) -> None:
        """Have what waits answered: all that overlaps, in order, and all that goes the same way as `key`."""
        self.drain()
        wanted = self._later[key].lot
        for group in self._groups():
            lot = _lot_of(group)
            if lot.overlaps or (lot.role, lot.kind) == (wanted.role, wanted.kind):
                for each in group:
                    del self._later[each]
                if not (lot.overlaps and self._launched(lot, group)):
                    self._portioned(lot, group)

    def _groups(self) -> list[dict[str, _Open]]:
        """What waits, by role and kind."""
        groups: dict[tuple[str, Kind], dict[str, _Open]] = {}
        for key, each in self._later.items():
            groups.setdefault((each.lot.role, each.lot.kind), {})[key] = each
        return list(groups.values())

    def _launched(self, lot: Lot, asked: Mapping[str, _Open]) -> bool:
        """Whether these calls fit whatever they cost, and are accounted for and under way now."""
        absent = self._ledger.claim(lot.role, _bounds(asked), _cost)
        if absent:
            self._fly(lot, {key: asked[key] for key in absent})
        return absent is not None

    def _portioned(self, lot: Lot, asked: Mapping[str, _Open]) -> None:
        """Have them answered before anything else, by portions that fit."""
        self.drain()
        for absent in self._ledger.portions(lot.role, _bounds(asked), _cost):
            if absent and lot.overlaps:
                self._fly(lot, {key: asked[key] for key in absent})
                self.drain()
            elif absent:
                self._generate(lot, {key: asked[key] for key in absent})

    def _fly(self, lot: Lot, asked: Mapping[str, _Open]) -> None:
        """Send questions to a model that overlaps."""
        flight = self._flight(asked)
        self._flights.append(flight)
        flight.cancel = lot.model.begin(
            flight.questions,
            lambda index, response: self._heard.put((flight, index, response)),
            lambda error: self._heard.put((flight, -1, error)),
        )

    def _flight(self, asked: Mapping[str, _Open]) -> _Flight:
        self._open.update(asked)
        for each in asked.values():
            each.lot.under_way += 1
        return _Flight(asked)

    def _generate(self, lot: Lot, asked: Mapping[str, _Open]) -> None:
        """Have a model answer, each answer written down before the next one is waited for."""
        flight = self._flight(asked)
        generate = lot.model.infill if lot.kind == "infill" else lot.model.generate
        for index, response in generate(flight.questions):
            self._record(flight, index, response)
        if flight.waiting:
            raise ModelError(
                f"a model must answer every request once, got no answer to {len(flight.waiting)} of {len(asked)} "
                f"from {lot.model.id!r}; correct its `{lot.kind}`"
            )
        for each in flight.lots.values():
            each.check(self._share)

    def _hear(self) -> None:
        """Wait for the next answer to anything, and write it down."""
        if not self._flights:
            raise ModelError(
                "a step must end with the first error of its models, got a wait for an answer that was given up then; "
                "let the error through"
            )
        flight, index, said = heard(self._heard)
        if isinstance(said, BaseException):
            raise said
        self._record(flight, index, said)
        if not flight.waiting:
            self._flights.remove(flight)
            for lot in flight.lots.values():
                lot.check(self._share)

    def _record(self, flight: _Flight, index: int, response: Response) -> None:
        """Write an answer down."""
        if index not in flight.waiting:
            lot = next(iter(flight.lots.values()))
            raise ModelError(
                f"a model must answer every request once, got a second or unasked answer {index} of "
                f"{len(flight.keys)} from {lot.model.id!r}; correct its `{lot.kind}`"
            )
        flight.waiting.remove(index)
        key = flight.keys[index]
        asked = self._open.pop(key)
        lot = asked.lot
        call = Call(key, self._ledger.step, lot.role, lot.model.id, lot.kind, encode(asked.question), encode(response))
        self._ledger.record(call, _cost)
        lot.answered += 1
        lot.under_way -= 1
        self._told(lot.answered, lot.needed)
        flight.lots[id(lot)] = lot
        if reason := _failure(response):
            # What is said of this very request comes late in a reason; counts are of kinds.
            self._tally(f"unanswered: {lot.role}: {reason[:REASON]}")
            lot.reasons[reason] += 1
        for follow in self._followers.pop(key, ()):
            follow(response)


class Batch:
    """Requests that belong together, made one by one; `answer` waits, `add` does not."""

    def __init__(self, asking: Asking, lot: Lot, request: Callable[[Any, int | None], Question]) -> None:
        """Use `Context.batch`. `request` makes a question; with a number, of the same that are yet to be asked for
        the one before which there are so many.
        """
        self._asking = asking
        self._lot = lot
        self._request = request
        self._keys: list[str] = []

    def add(self, prompts: Sequence[Prompt | Gap], n: int = 1) -> range:
        """Ask n times each; the places of the answers, those to the first prompt first."""
        start = len(self._keys)
        self._keys += self._asking.begin(self._lot, [self._request(each, None) for each in prompts for _ in range(n)])
        return range(start, len(self._keys))

    def foresee(self, prompts: Sequence[Prompt | Gap], follow: Callable[[int, Response], None] | None = None) -> None:
        """Send now, if that can be, what will be added to this batch in any case; `follow` hears of each answer.

        Whether, when and in which order things are foreseen changes what is under way, and nothing that is decided.
        """
        same: Counter[Prompt | Gap] = Counter()
        questions = []
        for each in prompts:
            questions.append(self._request(each, same[each]))
            same[each] += 1
        self._asking.foresee(self._lot, questions, follow)

    def heard(self, place: int, follow: Follow) -> None:
        """Have `follow` hear of an answer as soon as it is there, where questions can be foreseen at all."""
        if self._lot.overlaps:
            self._asking.heard(self._keys[place], follow)

    def answer(self, place: int) -> Response:
        """One answer, waited for."""
        return self._asking.answer(self._keys[place])

    def end(self) -> None:
        """Say that nothing is to be added; ModelError where too many requests went unanswered, now or later."""
        self._asking.end(self._lot)

    def answers(self) -> list[Response]:
        """All answers, waited for; nothing can be added afterwards."""
        self.end()
        return [self._asking.answer(key) for key in self._keys]


def _lot_of(group: Mapping[str, _Open]) -> Lot:
    return next(iter(group.values())).lot


def _bounds(asked: Mapping[str, _Open]) -> dict[str, Usage]:
    return {key: bound(each.question) for key, each in asked.items()}


def _failure(response: Response) -> str:
    """Why there is no answer; empty where there is one."""
    return (response.reason or "no reason given") if response.finish == "failed" else ""


def _cost(response: JSON) -> Usage:
    return Usage(1, response["prompt_tokens"], response["output_tokens"])
