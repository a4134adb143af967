"""Finding a Python object by its written name: "file.py:Name" or "package.module:Name"."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from steepest.errors import SpecError, StateError, SteepestError, nearest
from steepest.types import content_id

_FILES: str = "steepest_file_"


def find_object(name: str, error: type[SteepestError]) -> Any:
    """The object that `name` means; `error` where the file, the module or the object does not exist."""
    where, _, attribute = name.rpartition(":")
    module = _load_file(Path(where), error) if where.endswith(".py") else _import(where, name, error)
    found: Any = module
    for part in attribute.split("."):
        names: Mapping[str, Any] = found.__dict__ if isinstance(found, type | ModuleType) else {}
        if part not in names:
            public = [key for key in names if not key.startswith("_")]
            raise error(f"{where} must define {attribute!r}, which it does not; {nearest(part, public)}")
        found = names[part]
    return found


def names_code(name: str) -> bool:
    """Whether a metric's name is that of a function, "file.py:Name" or "module:Name"; "choice:red,green" is none."""
    where, colon, _ = name.rpartition(":")
    return bool(colon) and where not in ("choice", "yes_no", "number")


def names_module(name: str) -> bool:
    """Whether `find_object` would import a module by this name: "module:Name", of dotted identifiers."""
    return all(part.isidentifier() for half in name.rpartition(":")[::2] for part in half.split("."))


def full_name(name: str) -> str:
    """ "file.py:Name" with the file's full path, to be found from any working folder; other names as they are."""
    where, _, attribute = name.rpartition(":")
    return f"{_resolved(Path(where)) or where}:{attribute}" if where.endswith(".py") else name


def name_of(kind: type) -> str:
    """The name by which `find_object` finds a class again; SpecError for one inside a function."""
    if "<" in kind.__qualname__:
        raise SpecError(
            f"a component's class must stand at the top level of a file, so that a resumed run finds it again, "
            f"got {kind.__qualname__}; move it there"
        )
    module = sys.modules[kind.__module__]
    is_file = kind.__module__ == "__main__" or kind.__module__.startswith(_FILES)
    where = str(Path(module.__file__).resolve()) if is_file and module.__file__ else kind.__module__
    return f"{where}:{kind.__qualname__}"


def name_of_function(function: FunctionType) -> str:
    """The name by which `find_object` finds a function again; SpecError for a lambda or one inside a function.

    One that was typed into an interpreter or a notebook is found as long as that runs.
    """
    if "<" in function.__qualname__:
        raise SpecError(
            f"a function that answers must stand at the top level of a file or a notebook, so that a resumed run finds "
            f"it again, got {function.__qualname__}; move it there, with a name"
        )
    # Of a decorated function, the code is the decorator's; its module is its own.
    file = str(sys.modules[function.__module__].__dict__.get("__file__") or "")
    return full_name(f"{file if file.endswith('.py') else function.__module__}:{function.__qualname__}")


def files_named(value: Any) -> Iterator[str]:
    """Every "file.py:Name" in plain data, such as the content of a run folder."""
    if isinstance(value, str) and value.rpartition(":")[0].endswith(".py"):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from files_named(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from files_named(each)


CLUSTER = "ray_address"
"""The option that names a cluster. It is never written down: whoever owns a cluster may run code where it is joined."""


def names_cluster(value: Any) -> bool:
    """Whether options in plain data name a cluster."""
    if isinstance(value, Mapping):
        return CLUSTER in value or any(map(names_cluster, value.values()))
    return isinstance(value, list | tuple) and any(map(names_cluster, value))


def refuse_carried(value: Any, folder: Path) -> None:
    """StateError where the run in `folder` names code that came along with it, inside it or by a relative path, or a
    cluster to join.

    Runs are written with full paths, so code that one names was there before it.
    """
    if names_cluster(value):
        raise StateError(f"a run folder names no cluster, got {CLUSTER} in {folder}; remove it, and give --ray-address")
    for name in files_named(value):
        path = Path(name.rpartition(":")[0])
        if not path.is_absolute() or (_resolved(path) or path).is_relative_to(folder.resolve()):
            raise StateError(
                f"a run folder names code by a full path outside of it, got {name!r} in {folder}; if the code is "
                "yours, start a new run with it"
            )


def _import(module: str, name: str, error: type[SteepestError]) -> ModuleType:
    if not names_module(name):
        raise error(f"a name with a colon is file.py:Name or module:Name, got {name!r}; correct it")
    try:
        return importlib.import_module(module)
    except (ImportError, RecursionError) as missing:  # the latter for a name with dots without end
        raise error(f"a name with a colon is file.py:Name or module:Name, got {name!r}: {missing}") from missing


def _resolved(path: Path) -> Path | None:
    """The full path; None for what cannot be one, such as one that is too long or has a null character."""
    try:
        full = path.expanduser().resolve()
        str(full).encode()
        full.lstat()
    except FileNotFoundError:
        return full
    except (OSError, ValueError, RuntimeError):
        return None
    return full


def _load_file(path: Path, error: type[SteepestError]) -> ModuleType:
    """The module in a file, run once per process."""
    full = _resolved(path)
    if full is None:
        raise error(f"there must be a Python file at {str(path)!r}, and there is none; correct the path")
    path = full
    main = sys.modules["__main__"]
    if main.__dict__.get("__file__") and Path(main.__dict__["__file__"]).resolve() == path:
        return main
    name = _FILES + content_id(str(path))
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise error(f"there must be a Python file at {str(path)!r}, and there is none; correct the path")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, f"{path} ends in .py"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while the file still runs
    try:
        spec.loader.exec_module(module)
    except Exception as broken:
        del sys.modules[name]
        raise error(f"{path} cannot be run: {type(broken).__name__}: {broken}; correct the file") from broken
    return module
