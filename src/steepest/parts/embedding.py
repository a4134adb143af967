"""Texts as vectors, to tell which are alike."""

from __future__ import annotations

import importlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from steepest.context import Context
from steepest.errors import ModelError
from steepest.models import Floats

_SHORTEST, _LONGEST = 3, 5


class Embedder(Protocol):
    """Makes vectors whose dot product says how alike two texts are."""

    @property
    def name(self) -> str:
        """What it is, for reports."""
        ...

    def embed(self, texts: Sequence[str], ctx: Context) -> Floats:
        """[texts, dimensions], rows of length 1 (or 0 for a text without any content)."""
        ...


@dataclass(frozen=True)
class CharTfidf:
    """Shared spelling, not meaning: tf-idf of character n-grams; a fallback where no embedding model is at hand.

    n-grams of 3 to 5 characters within words, each word with a space on both sides, regardless of case. Their counts
    are weighted by 1 + ln((1 + texts) / (1 + texts that hold it)) over the texts given, so that what all prompts of
    a run share counts little.
    """

    @property
    def name(self) -> str:
        """See `Embedder`."""
        return "character n-grams (fallback, not semantic)"

    def embed(self, texts: Sequence[str], ctx: Context) -> Floats:
        """See `Embedder`."""
        counts = [_ngrams(text) for text in texts]
        spread = Counter(gram for each in counts for gram in each)
        columns = {gram: column for column, gram in enumerate(sorted(spread))}
        weights = np.zeros((len(texts), len(columns)))
        for row, each in enumerate(counts):
            for gram, count in each.items():
                weights[row, columns[gram]] = count * (1 + math.log((1 + len(texts)) / (1 + spread[gram])))
        return _unit(weights)


@dataclass(frozen=True)
class SentenceTransformer:
    """A sentence-transformers model in this process, on the CPU; needs the extra "embeddings"."""

    model: str = "BAAI/bge-small-en-v1.5"
    """Name at the Hugging Face hub, or a folder; GPO's paper uses a model of this family."""

    @property
    def name(self) -> str:
        """See `Embedder`."""
        return self.model

    def embed(self, texts: Sequence[str], ctx: Context) -> Floats:
        """See `Embedder`. Raises ModelError where sentence-transformers or the model is missing."""
        return _unit(_opened(self.model).encode(list(texts), convert_to_numpy=True, show_progress_bar=False))


@dataclass(frozen=True)
class EndpointEmbeddings:
    """The embeddings of a model that a role is given, such as one behind an endpoint."""

    role: str = "embedder"
    """Who embeds."""

    @property
    def name(self) -> str:
        """See `Embedder`."""
        return f"role {self.role}"

    def embed(self, texts: Sequence[str], ctx: Context) -> Floats:
        """See `Embedder`. Raises ModelError where the role has no model that embeds."""
        return _unit(np.stack(ctx.embed(self.role, texts)))


@lru_cache(maxsize=1)
def _opened(model: str) -> Any:
    # Opening takes seconds, and every step asks for it again.
    try:
        library = importlib.import_module("sentence_transformers")
    except ImportError as missing:
        raise ModelError(
            f"embeddings by {model!r} need the package sentence-transformers, got {missing}; "
            f"install steepest[embeddings] or use the embedder tfidf"
        ) from missing
    try:
        return library.SentenceTransformer(model, device="cpu")
    except (OSError, ValueError) as refused:
        reason = str(refused).partition("\n")[0]
        raise ModelError(
            f"an embedding model must be a name at the hub or a folder, got {model!r}: {reason}; correct the name"
        ) from refused


def _ngrams(text: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for word in text.lower().split():
        padded = f" {word} "
        for n in range(_SHORTEST, min(_LONGEST, len(padded)) + 1):
            found.update(padded[i : i + n] for i in range(len(padded) - n + 1))
    return found


def _unit(vectors: Any) -> Floats:
    """Rows scaled to length 1; rows of zeros stay."""
    wide = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return (wide / np.where(lengths == 0, 1, lengths)).astype(np.float32)
