"""What the tests of endpoints share: the key that must be seen nowhere, and the kinds of their fixtures."""

from __future__ import annotations

from collections.abc import Callable

from stub import Stub

from steepest.models.endpoint import Endpoint

KEY = "sk-planted-0123456789abcdef"

Serve = Callable[..., Stub]
Open = Callable[..., Endpoint]
