"""Whose run folder it is: what it names is run and asked only where its user named it, here or when the run was made.

run.json names code, servers and the variables of keys. Whoever makes a run has named them on the command line or in a
call, so the hash of run.json is put down in a list of the user's own, outside the folder. A run.json that is not in
the list, because someone else wrote it or changed it, has what it names done only after `steepest trust FOLDER NAME...`
said each of these names again. Folders that name nothing of the kind need no trust.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from steepest.errors import SpecError, StateError
from steepest.objects import files_named, names_module

_LIST = "trusted"
_DEFAULT_KEY = "OPENAI_API_KEY"
_HARMLESS = ("bundled", "scripted")
_ADDRESS = re.compile(r"\w://|\.py:")


def named(told: Mapping[str, Any]) -> tuple[str, ...]:
    """What the content of a run.json has run or asked, as its user would name it: code as "file.py:Name" or
    "module:Name", servers as KEY_VARIABLE@URL. Empty where that is nothing but what comes with the package.
    """
    found = [*_components(told.get("method")), *files_named(told.get("method")), *metric_named(told.get("task"))]
    models = told.get("models")
    for model in models.values() if isinstance(models, Mapping) else ():
        if isinstance(model, Mapping):
            found += model_named(str(model.get("name", "")), model.get("options"))
    return tuple(dict.fromkeys(found))


def metric_named(task: Any) -> Iterator[str]:
    """The function of the user's that a run.json's task is scored by, where it is one."""
    metric = task.get("metric") if isinstance(task, Mapping) else None
    use = str(metric.get("use", "")) if isinstance(metric, Mapping) else ""
    if ":" in use:
        yield use


def model_named(name: str, options: Any) -> Iterator[str]:
    """What opening a model by this name and these options runs or asks."""
    given = options if isinstance(options, Mapping) else {}
    if name.startswith("openai:"):
        _, _, url = name.partition("@http")
        # The option may add servers to the one in the name.
        where = given.get("url") or (f"http{url}" if url else name)
        yield f"{given.get('key_env', _DEFAULT_KEY)}@{where}"
    elif name and not name.startswith("hf:") and name not in _HARMLESS:
        yield name
    for option, value in given.items():
        is_code = name == "scripted" or (isinstance(value, str) and _ADDRESS.search(value) is not None)
        if option == "trust_remote_code" and value is not False:
            yield f"{name} with trust_remote_code"
        elif is_code and not (option == "url" and name.startswith("openai:")):
            yield str(value)


def check(folder: Path, data: bytes, told: Mapping[str, Any], needed: Collection[str]) -> None:
    """StateError where of what a run.json names, `needed` is about to be run or asked, and nobody is known to have
    named it here. `told` is what its content, `data`, says.
    """
    if needed and not is_trusted(data):
        command = shlex.join(["steepest", "trust", str(folder), *named(told)])
        raise StateError(
            f"what a run folder names is run and asked where you made the folder or named it all, got {folder}, which "
            f"came from elsewhere or was changed, and names {', '.join(needed)}; if you want that: {command}"
        )


def allow(folder: Path, data: bytes, names: Sequence[str], given: Sequence[str]) -> None:
    """Trust the run.json with this content, which names `names`; SpecError unless exactly these were given."""
    for what, one, other in (("is named by it", names, given), ("is not named by it", given, names)):
        for name in one:
            if name not in other:
                raise SpecError(
                    f"to trust {folder} is to name all that it has run or asked and nothing else, and {name!r} {what}; "
                    f"look at it with {shlex.join(['steepest', 'trust', str(folder)])}"
                )
    _put_down(data)


def remember(data: bytes, told: Mapping[str, Any]) -> None:
    """Trust a run.json that is made here and now, of names that its user gave; a warning where that cannot be kept."""
    if not named(told) or is_trusted(data):
        return
    try:
        _put_down(data)
    except StateError as refused:
        logging.getLogger("steepest").warning("%s; until then, `steepest trust` is asked for to go on", refused)


def is_trusted(data: bytes) -> bool:
    """Whether this content is in the user's list."""
    path = _list()
    if not path.is_file() or not _is_own(path):
        return False
    return _digest(data) in path.read_text("ascii", errors="replace").split()


def _put_down(data: bytes) -> None:
    path = _list()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One short write at the end: several processes may put something down at the same moment.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(file, f"{_digest(data)}\n".encode())
        finally:
            os.close(file)
    except OSError as refused:
        raise StateError(
            f"what you trust is kept in {path}, which cannot be written ({refused.strerror}); allow it, or name "
            "another place with the variable XDG_STATE_HOME"
        ) from None
    if not _is_own(path):
        raise StateError(f"what you trust is kept where nobody else can write, got {path}; take others' rights away")


def _is_own(path: Path) -> bool:
    """Whether the list and its folder are the user's and cannot be written by others; Windows keeps homes apart."""
    if os.name == "nt":
        return True
    stats = [path.stat(), path.parent.stat()]
    return all(stat.st_uid == os.getuid() and not stat.st_mode & 0o022 for stat in stats)


def _list() -> Path:
    """Where the user's own list is."""
    state = os.environ.get("XDG_STATE_HOME")
    base = Path(state) if state else Path(os.path.expanduser("~")) / ".local" / "state"
    return base / "steepest" / _LIST


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _components(value: Any) -> Iterator[str]:
    """Names of components that are no built-in ones, under "use" or alone, and folders that embedders are opened from,
    whose code is run.
    """
    if isinstance(value, str) and names_module(value):
        yield value
    elif isinstance(value, Mapping):
        if os.path.exists(model := str(value.get("model", ""))):
            yield f"{model} with its code"
        for each in value.values():
            yield from _components(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _components(each)
