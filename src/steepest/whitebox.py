"""What models compute besides answers, behind the journal: what was computed once is never computed again."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steepest.calls import Call, Kind, call_key
from steepest.codec import JSON, dumps, encode
from steepest.ledger import Ledger, bound
from steepest.models import Bools, Embeds, Floats, Gradient, Losses, Proposals, ScoresText, WhiteBox
from steepest.types import ANSWER_LOSS, Objective, Prompt, Request, Row, Usage, content_id


class JournaledWhiteBox:
    """A WhiteBox whose proposals, gradients and losses are written down by content and paid for.

    Results always come from the journal's text, also when they were just computed, so a resumed step sees the
    same bits as an undisturbed one.
    """

    def __init__(self, model: WhiteBox, role: str, ledger: Ledger, told: Callable[[int, int], None]) -> None:
        """`told(answered, batch)` hears of every computed result."""
        self._model = model
        self._role = role
        self._ledger = ledger
        self._told = told

    @property
    def id(self) -> str:
        """Id of the model."""
        return self._model.id

    @property
    def vocabulary(self) -> Sequence[str]:
        """See `WhiteBox.vocabulary`."""
        return self._model.vocabulary

    @property
    def context(self) -> int:
        """See `WhiteBox.context`."""
        return self._model.context

    def encode(self, text: str, before: str = "") -> list[int]:
        """See `WhiteBox.encode`; free of charge."""
        return self._model.encode(text, before)

    def decode(self, ids: Sequence[int]) -> str:
        """See `WhiteBox.decode`; free of charge."""
        return self._model.decode(ids)

    def propose(
        self, rows: Sequence[Row], ids: Sequence[int], position: int, k: int, allowed: Bools | None = None
    ) -> Proposals:
        """See `WhiteBox.propose`."""
        mask = None if allowed is None else content_id(np.packbits(allowed).tobytes().hex(), str(allowed.size))
        request = {"rows": _names(rows), "ids": _ints(ids), "position": position, "k": k, "allowed": mask}

        def compute() -> JSON:
            found = self._model.propose(rows, ids, position, k, allowed)
            return {"ids": pack(found.ids), "logprobs": pack(found.logprobs), "tokens": found.tokens}

        result = self._once("propose", request, compute)
        return Proposals(unpack(result["ids"]), unpack(result["logprobs"]), result["tokens"])

    def gradient(
        self,
        rows: Sequence[Row],
        ids: Sequence[int],
        positions: Sequence[int],
        among: Sequence[Sequence[int]],
        weights: Sequence[float] | None = None,
        objective: Objective = ANSWER_LOSS,
    ) -> Gradient:
        """See `WhiteBox.gradient`."""
        request = {
            "rows": _names(rows),
            "ids": _ints(ids),
            "positions": _ints(positions),
            "among": [_ints(tokens) for tokens in among],
            "weights": None if weights is None else [float(weight) for weight in weights],
            "objective": encode(objective),
        }

        def compute() -> JSON:
            found = self._model.gradient(rows, ids, positions, among, weights, objective)
            return {
                "values": [pack(v) for v in found.values],
                "loss": pack(found.loss),
                "tokens": found.tokens,
            }

        result = self._once("gradient", request, compute)
        return Gradient([unpack(v) for v in result["values"]], unpack(result["loss"]), result["tokens"])

    def loss(self, rows: Sequence[Row], prompts: Sequence[Sequence[int]], objective: Objective = ANSWER_LOSS) -> Losses:
        """See `WhiteBox.loss`."""
        request = {
            "rows": _names(rows),
            "prompts": [_ints(prompt) for prompt in prompts],
            "objective": encode(objective),
        }

        def compute() -> JSON:
            found = self._model.loss(rows, prompts, objective)
            return {
                "loss": pack(found.loss),
                "correct": pack(found.correct),
                "fluency": pack(found.fluency),
                "tokens": found.tokens,
            }

        result = self._once("loss", request, compute)
        return Losses(unpack(result["loss"]), unpack(result["correct"]), unpack(result["fluency"]), result["tokens"])

    def _once(self, kind: Kind, request: JSON, compute: Callable[[], JSON]) -> JSON:
        key = call_key(self.id, kind, request)
        if self._ledger.missing([key], _cost):
            call = Call(key, self._ledger.step, self._role, self.id, kind, request, compute())
            self._ledger.record(call, _cost)
            self._told(1, 1)
        return self._ledger.response(key)


def journaled_logprobs(
    model: ScoresText,
    role: str,
    pairs: Sequence[tuple[Prompt, str]],
    ledger: Ledger,
    told: Callable[[int, int], None],
) -> list[Floats]:
    """The log-probabilities alone; each pair is a call of its own, all that are new are computed in one batch."""
    requests = [{"prompt": encode(prompt), "continuation": continuation} for prompt, continuation in pairs]

    def compute(new: Sequence[int]) -> list[JSON]:
        found = model.logprobs([pairs[i] for i in new])
        return [{"values": pack(each.logprobs), "tokens": each.tokens} for each in found]

    bounds = [bound(Request(prompt, max_tokens=len(text.encode()))) for prompt, text in pairs]
    return _each("logprobs", requests, bounds, compute, Asked(model.id, role, ledger, told))


def journaled_embeddings(
    model: Embeds, role: str, texts: Sequence[str], ledger: Ledger, told: Callable[[int, int], None]
) -> list[Floats]:
    """One vector for each text; each is a call of its own, all that are new are computed in one batch.

    Its tokens are an estimate, a fourth of its bytes: servers do not tell them text by text.
    """

    sizes = [-(-len(text.encode()) // 4) for text in texts]

    def compute(new: Sequence[int]) -> list[JSON]:
        vectors = model.embed([texts[i] for i in new])
        return [{"values": pack(vector), "tokens": sizes[i]} for i, vector in zip(new, vectors, strict=True)]

    bounds = [Usage(1, size) for size in sizes]
    return _each("embed", [{"text": text} for text in texts], bounds, compute, Asked(model.id, role, ledger, told))


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is asked, and where it is written down."""

    model: str
    role: str
    ledger: Ledger
    told: Callable[[int, int], None]


