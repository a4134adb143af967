"""Teacher-forced log-probabilities of given continuations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from steepest.models import Floats, Likelihood
from steepest.models.local.batching import batches, check_fits, padded
from steepest.models.local.layout import Layout
from steepest.models.local.loading import Loaded
from steepest.models.local.passes import logits_at, read
from steepest.types import Prompt


def logprobs(loaded: Loaded, layout: Layout, pairs: Sequence[tuple[Prompt, str]]) -> list[Likelihood]:
    """How likely each continuation is; see `ScoresText`."""
    split = layout.split([(layout.text(prompt), continuation) for prompt, continuation in pairs])
    check_fits(loaded, [len(before) + len(after) for before, after in split])
    found = [Likelihood(np.empty(0, np.float32), 0)] * len(pairs)
    wanted = sorted((i for i, (_, after) in enumerate(split) if after), key=lambda i: (len(split[i][1]), split[i][0]))
    for batch in batches(wanted, lambda i: sum(map(len, split[i])), loaded.pass_tokens):
        for i, values in zip(batch, _batch(loaded, [split[i] for i in batch]), strict=True):
            found[i] = Likelihood(values, sum(map(len, split[i])))
    return found


def _batch(loaded: Loaded, split: Sequence[list[list[int]]]) -> list[Floats]:
    with torch.inference_mode():
        past = read(loaded, [before[:-1] for before, _ in split])
        suffix = padded([before[-1:] + after[:-1] for before, after in split], loaded.device, left=False)
        rows, columns = suffix.mask.nonzero(as_tuple=True)
        embeddings = loaded.model.get_input_embeddings()(suffix.ids)
        logits = logits_at(loaded, past, suffix, embeddings, rows, columns)
        targets = torch.tensor([t for _, after in split for t in after], device=loaded.device)
        values = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0].cpu().numpy()
    return np.split(values, np.cumsum([len(after) for _, after in split])[:-1])
