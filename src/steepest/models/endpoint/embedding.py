"""Texts as vectors, through /embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np

from steepest.errors import ModelError
from steepest.models import Floats
from steepest.models.endpoint.bodies import encoded
from steepest.models.endpoint.replies import Refusal, Unusable, parsed, shortened
from steepest.models.endpoint.settings import Settings
from steepest.models.endpoint.transport import Batch, Transport

_AT_ONCE = 64
"""Texts in one request."""
_MOST = 1e15
"""No vector has larger numbers; the squares of these are still numbers."""


def embed(settings: Settings, transport: Transport, texts: Sequence[str]) -> Floats:
    """See `Embeds.embed`; ModelError where any text gets no vector."""
    if not texts:
        return np.empty((0, 0), np.float32)
    parts = [list(texts[start : start + _AT_ONCE]) for start in range(0, len(texts), _AT_ONCE)]
    batch = Batch(
        size=len(parts),
        path="/embeddings",
        body=lambda i: encoded(settings, {"model": settings.model, "input": parts[i]}),
        read=lambda i, data: _vectors(data, len(parts[i])),
        is_optional=True,
    )
    found: dict[int, Floats] = {}
    with closing(transport.run(batch)) as outcomes:
        for outcome in outcomes:
            if isinstance(outcome.value, Refusal):
                why = shortened(settings.redacted(outcome.value.reason))
                raise ModelError(
                    f"the capability Embeds needs a server with /embeddings and a model for it, got {why} from "
                    f"{settings.url}; name an embedding model, or, where it had answered before, see its log and resume"
                )
            found[outcome.index] = outcome.value
    if len({part.shape[1] for part in found.values()}) > 1:
        raise ModelError(f"vectors must be of one length, got several from {settings.url}; name one embedding model")
    vectors = np.concatenate([found[i] for i in range(len(parts))])
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return unit


def _vectors(data: bytes, count: int) -> Floats:
    """[count, dimensions], in the order of the texts."""
    rows = parsed(data).get("data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unusable("the server's answer has no vectors")
    try:
        # Without an index, the order is that of the texts.
        by_index = {row.get("index", place): row.get("embedding") for place, row in enumerate(rows)}
        if by_index.keys() != set(range(count)):
            raise Unusable(f"the server's answer has {len(rows)} vectors for {count} texts")
        vectors = np.array([by_index[i] for i in range(count)], np.float64)
    except (ValueError, TypeError, OverflowError) as odd:
        raise Unusable("the server's vectors are not lists of numbers of one length") from odd
    if vectors.ndim != 2 or not (np.abs(vectors) < _MOST).all():
        raise Unusable("the server's vectors are not lists of numbers of one length")
    return vectors.astype(np.float32)