def _each(
    kind: Kind,
    requests: Sequence[JSON],
    bounds: Sequence[Usage],
    compute: Callable[[Sequence[int]], list[JSON]],
    asked: Asked,
) -> list[Floats]:
    """The arrays that answer `requests`; `compute` is given the places of those that the journal does not hold.

    `bounds`: the most that each can cost.
    """
    keys = [call_key(asked.model, kind, request) for request in requests]
    index = {key: i for i, key in enumerate(keys)}
    most = {key: bounds[i] for key, i in index.items()}
    for absent in asked.ledger.portions(f"{asked.role}: {kind}", most, _cost):
        found = compute([index[key] for key in absent]) if absent else []
        for done, (key, response) in enumerate(zip(absent, found, strict=True), start=1):
            request = requests[index[key]]
            asked.ledger.record(Call(key, asked.ledger.step, asked.role, asked.model, kind, request, response), _cost)
            asked.told(done, len(absent))
    return [unpack(asked.ledger.response(key)["values"]) for key in keys]


def pack(array: NDArray[Any]) -> JSON:
    """An array as JSON that restores bit for bit, NaN included."""
    plain = np.ascontiguousarray(array)
    return {
        "dtype": plain.dtype.str,
        "shape": list(array.shape),
        "base64": base64.b64encode(plain.tobytes()).decode(),
    }


def unpack(data: JSON) -> NDArray[Any]:
    """The array that `pack` wrote."""
    flat = np.frombuffer(base64.b64decode(data["base64"]), dtype=np.dtype(data["dtype"]))
    return flat.reshape(data["shape"]).copy()


def _cost(response: JSON) -> Usage:
    return Usage(calls=1, prompt_tokens=response["tokens"])


def _names(rows: Sequence[Row]) -> list[str]:
    # Hundreds of rows recur in every call: their hashes name them as well as their text, in a tenth of the space.
    return [content_id(dumps(row)) for row in rows]


def _ints(ids: Sequence[int]) -> list[int]:
    return [int(i) for i in ids]
