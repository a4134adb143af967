"""Methods with settings, by name: what contenders are written as, and the papers' ablations as grids of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from steepest import spec
from steepest.errors import SpecError, nearest
from steepest.plan import Method, checked_method


@dataclass(frozen=True, slots=True)
class Variant:
    """A method with its settings, and the name under which it is compared."""

    label: str
    method: Method


Grid = Mapping[str, Mapping[str, Any]]
"""Label -> spec."""

_DIRECTIONS = ("prompt", "prompt+performance", "prompt+reflection", "prompt+performance+reflection")
_MOMENTA: Grid = {
    "none": {"memory": None},
    "summary": {"memory": None, "summarize": True},
    "recent": {"memory": "recent"},
    "relevant": {"memory": "relevant"},
    "important": {"memory": "important"},
}
_CONTROLS: Grid = {
    "none": {"control": None},
    "fixed": {"control": {"use": "constant", "value": 50.0}},
    "linear": {"control": {"use": "linear", "initial": 50.0, "final": 10.0}},
    "cosine": {"control": {"use": "cosine", "initial": 50.0, "final": 10.0}},
    "cosine with warm-up": {"control": {"use": "cosine", "initial": 50.0, "final": 10.0, "warmup": 3}},
}

GRIDS: Mapping[str, Grid] = {
    # Das et al. 2024, arXiv 2412.09722, ablation; the random shortlist is our control.
    "greater-ablation": {
        "greater": {"use": "greater"},
        "greater, random shortlist": {"use": "greater", "shortlist": "random"},
        "paper": {"use": "greater", "preset": "paper"},
        "paper, without reasoning": {"use": "greater", "preset": "paper", "reasoning": False},
        "paper, random shortlist": {"use": "greater", "preset": "paper", "shortlist": "random"},
    },
    # Austin, Chartock 2024, arXiv 2407.12865.
    "gradsum-summary": {
        "gradsum": {"use": "gradsum"},
        "without summary": {"use": "gradsum", "summarize": False},
    },
    # Tang et al. 2024, arXiv 2402.17564: update direction and momentum, without control.
    "gpo-direction": {
        f"{direction}, {name}": {"use": "gpo", "direction": direction, "control": None, **momentum}
        for direction in _DIRECTIONS
        for name, momentum in _MOMENTA.items()
    },
    # The same: update method and control of the variation.
    "gpo-control": {
        f"{update}, {name}": {"use": "gpo", "update": update, **control}
        for update in ("generate", "edit")
        for name, control in _CONTROLS.items()
    },
    # Pryzant et al. 2023, arXiv 2305.03495.
    "protegi-selectors": {
        name: {"use": "protegi", "select": name}
        for name in ("uniform", "ucb", "ucb-e", "successive-rejects", "successive-halving")
    },
    # Ye et al. 2023, arXiv 2311.05661: one component less, one more.
    "pe2-components": {
        "pe2": {"use": "pe2"},
        "without description": {"use": "pe2", "two_step_description": False},
        "without reasoning template": {"use": "pe2", "reasoning_template": False},
        "without context": {"use": "pe2", "context_specification": False},
        "without back-tracking": {"use": "pe2", "back_tracking": False},
        "without hard negatives": {"use": "pe2", "batching": "random"},
        "with tutorial": {"use": "pe2", "tutorial": True},
        "with step size": {"use": "pe2", "step_size": 10},
        "with history": {"use": "pe2", "history": True},
    },
}
"""Ablations by name."""


def grid(name: str) -> list[Variant]:
    """The variants of a grid, NAME or NAME:PRESET; the preset goes under every variant's own settings."""
    key, _, preset = name.partition(":")
    if key not in GRIDS:
        raise SpecError(f"there is no grid called {key!r}; {nearest(key, GRIDS)}")
    under = {"preset": preset} if preset else {}
    return [Variant(label, spec.build({**under, **given})) for label, given in GRIDS[key].items()]


def written(text: str) -> Variant:
    """The variant METHOD[:PRESET][,NAME=VALUE]...; its label is what was written."""
    name, settings = spec.written(text)
    return Variant(text, spec.build(spec.with_settings(name, settings)))


def variants(methods: Sequence[Any] | Mapping[str, Any], grids: Sequence[str]) -> list[Variant]:
    """All contenders: as they are written, as specs or methods, by label where a mapping gives one, then the grids."""
    by_label = methods if isinstance(methods, Mapping) else {}
    found = [replace(_variant(method), label=label) for label, method in by_label.items()]
    found += [_variant(method) for method in ([] if by_label else methods)]
    found += [variant for name in grids for variant in grid(name)]
    seen: set[str] = set()
    for variant in found:
        if variant.label in seen:
            raise SpecError(f"contenders must differ in their names, got {variant.label!r} twice; leave one out")
        seen.add(variant.label)
    if not found:
        raise SpecError("a comparison needs methods, got none; name some, or a grid")
    return found


def _variant(method: Any) -> Variant:
    if isinstance(method, str):
        return written(method)
    built = checked_method(spec.build(method) if isinstance(method, Mapping) else method)
    return Variant(spec.describe(built)["use"], built)
