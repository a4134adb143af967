"""Any OpenAI-compatible server as a model. aiohttp is imported when the first request is sent."""

from __future__ import annotations

from steepest.models.endpoint.model import Endpoint
from steepest.models.endpoint.settings import Settings, checked_url, default_url

__all__ = ["Endpoint", "Settings", "checked_url", "default_url"]
