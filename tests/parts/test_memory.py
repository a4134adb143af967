from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
from bandit_world import Bandit, context_of
from hypothesis import given, settings
from hypothesis import strategies as st

from steepest.context import Context
from steepest.errors import ModelError
from steepest.models import Floats
from steepest.parts.embedding import CharTfidf, Embedder, EndpointEmbeddings, SentenceTransformer
from steepest.parts.memory import Important, Recall, Recent, Relevant
from steepest.types import Candidate, Scored

NO_CONTEXT = cast(Context, None)
"""Nothing here asks a model."""


def entry(text: str, mean: float) -> Scored:
    return Scored(Candidate(text), {} if math.isnan(mean) else {"a": mean})


def texts(found: Sequence[Scored]) -> list[str]:
    return [scored.candidate.text for scored in found]


HISTORY = [entry("a", 0.5), entry("b", 0.9), entry("c", math.nan), entry("d", 0.5), entry("e", 0.2)]


@pytest.mark.parametrize(
    ("recall", "k", "expected"),
    [
        (Recent(), 2, "de"),
        (Recent(), 0, ""),
        (Recent(), 9, "abcde"),
        (Important(), 1, "b"),
        (Important(), 2, "db"),
        (Important(), 3, "adb"),
        (Important(), 9, "ceadb"),
        (Important(), 0, ""),
    ],
)
def test_the_most_telling_stands_last(recall: Recall, k: int, expected: str) -> None:
    assert texts(recall(HISTORY, Candidate("e"), k, NO_CONTEXT)) == list(expected)


@dataclass(frozen=True)
class Angles:
    """Texts are angles in degrees."""

    name: str = "angles"

    def embed(self, texts: Sequence[str], ctx: Context) -> Floats:
        radians = np.radians([float(text.strip("+")) for text in texts])
        return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_relevant_ascends_by_similarity_and_counts_the_current_prompt_among_the_k() -> None:
    history = [entry("0", 0.1), entry("80", 0.9), entry("30", 0.2), entry("50", 0.3)]
    found = texts(Relevant(Angles())(history, Candidate("50"), 3, NO_CONTEXT))
    assert found == ["80", "30", "50"]
    assert texts(Relevant(Angles())(history, Candidate("10"), 2, NO_CONTEXT)) == ["30", "0"]


def test_of_equally_similar_ones_the_later_stands_later_and_the_current_last() -> None:
    history = [entry("50", 0.1), entry("+50", 0.1), entry("0", 0.1), entry("+0", 0.1)]
    assert texts(Relevant(Angles())(history, Candidate("50"), 4, NO_CONTEXT)) == ["0", "+0", "+50", "50"]
    assert texts(Relevant(Angles())(history, Candidate("50"), 1, NO_CONTEXT)) == ["50"]


def test_relevant_by_spelling_finds_the_prompt_in_like_words() -> None:
    history = [
        entry("Add the numbers one after the other.", 0.5),
        entry("Name the capital of the country.", 0.9),
        entry("Adding numbers, go one by one.", 0.1),
    ]
    found = Relevant()(history, Candidate("Add numbers one by one"), 2, NO_CONTEXT)
    assert "Name the capital of the country." not in texts(found)
    assert Relevant()([], Candidate("Add"), 2, NO_CONTEXT) == []


def embed(*given_texts: str, by: Embedder | None = None) -> Any:
    return (by or CharTfidf()).embed(given_texts, NO_CONTEXT).astype(float)


def test_spelling_vectors_have_length_one_and_see_words_whatever_their_case_and_order() -> None:
    rows = embed("Think step by step", "STEP by step think", "Think it over", "", "国家的首都")
    assert np.allclose(np.linalg.norm(rows, axis=1), [1, 1, 1, 0, 1], atol=1e-6)
    assert rows[0] @ rows[1] == pytest.approx(1.0, abs=1e-6)
    assert 0 < rows[0] @ rows[2] < 0.5
    assert rows[0] @ rows[4] == 0.0


