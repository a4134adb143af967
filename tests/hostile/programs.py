"""Targets: what programs wrote, which are specs, names of objects, run.json, metrics, and what servers reply."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from hostile.mutations import mutated_json
from hostile.target import Target, text
from steepest import codec, spec
from steepest.errors import SpecError
from steepest.models.endpoint import replies
from steepest.objects import find_object
from steepest.runfolder import RunInfo
from steepest.tasks.metrics import open_metric


def _spec(data: bytes, folder: Path) -> None:
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        spec.with_settings("greater", [text(data)])
        return
    if isinstance(given, str | dict) and ":" not in json.dumps(given).replace('":', "").replace('": ', ""):
        spec.describe(spec.build(given))


def _name(data: bytes, folder: Path) -> None:
    name = text(data)
    if ".py" not in name and ":" in name and not name.startswith("steepest."):
        return  # importing whatever is installed is no test
    find_object(name, SpecError)


def _codec(data: bytes, folder: Path) -> None:
    found = codec.read(RunInfo, data, "run.json", SpecError)
    again = codec.read(RunInfo, codec.dumps(found), "run.json", SpecError)
    assert codec.dumps(again) == codec.dumps(found)


def _metric(data: bytes, folder: Path) -> None:
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        given = text(data)
    if isinstance(given, str | dict) and ":" not in json.dumps(given).replace('":', ""):
        open_metric(given, ["yes", "no"])


def _reply(data: bytes, folder: Path) -> None:
    """A body, with a Retry-After that is its beginning."""
    replies.refusal(200 + 100 * (len(data) % 4) + len(data) % 30, {"Retry-After": text(data[:60])}, data)
    found = replies.response(data, ("END",), 10)
    found.text.encode()
    assert found.prompt_tokens >= 0 and found.output_tokens >= 0


_RUN = {
    "format": 1,
    "steepest": "0.1.0",
    "created": "2026-11-20T10:00:00+00:00",
    "method": {"use": "greater", "mu": 3},
    "method_version": 1,
    "passed": {"task": "lies"},
    "task": {"name": "lies", "layout": "{input}\n{prompt}", "system": "", "extractor": "So", "metric": {"use": "text"}}
    | {"max_tokens": 96, "seeds": ["Answer."], "origin": "lies"},
    "models": {"task": {"name": "bundled", "options": {"a": 1.5}, "id": "b"}},
    "prompt": "Answer.",
    "seed": 7,
    "limits": {"steps": 4, "calls": None, "tokens": None, "seconds": "Infinity"},
    "versions": {"python": "3.11"},
    "git": None,
}
_SPECS = (
    b'{"use": "greater", "mu": 3, "k": 10}',
    b'{"use": "protegi", "select": {"use": "ucb", "budget": 50}}',
    b'{"use": "opro", "preset": "small"}',
    b'"ape"',
    b"mu=5",
    b"gradient=sampled",
    b"mu=[1, (2, 3), {'a': -1.5}]",
)
_CHAT = {"choices": [{"message": {"role": "assistant", "content": "4 END"}, "finish_reason": "stop"}]}
_REPLIES = (
    json.dumps(_CHAT | {"usage": {"prompt_tokens": 3, "completion_tokens": 1}}).encode(),
    json.dumps({"choices": [{"text": "4", "finish_reason": "length"}]}).encode(),
    json.dumps({"error": {"message": "maximum context length", "code": "x", "type": "y", "param": "model"}}).encode(),
    json.dumps({"detail": [{"msg": "extra inputs are not permitted"}]}).encode(),
    b"Wed, 21 Oct 2026 07:28:00 GMT",
)

TARGETS: Mapping[str, Target] = {
    "spec": Target(_spec, _SPECS),
    "name": Target(_name, (b"steepest.spec:METHODS", b"mine.py:Class", b"steepest.types:Example.id")),
    "codec": Target(_codec, (json.dumps(_RUN).encode(),), change=mutated_json),
    "metric": Target(_metric, (b'{"use": "choice", "labels": ["a", "b"]}', b'{"judge": {"criteria": "c"}}', b"number")),
    "reply": Target(_reply, _REPLIES, (replies.Unusable,), change=mutated_json),
}
"""By name."""
