"""Finding a Python object by its written name: "file.py:Name" or "package.module:Name"."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from steepest.errors import SpecError, SteepestError, nearest
from steepest.types import content_id

_FILES: str = "steepest_file_"


def find_object(name: str, error: type[SteepestError]) -> Any:
    """The object that `name` means; `error` where the file, the module or the object does not exist."""
    where, _, attribute = name.rpartition(":")
    module = _load_file(Path(where), error) if where.endswith(".py") else _import(where, name, error)
    found: Any = module
    for part in attribute.split("."):
        names = vars(found)
        if part not in names:
            public = [key for key in names if not key.startswith("_")]
            raise error(f"{where} must define {attribute!r}, which it does not; {nearest(part, public)}")
        found = names[part]
    return found


def full_name(name: str) -> str:
    """ "file.py:Name" with the file's full path, to be found from any working folder; other names as they are."""
    where, _, attribute = name.rpartition(":")
    return f"{Path(where).expanduser().resolve()}:{attribute}" if where.endswith(".py") else name


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


def _import(module: str, name: str, error: type[SteepestError]) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as missing:
        raise error(f"a name with a colon is file.py:Name or module:Name, got {name!r}: {missing}") from missing


def _load_file(path: Path, error: type[SteepestError]) -> ModuleType:
    """The module in a file, run once per process."""
    path = path.expanduser().resolve()
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
