"""What a step pays for: limits, prices, and the account that does not depend on crashes or what the journal holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from steepest.calls import Call, CallLog
from steepest.codec import JSON
from steepest.errors import BudgetSpent, SpecError
from steepest.types import Infill, Request, Usage, money

PROBE = 16
"""So many requests of a batch go ahead of the others where nothing is known yet of what a request costs."""
TEMPLATE_TOKENS = 128
"""What a chat template may add to a conversation, a system prompt of its own included."""
TURN_TOKENS = 16
"""What it may add to each turn."""

Cost = Callable[[JSON], Usage]


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run ends; None is unlimited. Calls, tokens and dollars are the search's own, of all roles together;
    measuring on dev and test rows comes on top. None of the three is ever passed: before a batch is sent, what it
    will cost by the mean so far must fit, and while it runs no request is sent whose dearest answer would not. Only
    white-box calls, whose tokens are known afterwards, may pass the tokens, by the last one.
    """

    steps: int | None = None
    """Steps after step 0, the beginning."""
    calls: int | None = None
    """Answers by models."""
    tokens: int | None = None
    """Read and written."""
    seconds: float | None = None
    """Of committed steps. No step begins once it is reached."""
    patience: int | None = None
    """Steps in a row without a better score on dev."""
    dollars: float | None = None
    """By the prices that were given for the roles' models."""

    def __post_init__(self) -> None:
        given = {"calls": self.calls, "tokens": self.tokens, "seconds": self.seconds, "patience": self.patience}
        for name, value in {**given, "dollars": self.dollars}.items():
            if value is not None and not value > 0:
                raise SpecError(f"the limit on {name} must be above 0, got {value}; leave it out for no limit")
        if self.steps is not None and self.steps < 0:
            raise SpecError(f"the limit on steps must be at least 0, got {self.steps}; leave it out for no limit")


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens."""

    read: float
    written: float

    def __post_init__(self) -> None:
        for value in (self.read, self.written):
            if not 0 <= value < math.inf:
                raise SpecError(f"a price is dollars per million tokens, at least 0, got {value}; for example 0.15")

    def of(self, usage: Usage) -> float:
        """What so many tokens cost, in dollars."""
        return (usage.prompt_tokens * self.read + usage.output_tokens * self.written) / 1e6


def bound(request: Request | Infill) -> Usage:
    """The most that a request can cost: no token is shorter than a byte, no answer longer than its limit."""
    if isinstance(request, Infill):
        turns = [request.gap.before, request.gap.after]
    else:
        prompt = request.prompt
        turns = [prompt] if isinstance(prompt, str) else [message.content for message in prompt]
    read = sum(len(turn.encode()) + TURN_TOKENS for turn in turns) + TEMPLATE_TOKENS
    return Usage(1, read, request.max_tokens)


def role_of(account: str) -> str:
    """The role that an account belongs to: "task" of "task" and of "task: gradient"."""
    return account.partition(":")[0]


class Ledger:
    """One step's account with the journal.

    A call answered by a line of this very step was paid by it, even where a crash came in between; one answered
    by a line of another step costs nothing and counts as reused. Each call counts once.
    """

    def __init__(
        self,
        log: CallLog,
        step: int,
        limits: Limits,
        spent: Usage,
        elsewhere: frozenset[str] = frozenset(),
        prices: Mapping[str, Price] | None = None,
        before: Mapping[str, Usage] | None = None,
        most: int = 0,
    ) -> None:
        """`spent`: what earlier steps paid, against `limits`, and `before`: the same by account; `elsewhere`: keys
        this step paid on another ledger; `prices` by role; `most`: calls of the step at most, 0 where nobody knows.
        """
        self.step = step
        self._log = log
        self._limits = limits
        self._spent = spent
        self._elsewhere = elsewhere
        self._prices = prices or {}
        self._before = before or {}
        self._accounts: dict[str, Usage] = {}
        self._settled: set[str] = set()
        self._claims: dict[str, Usage] = {}
        self._claimed = Usage()
        """The most that all calls under way can cost."""
        self._most = most
        self._dearest = Usage()
        """The most that any call asked so far can cost, each count and the dollars by itself."""

    @property
    def accounts(self) -> dict[str, Usage]:
        """What was paid so far, by who was asked: a role, and "ROLE: KIND" for its white-box calls."""
        # Dollars come of sums of whole tokens, so the order in which answers came does not show in them.
        return {name: self._priced(name, self._accounts[name]) for name in sorted(self._accounts)}

    @property
    def usage(self) -> Usage:
        """What was paid so far."""
        return sum(self.accounts.values(), Usage())

    @property
    def settled(self) -> frozenset[str]:
        """Keys of the calls accounted for so far."""
        return frozenset(self._settled)

    def has_room(self, role: str, bounds: Mapping[str, Usage]) -> bool:
        """Whether no limit is near: as many calls as the step makes at most would fit, were none dearer than these and
        those so far.
        """
        if not self._is_limited:
            return True
        self._compare(role, bounds.values())
        calls, one = self._most, self._dearest
        most = Usage(calls, calls * one.prompt_tokens, calls * one.output_tokens, dollars=calls * one.dollars)
        return calls > 0 and all(
            limit is None or before + need <= limit for _, limit, before, need in self._standing(most, self._spent)
        )

    @property
    def _is_limited(self) -> bool:
        limits = self._limits
        return not (limits.calls is None and limits.tokens is None and limits.dollars is None)

    def _compare(self, role: str, bounds: Iterable[Usage]) -> None:
        """Keep the dearest call."""
        self._dearest = _larger(self._dearest, *(self._together(role, [bound]) for bound in bounds))

    def missing(self, keys: Sequence[str], cost: Cost) -> list[str]:
        """Account for a batch; which of its calls must be made, each once. BudgetSpent before any is counted.

        What the calls will cost is not known before, so the batch may pass the limits on tokens and dollars.
        """
        paid = self._paid(keys)
        if paid:
            self._refuse(Usage(len(paid), len(paid)), "at least ")
        self._reuse(keys)
        return self._take(paid, cost)

    def portions(self, role: str, bounds: Mapping[str, Usage], cost: Cost) -> Iterator[list[str]]:
        """Account for a batch by portions that cannot pass a limit whatever the answers cost; usually there is one.

        `bounds`: the most that each call can cost. Yields which calls of a portion must be made; they are to be
        recorded before the next portion is taken. BudgetSpent where the mean so far says that the rest will not fit,
        or where the next call might not.
        """
        paid = self._paid(list(bounds))
        self._refuse(Usage(len(paid)))
        self._reuse(list(bounds))
        is_expected = False
        while paid:
            portion = paid
            if not self._fits(self._together(role, [bounds[key] for key in paid])):
                expected = None if is_expected else self._expected(role, [bounds[key] for key in paid])
                if expected:
                    self._refuse(expected, "about ")
                    is_expected = True
                portion = self._fitting(role, paid if is_expected else paid[:PROBE], bounds)
            yield self._take(portion, cost)
            paid = paid[len(portion) :]

    def claim(self, role: str, bounds: Mapping[str, Usage], cost: Cost) -> list[str] | None:
        """Account for a batch at once, while others are under way; which of its calls must be made.

        None, and nothing is accounted for, where it might pass a limit with all that is under way: then it takes
        `portions`, once everything that was claimed has been recorded.
        """
        paid = self._paid(list(bounds))
        if self._is_limited:
            self._compare(role, [bounds[key] for key in paid])
        if not self._fits(self._claimed + self._together(role, [bounds[key] for key in paid])):
            return None
        self._reuse(list(bounds))
        absent = self._take(paid, cost)
        for key in absent:
            self._claims[key] = self._together(role, [bounds[key]])
            self._claimed += self._claims[key]
        return absent

    def record(self, call: Call, cost: Cost) -> None:
        """Write a finished call into the journal and pay for it."""
        self._log.append(call)
        if claim := self._claims.pop(call.key, None):
            self._claimed = _less(self._claimed, claim) if self._claims else Usage()
        self._pay(call.account, cost(call.response))

    def response(self, key: str) -> JSON:
        """The answer to a call that has been made."""
        answer = self._log.get(key)
        assert answer is not None, f"call {key} was neither found nor made"
        return answer.response

    def _paid(self, keys: Sequence[str]) -> list[str]:
        """The calls of a batch that this step pays for."""
        return [key for key in dict.fromkeys(keys) if key not in self._settled and not self._was_paid_elsewhere(key)]

    def _reuse(self, keys: Sequence[str]) -> None:
        """Account for the calls of a batch that cost nothing."""
        for key in dict.fromkeys(keys):
            answer = self._log.get(key)
            if answer and key not in self._settled and self._was_paid_elsewhere(key):
                self._pay(answer.account, Usage(reused=1))
                self._settled.add(key)

    def _take(self, paid: Sequence[str], cost: Cost) -> list[str]:
        """Pay for what the journal holds of `paid`; the others."""
        self._settled.update(paid)
        absent = []
        for key in paid:
            answer = self._log.get(key)
            if answer is None:
                absent.append(key)
            else:
                self._pay(answer.account, cost(answer.response))
        return absent

    def _pay(self, account: str, usage: Usage) -> None:
        self._accounts[account] = self._accounts.get(account, Usage()) + usage

    def _priced(self, account: str, usage: Usage) -> Usage:
        price = self._prices.get(role_of(account))
        return replace(usage, dollars=price.of(usage)) if price else usage

    def _was_paid_elsewhere(self, key: str) -> bool:
        answer = self._log.get(key)
        return key in self._elsewhere or (answer is not None and answer.step != self.step)

    def _together(self, role: str, bounds: Sequence[Usage]) -> Usage:
        """What these calls can cost at most."""
        read, written = (sum(bound.prompt_tokens for bound in bounds), sum(bound.output_tokens for bound in bounds))
        return self._priced(role, Usage(len(bounds), read, written))

    def _expected(self, role: str, bounds: Sequence[Usage]) -> Usage | None:
        """What these calls will cost by the mean so far; None where none was made yet."""
        known = self._before.get(role, Usage()) + self._accounts.get(role, Usage())
        if not known.calls:
            return None
        most, share = self._together(role, bounds), len(bounds) / known.calls
        read = min(most.prompt_tokens, math.ceil(known.prompt_tokens * share))
        written = min(most.output_tokens, math.ceil(known.output_tokens * share))
        return self._priced(role, Usage(len(bounds), read, written))

    def _fitting(self, role: str, keys: Sequence[str], bounds: Mapping[str, Usage]) -> list[str]:
        """As many of the first calls as fit whatever they cost; BudgetSpent where none does."""
        self._refuse(self._together(role, [bounds[keys[0]]]), "up to ")
        low, high = 1, len(keys)
        while low < high:
            middle = (low + high + 1) // 2
            fits = self._fits(self._together(role, [bounds[key] for key in keys[:middle]]))
            low, high = (middle, high) if fits else (low, middle - 1)
        return list(keys[:low])

    def _fits(self, more: Usage) -> bool:
        return all(limit is None or spent + need <= limit for _, limit, spent, need in self._standing(more))

    def _refuse(self, more: Usage, about: str = "") -> None:
        """BudgetSpent where `more` would pass a limit."""
        for name, limit, spent, need in self._standing(more):
            if limit is not None and spent + need > limit:
                text = money if name == "dollars" else lambda n: f"{n:,}"
                unit = "" if name == "dollars" else f" {name}"
                about = "" if name == "calls" else about
                raise BudgetSpent(
                    f"the limit of {text(limit)}{unit} would be passed: {text(spent)} spent, {about}{text(need)} "
                    f"needed next; continue with a higher limit on {name}"
                )

    def _standing(self, more: Usage, spent: Usage | None = None) -> list[tuple[str, float | None, float, float]]:
        """For each limit its name, its value, what was spent of it and what is needed."""
        limits, spent = self._limits, spent or self._spent + self.usage
        return [
            ("calls", limits.calls, spent.calls, more.calls),
            ("tokens", limits.tokens, spent.tokens, more.tokens),
            ("dollars", limits.dollars, spent.dollars, more.dollars),
        ]


def _less(whole: Usage, part: Usage) -> Usage:
    return Usage(
        whole.calls - part.calls,
        whole.prompt_tokens - part.prompt_tokens,
        whole.output_tokens - part.output_tokens,
        dollars=whole.dollars - part.dollars,
    )


def _larger(*usages: Usage) -> Usage:
    """The largest of each count, and of dollars."""
    return Usage(
        max(each.calls for each in usages),
        max(each.prompt_tokens for each in usages),
        max(each.output_tokens for each in usages),
        dollars=max(each.dollars for each in usages),
    )
