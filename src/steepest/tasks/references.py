"""Several right answers of one row: the target is the first, a column that no slot can name holds the others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from steepest.types import Example

FURTHER = "target+"
"""The column with the further right answers, a JSON list. No slot can have this name, so no prompt can show it."""


def with_references(meta: Mapping[str, str], further: Sequence[str]) -> dict[str, str]:
    """The columns of a row that has further right answers beside its target."""
    return {**meta, FURTHER: json.dumps(list(further), ensure_ascii=False)} if further else dict(meta)


def references(example: Example) -> tuple[str, ...]:
    """All right answers of a row, its target first; where there are several, the best counts."""
    return (example.target, *map(str, json.loads(example.meta.get(FURTHER, "[]"))))
