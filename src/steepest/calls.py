"""The journal of a run: every model call, one JSON line each, appended as it returns.

A line is in the file before anybody looks at the answer, so a crash costs only the calls in flight. Lines are
found by the content of what was asked. A request that got no answer has its line too, for the report; it is asked
again by the next step that needs it, and by the same step once the run was opened anew.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from steepest.codec import JSON, canonical, dumps, read
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

    @property
    def is_unanswered(self) -> bool:
        """Whether the model gave no answer, which is written down but never taken for one."""
        return self.kind in WRITTEN and self.response.get("finish") == "failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the journal keeps in memory of a call."""

    step: int
    account: str
    response: JSON


def call_key(model: str, kind: Kind, request: JSON) -> str:
    """The name of a call: a hash of the model's id, the kind and the request."""
    return content_id(model, kind, canonical(request))


class CallLog:
    """An append-only file of calls, with the answers in memory."""

    def __init__(self, path: Path) -> None:
        """Open `path`, made if it is missing. A torn last line is cut off; any other one raises StateError."""
        self.path = path
        self.removed = 0
        """Bytes of a torn last line that were cut off; 0 where the file was whole."""
        self._answers: dict[str, Answer] = {}
        self._unanswered: set[str] = set()
        if path.exists():
            self._load()
        self._file = path.open("ab", buffering=0)

    def __len__(self) -> int:
        return len(self._answers)

    def __iter__(self) -> Iterator[str]:
        return iter(self._answers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, key: str) -> Answer | None:
        """The answer to the call named `key`, if it was ever finished."""
        return self._answers.get(key)

    def append(self, call: Call) -> None:
        """Write `call` down. One unbuffered write per line: it survives the process, not a power cut."""
        self._file.write(dumps(call).encode() + b"\n")
        self._answers[call.key] = Answer(call.step, call.account, call.response)
        if call.is_unanswered:
            self._unanswered.add(call.key)

    def forget_unanswered(self) -> None:
        """Let requests that got no answer be made again, as they are once the file is opened anew."""
        for key in self._unanswered:
            del self._answers[key]
        self._unanswered.clear()

    def close(self) -> None:
        """Close the file; nothing can be appended afterwards."""
        self._file.close()

    def _load(self) -> None:
        data = self.path.read_bytes()
        lines = data.split(b"\n")
        whole = len(data)
        for number, line in enumerate(lines[:-1], start=1):
            try:
                self._keep(line, number)
            except StateError:
                if number < len(lines) - 1 or lines[-1]:
                    raise
                lines[-1] = line + b"\n"
        if lines[-1]:
            self.removed = len(lines[-1])
            os.truncate(self.path, whole - self.removed)
            logging.getLogger("steepest").warning(
                "%s: the last line was torn; %d bytes were cut off and that call is made again",
                self.path,
                self.removed,
            )

    def _keep(self, line: bytes, number: int) -> None:
        call: Call = read(
            Call,
            line,
            f"{self.path} line {number} is not a call (restore the file or start a new run)",
            StateError,
        )
        if not call.is_unanswered:
            self._answers[call.key] = Answer(call.step, call.account, call.response)
