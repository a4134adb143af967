"""Gaps are filled between the tokens that models were trained with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_models import Family, save_filler
from transformers import AutoModelForCausalLM, AutoTokenizer

from steepest.errors import ModelError
from steepest.models import Generates, Infills, WhiteBox, open_model
from steepest.models.local.infilling import ENDS, MARKS, InfillingModel
from steepest.types import Gap, Infill, Request, Response

GAPS = (Gap("Think step by ", " and answer."), Gap("How many", "?\n\nThere are 12 apples."), Gap("", "So the answer"))


@pytest.fixture(scope="module", params=MARKS, ids=lambda marks: str(marks[0]))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_filler(tmp_path_factory.mktemp("filler"), (*request.param, ENDS[0]))


def slow_filling(folder: Path, gap: Gap, count: int) -> list[int]:
    """Ids by transformers' own greedy generation from the text that the models' authors give."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prefix, suffix, middle = next(marks for marks in MARKS if marks[0] in tokenizer.get_vocab())
    text = f"{prefix}{gap.before}{suffix}{gap.after}{middle}"
    ids = torch.tensor([tokenizer(text, add_special_tokens=False).input_ids])
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ends = [tokenizer.eos_token_id, *tokenizer.convert_tokens_to_ids([prefix, suffix, middle, ENDS[0]])]
    with torch.no_grad():
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False, eos_token_id=ends,
            pad_token_id=0,
        )  # fmt: skip
    found: list[int] = out[0, ids.shape[1] :].tolist()
    return found


def filled(model: InfillingModel, requests: list[Infill]) -> list[Response]:
    found = dict(model.infill(requests))
    return [found[i] for i in range(len(requests))]


def test_gaps_are_filled_as_one_by_one_by_transformers(folder: Path) -> None:
    model = open_model(f"hf:{folder}", infill=True)
    assert isinstance(model, Infills) and isinstance(model, Generates) and isinstance(model, WhiteBox)
    tokenizer = model._loaded.tokenizer
    for gap, response in zip(GAPS, filled(model, [Infill(gap, max_tokens=12) for gap in GAPS]), strict=True):
        ids = slow_filling(folder, gap, 12)
        assert response.text == tokenizer.decode(ids, skip_special_tokens=True)
        assert response.output_tokens == len(ids)
        sides = tokenizer([gap.before, gap.after], add_special_tokens=False).input_ids
        assert response.prompt_tokens == len(sides[0]) + len(sides[1]) + 3


def test_a_sample_depends_on_its_seed(folder: Path) -> None:
    model = open_model(f"hf:{folder}", infill=True)
    one, two = Infill(GAPS[0], 1.0, 12, seed=1), Infill(GAPS[0], 1.0, 12, seed=2)
    texts = [response.text for response in filled(model, [one, two, one])]
    assert texts[0] == texts[2] != texts[1]
    with pytest.raises(ModelError, match="needs a seed"):
        filled(model, [replace(one, seed=None)])


def test_answers_to_requests_stay_the_same(folder: Path) -> None:
    plain, filling = open_model(f"hf:{folder}"), open_model(f"hf:{folder}", infill=True)
    requests = [Request("Think", max_tokens=20)]
    assert not isinstance(plain, Infills)
    assert plain.id == filling.id and list(plain.generate(requests)) == list(filling.generate(requests))


def test_without_tokens_for_gaps_it_is_refused(llama: Family) -> None:
    with pytest.raises(ModelError, match=r"fills gaps by tokens such as <\|fim_prefix\|>.*leave infill out"):
        open_model(f"hf:{llama.folder}", infill=True)
