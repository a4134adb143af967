"""A run's folder: everything needed to go on, to report and to do it again, as plain JSON.

run.json          what was asked for, with every default spelled out; made with the folder, never changed
data/*.jsonl      the rows: train, dev, test
steps/00000.json  one file per committed step, never changed
calls.jsonl       the journal of model calls
result.json       the answer, with test.jsonl, the test rows under both prompts
.lock             who writes here; it stays, and means something only while it is locked
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from steepest import codec, trusting
from steepest._version import __version__
from steepest.context import FAIL_ON
from steepest.errors import StateError
from steepest.ledger import Limits, Price
from steepest.lock import FILE as LOCK
from steepest.lock import Lock
from steepest.records import StepRecord
from steepest.results import Result
from steepest.tasks.source import SPLITS, TaskInfo
from steepest.types import Example

FORMAT = 1


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What run.json says of a model."""

    name: str
    options: Mapping[str, Any]
    id: str
    """Its id when the run was made; answers of another one cannot be mixed in."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The content of run.json."""

    format: int
    steepest: str
    created: str
    """ISO 8601, UTC."""
    method: Mapping[str, Any]
    """Full spec."""
    method_version: int
    passed: Mapping[str, Any]
    """The arguments as they were given."""
    task: TaskInfo
    models: Mapping[str, ModelInfo]
    prompt: str
    """The initial prompt."""
    seed: int
    limits: Limits
    versions: Mapping[str, str]
    git: str | None
    """Revision of the working folder, where it is a git checkout."""
    prices: Mapping[str, Price] = field(default_factory=dict)
    """Role -> dollars per million tokens, where they were given."""
    fail_on: float = FAIL_ON
    """Share of a batch that may go unanswered."""


@dataclass(frozen=True, slots=True)
class Told:
    """A run.json as it stands in its file, and what it says."""

    data: bytes
    json: codec.JSON


