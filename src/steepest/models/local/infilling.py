"""Gaps in texts, filled by models that were trained to: the text before, the text after, then what is between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from steepest.errors import ModelError
from steepest.models.local import generation
from steepest.models.local.loaded import Loaded
from steepest.models.local.model import LocalModel
from steepest.types import Infill, Request, Response

MARKS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen2.5-Coder
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek-Coder
)
"""Tokens before the text before a gap, before the text after it, and before what fills it."""
ENDS = ("<|endoftext|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<file_sep>")
"""What ends a filling besides the model's own ends and the marks: some base models go on with another file."""


class InfillingModel(LocalModel):
    """A local model that also `Infills`."""

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(loaded)
        known = loaded.tokenizer.get_vocab()
        found = next((marks for marks in MARKS if all(mark in known for mark in marks)), None)
        if found is None:
            raise ModelError(
                f"a model fills gaps by tokens such as {', '.join(MARKS[0])}, got {loaded.id!r} without them; "
                "leave infill out"
            )
        self._marks = [known[mark] for mark in found]
        self._start: list[int] = loaded.tokenizer("").input_ids
        ends = {*loaded.ends, *self._marks, *(known[end] for end in ENDS if end in known)}
        self._filling = replace(loaded, ends=tuple(sorted(ends)))

    def infill(self, requests: Sequence[Infill]) -> Iterator[tuple[int, Response]]:
        """See `Infills.infill`. A filling ends at the context's end as well (finish "length")."""
        prefix, suffix, middle = self._marks
        before = self._layout.ids([request.gap.before for request in requests])
        after = self._layout.ids([request.gap.after for request in requests])
        read = [[*self._start, prefix, *b, suffix, *a, middle] for b, a in zip(before, after, strict=True)]
        plain = [Request("", request.temperature, request.max_tokens, seed=request.seed) for request in requests]
        yield from generation.go_on(self._filling, self._layout, plain, read)
