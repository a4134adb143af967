"""Who may import whom: docs/design/architecture.md, section 3."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "steepest"
HEAVY = {"torch", "transformers", "safetensors", "tokenizers", "accelerate"}
MAY_BE_HEAVY = ("models.local", "bundled.training", "bundled.material", "bundled.tokens", "bundled.measuring")
RECIPE = ("bundled.lessons", "bundled.material", "bundled.measuring", "bundled.tokens", "bundled.training")
"""How the bundled model was made, from runs of the methods; nothing else imports it."""

# Lowest first; a module imports only from its own group and from those before it.
ORDER = [
    ["errors", "types", "_version"],
    ["arguments", "codec", "objects", "records", "results", "lock", "waiting", "cluster", "trusting", "processes"],
    ["models", "tasks", "bundled"],
    ["calls", "costs", "ledger", "events", "whitebox", "lots", "asking", "answering", "context"],
    ["parts"],
    ["methods"],
]
ABOVE_ALL = {
    "cli",
    "testing",
    "api",
    "comparing",
    "diagnosing",
    "estimating",
    "evaluating",
    "exporting",
    "progress",
    "__init__",
    "__main__",
}
ENGINE = {"stops", "runfolder", "plan", "roles", "finishing", "engine", "spec"}
READABLE = {"reporting", "types", "codec", "errors", "records", "results", "_version"}
"""What reports know: what runs wrote, never who wrote it."""
KNOWN = {name for group in ORDER for name in group} | ABOVE_ALL | ENGINE | {"reporting", "web"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__") or "__init__"


def imported(path: Path) -> set[str]:
    """Full names of everything a module imports, at whatever depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(path: Path) -> set[str]:
    """The top-level names of our own package that a module imports from."""
    parts = [name.split(".") for name in imported(path)]
    return {part[1] for part in parts if part[0] == "steepest" and len(part) > 1 and part[1] in KNOWN}


def rank(top: str) -> int:
    return next(i for i, group in enumerate(ORDER) if top in group)


def test_every_module_has_its_place() -> None:
    for path in modules():
        assert name_of(path).split(".")[0] in KNOWN, f"{path.name} needs a place in this test and in architecture.md"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_go_down(path: Path) -> None:
    top = name_of(path).split(".")[0]
    if top in ABOVE_ALL or name_of(path) in RECIPE:
        return
    if top == "reporting":
        assert ours(path) <= READABLE
        return
    if top in ENGINE:
        allowed = {name for group in ORDER[:4] for name in group} | ENGINE
        # The verdict is the one thing that the engine takes from the reports, and only to finish.
        allowed |= {"reporting"} if top == "finishing" else set()
        assert ours(path) <= allowed
        return
    above = {name for name in ours(path) if name not in {n for group in ORDER[: rank(top) + 1] for n in group}}
    assert not above, f"{name_of(path)} imports from above it: {sorted(above)}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_heavy_libraries_stay_in_their_corner(path: Path) -> None:
    if not name_of(path).startswith(MAY_BE_HEAVY):
        assert not {name.split(".")[0] for name in imported(path)} & HEAVY


def test_ray_is_imported_in_one_place() -> None:
    for path in modules():
        assert name_of(path) == "cluster" or "ray" not in {name.split(".")[0] for name in imported(path)}


def test_nothing_imports_the_recipe_of_the_bundled_model() -> None:
    recipe = {f"steepest.{name}" for name in RECIPE}
    for path in modules():
        assert name_of(path) in RECIPE or not imported(path) & recipe, f"{path} imports how the model was made"


def test_the_engine_imports_statistics_only() -> None:
    names = {name for name in imported(PACKAGE / "finishing.py") if ".reporting" in name}
    assert names == {"steepest.reporting.statistics"}
