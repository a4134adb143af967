"""Opening a model by its name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any

from steepest.errors import ModelError, nearest
from steepest.models.function import Function, makes_model
from steepest.models.scripted import Scripted, echo
from steepest.objects import CLUSTER, find_object, full_name, name_of_function

NAMES: Mapping[str, str] = {
    "bundled": "the small model that comes with the package; needs steepest[local]",
    "hf:NAME": "a transformers model by hub name, hf:NAME, or by folder, hf:./folder; needs steepest[local]",
    "openai:MODEL": "a model of OpenAI's, or of the server at $OPENAI_BASE_URL; the key in $OPENAI_API_KEY",
    "openai:MODEL@URL": "a model of any OpenAI-compatible server (vLLM, llama.cpp, Ollama, ...), URL up to /v1",
    "openai:MODEL@URL,URL": "the same model on several servers, which share the requests",
    "file.py:Class": "a class of your own with `id` and `generate`",
    "file.py:function": "a function of your own, which answers a request with text",
    "scripted": "answers from a function (option answer=file.py:function), for dry runs and tests",
}
"""What a model's name may be, and what it means."""

_ENDPOINT = "openai:"
_PLACE = re.compile(r"@(\w+://|localhost\b|[\w.-]+:\d+(/|$)|[\w.-]+/v\d)")
"""Where a model's name goes on with what can only be meant as a server."""
_LOCAL = ("torch", "transformers", "safetensors", "tokenizers", "accelerate")


@dataclass(frozen=True, slots=True)
class Opened:
    """A model and how it can be opened again."""

    name: str
    model: Any
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Address:
    """Which model of which server; an empty URL is the default one."""

    model: str
    url: str


def opened(name: str, options: Mapping[str, Any] | None = None) -> Opened:
    """Open a model and keep its name and options, files and folders by their full paths, for the run folder."""
    given = {key: full_name(value) if isinstance(value, str) else value for key, value in (options or {}).items()}
    full = _full(name, given)
    kept = {key: value for key, value in given.items() if key != CLUSTER}
    return Opened(full, open_by_name(full, given), kept)


def opened_function(function: FunctionType, options: Mapping[str, Any]) -> Opened:
    """A function of the user's as a model, under the name by which it is found again."""
    name = name_of_function(function)
    return Opened(name, _called(_asking(function, name), name, options), dict(options))


def _asking(function: FunctionType, name: str) -> Callable[..., Function]:
    """What makes a model of a function, with its options."""

    def make(concurrency: int = 1) -> Function:
        return Function(function, name, concurrency)

    return make


def open_by_name(name: str, options: Mapping[str, Any]) -> Any:
    """The model called `name`; ModelError for an unknown name or option, or where a package is missing."""
    if name == "bundled":
        folder = Path(__file__).parents[1] / "bundled" / "model"
        return _called(_open_local(name), name, options, str(folder))
    if name.startswith("hf:"):
        return _called(_open_local(name), name, options, name.removeprefix("hf:"))
    if name.startswith(_ENDPOINT):
        return _open_endpoint(name, options)
    if name == "scripted":
        return _called(_scripted, name, options)
    where, colon, _ = name.rpartition(":")
    if colon and (where.endswith(".py") or where == "__main__"):
        found = find_object(name, ModelError)
        return _called(found if makes_model(found) else _asking(found, full_name(name)), name, options)
    raise ModelError(
        f"there is no model called {name!r}; {nearest(name, NAMES)}; write openai: before one behind a server, hf: "
        "before one to load here"
    )


def _full(name: str, options: Mapping[str, Any]) -> str:
    """A model's name, with the full path of its file or folder, or the URL of its server."""
    if name.startswith(_ENDPOINT):
        from steepest.models.endpoint import default_url

        return name if _address(name).url or options.get("url") else f"{name}@{default_url()}"
    folder = Path(name.removeprefix("hf:")).expanduser()
    return f"hf:{folder.resolve()}" if name.startswith("hf:") and folder.is_dir() else full_name(name)


def _called(make: Callable[..., Any], name: str, options: Mapping[str, Any], *first: str) -> Any:
    """`make(*first, **options)`, with unknown options refused by name."""
    known = [
        parameter.name
        for parameter in list(inspect.signature(make).parameters.values())[len(first) :]
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    for option in options:
        if option not in known:
            hint = nearest(option, known) if known else "it takes none"
            raise ModelError(f"the model {name!r} has no option {option!r}; {hint}")
    return make(*first, **options)


def _open_local(name: str) -> Callable[..., Any]:
    try:
        from steepest.models.local import open_local
    except ModuleNotFoundError as missing:
        if missing.name not in _LOCAL:
            raise
        raise ModelError(
            f"the model {name!r} runs in this process and needs {missing.name}, which is not installed; "
            "pip install 'steepest[local]'"
        ) from missing
    return open_local


def _open_endpoint(name: str, options: Mapping[str, Any]) -> Any:
    from steepest.models.endpoint import Settings, open_endpoint

    at = _address(name)
    settings = _called(Settings, name, {"url": at.url, **options}, at.model)
    # The option may give the same model further servers.
    if at.url and settings.urls[0] != at.url.partition(",")[0]:
        raise ModelError(
            f"the model {name!r} has its url in its name, got another one as option, {settings.url}; leave one out"
        )
    return open_endpoint(settings)


def _address(name: str) -> Address:
    """The parts of openai:MODEL@URL."""
    from steepest.models.endpoint import checked_url

    # Names of models may hold an @ themselves; a URL begins with its scheme.
    model, *url = re.split(r"@(?=https?://)", name.removeprefix(_ENDPOINT), maxsplit=1)
    if not url and (place := _PLACE.search(model)):
        # Else the rows would go to the default server.
        raise ModelError(
            f"a server's URL begins with http:// or https://, got none that does behind {model[: place.start()]!r}; "
            f"write {_ENDPOINT}{model[: place.start()]}@http://HOST:PORT/v1"
        )
    return Address(model, checked_url(url[0]) if url else "")


def _scripted(answer: str | None = None) -> Scripted:
    """A scripted model that answers by "file.py:function", or with the last line of what it was asked."""
    if answer is None:
        return Scripted(echo)
    return Scripted(find_object(answer, ModelError), f"scripted {answer}")