class RunFolder:
    """Reads and writes one run folder. Files appear whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = Lock(path)
        """To be held by whoever writes."""

    @property
    def journal(self) -> Path:
        """Where the calls are written."""
        return self.path / "calls.jsonl"

    def check_free(self) -> None:
        """StateError if something is there already."""
        if self.path.exists() and (not self.path.is_dir() or any(path.name != LOCK for path in self.path.iterdir())):
            raise StateError(
                f"a new run needs a folder that is empty or not there, got {self.path}; "
                "name another one, or go on with `steepest resume`"
            )

    def create(self, info: RunInfo, splits: Mapping[str, Sequence[Example]]) -> None:
        """Make the folder; run.json comes last, so that a folder with it is complete."""
        try:
            (self.path / "data").mkdir(exist_ok=True)
            (self.path / "steps").mkdir(exist_ok=True)
        except OSError as refused:
            raise _unwritable(self.path, refused) from None
        for name in SPLITS:
            self.write_lines(f"data/{name}.jsonl", splits[name])
        told = codec.encode(info)
        text = _written(told)
        # Before the file is there: a run that was cut off here goes on without questions.
        trusting.remember(text.encode(), told)
        self._replace("run.json", text)

    def info(self) -> RunInfo:
        """The content of run.json; StateError if it cannot be read or has another format."""
        return self._info(self.told().json)

    def own_info(self, roles: Container[str]) -> RunInfo:
        """The same, to run the code that it names, and to open the models of `roles`. StateError where the user is not
        known to have named all of that, see `trusting`.
        """
        told = self.told()
        info = self._info(told.json)
        trusting.check(self.path, told.data, told.json, trusting.named({**told.json, "models": _of(roles, told)}))
        return info

    def own_models(self, roles: Container[str]) -> dict[str, ModelInfo]:
        """The models of `roles`, as far as there are any, to be opened; StateError likewise."""
        told = self.told()
        info = self._info(told.json)
        trusting.check(self.path, told.data, told.json, trusting.named({"models": _of(roles, told)}))
        return {role: model for role, model in info.models.items() if role in roles}

    def told(self) -> Told:
        """The content of run.json as it stands; StateError where there is none."""
        path = self.path / "run.json"
        if not path.is_file():
            raise StateError(f"a run folder holds run.json, and {self.path} does not; correct the path")
        text = self._text(path)
        return Told(text.encode(), self._parsed(path, text))

    def _info(self, data: codec.JSON) -> RunInfo:
        path = self.path / "run.json"
        found = data.get("format") if isinstance(data, dict) else None
        if found != FORMAT:
            raise StateError(
                f"{path} has format {found!r} and this version ({__version__}) reads format {FORMAT}; "
                "use the version that wrote it, or start a new run from its best prompt"
            )
        info: RunInfo = codec.decode(RunInfo, data, str(path), StateError)
        return info

    def steps(self, state: type) -> list[StepRecord]:
        """All committed steps, with states of type `state`. A last one that a power cut spoilt is to be done again."""
        paths = sorted((self.path / "steps").glob("*.json"))
        if paths and self._is_torn(paths[-1]):
            logging.getLogger("steepest").warning(
                "%s is not JSON, as after a power cut; that step is done again from the journal", paths.pop()
            )
        for number, path in enumerate(paths):
            if path.name != _step_name(number):
                raise StateError(
                    f"steps are numbered without gaps, got {path.name} where {_step_name(number)} was due in "
                    f"{path.parent}; restore the missing file, or delete the later ones"
                )
        return [restore(self._load(path), state, str(path)) for path in paths]

    def commit(self, record: StepRecord) -> None:
        """Write a step down."""
        self.write(f"steps/{_step_name(record.step)}", record)

    def result(self) -> Result | None:
        """The content of result.json; None where there is none yet."""
        path = self.path / "result.json"
        if not path.is_file():
            return None
        result: Result = codec.decode(Result, self._load(path), str(path), StateError)
        return result

    def write(self, name: str, value: object) -> None:
        """Write a JSON file."""
        self._replace(name, _written(codec.encode(value)))

    def write_lines(self, name: str, values: Iterable[object]) -> None:
        """Write a JSON-lines file."""
        self._replace(name, "".join(codec.dumps(value) + "\n" for value in values))

    def _replace(self, name: str, text: str) -> None:
        path = self.path / name
        if path.parent != self.path and path.parent.is_symlink():
            raise StateError(f"{path.parent} must be a folder of the run, not a link; put the folder itself there")
        draft = path.with_name(path.name + ".tmp")
        try:
            draft.unlink(missing_ok=True)  # a link that came with the folder would lead the text elsewhere
            draft.write_text(text, encoding="utf-8", newline="\n")
            os.replace(draft, path)
        except OSError as refused:
            raise _unwritable(path, refused) from None

    def _is_torn(self, path: Path) -> bool:
        try:
            json.loads(self._text(path))
        except (ValueError, RecursionError):
            return True
        return False

    def _load(self, path: Path) -> codec.JSON:
        return self._parsed(path, self._text(path))

    def _parsed(self, path: Path, text: str) -> codec.JSON:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as garbled:
            raise StateError(f"{path} is not JSON ({garbled}); restore the file or start a new run") from None

    def _text(self, path: Path) -> str:
        if not path.is_file():
            raise StateError(f"{path} must be a file, got something else, such as a folder or a pipe; restore the file")
        try:
            return path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as unreadable:
            raise StateError(f"{path} cannot be read ({unreadable}); restore the file") from unreadable


@contextmanager
def free_folder(runs: Path, method: str, task: str) -> Iterator[Path]:
    """runs/DATE-METHOD-TASK, with a number behind it if that is taken; made here, so that whoever begins at the same
    moment gets another one, and removed where nothing came into it.
    """
    name = "-".join((date.today().isoformat(), _slug(method), _slug(task)))
    missing = [folder for folder in (runs, *runs.parents) if not folder.exists()]
    path = next(path for path in (runs / name, *(runs / f"{name}-{n}" for n in range(2, 10_000))) if _is_made(path))
    try:
        yield path
    finally:
        with suppress(OSError):  # what is not empty stays
            for folder in (path, *missing):
                folder.rmdir()


def _is_made(path: Path) -> bool:
    """Whether there is a folder now that was not there before."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        return False
    except OSError as refused:
        raise StateError(
            f"a run needs a folder that can be made, got {path} ({refused.strerror}); name another place for it"
        ) from None
    return True


def _slug(name: str) -> str:
    """The last part of a name such as mine.py:Class, fit for a folder's name."""
    last = name.rpartition(":")[2].lower()
    # Names of folders have 255 bytes at most, and this is one of two in a name.
    return "".join(c if c.isalnum() else "_" for c in last)[:25].strip("_") or "run"


def _of(roles: Container[str], told: Told) -> codec.JSON:
    return {role: model for role, model in told.json["models"].items() if role in roles}


def _written(data: codec.JSON) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _unwritable(path: Path, refused: OSError) -> StateError:
    return StateError(
        f"a run writes down what it does, got {path}, which cannot be written ({refused.strerror}); "
        "make room there, or allow it, and resume the run: nothing is lost"
    )


def restore(data: codec.JSON, state: type, what: str) -> StepRecord:
    """A step record from its JSON, its state as type `state`; StateError where they do not fit."""
    record: StepRecord = codec.decode(StepRecord, data, what, StateError)
    held = codec.decode(state, data["state"], f"{what}: state", StateError)
    return replace(record, state=held)


def library_versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that answers depend on."""
    found = {"python": sys.version.split()[0]}
    for name in ("numpy", "torch", "transformers", "tokenizers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_revision() -> str | None:
    """The git revision of the working folder; None outside a checkout or without git."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _step_name(step: int) -> str:
    return f"{step:05d}.json"
