"""The capabilities of a local model over its replicas: work is shared out, results are put back in order and summed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, TypeVar

import numpy as np

from steepest.models import Bools, Gradient, Ints, Likelihood, Losses, Proposals
from steepest.models.local import accounts
from steepest.models.replicas.crew import Crew, Job
from steepest.models.replicas.homes import Homes
from steepest.models.replicas.worker import Descent, Proposing
from steepest.types import ANSWER_LOSS, Infill, Objective, Prompt, Request, Response, Row

_READ = 1 / 64
"""What a character that is read weighs against a token that is written."""
_CHARACTERS = 4
"""Of a token, about."""

Asked = TypeVar("Asked", Request, Infill)


class Replicas:
    """A local model several times over: `Generates`, `ScoresText` and `WhiteBox`.

    Which replica does what depends on the texts alone, save for work that changes hands because one is idle or has
    died. Even then sums are taken over the same shards in the same order, and answers stay the same up to rounding.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._layout = crew.facts.layout
        self._homes = Homes()
        self._tokens = self._answers = 0
        """Tokens of answers so far, and how many there were."""

    @property
    def id(self) -> str:
        """The local model's own: how many replicas there are does not change an answer."""
        return self._crew.facts.id

    @property
    def context(self) -> int:
        """How many tokens fit."""
        return self._crew.facts.context

    @property
    def status(self) -> str:
        """See `models.Tells`."""
        return self._crew.status

    @property
    def pids(self) -> list[int]:
        """The replicas' processes, on whatever machine."""
        return self._crew.pids

    @cached_property
    def vocabulary(self) -> Sequence[str]:
        """See `WhiteBox.vocabulary`; here, as all that the tokenizer knows."""
        return self._layout.logits(self._crew.facts.width)

    def encode(self, text: str, before: str = "") -> list[int]:
        """See `WhiteBox.encode`."""
        return self._layout.encode(text, before)

    def decode(self, ids: Sequence[int]) -> str:
        """See `WhiteBox.decode`."""
        return self._layout.decode(ids)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `Generates.generate`; the answers of all replicas as they end."""
        texts = [_text(request.prompt) for request in requests]
        yield from self._written(requests, texts, lambda actor: actor.generate)

    def logprobs(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Likelihood]:
        """See `ScoresText.logprobs`."""
        texts = [f"{_text(prompt)}\n{continuation}" for prompt, continuation in pairs]
        shards = self._sharded(texts, lambda actor, part: _stream(actor.logprobs, [pairs[i] for i in part]))
        found = dict(chain.from_iterable(zip(part, each, strict=True) for part, each in _waited(shards)))
        return [found[i] for i in range(len(pairs))]

    def propose(
        self, rows: Sequence[Row], ids: Sequence[int], position: int, k: int, allowed: Bools | None = None
    ) -> Proposals:
        """See `WhiteBox.propose`."""
        common = self._crew.put(Proposing(list(ids), position, k, allowed))
        texts = self._shown(rows, [tuple(ids[:position])] * len(rows))
        shards = self._sharded(texts, lambda actor, part: _stream(actor.propose, [rows[i] for i in part], common))
        placed = self._layout.place([(row, list(ids)) for row in rows])
        tokens = accounts.to_propose([*p.left, *ids[:position]] for p in placed)
        found, order = _in_order(shards)
        ids_, scores = (
            np.concatenate(parts)[order] for parts in zip(*((each.ids, each.logprobs) for each in found), strict=True)
        )
        return Proposals(ids_, scores, tokens)

    def gradient(
        self,
        rows: Sequence[Row],
        ids: Sequence[int],
        positions: Sequence[int],
        among: Sequence[Sequence[int]],
        weights: Sequence[float] | None = None,
        objective: Objective = ANSWER_LOSS,
    ) -> Gradient:
        """See `WhiteBox.gradient`: the sum over shards, in their order."""
        sets = [np.asarray(tokens, np.int64) for tokens in among]
        common = self._crew.put(Descent(list(ids), list(positions), sets, objective))
        weighted = list(zip(rows, [1.0] * len(rows) if weights is None else weights, strict=True))
        texts = self._shown(rows, [tuple(ids)] * len(rows))
        shards = self._sharded(texts, lambda actor, part: _stream(actor.gradient, [weighted[i] for i in part], common))
        placed = self._layout.place([(row, list(ids)) for row in rows])
        tokens = accounts.to_descend(placed, accounts.first_changed(positions, objective.fluency > 0))
        found, order = _in_order(shards)
        values = [np.sum(parts, 0) for parts in zip(*(each.values for each in found), strict=True)]
        return Gradient(values, np.concatenate([each.loss for each in found])[order], tokens)

    def loss(self, rows: Sequence[Row], prompts: Sequence[Sequence[int]], objective: Objective = ANSWER_LOSS) -> Losses:
        """See `WhiteBox.loss`; each different pair once."""
        places: dict[tuple[Row, tuple[int, ...]], int] = {}
        given = zip(rows, map(tuple, prompts), strict=True)
        which = [places.setdefault(pair, len(places)) for pair in given]
        pairs = list(places)
        texts = self._shown([row for row, _ in pairs], [prompt for _, prompt in pairs])
        shards = self._sharded(texts, lambda actor, part: _stream(actor.loss, [pairs[i] for i in part], objective))
        tokens = accounts.to_lose(self._layout.place([(row, list(prompt)) for row, prompt in pairs]))
        found, order = _in_order(shards)
        loss, correct, fluency = (
            np.concatenate(parts)[order[which]]
            for parts in zip(*((each.loss, each.correct, each.fluency) for each in found), strict=True)
        )
        return Losses(loss, correct, fluency, tokens)

    def _written(
        self, requests: Sequence[Asked], texts: Sequence[str], method: Callable[[Any], Any]
    ) -> Iterator[tuple[int, Response]]:
        """What replicas write, by a method of theirs that yields it with the numbers of the requests."""
        usual = self._tokens / self._answers if self._answers else math.inf
        sizes = [_READ * len(text) + min(each.max_tokens, usual) for each, text in zip(requests, texts, strict=True)]
        room = self._room(requests, texts)
        shares = self._homes.share_out(texts, sizes, len(self._crew))
        jobs = [Job(home, part) for home, share in enumerate(shares) for part in _portions(share, room)]
        asked = list(enumerate(requests))
        for job, (number, response) in self._crew.work(
            jobs, lambda actor, items: _stream(method(actor), [asked[i] for i in items])
        ):
            job.items.remove(number)
            self._tokens, self._answers = self._tokens + response.output_tokens, self._answers + 1
            yield number, response

    def _room(self, requests: Sequence[Asked], texts: Sequence[str]) -> int:
        """How many of these texts a replica writes side by side, about."""
        longest = max((len(t) / _CHARACTERS + r.max_tokens for r, t in zip(requests, texts, strict=True)), default=1.0)
        return max(1, int(self._crew.facts.batch_tokens / longest))

    def _sharded(self, texts: Sequence[str], begin: Callable[[Any, list[int]], Any]) -> Iterator[tuple[Job, Any]]:
        """Have a call computed, one shard by each replica; begun now, waited for by `_waited`."""
        shares = self._homes.share_out(texts, list(map(len, texts)), len(self._crew))
        jobs = [Job(home, share) for home, share in enumerate(shares) if share]
        return self._crew.work(jobs, begin)

    def _shown(self, rows: Sequence[Row], prompts: Sequence[tuple[int, ...]]) -> list[str]:
        """Rows around their prompts, written as the requests to answer them are."""
        text = {prompt: self.decode(prompt) for prompt in dict.fromkeys(prompts)}
        return [
            "\n".join(filter(None, (row.system, f"{row.before}{text[prompt]}{row.after}", row.reply + row.target)))
            for row, prompt in zip(rows, prompts, strict=True)
        ]


class InfillingReplicas(Replicas):
    """Replicas that also `Infills`."""

    def infill(self, requests: Sequence[Infill]) -> Iterator[tuple[int, Response]]:
        """See `Infills.infill`."""
        texts = [request.gap.before + request.gap.after for request in requests]
        yield from self._written(requests, texts, lambda actor: actor.infill)


def _waited(shards: Iterator[tuple[Job, Any]]) -> list[tuple[list[int], Any]]:
    """What came of each shard, with the numbers of its rows, in the order of shards."""
    found: dict[int, tuple[list[int], Any]] = {}
    for job, result in shards:
        found[job.home] = list(job.items), result
        job.items.clear()
    return [found[home] for home in sorted(found)]


def _in_order(shards: Iterator[tuple[Job, Any]]) -> tuple[list[Any], Ints]:
    """The shards' results, and where in all of them each row's is."""
    found = _waited(shards)
    return [result for _, result in found], np.argsort(np.concatenate([part for part, _ in found]))


def _stream(method: Any, *arguments: Any) -> Any:
    return method.options(num_returns="streaming").remote(*arguments)


def _portions(share: list[int], room: int) -> Iterator[list[int]]:
    """A share bit by bit, so that others can take over its end: half of what is left, but never less than fills a
    batch, which is written in the time of its longest text, however many there are.
    """
    while share:
        size = len(share) if len(share) < 2 * room else max(room, len(share) // 2)
        yield share[:size]
        share = share[size:]


def _text(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(message.content for message in prompt)
