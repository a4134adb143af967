from __future__ import annotations

import pytest

from steepest import spec
from steepest.comparing.setup import changed
from steepest.comparing.variants import GRIDS, grid, variants, written
from steepest.errors import SpecError
from steepest.methods.opro import OPRO
from steepest.methods.protegi import ProTeGi


@pytest.mark.parametrize("name", GRIDS)
def test_every_grid_can_be_built_and_its_variants_differ(name: str) -> None:
    found = grid(name)
    assert len(found) == len(GRIDS[name]) and len({repr(variant.method) for variant in found}) == len(found)
    for variant in found:
        again = spec.with_settings(spec.describe(variant.method)["use"], changed(variant.method))
        assert spec.build(again) == variant.method


def test_a_preset_goes_under_a_grids_own_settings() -> None:
    small = {variant.label: variant.method for variant in grid("protegi-selectors:small")}
    assert {method.beam for method in small.values()} == {2}
    assert type(small["ucb"].select) is not type(small["uniform"].select)


def test_a_method_is_written_with_its_preset_and_settings() -> None:
    found = written("protegi:small,select.budget=50,beam=3")
    assert found.method == spec.build(
        spec.with_settings({"use": "protegi", "preset": "small"}, ["select.budget=50", "beam=3"])
    )
    assert found.label == "protegi:small,select.budget=50,beam=3"
    assert isinstance(written("opro").method, OPRO)


def test_names_with_colons_and_lists_between_commas() -> None:
    assert written("testing_methods:Adder").method.batch == 4
    assert written("testing_methods:Adder:wide").method.batch == 8
    found = written("testing_methods:Adder:wide,tags=a,b,c,batch=2").method
    assert (found.tags, found.batch) == (("a", "b", "c"), 2)


def test_contenders_come_as_texts_specs_methods_or_by_label() -> None:
    labels = [each.label for each in variants(["opro", {"use": "gpo"}, ProTeGi(beam=2)], ["gradsum-summary"])]
    assert labels == ["opro", "gpo", "protegi", "gradsum", "without summary"]
    assert [each.label for each in variants({"narrow": ProTeGi(beam=1)}, [])] == ["narrow"]


@pytest.mark.parametrize(
    ("methods", "grids", "said"),
    [
        (["opro", "opro"], [], "'opro' twice"),
        ([], [], "needs methods"),
        ([], ["pe2-component"], "did you mean 'pe2-components'"),
        (["oppro"], [], "oppro"),
        (["opro:tiny"], [], "tiny"),
    ],
)
def test_what_cannot_be_compared_is_refused(methods: list[str], grids: list[str], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        variants(methods, grids)
