"""The same for architectures whose texts cannot go on from different lengths in one pass: each is read whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from steepest.models import Ints
from steepest.models.local.batching import batches, padded
from steepest.models.local.choosing import Asked, Dice, Stops
from steepest.models.local.layout import Layout
from steepest.models.local.loaded import Loaded
from steepest.models.local.slots import at, forward
from steepest.types import Response


def answers(loaded: Loaded, layout: Layout, asked: Sequence[Asked]) -> Iterator[tuple[int, Response]]:
    """Yield (number, response), in left-padded batches."""
    requests = [each.request for each in asked]
    dice, stops = Dice(requests), Stops(layout, requests, loaded.width, loaded.ends)
    for batch in batches(range(len(asked)), lambda n: asked[n].most, loaded.batch_tokens):
        yield from _batch(loaded, [asked[n] for n in batch], np.asarray(batch), dice, stops)


def _batch(
    loaded: Loaded, asked: Sequence[Asked], numbers: Any, dice: Dice, stops: Stops
) -> Iterator[tuple[int, Response]]:
    read = padded([[*each.prompt, *each.written] for each in asked], loaded.device, left=True)
    ids, mask, positions, cache = read.ids, read.mask, read.positions, DynamicCache()
    going = set(range(len(asked)))
    while going:
        loaded.work.steps += 1
        loaded.work.read += int(mask[sorted(going), -ids.shape[1] :].sum())
        with torch.inference_mode():
            logits = loaded.model(
                input_ids=ids,
                attention_mask=mask,
                # Finished texts go along, past the context's end if need be.
                position_ids=positions.clamp(max=loaded.context - 1),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            tokens = dice.choose(logits, numbers, np.asarray([len(each.written) for each in asked]))
        for row in sorted(going):
            written, number = asked[row].written, int(numbers[row])
            written.append(int(tokens[row]))
            stopped = written[-1] in loaded.ends or stops.reached(number, written)
            if stopped or len(asked[row].prompt) + len(written) == asked[row].most:
                going.remove(row)
                yield number, stops.response(number, asked[row], written, stopped)
        ids, positions = torch.from_numpy(tokens).to(loaded.device)[:, None], positions[:, -1:] + 1
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)


def logits(loaded: Loaded, texts: Sequence[Sequence[int]], wanted: tuple[Ints, Ints]) -> Any:
    """[wanted, vocabulary], what follows the tokens at these places of these texts."""
    read = padded(texts, loaded.device, left=False)
    loaded.work.read += sum(map(len, texts))
    inputs = {"input_ids": read.ids, "attention_mask": read.mask}
    return forward(loaded.model, inputs, None, read.positions, at(*wanted))


def behind(loaded: Loaded, heads: Sequence[Sequence[int]], embeddings: Any, wanted: tuple[Any, Any]) -> Any:
    """[wanted, vocabulary] logits at rows and columns of `embeddings`, with the graph, behind what is read first."""
    read = padded(heads, loaded.device, left=True)
    width = read.ids.shape[1]
    inputs = torch.cat([loaded.model.get_input_embeddings()(read.ids), embeddings], 1)
    mask = torch.cat([read.mask, read.mask.new_ones(embeddings.shape[:2])], 1)
    positions = (mask.long().cumsum(-1) - 1).clamp(min=0)
    given = {"inputs_embeds": inputs, "attention_mask": mask}
    where = wanted[0], wanted[1] + width
    # Fillers may stand behind the end of the context.
    return forward(loaded.model, given, None, positions.clamp(max=int(positions[where].max())), at(*where))
