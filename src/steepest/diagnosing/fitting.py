"""What each method would cost on a task with some models, or why it cannot run there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from steepest import api, spec
from steepest.diagnosing.findings import STEPS, Fit
from steepest.errors import SteepestError
from steepest.estimating import forecast
from steepest.ledger import Limits, Price
from steepest.models.opening import Opened
from steepest.plan import Method, check
from steepest.roles import cast
from steepest.tasks.judge import Judge
from steepest.tasks.source import TaskSource

SMALL = "small"
"""The preset that is looked at, where a method has it."""


def fits(source: TaskSource, models: Mapping[str, Opened], prices: Mapping[str, Price]) -> Iterator[Fit]:
    """The built-in methods, in their smaller settings. Asks no model."""
    for name in spec.METHODS:
        presets: Mapping[str, Any] = vars(spec.locate(name)).get("presets", {})
        label = f"{name}:{SMALL}" if SMALL in presets else name
        method = spec.build({"use": name, "preset": SMALL} if SMALL in presets else name)
        try:
            yield _fit(label, method, source, models, prices)
        except SteepestError as refused:
            yield Fit(label, str(refused))


def _fit(
    label: str, method: Method, source: TaskSource, models: Mapping[str, Opened], prices: Mapping[str, Price]
) -> Fit:
    asked = {"task", *method.needs, *(["judge"] if isinstance(source.task.metric, Judge) else [])}
    roles = cast(method.needs, source.task, {role: given for role, given in models.items() if role in asked})
    own = {role: price for role, price in prices.items() if role in roles}
    plan = api.make_plan(method, source, roles, 0, Limits(steps=STEPS), {}, own)
    check(plan)
    parts = forecast(plan).search
    totals = [part.total(STEPS) for part in parts]
    known = all(part.request is not None for part in parts)
    return Fit(
        method=label,
        refused="",
        calls=sum(total.calls for total in totals),
        tokens=sum(total.tokens for total in totals) if known else None,
        dollars=sum(total.dollars for total in totals) if known and own else None,
    )
