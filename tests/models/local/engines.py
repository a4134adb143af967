"""Engines over the tiny models: fresh ones, ones with little memory, and ones that run out of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from tiny_models import Family

from steepest.models.local.drafts import Drafts
from steepest.models.local.layout import Layout
from steepest.models.local.loaded import Work
from steepest.models.local.model import LocalModel
from steepest.models.local.prefixes import Prefixes
from steepest.models.local.slots import BLOCK
from steepest.types import Request, Response


def engine(family: Family, blocks: int = 10_000, **changes: Any) -> LocalModel:
    """The family's model with nothing remembered yet, and room for so many blocks."""
    loaded = family.local._loaded
    weight = BLOCK * sum(each.nbytes for each in loaded.shapes.each)
    fresh = {"prefixes": Prefixes(loaded.shapes, blocks * weight), "drafts": Drafts(), "work": Work(), "spare": []}
    return LocalModel(replace(loaded, **{**fresh, **changes}))


def prompt_ids(model: LocalModel, prompt: Any) -> list[int]:
    layout = Layout(model._loaded.tokenizer)
    return layout.ids([layout.text(prompt)])[0]


def answers(model: LocalModel, requests: Sequence[Request]) -> list[Response]:
    found = dict(model.generate(requests))
    return [found[i] for i in range(len(requests))]


class Slow:
    """Transformers' own greedy generation, one prompt at a time, each computed once."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._known: dict[str, list[int]] = {}

    def ids(self, prompt: str, most: int, ends: Sequence[int]) -> list[int]:
        """The answer's tokens, the end token included."""
        longest = self._known.get(prompt, [])
        if len(longest) < most:
            ids = torch.tensor([prompt_ids(self._family.local, prompt)])
            with torch.no_grad():
                out = self._family.reference.generate(
                    input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, do_sample=False,
                    eos_token_id=10**6, pad_token_id=0,
                )  # fmt: skip
            longest = self._known[prompt] = out[0, ids.shape[1] :].tolist()
        end = next((place + 1 for place, token in enumerate(longest[:most]) if token in ends), most)
        return longest[:end]

    def answer(self, request: Request, ends: Sequence[int]) -> Response:
        """What an engine has to say, computed token by token."""
        layout, prompt = Layout(self._family.local._loaded.tokenizer), str(request.prompt)
        ids, finish = self.ids(prompt, request.max_tokens, ends), "length"
        for count in range(1, len(ids) + 1):
            ended = ids[count - 1] in ends
            (text,) = layout.answers([ids[: count - ended]])
            cuts = [text.find(stop) for stop in request.stop if stop in text]
            if cuts or ended:
                text, finish = text[: min(cuts, default=len(text))], "stop"
                break
        return Response(text, len(prompt_ids(self._family.local, prompt)), count, finish)  # type: ignore[arg-type]


@contextmanager
def little_memory(model: LocalModel, most: int) -> Iterator[list[int]]:
    """Whatever passes more than `most` ids or embeddings at once runs out of memory; the sizes of what passed."""
    sizes: list[int] = []

    def check(_: Any, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        inputs = given["input_ids"] if given.get("input_ids") is not None else given["inputs_embeds"][..., 0]
        if inputs.numel() > most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        sizes.append(inputs.numel())

    hook = model._loaded.model.register_forward_pre_hook(check, with_kwargs=True)
    try:
        yield sizes
    finally:
        hook.remove()
