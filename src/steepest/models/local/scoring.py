"""Teacher-forced log-probabilities of given continuations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from steepest.models import Likelihood
from steepest.models.local import passes
from steepest.models.local.batching import check_fits
from steepest.models.local.layout import Layout
from steepest.models.local.loaded import Loaded
from steepest.types import Prompt


def logprobs(loaded: Loaded, layout: Layout, pairs: Sequence[tuple[Prompt, str]]) -> list[Likelihood]:
    """How likely each continuation is; see `ScoresText`."""
    split = layout.split([(layout.text(prompt), continuation) for prompt, continuation in pairs])
    check_fits(loaded, [len(before) + len(after) for before, after in split])
    found = [Likelihood(np.empty(0, np.float32), 0)] * len(pairs)
    wanted = [i for i, (_, after) in enumerate(split) if after]
    texts = [[*split[i][0], *split[i][1][:-1]] for i in wanted]

    def use(batch: list[int], logits: Any) -> None:
        whole = [wanted[text] for text in batch]
        targets = torch.tensor([t for i in whole for t in split[i][1]], device=logits.device)
        values = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0].cpu().numpy()
        cuts = np.cumsum([len(split[i][1]) for i in whole])[:-1]
        for i, part in zip(whole, np.split(values, cuts), strict=True):
            found[i] = Likelihood(part, sum(map(len, split[i])))

    places = [range(len(split[i][0]) - 1, len(text)) for i, text in zip(wanted, texts, strict=True)]
    passes.logits(loaded, texts, places, use)
    return found
