"""Token-space parts for white-box methods: which tokens read like text, which the model agrees on, which survive."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np

from steepest.models import Bools, Floats, Proposals, WhiteBox

Agreement = Literal["intersection", "union", "mean"]

_PUNCTUATION = frozenset(".,;:?!。，、；：？！")
_FULL_STOPS = (".", "。", "!", "?", "！", "？")


def readable(vocabulary: Sequence[str]) -> Bools:
    """[vocabulary], True where a token is a word or part of one in any script, or one sentence mark.

    The filter of the published GReaTer code (printable ASCII letters, "." and ",") shuts out every language but
    English; letters and combining marks of any script pass here, digits and symbols still do not.
    """
    return _mask(tuple(vocabulary)).copy()


@lru_cache(maxsize=8)
def _mask(vocabulary: tuple[str, ...]) -> Bools:
    # A quarter of a second for 128,000 tokens, asked for many times a step.
    return np.fromiter((_readable(text) for text in vocabulary), dtype=np.bool_, count=len(vocabulary))


def _readable(token: str) -> bool:
    text = token.removeprefix(" ")
    if text in _PUNCTUATION:
        return True
    inner = text.replace("'", "").replace("-", "")
    return bool(inner) and text[0].isalpha() and all(unicodedata.category(c)[0] in "LM" for c in inner)


def ends_sentence(token: str) -> bool:
    """Whether a token closes a sentence."""
    return token.rstrip().endswith(_FULL_STOPS)


def agreed(
    proposals: Proposals, k: int, q: int, least: int, how: Agreement, draws: int, rng: random.Random
) -> list[int]:
    """Tokens that rows agree on, likeliest first by mean probability over all rows given.

    - "intersection" (the paper): tokens among the top k of each of q sampled rows;
    - "union" (the published code): the union of `draws` such intersections;
    - "mean": the k tokens of highest mean probability.

    An intersection smaller than `least` is taken again with k + 2, as far as `proposals` reaches.
    """
    mass: dict[int, float] = {}
    for ids, logprobs in zip(proposals.ids.tolist(), np.exp(proposals.logprobs).tolist(), strict=True):
        for token, p in zip(ids, logprobs, strict=True):
            mass[token] = mass.get(token, 0.0) + p
    ranked = sorted(mass, key=lambda token: (-mass[token], token))
    if how == "mean":
        return ranked[: max(k, least)]
    count, deepest = proposals.ids.shape
    groups = [rng.sample(range(count), min(q, count)) for _ in range(draws if how == "union" else 1)]
    chosen: set[int] = set()
    for width in range(min(k, deepest), deepest + 1, 2):
        tops = [set(row[:width].tolist()) for row in proposals.ids]
        chosen = set().union(*(set.intersection(*(tops[r] for r in group)) for group in groups))
        if len(chosen) >= least:
            break
    return [token for token in ranked if token in chosen]


def steepest(values: Sequence[Floats], among: Sequence[Sequence[int]], most: int) -> list[tuple[int, int]]:
    """The most negative entries as (position in the list, place in its set): positions take turns, tokens come once.

    Within a position the gradient decides. Across positions it does not compare well: the pull away from a strong
    word is common to all that could replace it, and first order overstates it. And a word rarely helps twice.
    """
    order = [v.argsort(kind="stable").tolist() for v in values]
    turns = sorted((i for i, v in enumerate(values) if len(v)), key=lambda i: float(values[i].min()))
    chosen: list[tuple[int, int]] = []
    seen: set[int] = set()
    while len(chosen) < most and any(order):
        for i in turns:
            left = [j for j in order[i] if among[i][j] not in seen]
            order[i] = left[1:]
            if left and len(chosen) < most:
                chosen.append((i, left[0]))
                seen.add(among[i][left[0]])
    return chosen


def retokenizes(model: WhiteBox, ids: Sequence[int], before: str) -> bool:
    """Whether the text of these ids is read back as the same ids where it follows `before`."""
    return model.encode(text_of(model, ids, before), before) == list(ids)


def text_of(model: WhiteBox, ids: Sequence[int], before: str) -> str:
    """The prompt as text, to be put after `before`: the space that `before` ends with is not said twice."""
    text = model.decode(ids)
    return text.removeprefix(" ") if before.endswith((" ", "\n")) or not before else text
