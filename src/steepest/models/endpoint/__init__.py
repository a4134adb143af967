"""Any OpenAI-compatible server as a model. aiohttp is imported when the first request is sent."""

from __future__ import annotations

from steepest.models.endpoint.infilling import CompletionsEndpoint
from steepest.models.endpoint.limits import Backoff
from steepest.models.endpoint.model import Endpoint
from steepest.models.endpoint.settings import Settings, checked_url, default_url

__all__ = ["CompletionsEndpoint", "Endpoint", "Settings", "checked_url", "default_url", "open_endpoint"]


def open_endpoint(settings: Settings, backoff: Backoff | None = None) -> Endpoint:
    """The endpoint for the settings' API, with the capabilities that servers of this API may have."""
    return (CompletionsEndpoint if settings.api == "completions" else Endpoint)(settings, backoff)
