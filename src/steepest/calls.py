"""The journal of a run: every model call, one JSON line each, appended as it returns.

A line is in the file before anybody looks at the answer, so a crash costs only the calls in flight. Lines are
found by the content of what was asked: where they stand is kept in memory, answers are read from the file. A request
that got no answer has its line too, for the report; it is asked again by the next step that needs it, and by the same
step once the run was opened anew.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from steepest.codec import JSON, canonical, line, read
from steepest.errors import StateError
from steepest.types import content_id

Kind = Literal["generate", "infill", "propose", "gradient", "loss", "logprobs", "embed"]
WRITTEN: tuple[Kind, ...] = ("generate", "infill")
"""Kinds whose answer is a text that the model wrote."""


@dataclass(frozen=True, slots=True)
class Call:
    """One finished call: what was asked of which model, what came back, and the step that paid for it."""

    key: str
    step: int
    role: str
    model: str
    kind: Kind
    request: JSON
    response: JSON

    @property
    def account(self) -> str:
        """Who pays: the role, and for anything but written text its kind as well."""
        return self.role if self.kind in WRITTEN else f"{self.role}: {self.kind}"

    def to_json(self) -> JSON:
        """The same as plain data, as a line holds it; request and response are that already."""
        return {
            "key": self.key,
            "step": self.step,
            "role": self.role,
            "model": self.model,
            "kind": self.kind,
            "request": self.request,
            "response": self.response,
        }

    @property
    def is_unanswered(self) -> bool:
        """Whether the model gave no answer, which is written down but never taken for one."""
        return self.kind in WRITTEN and self.response.get("finish") == "failed"


@dataclass(frozen=True, slots=True)
class Place:
    """What the journal keeps in memory of a call: who paid, and where its line begins."""

    step: int
    account: str
    start: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A call that was answered."""

    step: int
    account: str
    line: Callable[[], bytes]

    @property
    def response(self) -> JSON:
        """What came back, read from the file."""
        return json.loads(self.line())["response"]


def call_key(model: str, kind: Kind, request: JSON) -> str:
    """The name of a call: a hash of the model's id, the kind and the request."""
    return content_id(model, kind, canonical(request))


class CallLog:
    """An append-only file of calls. Its memory does not grow with what was asked and answered, only with how often."""

    def __init__(self, path: Path) -> None:
        """Open `path`, made if it is missing. A torn last line is cut off; any other one raises StateError."""
        self.path = path
        self.removed = 0
        """Bytes of a torn last line that were cut off; 0 where the file was whole."""
        self._places: dict[str, Place] = {}
        self._unanswered: set[str] = set()
        self._end = 0
        """Where the next line begins."""
        if path.is_symlink():
            # What came with a folder of someone else would have another file cut off, or written into.
            raise StateError(f"a journal is a file in its folder, got a link, {path}; put the file itself there")
        if path.exists() and not path.is_file():
            raise StateError(f"a journal is a file, got a folder or a pipe, {path}; put the file there")
        try:
            if path.exists():
                self._load()
            self._file = path.open("ab", buffering=0)
            self._lines = path.open("rb")
        except OSError as refused:
            raise StateError(
                f"a journal must be a file that can be read and written, got {path} ({refused.strerror}); "
                "put that right and resume: nothing is lost"
            ) from None

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, key: str) -> Answer | None:
        """The answer to the call named `key`, if it was ever finished; read before the journal is closed."""
        place = self._places.get(key)
        return Answer(place.step, place.account, partial(self._line, place.start)) if place else None

    def append(self, call: Call) -> None:
        """Write `call` down, or raise StateError. One unbuffered write per line: it survives the process, not a power
        cut.
        """
        text = line(call.to_json()).encode() + b"\n"
        self._write(text)
        self._remember(call, len(text))
        if call.is_unanswered:
            self._unanswered.add(call.key)

    def forget_unanswered(self) -> None:
        """Let requests that got no answer be made again, as they are once the file is opened anew."""
        for key in self._unanswered:
            del self._places[key]
        self._unanswered.clear()

    def close(self) -> None:
        """Close the file; nothing can be appended or read afterwards."""
        self._file.close()
        self._lines.close()

    def _write(self, text: bytes) -> None:
        """A whole line; what a full disk or an interruption left of an earlier one is cut off before."""
        try:
            if self._file.tell() != self._end:
                os.truncate(self.path, self._end)
                self._file.seek(self._end)
            written = self._file.write(text)
            while written < len(text):
                # A disk that is nearly full takes a part first, and only then refuses.
                written += self._file.write(text[written:])
        except OSError as refused:
            raise StateError(
                f"every answer is written down before it is used, got {self.path}, which cannot be written "
                f"({refused.strerror}); put that right and resume: only the last call is made again"
            ) from None

    def _line(self, start: int) -> bytes:
        self._lines.seek(start)
        return self._lines.readline()

    def _load(self) -> None:
        with self.path.open("rb") as lines:
            for number, text in enumerate(lines, start=1):
                if not text.endswith(b"\n"):
                    break
                try:
                    call = self._read(text, number)
                except StateError:
                    if lines.read(1):
                        raise
                    break
                if call.is_unanswered:
                    self._end += len(text)
                else:
                    self._remember(call, len(text))
        self.removed = os.path.getsize(self.path) - self._end
        if self.removed:
            os.truncate(self.path, self._end)
            logging.getLogger("steepest").warning(
                "%s: the last line was torn; %d bytes were cut off and that call is made again",
                self.path,
                self.removed,
            )

    def _read(self, text: bytes, number: int) -> Call:
        remedy = "restore the file, or remove the line: only that call is made again"
        what = f"{self.path} line {number} is not a call ({remedy})"
        call: Call = read(Call, text, what, StateError)
        if call.kind in WRITTEN and not isinstance(call.response, dict):
            raise StateError(f"{what}: the response to {call.kind!r} is an object")
        return call

    def _remember(self, call: Call, size: int) -> None:
        """Keep where the line is that begins at the end of what was kept so far."""
        # Few accounts pay for all calls: each is held once.
        self._places[call.key] = Place(call.step, sys.intern(call.account), self._end)
        self._end += size