def test_spelling_vectors_are_tf_idf_of_ngrams_by_hand() -> None:
    # " ab ": ' ab', 'ab ', ' ab '; " b ": ' b '. Each n-gram is in one text of two: weight 1 + ln(3 / 2), all equal.
    rows = embed("ab b", "c")
    assert sorted(rows[0]) == pytest.approx([0.0, 0.5, 0.5, 0.5, 0.5])
    # 'ab' in both texts: weight 1; 'b' in one of them, twice: 2 * (1 + ln(3 / 2)).
    rare = 2 * (1 + math.log(3 / 2))
    rows = embed("ab b b", "ab")
    assert max(rows[0]) == pytest.approx(rare / math.sqrt(3 + rare**2))


def test_what_all_texts_share_counts_less() -> None:
    alone = embed("answer quickly", "answer slowly")
    shared = embed("answer quickly", "answer slowly", *(f"answer {word}" for word in ("briefly", "well", "twice")))
    assert shared[0] @ shared[1] < alone[0] @ alone[1]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_the_order_of_texts_changes_nothing_but_the_order_of_rows(many: list[str]) -> None:
    assert (embed(*many[::-1])[::-1] == embed(*many)).all()


def test_spelling_vectors_are_the_same_in_every_process() -> None:
    code = (
        "import hashlib; from steepest.parts.embedding import CharTfidf; "
        "print(hashlib.sha256(CharTfidf().embed(['Think it over', 'Think twice'], None).tobytes()).hexdigest())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1 and len(seen.pop().strip()) == 64


def test_the_fallback_says_that_it_is_one() -> None:
    assert "not semantic" in CharTfidf().name
    assert SentenceTransformer().name == "BAAI/bge-small-en-v1.5"


def test_a_missing_embedding_library_is_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ModelError) as refused:
        SentenceTransformer("missing").embed(["a"], NO_CONTEXT)
    assert "install steepest[embeddings]" in str(refused.value) and "\n" not in str(refused.value)


def test_sentence_transformers_are_opened_once_and_normalised(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    class Library:
        def __init__(self, model: str, device: str) -> None:
            if model == "nowhere":
                raise OSError("not found\nat the hub")
            opened.append((model, device))

        SentenceTransformer: Any

        def encode(self, texts: list[str], convert_to_numpy: bool, show_progress_bar: bool) -> Any:
            return np.array([[3.0, 4.0]] * len(texts))

    Library.SentenceTransformer = Library
    monkeypatch.setitem(sys.modules, "sentence_transformers", Library)
    for _ in range(2):
        assert embed("a", "b", by=SentenceTransformer("here")) == pytest.approx(np.array([[0.6, 0.8]] * 2))
    assert opened == [("here", "cpu")]
    with pytest.raises(ModelError, match="got 'nowhere': not found; correct the name$"):
        embed("a", by=SentenceTransformer("nowhere"))


def test_a_role_s_model_embeds_and_one_that_cannot_is_refused() -> None:
    class Embedding(Bandit):
        def embed(self, texts: Sequence[str]) -> Floats:
            return np.array([[3.0, 4.0]] * len(texts), dtype=np.float32)

    with context_of(Embedding({})) as ctx:
        found = EndpointEmbeddings("task").embed(["a", "b", "a"], ctx)
        assert found.tolist() == [pytest.approx([0.6, 0.8])] * 3
        assert ctx.usage.calls == 2
        assert EndpointEmbeddings("task").embed(["b"], ctx).shape == (1, 2) and ctx.usage.calls == 2
        with pytest.raises(ModelError, match="the role 'embedder' needs a model"):
            EndpointEmbeddings().embed(["a"], ctx)
    with context_of(Bandit({})) as ctx, pytest.raises(ModelError, match="the capability Embeds, got 'bandit'"):
        EndpointEmbeddings("task").embed(["a"], ctx)
