"""Who plays which role of a run, and at what price."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from steepest import codec
from steepest.errors import SpecError, nearest
from steepest.ledger import Price
from steepest.models import Embeds, Generates, Infills, ScoresText, WhiteBox
from steepest.models.opening import Opened, opened, opened_function
from steepest.objects import name_of
from steepest.tasks.judge import Judge
from steepest.tasks.task import Task

ROLES = ("task", "optimizer", "judge", "embedder")
"""Who may have a model of their own: answers rows, writes prompts, rates answers, makes vectors of prompts."""

PriceLike = tuple[float, float] | Mapping[str, tuple[float, float]]
"""Dollars per million tokens (read, written): of every role, or role by role."""


def open_models(named: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> dict[str, Opened]:
    """Role -> model, of names or of models as they were given; None is left out, equal ones are opened once.

    Options are the task model's, those called "optimizer.NAME", "judge.NAME" or "embedder.NAME" the other roles'.
    """
    if "task" in named and named["task"] is None:
        raise SpecError("rows need a model that answers them, got None; name one, such as 'bundled'")
    wanted = {role: model for role, model in named.items() if model is not None}
    by_role = options_by_role(options or {}, wanted)
    shared: dict[str, Opened] = {}
    models = {}
    for role, model in wanted.items():
        if inspect.isfunction(model):
            models[role] = opened_function(model, by_role[role])
            continue
        if not isinstance(model, str):
            models[role] = model if isinstance(model, Opened) else Opened(name_of(type(model)), _usable(role, model))
            continue
        key = codec.canonical([model, codec.encode(by_role[role])])
        if key not in shared:
            shared[key] = opened(model, by_role[role])
        models[role] = shared[key]
    return models


def options_by_role(options: Mapping[str, Any], roles: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Options as `open_models` takes them, role by role; SpecError for those of another role."""
    by_role: dict[str, dict[str, Any]] = {role: {} for role in roles}
    for name, value in options.items():
        if not isinstance(name, str):
            raise SpecError(f"options are named by text, got {name!r:.80}; correct it")
        role, dot, own = name.partition(".")
        if dot and role not in by_role:
            raise SpecError(f"an option for a role needs that role's model, got {name!r}; {nearest(role, by_role)}")
        by_role[role if dot else "task"][own if dot else name] = value
    return by_role


def _usable(role: str, model: Any) -> Any:
    """`model`, if it can do anything that is asked of models; SpecError otherwise."""
    if not isinstance(model, Generates | Embeds | Infills | ScoresText | WhiteBox):
        raise SpecError(
            f"a model is a name, a function or an object with `id` and `generate`, got {model!r:.80} as {role!r}; "
            "`steepest list models` shows what a name may be"
        )
    return model


def cast(needs: Iterable[str], task: Task, models: Mapping[str, Opened]) -> dict[str, Opened]:
    """A model for each role that a method and a task need: its own, or the task's. SpecError for one without a role."""
    # An embedder is asked by a part of a method, which its needs do not tell of.
    asked = ["task", *needs, *(["judge"] if isinstance(task.metric, Judge) else []), *({"embedder"} & set(models))]
    for role in models:
        if role not in asked:
            remedy = "give criteria for it to judge by" if role == "judge" else "leave it out"
            raise SpecError(f"a model needs something to do, got one as {role!r}, which nobody asks here; {remedy}")
    return {role: models.get(role, models["task"]) for role in dict.fromkeys(asked)}


def prices_of(price: PriceLike | None, roles: Mapping[str, Opened]) -> dict[str, Price]:
    """Role -> price."""
    if price is None:
        return {}
    by_role = price if isinstance(price, Mapping) else dict.fromkeys(roles, price)
    return {role: _price(both) for role, both in by_role.items()}


def _price(both: Any) -> Price:
    """Of the tokens read and of those written."""
    match both:
        case (int() | float() as read, int() | float() as written):
            return Price(read, written)
    raise SpecError(
        f"a price is dollars per million tokens, read and written, got {both!r:.80}; for example (0.15, 0.60)"
    )


def written_options(models: Mapping[str, Opened]) -> dict[str, Any]:
    """The options of all models, as `open_models` takes them."""
    return {
        name if role == "task" else f"{role}.{name}": value
        for role, model in models.items()
        for name, value in model.options.items()
    }
