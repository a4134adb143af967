"""Where keys are: in environment variables, or in the keyring of the operating system (extra `keyring`)."""

from __future__ import annotations

import importlib
import os
import re
from functools import lru_cache

from steepest.errors import ModelError

_KEYRING = re.compile(r"keyring:([^/\s]+)/(\S+)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_place(name: object) -> bool:
    """Whether this can be where a key is: VARIABLE, or keyring:SERVICE/USER."""
    return isinstance(name, str) and bool(_VARIABLE.fullmatch(name) or _KEYRING.fullmatch(name))


def key_at(place: str) -> str:
    """The key in a variable, empty where it is not set; or in the keyring, ModelError where it has none there."""
    entry = _KEYRING.fullmatch(place)
    return _held(entry[1], entry[2]) if entry else os.environ.get(place, "").strip()


@lru_cache(maxsize=8)  # a keyring asks its user, or another process, and a key is needed with every request
def _held(service: str, user: str) -> str:
    try:
        keyring = importlib.import_module("keyring")
    except ModuleNotFoundError:
        raise ModelError(
            "a key in a keyring needs the library keyring, which is not installed; pip install 'steepest[keyring]'"
        ) from None
    try:
        key = keyring.get_password(service, user)
    except importlib.import_module("keyring.errors").KeyringError as refused:
        raise ModelError(
            f"the keyring must be open, got {type(refused).__name__}; unlock it, or use a variable"
        ) from None
    if not (key or "").strip():
        raise ModelError(
            f"the keyring must hold the key that is named, got none for {user!r} of {service!r}; put it there: "
            f"keyring set {service} {user}"
        )
    return str(key).strip()
