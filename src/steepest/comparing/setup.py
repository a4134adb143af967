"""From what was asked for to cells with their plans, and to the setup under which a comparison goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from steepest import api, codec, spec
from steepest.comparing.variants import Variant
from steepest.errors import SpecError, StateError
from steepest.ledger import UNLIMITED, Limits
from steepest.models.opening import Opened
from steepest.plan import Method, Plan
from steepest.reporting.comparison import CELLS, FORMAT, Cell, Contender, Ground, Setup
from steepest.roles import PriceLike, cast, prices_of, written_options
from steepest.tasks.judge import Judge
from steepest.tasks.metrics import describe_metric
from steepest.tasks.source import SPLITS, TaskSource
from steepest.types import content_id

FILE = "compare.json"


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, without the models."""

    variants: Sequence[Variant]
    sources: Sequence[TaskSource]
    seeds: Sequence[int]
    limits: Limits

    def __post_init__(self) -> None:
        if self.limits == UNLIMITED:
            raise SpecError("a comparison needs a budget for every cell, got none; give calls, tokens or dollars")
        if not self.seeds:
            raise SpecError(f"the number of seeds must be at least 1, got {len(self.seeds)}; 3 is usual")
        names = [source.task.name for source in self.sources]
        for name in names:
            if names.count(name) > 1:
                raise SpecError(f"tasks must differ in their names, got {name!r} twice; leave one out or name it anew")
        if not names:
            raise SpecError("a comparison needs a task, got none; see `steepest list tasks`")


def plans_of(out: Path, asked: Asked, models: Mapping[str, Opened], price: PriceLike | None) -> dict[Cell, Plan]:
    """The plan of every cell, task by task and seed by seed, so that methods go side by side."""
    prices = prices_of(price, models)
    cells = [(source, seed, variant) for source in asked.sources for seed in asked.seeds for variant in asked.variants]
    plans: dict[Cell, Plan] = {}
    for number, (source, seed, variant) in enumerate(cells):
        name = "-".join([f"{number:03d}", *(_slug(text) for text in (variant.label, source.task.name)), str(seed)])
        cell = Cell(variant.label, source.task.name, seed, name)
        roles = _roles(variant.method, source, models)
        own = {role: given for role, given in prices.items() if role in roles}
        passed = {"method": spec.describe(variant.method)["use"], "task": _task(source, out / CELLS / name)}
        passed |= {"prompt": source.task.seeds[0], "set": changed(variant.method), "seed": seed}
        passed |= {"model" if role == "task" else role: opened.name for role, opened in roles.items() if role in models}
        passed |= {name: value for name, value in codec.encode(asked.limits).items() if value is not None}
        passed["price"] = [f"{role}={given.read:g}/{given.written:g}" for role, given in own.items()]
        passed["option"] = pairs(written_options({role: models[role] for role in roles if role in models}))
        kept = {name: value for name, value in passed.items() if value != []}
        plans[cell] = api.make_plan(variant.method, source, roles, seed, asked.limits, kept, own)
    used = {role for plan in plans.values() for role in plan.models}
    for role in (*models, *prices):
        if role not in used:
            raise SpecError(f"every model and price needs something to do, got one as {role!r}, which nobody asks here")
    return plans


def setup_of(asked: Asked, models: Mapping[str, Opened], plans: Mapping[Cell, Plan]) -> Setup:
    """What compare.json says was asked for."""
    prices = {role: codec.encode(price) for plan in plans.values() for role, price in plan.prices.items()}
    return Setup(
        contenders=tuple(Contender(each.label, spec.describe(each.method)) for each in asked.variants),
        tasks=tuple(ground_of(source) for source in asked.sources),
        seeds=tuple(asked.seeds),
        limits={name: value for name, value in codec.encode(asked.limits).items() if value is not None},
        models={
            role: {"name": opened.name, "options": codec.encode(opened.options), "id": opened.model.id}
            for role, opened in models.items()
        },
        prices=prices,
        cells=tuple(plans),
    )


def begin(out: Path, setup: Setup) -> None:
    """Write the setup into a new folder; StateError where the folder holds anything else than this comparison."""
    path = out / FILE
    if path.is_file():
        _same(path, setup)
        _check_links(out, setup)
        return
    # Whoever was cut off while it was begun has left no more than a draft.
    if out.exists() and (not out.is_dir() or any(each != _draft(path) for each in out.iterdir())):
        raise StateError(f"a comparison needs a folder that is empty, not there or its own, got {out}; name another")
    write(path, {"format": FORMAT, "setup": codec.encode(setup)})


