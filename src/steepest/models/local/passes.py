"""Texts read from where others like them had come to, with the logits that are wanted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import DynamicLayer

from steepest.models import Ints
from steepest.models.alike import as_bytes
from steepest.models.local import plain
from steepest.models.local.attention import Ragged
from steepest.models.local.batching import batches, distinct
from steepest.models.local.loaded import Loaded, in_memory
from steepest.models.local.prefixes import Name, Prefixes
from steepest.models.local.slots import Slots, at, chosen, forward

_LOGITS = 2**28
"""Bytes of logits made at once."""


def logits(
    loaded: Loaded,
    texts: Sequence[Sequence[int]],
    wanted: Sequence[Sequence[int]],
    use: Callable[[list[int], Any], None],
) -> None:
    """Call `use` with what follows the tokens at the places wanted[i] of texts[i], in batches, in any order.

    It is given the numbers of a batch's texts and [wanted of the first text, of the second ..., vocabulary]
    float32 logits without gradients. What earlier texts had in common with these is not read again.
    """
    names = [as_bytes(text) for text in texts]

    def cut(left: Collection[int]) -> Iterator[list[int]]:
        for wave in waves(loaded.prefixes, names, left) if loaded.ragged else [list(left)]:
            sizes = {i: size(loaded, names[i], len(wanted[i])) for i in wave}
            yield from batches(sorted(wave, key=sizes.__getitem__), sizes.__getitem__, loaded.pass_tokens)

    def do(batch: list[int]) -> None:
        some, places = [texts[i] for i in batch], [wanted[i] for i in batch]
        if not loaded.ragged:
            use(batch, plain.logits(loaded, some, _flat(np.arange(len(batch)), places)))
            return
        with loaded.slots(len(batch), max(map(len, some)) + 1) as slots:
            use(batch, read(loaded, slots, np.arange(len(batch)), some, places))

    with torch.inference_mode():
        in_memory(loaded, range(len(texts)), cut, do)


def size(loaded: Loaded, name: bytes, wanted: int, guessed: int = 0) -> int:
    """What a text weighs in a pass: tokens to read, or as much as its cached keys or its logits weigh.

    Behind what its name says there are tokens that were `guessed`; so many logits are `wanted`.
    """
    length = len(name) // 4 + guessed
    return max(length - loaded.prefixes.known(name).count, length // 16, heavy(loaded, wanted), 1)


def heavy(loaded: Loaded, count: int) -> int:
    """What so many logits weigh in a pass, in tokens."""
    return count * loaded.width * 4 * loaded.pass_tokens // _LOGITS


def waves(prefixes: Prefixes, names: Sequence[bytes], waiting: Iterable[int]) -> Iterator[list[int]]:
    """Texts that can be read together: one that begins as another one does waits until that is read."""
    left, claimed = list(waiting), set[Name]()
    while left:
        now, left = wave(prefixes, names, left, claimed)
        yield now


def wave(
    prefixes: Prefixes, names: Sequence[bytes], waiting: Iterable[int], claimed: set[Name]
) -> tuple[list[int], list[int]]:
    """Who is read next, and who waits; `claimed` are the beginnings that nobody waits for a second time."""
    now, later, fresh = list[int](), list[int](), set[Name]()
    for i in waiting:
        missing = prefixes.known(names[i]).missing
        if missing in fresh:
            later.append(i)
            continue
        now.append(i)
        if missing and missing not in claimed:
            fresh.add(missing)
    claimed |= fresh
    return now, later


def read(
    loaded: Loaded,
    slots: Slots,
    rows: Ints,
    texts: Sequence[Sequence[int]],
    wanted: Sequence[Sequence[int]],
    guessed: Sequence[int] | None = None,
) -> Any:
    """Read texts into `rows`; the logits behind the tokens at wanted[i], text after text.

    `guessed`: how many tokens at a text's end nobody should rely on later.
    """
    sure = [len(text) - (guessed[i] if guessed else 0) for i, text in enumerate(texts)]
    names = [as_bytes(text[:end]) for text, end in zip(texts, sure, strict=True)]
    known = [loaded.prefixes.known(name) for name in names]
    counts = [each.count for each in known]
    asked = _flat(rows, wanted)
    if len(asked[0]) and counts == list(map(len, texts)):
        # Logits come with a pass, if only of one token.
        counts[0] -= 1
    loaded.prefixes.load(slots, rows, [each.blocks for each in known], counts)
    widths = np.asarray([len(text) - count for text, count in zip(texts, counts, strict=True)])
    tokens = np.zeros((len(texts), int(widths.max())), np.int64)
    for row, (text, count) in enumerate(zip(texts, counts, strict=True)):
        tokens[row, : len(text) - count] = text[count:]
    loaded.work.reused += sum(counts)
    loaded.work.read += int(widths.sum())
    if not tokens.size:
        return None
    found = slots.read(rows, tokens, widths, asked)
    loaded.prefixes.store(slots, rows.tolist(), names)
    return found


def _flat(rows: Ints, places: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    """Row and place of each."""
    return rows.repeat(list(map(len, places))), np.concatenate([np.asarray(each, np.int64) for each in places])


class _Behind(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values of what was read, and behind them those of one pass that carries gradients."""

    def __init__(self, keys: Any, values: Any) -> None:
        """keys, values [rows, heads, tokens, dim]"""
        super().__init__()
        self.is_initialized = True
        self._past = keys, values

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """See `transformers.Cache`."""
        return torch.cat([self._past[0], key_states], 2), torch.cat([self._past[1], value_states], 2)


def behind(loaded: Loaded, heads: Sequence[Sequence[int]], embeddings: Any, wanted: tuple[Any, Any]) -> Any:
    """[wanted, vocabulary] logits at rows and columns of `embeddings` [rows, columns, hidden], with the graph.

    heads[i] is what row i has read before, without gradients.
    """
    if not loaded.ragged:
        return plain.behind(loaded, heads, embeddings, wanted)
    different, which = distinct(heads)
    index, device = torch.from_numpy(which), embeddings.device
    lengths = torch.tensor([len(head) for head in heads])
    columns, width = embeddings.shape[1], max(map(len, different))
    with loaded.slots(len(different), width + 1) as slots:
        _fill(loaded, slots, different)
        halves = iter([chosen(store[:, :, :width], index) for store in slots.stores[:-1]])
        cache = Ragged([_Behind(keys, values) for keys, values in zip(halves, halves, strict=True)])
    before, new = torch.arange(width).expand(len(heads), -1), lengths[:, None] + torch.arange(columns)
    cache.queries = new.to(device)
    cache.keys = torch.cat([torch.where(before < lengths[:, None], before, -1), new], 1).to(device)
    # Fillers may stand behind the end of the context.
    last = int((lengths.to(device)[wanted[0]] + wanted[1]).max())
    return forward(loaded.model, {"inputs_embeds": embeddings}, cache, cache.queries.clamp(max=last), at(*wanted))


def _fill(loaded: Loaded, slots: Slots, texts: Sequence[Sequence[int]]) -> None:
    """Read each text into the slot of its number."""
    names = [as_bytes(text) for text in texts]
    with torch.no_grad():
        for now in waves(loaded.prefixes, names, range(len(texts))):
            for batch in batches(sorted(now, key=lambda i: len(texts[i])), lambda i: len(texts[i]), loaded.pass_tokens):
                read(loaded, slots, np.asarray(batch), [texts[i] for i in batch], [()] * len(batch))
