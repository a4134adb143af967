"""How an endpoint is asked: its options, and the key, which is never one of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import SplitResult, urlsplit

from steepest.errors import ModelError, nearest
from steepest.models.endpoint.keys import is_place, key_at

OPENAI = "https://api.openai.com/v1"
KEY_ENV = "OPENAI_API_KEY"
_SHORTEST_KEY = 8
"""Shorter ones are no secrets, but words such as "ollama" or "none" for servers that look at none."""
_APIS = ("chat", "completions")
_TOKEN_FIELDS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of `openai:MODEL`, by name."""

    model: str
    url: str = ""
    """Where the server is, up to and with /v1. By default $OPENAI_BASE_URL, else OpenAI's own. Several that serve the
    same model are divided by commas."""
    api: str = "chat"
    """ "chat" for /chat/completions; "completions" for base models: turns as plain text, each ended by a newline."""
    key_env: str = KEY_ENV
    """Where the key is: an environment variable, or keyring:SERVICE/USER. Servers of your own may need none."""
    concurrency: int = 32
    """Requests under way at once, over all threads. Of several servers each has this limit and those that follow."""
    rpm: float | None = None
    """Requests a minute at most, spread evenly, repeated ones included."""
    tpm: float | None = None
    """Tokens a minute at most: estimated before (bytes / 4 and the answer's limit), corrected after."""
    timeout: float = 120.0
    """Seconds for one request, connecting included."""
    retries: int = 6
    """How often a request is repeated; refusals for the rate (429) count only while nothing else is answered."""
    seeds: bool = True
    """Send `seed` with sampled requests. Without it the server rolls its own dice."""
    prefill: bool = False
    """Send a begun answer as such, with vLLM's `continue_final_message`; needs a server that goes on with it.
    Without it a user's turn is added that asks for what comes next, and what the answer repeats is cut off."""
    max_tokens_field: str = "max_tokens"
    """What the answer's limit is called; OpenAI's reasoning models want "max_completion_tokens"."""
    extra: Mapping[str, Any] | str = field(default_factory=dict)
    """More fields of the request's body, over all others, as a mapping or as JSON; null takes a field out."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", checked_url(self.url) if self.url else default_url())
        object.__setattr__(self, "extra", _fields(self.extra))
        self._check_key()
        named = isinstance(self.model, str) and bool(self.model.strip())
        _check(named, "openai: needs the name of a model behind it", self.model)
        _one_of("api", self.api, _APIS)
        _one_of("max_tokens_field", self.max_tokens_field, _TOKEN_FIELDS)
        _check(_is_number(self.concurrency, int, 1), "concurrency must be 1 or more", self.concurrency)
        _check(_is_number(self.retries, int, 0), "retries must be 0 or more", self.retries)
        _check(_is_number(self.timeout, float) and self.timeout > 0, "timeout must be above 0 seconds", self.timeout)
        for name, rate in (("rpm", self.rpm), ("tpm", self.tpm)):
            fits = rate is None or (_is_number(rate, float) and rate > 0)
            _check(fits, f"{name} must be above 0 a minute, or left out", rate)
        for name, flag in (("seeds", self.seeds), ("prefill", self.prefill)):
            _check(isinstance(flag, bool), f"{name} must be true or false", flag)
        if not self.key and any(map(_is_openai, self.urls)):
            raise ModelError(f"{self.url} needs a key, and the variable {self.key_env} is not set; export it")
        if self.key:
            self._check_strangers()

    def _check_key(self) -> None:
        """Before the options that are repeated where they are refused."""
        # Not repeated: it may be the key itself.
        rule = "key_env must be the name of an environment variable, letters, digits and underscores"
        _check(is_place(self.key_env), f"{rule}, or keyring:SERVICE/USER")
        key = self.key
        _check(key.isascii() and key.isprintable() and " " not in key, f"the key in {self.key_env} must be one word")
        others = [str(getattr(self, each.name)) for each in fields(self) if each.name != "key_env"]
        if len(key) >= _SHORTEST_KEY and any(key in other for other in others):
            raise ModelError(
                f"the key belongs in the environment only, got the one in {self.key_env} as part of the model's name, "
                "url or options; take it out there"
            )

    def _check_strangers(self) -> None:
        """A key goes to every server, so that it must be clear that it is meant for all of them."""
        hosts = {"openai.com" if _is_openai(url) else str(urlsplit(url).hostname) for url in self.urls}
        if len(hosts) == 1 or (self.key_env != KEY_ENV and "openai.com" not in hosts):
            return
        if "openai.com" in hosts:
            raise ModelError(
                f"OpenAI and other hosts take no key in common, got {self.url}; leave out one or the other"
            )
        raise ModelError(
            f"a key for several hosts is named with key_env, got {', '.join(sorted(hosts))}, which would all get the "
            f"one in {self.key_env}; name the variable of their key, or one that is not set where they need none"
        )

    @property
    def urls(self) -> tuple[str, ...]:
        """The servers, one by one."""
        return tuple(self.url.split(","))

    def at(self, url: str) -> Settings:
        """The same with one of the servers alone."""
        return replace(self, url=url)

    @property
    def key(self) -> str:
        """The key, read from where it is each time so that nothing here holds it; empty for none."""
        return key_at(self.key_env)

    @property
    def id(self) -> str:
        """Model, URL, and the options that change answers. Of several servers the first is named: the others answer
        alike, and may come and go in the life of a run.
        """
        changing = {
            "api": self.api,
            "seeds": self.seeds,
            "prefill": self.prefill,
            "max_tokens_field": self.max_tokens_field,
        }
        plain = {"api": "chat", "seeds": True, "prefill": False, "max_tokens_field": "max_tokens"}
        said = [f"{name}={value}" for name, value in changing.items() if value != plain[name]]
        if self.extra:
            said.append("extra=" + json.dumps(self.extra, sort_keys=True, ensure_ascii=False, separators=(",", ":")))
        return " ".join([f"openai:{self.model}@{self.urls[0]}", *said])

    def without_key(self, text: str) -> str:
        """An answer without the key, for servers that repeat what they were sent; words that are no secrets stay.

        In a body it may be written in several ways, "\\/" for "/" and the like.
        """
        key = self.key
        return text.replace(key, "[key]") if len(key) >= _SHORTEST_KEY else text

    def redacted(self, text: str) -> str:
        """`text` on one line, without the key."""
        plain = text.replace(self.key, "[key]") if self.key else text
        return " ".join(plain.split())


def default_url() -> str:
    """The server that is asked where none is named."""
    return checked_url(os.environ.get("OPENAI_BASE_URL") or OPENAI)


def checked_url(url: str) -> str:
    """`url`, or several divided by commas, without slashes at the end; ModelError, which does not repeat it, where one
    carries a password.
    """
    urls = [_checked(each.strip()) for each in url.split(",")]
    for each in urls:
        if urls.count(each) > 1:
            raise ModelError(f"each server is named once, got {each} twice; leave one out")
    return ",".join(urls)


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ModelError("a model's url must be readable, got one with a bracket out of place; correct it") from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ModelError(
            "a model's url must end with its path and carry no user, password or query, got one that does; "
            "put the key into the environment and name the variable with key_env"
        )
    if not _is_address(parts) or not url.isprintable() or " " in url:
        raise ModelError(
            "a model's url begins with http:// or https:// and a host, perhaps with a port, got one that does not; "
            "correct it"
        )
    # Pasted from the documentation of a server, the address often has the call's own path at its end.
    return re.sub(r"/(chat/completions|completions|embeddings|models)$", "", url.rstrip("/"))


def _is_address(parts: SplitResult) -> bool:
    try:
        host, port = (parts.hostname or "").encode("idna"), parts.port
    except ValueError:  # a label that is empty or too long, a port that is no number or too high
        return False
    return parts.scheme in ("http", "https") and bool(host) and port != 0


def _fields(extra: Mapping[str, Any] | str) -> dict[str, Any]:
    """Extra fields of the body from a mapping or JSON."""
    given: Any = extra
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            given = None
    try:
        fields = json.loads(json.dumps(given, allow_nan=False))
    except (TypeError, ValueError):
        fields = None
    if not isinstance(fields, dict):
        raise ModelError("""extra must be a JSON object, got something else; for example {"reasoning_effort": "low"}""")
    return fields


def _is_openai(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "openai.com" or host.endswith(".openai.com")


def _is_number(value: object, kind: type, least: float = 0) -> bool:
    kinds = (int, float) if kind is float else (int,)
    return isinstance(value, kinds) and not isinstance(value, bool) and least <= value < float("inf")


def _one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ModelError(f"{name} must be one of {', '.join(known)}, got {value!r}; {nearest(str(value), known)}")


def _check(holds: bool, rule: str, *got: object) -> None:
    if not holds:
        raise ModelError(f"{rule}{', got ' + repr(got[0]) if got else ''}; correct the option")