def read_setup(out: Path) -> Setup:
    """What the comparison in a folder was asked for; StateError where there is none that this version can read."""
    path = out / FILE
    if not path.is_file():
        raise StateError(f"the folder of a comparison holds {FILE}, and {out} does not; correct the path")
    content = codec.read(dict[str, Any], path.read_bytes(), f"{path} cannot be read, restore it", StateError)
    if content.get("format") != FORMAT:
        got = content.get("format")
        raise StateError(f"{path} must have format {FORMAT}, got {got!r}; use the version that wrote it")
    setup: Setup = codec.decode(Setup, content.get("setup"), f"{path}: setup", StateError)
    return setup


def write(path: Path, content: codec.JSON) -> None:
    """Write a JSON file, whole or not at all, in a folder that is made if it is missing; StateError where it cannot."""
    draft = _draft(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)  # a link that came with the folder would lead the text elsewhere
        draft.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n", "utf-8")
        os.replace(draft, path)
    except OSError as refused:
        raise StateError(
            f"what is asked and found is written down, got {path}, which cannot be written ({refused.strerror}); "
            "make room there, or allow it: the same command goes on"
        ) from None


def _draft(path: Path) -> Path:
    return path.with_name(f"{path.name}.tmp")


def changed(method: Method) -> list[str]:
    """The settings of a method that are not the default ones, as --set takes them."""
    described = spec.describe(method)
    return _differences(described, spec.describe(spec.build(described["use"])), "")


def pairs(values: Mapping[str, Any]) -> list[str]:
    """NAME=VALUE for each."""
    return [f"{name}={value}" for name, value in values.items()]


def _check_links(out: Path, setup: Setup) -> None:
    """StateError where a cell is a link, which came with the folder and leads to runs of something else."""
    for path in (out / CELLS, *(out / CELLS / cell.folder for cell in setup.cells)):
        if path.is_symlink():
            raise StateError(f"{path} must be a folder of the comparison, not a link; put the folder itself there")


def _differences(given: Mapping[str, Any], default: Mapping[str, Any], prefix: str) -> list[str]:
    found = []
    for name, value in given.items():
        before = default.get(name)
        if name == "use" or value == before:
            continue
        if isinstance(value, Mapping):
            if "use" in value and not (isinstance(before, Mapping) and before.get("use") == value["use"]):
                found.append(f"{prefix}{name}={value['use']}")
                before = {}
            found += _differences(value, before if isinstance(before, Mapping) else {}, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            found.append(f"{prefix}{name}={'none' if value is None else text}")
    return found


def _same(path: Path, setup: Setup) -> None:
    """StateError, naming what differs, where `path` is of another comparison."""
    before = read_setup(path.parent)
    for field in fields(Setup):
        old, new = (codec.encode(getattr(each, field.name)) for each in (before, setup))
        if codec.canonical(old) != codec.canonical(new):
            was, now = (_short(only) for only in _apart(old, new))
            raise StateError(
                f"{path.parent} holds a comparison with other {field.name}: {was}, got {now}; "
                "name another folder, or give what was given then"
            )


def _apart(old: codec.JSON, new: codec.JSON) -> list[codec.JSON]:
    """Both without what they have in common: of things by the same names, the settings that differ."""
    if isinstance(old, list) and isinstance(new, list) and _short(old) == _short(new):
        return next(_apart(was, now) for was, now in zip(old, new, strict=True) if was != now)
    if isinstance(old, dict) and isinstance(new, dict):
        names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        if len(names) == 1 and names[0] in old and names[0] in new:
            return [{names[0]: side} for side in _apart(old[names[0]], new[names[0]])]
        return [{name: side.get(name) for name in names} for side in (old, new)]
    return [old, new]


def _short(value: codec.JSON) -> str:
    """A few words on a value: names where it is a list of named things."""
    if isinstance(value, list):
        value = [item.get("label") or item.get("name") or item if isinstance(item, dict) else item for item in value]
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _roles(method: Method, source: TaskSource, models: Mapping[str, Opened]) -> dict[str, Opened]:
    """The models that a cell asks; those for other methods are left out."""
    asked = {"task", "embedder", *method.needs, *(["judge"] if isinstance(source.task.metric, Judge) else [])}
    return cast(method.needs, source.task, {role: opened for role, opened in models.items() if role in asked})


def ground_of(source: TaskSource) -> Ground:
    """What is said of a task, with a digest of its rows."""
    task = source.task
    decides = [task.template, describe_metric(task.metric), task.extractor, task.max_tokens, task.language]
    decides += [task.description, *(source.rows(split) for split in SPLITS)]
    digest = content_id(codec.canonical(codec.encode(decides)))
    rows = {split: len(source.rows(split)) for split in SPLITS}
    return Ground(task.name, source.origin, tuple(task.seeds), rows, digest)


def _task(source: TaskSource, folder: Path) -> str:
    """What gives the very rows again: a task's name, or the run folder itself."""
    return source.origin if source.origin == source.task.name else str(folder.resolve())


def _slug(name: str) -> str:
    slug = "".join(c if c.isalnum() else "_" for c in name.lower())
    return slug[:25].strip("_") or "x"
